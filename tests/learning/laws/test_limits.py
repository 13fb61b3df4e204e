"""Damped descent (13) and the gradient flow (14) at single states, against their equations by hand."""

import jax
import jax.numpy as jnp
import numpy as np

import lagrangian_learning as ll
from tests.helpers import flat

NETWORK = ll.Layered((2, 3, 1))
STIMULUS = ll.Stimulus(ll.Sinusoids(jnp.array([1.0, 1.7])), lambda t: jnp.cos(t)[None])
W = NETWORK.init(jax.random.key(0))
W_DOT = jax.tree.map(jnp.cos, W)


def loss(t, weights):
    below = jnp.sin(jnp.array([1.0, 1.7]) * t)
    for matrix in weights:
        below = jnp.tanh(matrix @ below)
    return jnp.sum((below - jnp.cos(t)) ** 2) / 2


def test_damped_descent():
    law = ll.DampedDescent(NETWORK, mass_W=0.7, dissipation=ll.ExponentialDissipation(1.3))
    rates = law.rates(2.0, ll.State(W, W_DOT), STIMULUS)
    gradient, square = flat(jax.grad(loss, argnums=1)(2.0, W)), flat(W_DOT) @ flat(W_DOT)
    np.testing.assert_allclose(flat(rates.state.q), flat(W_DOT))
    np.testing.assert_allclose(flat(rates.state.v), -1.3 * flat(W_DOT) - gradient / 0.7, rtol=1e-12)
    np.testing.assert_allclose(rates.power, jax.grad(loss)(2.0, W) - 1.3 * 0.7 * square, rtol=1e-12)
    reading = law.reading(2.0, ll.State(W, W_DOT), STIMULUS)
    np.testing.assert_allclose(reading.energy, 0.7 * square / 2 + loss(2.0, W), rtol=1e-13)
    np.testing.assert_allclose(reading.moving, 0.7 * square, rtol=1e-13)


def test_gradient_flow():
    law = ll.GradientFlow(NETWORK, gamma=0.7)
    rates = law.rates(2.0, ll.State(W, None), STIMULUS)
    gradient = flat(jax.grad(loss, argnums=1)(2.0, W))
    np.testing.assert_allclose(flat(rates.state.q), -gradient / 0.7, rtol=1e-12)
    np.testing.assert_allclose(rates.power, jax.grad(loss)(2.0, W) - gradient @ gradient / 0.7, rtol=1e-12)
