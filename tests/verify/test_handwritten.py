"""The NumPy twin of (4) and (8)–(10) against derivatives by plain JAX of the formulas themselves.

Neither side has anything of the package. Neurons 0 and 1 are inputs; 2, 3 and 4 are not numbered along the edges.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lagrangian_learning.verify.handwritten import HandEquations, Moment, layered, on_edges

EDGES = ((0, 3), (1, 3), (3, 2), (0, 2), (3, 4), (2, 4))
HAND = on_edges(EDGES, 5, 2, 1)
MASS_X, MASS_W, TIME, GOAL = 0.25, 0.8, 0.6, 0.3
FREQUENCY = np.array([1.0, 2.0])
U, U_DOT, U_DDOT = (FREQUENCY**n * np.sin(FREQUENCY * TIME + n * np.pi / 2) for n in range(3))


def constraint(t, x, w):
    """(4), written for these edges."""
    a2, a3, a4 = w[2] * x[3] + w[3] * x[0], w[0] * x[0] + w[1] * x[1], w[4] * x[3] + w[5] * x[2]
    return jnp.stack([
        x[0] - jnp.sin(t), x[1] - jnp.sin(2 * t),
        x[2] - jnp.tanh(a2), x[3] - jnp.tanh(a3), x[4] - jnp.tanh(a4),
    ])  # fmt: skip


def log_weight(t):
    """log ϖ, neither constant nor linear in t."""
    return t + jnp.sin(t) / 2


def integrand(t, x, x_dot, w, w_dot, lam):
    """ℓ − λG of (5) and (7) with F = −ϖV."""
    kinetic = (MASS_X * x_dot @ x_dot + MASS_W * w_dot @ w_dot) / 2
    return jnp.exp(log_weight(t)) * (kinetic - (x[4] - GOAL) ** 2 / 2) - lam @ constraint(t, x, w)


@pytest.fixture(scope="module")
def moment():
    w, w_dot = np.array([0.7, -0.4, 1.2, 0.5, -0.9, 0.8]), np.array([0.3, 0.6, -0.5, 0.2, 0.9, -0.7])
    x = HAND.settle(w, U)
    weight = np.exp(float(log_weight(TIME)))
    return Moment(x, w, HAND.rates(x, w, w_dot, U_DOT), w_dot, U_DDOT, weight, weight * (1 + np.cos(TIME) / 2))


def found(moment):
    force_x = -moment.weight * HAND.outputs(moment.x[-1:] - GOAL)
    return HandEquations(HAND, MASS_X, MASS_W).accelerations(moment, force_x, np.zeros(6))


def parabolas(moment, x_ddot, w_ddot):
    """τ -> x, ẋ, w, ẇ of a motion with these accelerations."""

    def along(tau):
        pairs = ((moment.x, moment.x_dot, x_ddot), (moment.w, moment.w_dot, w_ddot))
        return [part for q, v, a in pairs for part in (q + tau * v + tau**2 * a / 2, v + tau * a)]

    return along


def test_the_constraints_and_their_derivatives_are_those_of_4():
    x, w = np.random.default_rng(3).normal(size=(2, 6))
    x = x[:5]
    at = (TIME, jnp.asarray(x), jnp.asarray(w))
    np.testing.assert_allclose(HAND.constraint(x, w, U), constraint(*at), atol=1e-15)
    for hand, by_jax in zip(HAND.jacobians(x, w), jax.jacfwd(constraint, (1, 2))(*at), strict=True):
        np.testing.assert_allclose(hand, by_jax, atol=1e-15)
    (by_neurons, mixed), (_, by_weights) = jax.jacfwd(jax.jacfwd(constraint, (1, 2)), (1, 2))(*at)
    for hand, by_jax in zip(HAND.hessians(x, w), (by_neurons, mixed, by_weights), strict=True):
        np.testing.assert_allclose(hand, by_jax, atol=1e-14)


def test_a_settled_network_with_its_rates_stays_on_its_constraints(moment):
    still = parabolas(moment, np.zeros(5), np.zeros(6))

    def along(tau):
        x, _, w, _ = still(tau)
        return constraint(TIME + tau, x, w)

    value, rate = jax.jvp(along, (0.0,), (1.0,))
    np.testing.assert_allclose(value, 0, atol=1e-15)
    np.testing.assert_allclose(rate, 0, atol=1e-14)


def test_accelerations_and_multipliers_fulfil_euler_lagrange_and_the_differentiated_constraints(moment):
    """d/dt ∂ℓ/∂q̇ = ∂ℓ/∂q of the integrand of (7), and d²G/dt² = 0, along a parabola."""
    x_ddot, w_ddot, lam = found(moment)
    motion = parabolas(moment, x_ddot, w_ddot)

    def momenta(tau):
        return jax.grad(integrand, (2, 4))(TIME + tau, *motion(tau), lam)

    def along(tau):
        x, _, w, _ = motion(tau)
        return constraint(TIME + tau, x, w)

    _, changes = jax.jvp(momenta, (0.0,), (1.0,))
    slopes = jax.grad(integrand, (1, 3))(TIME, *motion(0.0), lam)
    for change, slope in zip(changes, slopes, strict=True):
        np.testing.assert_allclose(change, slope, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(jax.jacfwd(jax.jacfwd(along))(0.0), 0, atol=1e-13)


def test_divided_by_the_weight_the_equations_are_those_of_delta(moment):
    x_ddot, w_ddot, lam = found(moment)
    divided = moment._replace(weight=1.0, weight_dot=moment.weight_dot / moment.weight)
    for one, other in zip(found(divided), (x_ddot, w_ddot, lam / moment.weight), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_layers_are_the_digraph_of_their_edges():
    """In the order in which matrices ravel: the paper's w31 w32 w41 w42 w53 w54."""
    xor = on_edges(((0, 2), (1, 2), (0, 3), (1, 3), (2, 4), (3, 4)), 5, 2, 1)
    for one, other in zip(layered((2, 2, 1)), xor, strict=True):
        np.testing.assert_array_equal(one, other)
