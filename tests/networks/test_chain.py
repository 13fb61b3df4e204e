from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from lagrangian_learning.networks import (
    Batched,
    Chain,
    constraint_rank,
    state_jacobian,
    weight_gram_matrix,
    weight_jacobian,
)
from lagrangian_learning.networks.network import taylor_sweep

KEYS = jax.random.split(jax.random.key(5), 8)
SHAPE = (1, 3, 3)


class Gain(eqx.Module):
    """A layer of the user's own, with an array of another name."""

    gain: jax.Array

    def __call__(self, x):
        return self.gain * x + jnp.sin(x)


def conv_modules():
    return [
        eqx.nn.Conv2d(1, 2, 2, key=KEYS[0]),
        jnp.tanh,
        eqx.nn.LayerNorm((2, 2, 2)),
        eqx.nn.AvgPool2d((2, 1), 1),
        jnp.ravel,
        Gain(jnp.array([0.5, -1.0, 2.0, 1.5])),
        eqx.nn.Sequential([eqx.nn.Linear(4, 2, key=KEYS[1]), eqx.nn.Lambda(jnp.tanh)]),
    ]


def signal_modules():
    return [
        eqx.nn.Conv1d(2, 2, 3, padding=1, key=KEYS[2]),
        eqx.nn.GroupNorm(1, 2),
        eqx.nn.MaxPool1d(2, 2),
        eqx.nn.RMSNorm((2, 2)),
        eqx.nn.PReLU(),
    ]


NETWORKS = {
    "image": Chain(conv_modules(), SHAPE),
    "signal": Chain(signal_modules(), (2, 4)),
}


def flat(tree):
    return ravel_pytree(tree)[0]


def off_the_constraint(network, seed):
    """Weights, biases and scales that are all different from where they begin, and neurons that solve nothing."""
    rng = np.random.default_rng(seed)
    like = jax.eval_shape(network.init, jax.random.key(0))
    W = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), like)
    x, r = (tuple(jnp.asarray(rng.normal(size=shape)) for shape in network.shapes) for _ in range(2))
    return x, W, r


def test_forward_is_written_out_in_numpy():
    network = NETWORKS["image"]
    _, W, _ = off_the_constraint(network, 0)
    u = np.cos(np.arange(9.0)).reshape(SHAPE)
    conv, _, norm, _, _, gain, dense = jax.tree.map(np.asarray, W)
    patches = np.array([[u[0, i : i + 2, j : j + 2] for j in range(2)] for i in range(2)])
    x1 = np.einsum("cij,hwij->chw", conv.weight[:, 0], patches) + conv.bias
    x2 = np.tanh(x1)
    x3 = (x2 - x2.mean()) / np.sqrt(x2.var() + 1e-5) * norm.weight + norm.bias
    x4 = (x3[:, :1] + x3[:, 1:]) / 2
    x5 = x4.ravel()
    x6 = gain.gain * x5 + np.sin(x5)
    linear = dense.layers[0]
    x7 = np.tanh(linear.weight @ x6 + linear.bias)
    x, residual = jax.jit(lambda W, u: (network.forward(W, u), network.constraint(network.forward(W, u), W, u)))(W, u)
    for got, expected in zip(x, (u, x1, x2, x3, x4, x5, x6, x7), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-12)
    assert network.output(x) is x[-1]
    assert [leaf.shape for leaf in x] == list(network.shapes)
    assert np.max(np.abs(flat(residual))) < 1e-14


@pytest.mark.parametrize("name", ["image", pytest.param("signal", marks=pytest.mark.slow)])
def test_sweeps_and_products_are_those_of_the_dense_jacobians(name):
    network = NETWORKS[name]
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
    assert jax.tree.structure(products[3]) == jax.tree.structure(W)
    np.testing.assert_allclose(gram, G_M @ G_M.T, rtol=1e-12, atol=1e-11)
    assert np.max(np.abs(gram - np.diag(np.diag(gram)))) > 0.1


