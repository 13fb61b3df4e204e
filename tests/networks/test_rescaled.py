"""Networks in rescaled weights: products by dense Jacobians, and masses a layer by equations derived from them."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lagrangian_learning as ll
from lagrangian_learning.networks import state_jacobian, weight_gram_matrix, weight_jacobian
from tests.helpers import flat

KEY = jax.random.key(1)
CHAIN = ll.Chain([eqx.nn.Linear(2, 3, key=KEY), jnp.tanh, eqx.nn.Linear(3, 1, key=KEY)], (2,))
NETWORKS = {
    "layered, a scale a layer": ll.Rescaled(ll.Layered((2, 3, 1)), (0.5, 3.0)),
    "biases, a scale for them": ll.Rescaled(ll.Layered((2, 3, 1), bias=True), ((0.5, 2.0), 3.0)),
    "one scale": ll.Rescaled(CHAIN, 0.3),
    "digraph": ll.Rescaled(ll.networks.xor_network("softplus"), 2.0),
    "batch": ll.Rescaled(ll.Batched(ll.Layered((2, 3, 1)), 2), (0.5, 3.0)),
    "batch inside": ll.Batched(ll.Rescaled(ll.Layered((2, 3, 1)), (0.5, 3.0)), 2),
}


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS.keys())
def test_sweeps_and_products_are_those_of_the_dense_jacobians(network):
    rng = np.random.default_rng(1)
    W = jax.eval_shape(lambda: network.init(KEY))
    x = jax.eval_shape(network.forward, W, jax.ShapeDtypeStruct(network.input_shape, jnp.float64))
    x, W, r = (jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), like) for like in (x, W, x))

    @jax.jit
    def computed(x, W, r):
        at = network.linearised(x, W)
        dense = [f(network, x, W) for f in (state_jacobian, weight_jacobian, weight_gram_matrix)]
        return dense, [at.forward(r), at.backward(r), at.weight_jvp(W), at.weight_vjp(r), at.gram(r)]

    (G_xi, G_M, gram), products = computed(x, W, r)
    vector = flat(r)
    expected = np.linalg.solve(G_xi, vector), np.linalg.solve(G_xi.T, vector), G_M @ flat(W), vector @ G_M
    for found, by_matrix in zip(products, (*expected, G_M @ (vector @ G_M)), strict=True):
        np.testing.assert_allclose(flat(found), by_matrix, rtol=1e-12, atol=1e-11)
    np.testing.assert_allclose(gram, G_M @ G_M.T, rtol=1e-12, atol=1e-11)


def test_scales_are_masses_a_layer():
    """(8)–(10) in V = W/s against the Euler–Lagrange equations of a Lagrangian with ½ m_l |Ẇ_l|², written here."""
    masses, mass_x, network = (2.0, 0.5), 0.3, ll.Layered((2, 3, 1))
    stimulus = ll.Stimulus(
        ll.Sinusoids(jnp.array([1.0, 1.7]), 1.0, jnp.array([0.3, 0.0])), ll.Sinusoids(0.7, 0.6, jnp.array([0.2]))
    )
    dissipation = ll.ExponentialDissipation(0.6)

    def density(t, q, v, stimulus):
        (x, _), (x_dot, W_dot) = q, v
        kinetic = mass_x * sum(jnp.sum(part**2) for part in x_dot)
        kinetic += sum(m * jnp.sum(part**2) for m, part in zip(masses, W_dot, strict=True))
        return kinetic / 2 - jnp.sum((x[-1] - stimulus.target(t)) ** 2) / 2

    def on_network(t, q, stimulus):
        return network.constraint(*q, stimulus.input(t))

    written = ll.EulerLagrange(ll.Lagrangian(density, dissipation), ll.Holonomic(on_network))
    rescaled = ll.Rescaled(network, tuple(m**-0.5 for m in masses))
    law = ll.CognitiveAction(rescaled, mass_x=mass_x, mass_W=1.0, dissipation=dissipation).law()
    t, W = jnp.asarray(0.4), network.init(KEY)
    W_dot = jax.tree.map(jnp.cos, W)
    u, u_dot = jax.jvp(stimulus.input, (t,), (jnp.ones_like(t),))
    x, x_dot = jax.jvp(network.forward, (W, u), (W_dot, u_dot))

    @jax.jit
    def both(W, W_dot):
        ours = law.accelerations(t, ll.State(rescaled.coordinates(W), rescaled.coordinates(W_dot)), stimulus)
        return ours, written.accelerations(t, ll.State((x, W), (x_dot, W_dot)), stimulus)

    (V_ddot, delta), ((_, W_ddot), multipliers) = both(W, W_dot)
    np.testing.assert_allclose(flat(rescaled.weights(V_ddot)), flat(W_ddot), rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(flat(delta), flat(multipliers), rtol=1e-9, atol=1e-10)


def test_equal_scales_are_another_mass_and_reach_derivatives():
    network, stimulus = (
        ll.Layered((2, 3, 1)),
        ll.Stimulus(ll.Constant(jnp.array([0.5, -1.0])), ll.Constant(jnp.ones(1))),
    )
    W = network.init(KEY)

    def end(network, mass_W):
        law = ll.DampedDescent(network, ll.SquaredError(), mass_W, ll.ExponentialDissipation(1.0))
        start = network.coordinates(W) if isinstance(network, ll.Rescaled) else W
        path = ll.simulate(law, law.initial_state(0.0, start, args=stimulus), jnp.array([0.0, 2.0]), stimulus)
        q = path.final_state.q
        return network.weights(q) if isinstance(network, ll.Rescaled) else q

    np.testing.assert_allclose(flat(end(ll.Rescaled(network, 0.5), 0.5)), flat(end(network, 2.0)), atol=1e-9)

    def by_log_mass(log_mass):
        return jnp.sum(end(ll.Rescaled(network, jnp.exp(-log_mass / 2)), 1.0)[0] ** 2)

    def by_mass(log_mass):
        return jnp.sum(end(network, jnp.exp(log_mass))[0] ** 2)

    at = jnp.log(jnp.asarray(2.0))
    np.testing.assert_allclose(jax.grad(by_log_mass)(at), jax.grad(by_mass)(at), rtol=1e-6)


@pytest.mark.usefixtures("unchecked")
def test_scales_of_another_structure_are_refused():
    network = ll.Layered((2, 3, 1))
    with pytest.raises(ValueError, match=r"structure that W begins with, .* got a tuple of 3"):
        ll.Rescaled(network, (1.0, 2.0, 3.0))
    with pytest.raises(ValueError, match=r"each of scales must be finite and > 0.*mass m_l"):
        ll.Rescaled(network, (1.0, 0.0))
    with pytest.raises(ValueError, match=r"network must be a network"):
        ll.Rescaled("net", 1.0)
