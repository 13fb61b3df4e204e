"""`displaced`, the sweep to neurons off their constraints: every kind of network has G(x, W, u) = r there."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lagrangian_learning as ll
from tests.helpers import flat

LAYERS = [eqx.nn.Linear(2, 3, key=jax.random.key(0)), jnp.tanh, eqx.nn.Linear(3, 1, key=jax.random.key(1))]
NETWORKS = {
    "layered": ll.Layered((2, 3, 2), bias=True),
    "digraph": ll.networks.xor_network(),
    "unfed": ll.Digraph(5, ((0, 2), (2, 4), (3, 4)), 2, 1, "sigmoid", "identity"),
    "chain": ll.Chain(LAYERS, 2),
    "batched": ll.Batched(ll.Layered((2, 3, 1)), 4),
    "rescaled": ll.Rescaled(ll.Layered((2, 3, 1)), (0.5, 2.0)),
}


@pytest.mark.parametrize("kind", NETWORKS)
def test_the_constraints_are_what_the_neurons_were_displaced_by(kind):
    network = NETWORKS[kind]
    W = network.init(jax.random.key(2))
    u = jnp.linspace(-0.5, 0.8, int(np.prod(network.input_shape))).reshape(network.input_shape)
    x = network.forward(W, u)
    r = jax.tree.map(lambda leaf: 0.3 * jnp.cos(5 * leaf + 1), x)
    displaced = network.displaced(W, u, r)
    np.testing.assert_allclose(flat(network.constraint(displaced, W, u)), flat(r), rtol=1e-13, atol=1e-15)
    still = network.displaced(W, u, jax.tree.map(jnp.zeros_like, x))
    np.testing.assert_allclose(flat(still), flat(x), rtol=1e-15)
    assert np.max(np.abs(flat(displaced) - flat(x))) > 0.1