@pytest.mark.parametrize("batch", [None, 2, 9])
def test_the_kernel_of_linear_layers_is_their_dense_gram_matrix(batch):
    """A single example and a batch of two know K; nine of widths 3 and 4 go through their weights."""
    layers = [eqx.nn.Linear(3, 4, key=KEYS[0]), jnp.sin, eqx.nn.Linear(4, 3, use_bias=False, key=KEYS[1])]
    chain = Chain(layers)
    network = chain if batch is None else Batched(chain, batch)
    rng = np.random.default_rng(4)
    W = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), chain.init(jax.random.key(0)))
    like = jax.eval_shape(network.forward, W, jax.ShapeDtypeStruct(network.input_shape, W[0].weight.dtype))
    x, delta = (jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), like) for _ in range(2))
    at = network.linearised(x, W)
    assert [kernel is None for kernel in at.kernels] == [batch == 9, True, batch == 9]
    G_M = np.asarray(weight_jacobian(network, x, W))
    np.testing.assert_allclose(flat(at.gram(delta)), G_M @ (flat(delta) @ G_M), rtol=1e-12, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_taylor_sweep_is_that_of_the_whole_pass(name):
    """Layer by layer against two nested derivatives of `forward`: the same mathematics by another route."""
    network = NETWORKS[name]
    rng = np.random.default_rng(2)
    _, W, _ = off_the_constraint(network, 2)
    jet = [jnp.asarray(rng.normal(size=network.input_shape)) for _ in range(3)]

    @jax.jit
    def swept(W, W_dot, jet):
        return network.taylor_sweep(W, W_dot, *jet)[:3], taylor_sweep(network, W, W_dot, *jet)[:3]

    ours, whole = swept(W, jax.tree.map(lambda w: w[::-1] if w.ndim else w, W), jet)
    np.testing.assert_allclose(flat(ours), flat(whole), rtol=1e-11, atol=1e-11)


def test_what_needs_a_diagonal_is_refused_and_the_rank_is_that_of_both_jacobians():
    network = Chain(conv_modules()[:2], SHAPE)
    x, W, _ = off_the_constraint(network, 3)
    report, G_xi, G_M = jax.jit(
        lambda x, W: tuple(f(network, x, W) for f in (constraint_rank, state_jacobian, weight_jacobian))
    )(x, W)
    assert report.full_rank
    least = np.linalg.svd(np.concatenate([G_xi, G_M], axis=1), compute_uv=False)[-1]
    np.testing.assert_allclose(report.singular_value, least, rtol=1e-10)
    with pytest.raises(ValueError, match=r"may share weights between neurons.*\.gram\(delta\)"):
        network.weight_gram(x, W)


def test_initial_weights():
    modules = [eqx.nn.Linear(64, 64, key=KEYS[3]), eqx.nn.LayerNorm(64), Gain(jnp.array(0.7)), jnp.tanh]
    network = Chain(modules)
    dense, norm, gain, nothing = W = jax.jit(lambda key: network.init(key, jnp.float32))(jax.random.key(0))
    assert abs(np.std(dense.weight) / 64**-0.5 - 1) < 0.05
    assert not np.any(dense.bias)
    assert np.all(np.asarray(norm.weight) == 1)
    assert gain.gain == np.float32(0.7)
    assert nothing is None
    assert {leaf.dtype for leaf in jax.tree.leaves(W)} == {jnp.dtype("float32")}
    assert sum(leaf.size for leaf in jax.tree.leaves(W)) == network.num_weights
    kernel = jax.eval_shape(Chain(conv_modules(), SHAPE).init, jax.random.key(0))[0].weight
    assert kernel.shape == (2, 1, 2, 2)


def test_modules_and_weights_go_both_ways():
    modules = conv_modules()
    W = Chain.weights_of(modules)
    network = Chain(modules, SHAPE)

    @eqx.filter_jit
    def both(modules, W, x):
        through = network.output(network.forward(W, x))
        for module in modules:
            x = module(x)
        return through, x

    through, expected = both(modules, network.check_weights(W), jnp.ones(SHAPE))
    np.testing.assert_allclose(through, expected, rtol=1e-13)
    assert eqx.tree_equal(tuple(modules), network.modules(W))


def test_a_chain_is_structure_alone():
    """No leaves, and equal when built twice, whatever the modules' own weights: jit compiles once."""
    traced = []

    @jax.jit
    def forward(network, W, u):
        traced.append(network)
        return network.forward(W, u)

    chains = [Chain([eqx.nn.Linear(3, 2, key=k), jnp.tanh]) for k in KEYS[:2]]
    assert jax.tree.leaves(chains) == []
    for chain in chains:
        forward(chain, chain.init(KEYS[0]), jnp.ones(3))
    assert len(traced) == 1
    others = [
        Chain([eqx.nn.Linear(3, 2, key=KEYS[0]), jnp.sin]),
        Chain([eqx.nn.Linear(3, 2, False, key=KEYS[0]), jnp.tanh]),
    ]
    scaled = [Chain([Gain(jnp.array(value))], 2) for value in (1.0, 2.0)]
    assert len(set(chains + others + scaled)) == 5
    assert scaled[0] != scaled[1]


CALLS = {False: [], True: []}


class Recorder(eqx.Module):
    """A user's layer that records every call."""

    inner: Any
    convolves: bool = eqx.field(static=True)

    def __call__(self, x):
        CALLS[self.convolves].append(x.shape)
        return jnp.sin(self.inner(x))


@pytest.mark.parametrize("convolves", [False, True])
def test_a_layer_is_called_once_a_pass(convolves):
    """Once at construction and once a forward pass, twice to linearise: by its neurons and by its weights."""
    calls = CALLS[convolves]
    calls.clear()
    inner = eqx.nn.Conv1d(2, 2, 3, padding=1, key=KEYS[0]) if convolves else eqx.nn.LayerNorm((2, 4))
    chain = Chain([Recorder(inner, convolves)] * 2, (2, 4))
    assert len(calls) == 2
    W, u = chain.init(KEYS[0]), jnp.ones((2, 4))
    x = chain.forward(W, u)
    for traced, each in (
        (lambda: chain.forward(W, u), 1),
        (lambda: chain.linearised(x, W), 2),
        (lambda: chain.linearised(x, W).gram(chain.linearised(x, W).backward(x)), 4),
        (lambda: chain.taylor_sweep(W, W, u, u, u)[:3], 3),
        (lambda: (chain.check_weights(W), chain.num_weights), 0),
    ):
        calls.clear()
        jax.make_jaxpr(traced)()
        assert len(calls) == 2 * each


@pytest.mark.parametrize(
    ("module", "smoothness"),
    [
        (jnp.tanh, np.inf),
        (lambda x: jnp.maximum(x, 0), np.inf),  # cannot be known
        (jax.nn.relu, 0),
        (jax.nn.elu, 1),
        (jnp.abs, 0),
        (eqx.nn.Lambda(jax.nn.elu), 1),
        (eqx.nn.Sequential([eqx.nn.Lambda(jnp.tanh), eqx.nn.Lambda(jax.nn.relu)]), 0),
        (eqx.nn.MLP(3, 3, 2, 1, key=KEYS[0]), 0),  # relu, unless specified otherwise
        (eqx.nn.MLP(3, 3, 2, 1, jnp.tanh, key=KEYS[0]), np.inf),
        (eqx.nn.PReLU(), 0),
    ],
)
def test_smoothness_is_the_least_of_the_layers(module, smoothness):
    assert Chain([eqx.nn.Linear(3, 3, key=KEYS[0]), module]).smoothness == smoothness


def test_smoothness_of_pooling():
    for pool, smoothness in ((eqx.nn.MaxPool1d(2), 0), (eqx.nn.AdaptiveMaxPool1d(1), 0), (eqx.nn.AvgPool1d(2), np.inf)):
        assert Chain([eqx.nn.Conv1d(1, 1, 1, key=KEYS[0]), pool], (1, 4)).smoothness == smoothness


LINEAR = eqx.nn.Linear(3, 2, key=KEYS[0])
BATCH_NORM = eqx.nn.BatchNorm(2, "batch", mode="batch")


@pytest.mark.parametrize(
    ("modules", "shape", "message"),
    [
        ([LINEAR, BATCH_NORM], None, "layer 2 of the chain, BatchNorm, keeps state.*eqx.nn.GroupNorm"),
        ([eqx.nn.Sequential([LINEAR, BATCH_NORM])], None, "Sequential, keeps state"),
        ([LINEAR, eqx.nn.Dropout(0.5)], None, "draws random numbers.*eqx.nn.inference_mode"),
        ([LINEAR, lambda x, key: x], None, "layer 2 .*fails.*called with one array and nothing else"),
        ([LINEAR, LINEAR], None, r"layer 2 of the chain, Linear, on a float64 array of shape \(2,\) fails"),
        ([LINEAR, lambda x: (x, x)], None, "is one array"),
        ([LINEAR, lambda x: x > 0], None, "in the dtype of its input"),
        ([LINEAR, 3], None, "layer 2 of the chain, int, is non-callable"),
        (
            [eqx.nn.Conv1d(1, 1, 1, key=KEYS[0])],
            None,
            "Conv1d, does not fix the shape of its input: give input_shape=",
        ),
        ([jnp.tanh], (3,), "no weights, so that nothing can learn"),
        ([], None, "one layer at least"),
        (LINEAR, None, "got Linear: put it in a list"),
        ([LINEAR], (3.5,), "positive integer"),
        ([LINEAR], "three", "input_shape must be a tuple"),
        ([Gain(jnp.array(1j))], (2,), "complex weights"),
    ],
)
def test_what_is_no_chain_is_refused(modules, shape, message):
    with pytest.raises(ValueError, match=message):
        Chain(modules, shape)


def test_dropout_that_does_nothing_passes():
    for dropout in (eqx.nn.Dropout(0.5, inference=True), eqx.nn.Dropout(0.0)):
        assert Chain([LINEAR, dropout]).output_shape == (2,)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (
            (eqx.nn.Sequential([LINEAR, eqx.nn.Lambda(jnp.tanh)]),),
            r"holds whole modules: take ll.Chain.weights_of\(modules\)",
        ),
        ((jnp.ones((2, 3)),), "expected shapes .*network.init"),
        (jax.tree.map(lambda leaf: leaf.at[0].set(jnp.nan), Chain.weights_of([LINEAR])), "NaN or infinity"),
        (jax.tree.map(lambda leaf: leaf.astype(int), Chain.weights_of([LINEAR])), "expected one floating dtype"),
    ],
)
def test_bad_weights_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        Chain([LINEAR]).check_weights(weights)


def test_bad_inputs_and_neurons_are_refused():
    network = NETWORKS["image"]
    with pytest.raises(ValueError, match=r"the input has shape \(9,\), the network expects \(1, 3, 3\)"):
        network.check_input(jnp.ones(9))
    with pytest.raises(ValueError, match="neurons of the Chain: expected shapes"):
        network.check_neurons((jnp.ones(SHAPE),))
