import equinox as eqx
import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import pytest

from lagrangian_learning.networks import Digraph, Layered, xor_network


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((2,), r"needs an input and an output layer at least, as in \(2, 1\)"),
        ((), "needs an input and an output layer"),
        ((2, 0, 1), r"each of sizes \(2, 0, 1\) must be a positive integer, got 0"),
        ((2, -3), "must be a positive integer, got -3"),
        ((2, 2.0), "must be a positive integer, got 2.0"),
        ((2, True), "must be a positive integer, got True"),
        (3, r"widths of the layers, as in \(2, 2, 1\), got 3"),
    ],
)
def test_sizes(sizes, message):
    with pytest.raises(ValueError, match=message):
        Layered(sizes)


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ([], "without edges computes nothing: give"),
        ([(0, 5)], r"edges \(0, 5\) are out of range: neurons are numbered 0 to 4; raise num_neurons"),
        ([(-1, 3), (0, 3)], r"edges \(-1, 3\) are out of range"),
        ([(0, 3), (1, 3), (0, 3)], r"edges \(0, 3\) are given more than once.*leave the duplicates out"),
        ([(0, 3), (3, 1)], r"edges \(3, 1\) are into input neurons 0 to 1.*an edge is \(source, target\)"),
        ([(0, 0)], "into input neurons"),
        ([(0.0, 3.0)], "float64, not integers.*from_networkx numbers named nodes"),
        ([("a", "b")], "not integers"),
        ([(True, False)], "bool, not integers"),
        ([(0, 2, 3)], r"shape \(1, 3\), expected \(num_edges, 2\)"),
        ([(0, 2), (1,)], "edges are not pairs: give"),
        (7, "edges are not pairs"),
        (np.zeros((0, 2), int), "without edges"),
    ],
)
def test_edges(edges, message):
    with pytest.raises(ValueError, match=message):
        Digraph(5, edges, 2, 1)


def test_many_bad_edges_are_named_in_part():
    with pytest.raises(ValueError, match=r"\(0, 12\) and 12 more are out of range"):
        Digraph(5, [(0, j) for j in range(5, 25)], 2, 1)


@pytest.mark.parametrize(
    ("counts", "edge", "message"),
    [
        (
            (4, 3, 2),
            (0, 3),
            "num_inputs=3 and num_outputs=2 do not fit into num_neurons=4: inputs come first",
        ),
        ((0, 1, 1), (0, 1), "num_neurons must be a positive integer, got 0"),
        ((3, 0, 1), (0, 1), "num_inputs must be a positive integer, got 0"),
        ((3, 1, -1), (0, 1), "num_outputs must be a positive integer, got -1"),
    ],
)
def test_counts(counts, edge, message):
    num_neurons, num_inputs, num_outputs = counts
    with pytest.raises(ValueError, match=message):
        Digraph(num_neurons, [edge], num_inputs, num_outputs)


@pytest.mark.parametrize("graph", [nx.Graph([(0, 1)]), nx.MultiDiGraph([(0, 1), (0, 1)])], ids=["Graph", "Multi"])
def test_only_simple_digraphs_are_networks(graph):
    with pytest.raises(ValueError, match=r"directed graph with single edges: convert it by networkx.DiGraph"):
        Digraph.from_networkx(graph, 1, 1)


def test_activations_and_tolerance():
    for build in (lambda a: Layered((2, 1), a), xor_network, lambda a: xor_network("tanh", a)):
        with pytest.raises(ValueError, match="unknown activation 'step'"):
            build("step")
    with pytest.raises(ValueError, match="tolerance must be finite and > 0: leave it None"):
        Digraph(2, [(0, 1)], 1, 1, tolerance=0.0)


LAYERED = Layered((2, 2, 1))
W_LAYERED = LAYERED.init(jax.random.key(0))


