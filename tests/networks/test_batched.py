"""Sweeps and products of a batch, against dense Jacobians by automatic differentiation of (4)."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from lagrangian_learning.networks import (
    Batched,
    Chain,
    Digraph,
    Layered,
    state_jacobian,
    weight_gram_matrix,
    weight_jacobian,
    xor_network,
)
from lagrangian_learning.networks.network import taylor_sweep

KEYS = jax.random.split(jax.random.key(3), 2)
CHAIN = Chain([eqx.nn.Conv1d(1, 2, 2, key=KEYS[0]), jnp.tanh, jnp.ravel, eqx.nn.Linear(4, 2, key=KEYS[1])], (1, 3))
NETWORKS = {
    "layered": Batched(Layered((3, 4, 2)), 2),
    "layered with biases, larger than its layers": Batched(Layered((1, 2, 2, 1), "logistic", bias=True), 7),
    "chain": Batched(CHAIN, 2),
    "digraph": Batched(xor_network("softplus"), 3),
    "batch of batches": Batched(Batched(Layered((2, 3, 1), bias=True), 2), 2),
}
every_network = pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS.keys())


def flat(tree):
    return ravel_pytree(tree)[0]


def off_the_constraint(network, seed):
    """Weights, neurons and a right-hand side that solve nothing: the identities hold at every point."""
    rng = np.random.default_rng(seed)
    W = jax.eval_shape(network.init, jax.random.key(0))
    x = jax.eval_shape(network.forward, W, jax.ShapeDtypeStruct(network.input_shape, jnp.float64))
    return tuple(jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), like) for like in (x, W, x))


@every_network
def test_sweeps_and_products_are_those_of_the_dense_jacobians(network):
    x, W, r = off_the_constraint(network, 1)

    @jax.jit
    def computed(x, W, r):
        at = network.linearised(x, W)
        dense = (f(network, x, W) for f in (state_jacobian, weight_jacobian, weight_gram_matrix))
        return tuple(dense), (at.forward(r), at.backward(r), at.weight_jvp(W), at.weight_vjp(r), at.gram(r))

    matrices, products = computed(x, W, r)
    G_xi, G_M, gram = jax.tree.map(np.asarray, matrices)
    assert G_M.shape == (network.num_neurons, network.num_weights)
    vector = np.asarray(flat(r))
    expected = np.linalg.solve(G_xi, vector), np.linalg.solve(G_xi.T, vector), G_M @ flat(W), vector @ G_M
    for got, by_matrix in zip(products, (*expected, G_M @ (vector @ G_M)), strict=True):
        np.testing.assert_allclose(flat(got), by_matrix, rtol=1e-12, atol=1e-11)
    np.testing.assert_allclose(gram, G_M @ G_M.T, rtol=1e-12, atol=1e-11)
    assert jax.tree.structure(products[3]) == jax.tree.structure(W)
    assert np.max(np.abs(gram - np.diag(np.diag(gram)))) > 0.1


@every_network
def test_the_taylor_sweep_is_that_of_the_whole_pass(network):
    """Layer by layer against two nested derivatives of `forward`, and its linearisation against one made there."""
    _, W, r = off_the_constraint(network, 2)
    rng = np.random.default_rng(3)
    jet = [jnp.asarray(rng.normal(size=network.input_shape)) for _ in range(3)]
    W_dot = jax.tree.map(jnp.cos, W)

    @jax.jit
    def both(W, W_dot, jet):
        sweeps = network.taylor_sweep(W, W_dot, *jet), taylor_sweep(network, W, W_dot, *jet)
        return [(sweep[:3], sweep.linearised.gram(r), sweep.linearised.backward(r)) for sweep in sweeps]

    ours, whole = both(W, W_dot, jet)
    np.testing.assert_allclose(flat(ours), flat(whole), rtol=1e-11, atol=1e-11)


def test_a_batch_has_each_kernel_or_none():
    """Both ways to multiply by G_M G_Mᵀ are among the networks above."""
    kernels = {}
    for name in ("layered", "layered with biases, larger than its layers"):
        x, W, _ = off_the_constraint(NETWORKS[name], 4)
        kernels[name] = {kernel is None for kernel in NETWORKS[name].linearised(x, W).kernels}
    assert list(kernels.values()) == [{False}, {True}]


def test_a_batch_has_no_diagonal():
    network = NETWORKS["layered"]
    x, W, _ = off_the_constraint(network, 5)
    with pytest.raises(ValueError, match=r"all examples of a batch act on one W.*gram\(delta\)"):
        network.weight_gram(x, W)
    with pytest.raises(ValueError, match=r"of a batch is not diagonal: `gram\(delta\)`"):
        network.network.weight_gram(x, W)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: Batched(Digraph(3, [(0, 1), (1, 1), (1, 2)], 1, 1), 2), "this one has cycles"),
        (lambda: Batched(Layered((2, 1)), 0), "batch must be a positive integer, got 0"),
    ],
)
def test_what_cannot_share_is_refused(made, message):
    with pytest.raises(ValueError, match=message):
        made()


def test_the_size_of_the_batch_is_checked():
    network = NETWORKS["layered"]
    W = network.init(jax.random.key(0))
    for call in (network.check_input, lambda u: network.forward(W, u), lambda u: network.taylor_sweep(W, W, u, u, u)):
        with pytest.raises(ValueError, match=r"the input has shape \(3, 3\), the network expects \(2, 3\)"):
            call(jnp.ones((3, 3)))