@pytest.mark.parametrize(
    ("network", "W", "message"),
    [
        (LAYERED, W_LAYERED[:1], r"expected shapes \(\(2, 2\), \(1, 2\)\), got \(\(2, 2\),\); W is a tuple of"),
        (LAYERED, (W_LAYERED[0].T[:1], W_LAYERED[1]), r"got \(\(1, 2\), \(1, 2\)\)"),
        (LAYERED, list(W_LAYERED), r"got \[\(2, 2\), \(1, 2\)\]; W is a tuple"),
        (LAYERED, tuple(w.astype(int) for w in W_LAYERED), "expected one floating dtype, got int64; cast"),
        (LAYERED, (W_LAYERED[0].astype(jnp.float32), W_LAYERED[1]), "got float32, float64"),
        (LAYERED, (W_LAYERED[0].at[0, 0].set(jnp.nan), W_LAYERED[1]), "NaN or infinity; give finite"),
        (Layered((2, 2, 1), bias=True), W_LAYERED, r"expected shapes \(\(\(2, 2\), \(2,\)\), .* pairs"),
        (xor_network(), jnp.ones(5), r"expected shapes \(6,\), got \(5,\); W is one array"),
        (xor_network(), jnp.ones((2, 3)), r"got \(2, 3\)"),
        (xor_network(), jnp.ones(6, int), "got int64"),
        (xor_network(), jnp.ones(6).astype(complex), "got complex128"),
        (xor_network(), jnp.ones(6).at[3].set(jnp.inf), "NaN or infinity"),
    ],
)
def test_weights(network, W, message):
    with pytest.raises(ValueError, match=message):
        network.check_weights(W)


@pytest.mark.parametrize(
    ("network", "x", "message"),
    [
        (LAYERED, (jnp.ones(2), jnp.ones(2)), r"expected shapes \(\(2,\), \(2,\), \(1,\)\), got .*input layer first"),
        (xor_network(), jnp.ones(4), r"expected shapes \(5,\), got \(4,\)"),
        (xor_network(), jnp.full(5, jnp.nan), "neurons of the Digraph: NaN"),
    ],
)
def test_neurons(network, x, message):
    with pytest.raises(ValueError, match=message):
        network.check_neurons(x)


@pytest.mark.parametrize("network", [LAYERED, xor_network()], ids=["layered", "digraph"])
def test_good_weights_neurons_and_inputs_pass(network, key):
    W = network.init(key)
    x = network.forward(W, jnp.ones(2))
    for checked, given in ((network.check_weights(W), W), (network.check_neurons(x), x)):
        jax.tree.map(np.testing.assert_array_equal, checked, given)
    network.check_input(np.ones(2))
    numpy_weights = jax.tree.map(np.asarray, W)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(network.check_weights(numpy_weights)))


@pytest.mark.parametrize("network", [LAYERED, xor_network()], ids=["layered", "digraph"])
def test_traced_weights_that_are_not_finite_stop_the_run(network, key):
    W = jax.tree.map(lambda w: w * jnp.nan, network.init(key))
    with pytest.raises(RuntimeError, match="NaN or infinity; give finite values"):
        jax.block_until_ready(eqx.filter_jit(network.check_weights)(W))


@pytest.mark.parametrize("network", [LAYERED, xor_network()], ids=["layered", "digraph"])
@pytest.mark.parametrize(
    ("u", "message"),
    [
        (jnp.ones(3), r"the input has shape \(3,\), the network expects \(2,\)"),
        (jnp.ones((2, 1)), r"has shape \(2, 1\)"),
        (jnp.asarray(1.0), r"has shape \(\)"),
        (jnp.ones(2, int), "the input has dtype int64: make it floating"),
    ],
)
def test_inputs(network, u, message, key):
    with pytest.raises(ValueError, match=message):
        network.check_input(u)
    with pytest.raises(ValueError, match=message):
        network.forward(network.init(key), u)


@pytest.mark.parametrize("network", [LAYERED, xor_network()], ids=["layered", "digraph"])
def test_dtypes(network, key):
    with pytest.raises(ValueError, match="weights need a floating dtype, got int32: use float32"):
        network.init(key, jnp.int32)
    jax.config.update("jax_enable_x64", False)
    try:
        with pytest.raises(ValueError, match=r"float64 weights need x64: call jax.config.update"):
            network.init(key, "float64")
    finally:
        jax.config.update("jax_enable_x64", True)
