import time

import jax
import jax.numpy as jnp
import mpmath as mp
import networkx as nx
import numpy as np
import pytest

from lagrangian_learning.networks import (
    Digraph,
    Layered,
    state_jacobian,
    weight_jacobian,
    weight_jvp,
    weight_vjp,
    xor_network,
)
from lagrangian_learning.networks.edges import build_schedule


def random_dag(seed, num_neurons, num_edges, num_inputs, num_outputs=2, **options):
    """An acyclic digraph whose numbering says nothing about its order: a shuffled rank decides directions."""
    rng = np.random.default_rng(seed)
    order = np.concatenate([np.arange(num_inputs), num_inputs + rng.permutation(num_neurons - num_inputs)])
    pairs = np.sort(rng.integers(0, num_neurons, (3 * num_edges, 2)), axis=1)
    pairs = pairs[(pairs[:, 0] < pairs[:, 1]) & (pairs[:, 1] >= num_inputs)]
    edges = rng.permutation(np.unique(order[pairs], axis=0))[:num_edges]
    return Digraph(num_neurons, edges, num_inputs, num_outputs, **options)


NETWORKS = [
    xor_network(),
    random_dag(0, 12, 25, 3),
    random_dag(1, 40, 150, 5, activation="logistic", output_activation="linear"),
]


def off_the_constraint(network, seed, dtype=None):
    kW, kx, kr = jax.random.split(jax.random.key(seed), 3)
    W = network.init(kW, dtype)
    x, r = (jax.random.normal(k, (network.num_neurons,), W.dtype) for k in (kx, kr))
    return x, W, r


def neuron_by_neuron(network, W, u):
    """Forward pass in plain Python, in networkx's own topological order."""
    x = np.zeros(network.num_neurons)
    x[: network.num_inputs] = u
    weight = {tuple(edge): w for edge, w in zip(network.edges.tolist(), np.asarray(W), strict=True)}
    functions = {"tanh": np.tanh, "logistic": lambda a: 1 / (1 + np.exp(-a)), "linear": lambda a: a}
    graph = network.to_networkx()
    for j in nx.topological_sort(graph):
        output = j >= network.num_neurons - network.num_outputs and network.output_activation is not None
        sigma = functions[str(network.output_activation if output else network.activation)]
        if j >= network.num_inputs:
            x[j] = sigma(sum(weight[k, j] * x[k] for k in graph.predecessors(j)))
    return x


def test_xor_is_the_paper_formula():
    w31, w32, w41, w42, w53, w54 = W = np.array([0.7, -1.1, 0.4, 0.9, -0.6, 1.3])
    x1, x2, x3, x4, x5 = x = np.array([0.2, -0.3, 0.5, 0.1, -0.8])
    e1, e2 = e = np.array([1.0, 0.25])
    expected = [
        x1 - e1,
        x2 - e2,
        x3 - np.tanh(w31 * x1 + w32 * x2),
        x4 - np.tanh(w41 * x1 + w42 * x2),
        x5 - np.tanh(w53 * x3 + w54 * x4),
    ]
    network = xor_network()
    got = network.constraint(jnp.asarray(x), jnp.asarray(W), jnp.asarray(e))
    np.testing.assert_allclose(got, expected, rtol=1e-14)
    s5 = 1 - np.tanh(w53 * x3 + w54 * x4) ** 2
    row = np.asarray(state_jacobian(network, jnp.asarray(x), jnp.asarray(W)))[4]
    np.testing.assert_allclose(row, [0, 0, -s5 * w53, -s5 * w54, 1], rtol=1e-14)


@pytest.mark.parametrize("output_activation", [None, "linear"])
def test_xor_equals_its_layered_twin(key, output_activation):
    network = xor_network("logistic", output_activation)
    twin = Layered((2, 2, 1), "logistic", output_activation=output_activation)
    x, W, r = off_the_constraint(network, 0)
    u = jnp.array([0.5, -2.0])

    def layers(v):
        return v[:2], v[2:4], v[4:]

    V = (W[:4].reshape(2, 2), W[4:].reshape(1, 2))
    pairs = [
        (network.forward(W, u), twin.forward(V, u)),
        (network.constraint(x, W, u), twin.constraint(layers(x), V, u)),
        (network.solve_forward(x, W, r), twin.solve_forward(layers(x), V, layers(r))),
        (network.solve_backward(x, W, r), twin.solve_backward(layers(x), V, layers(r))),
        (network.weight_gram(x, W), twin.weight_gram(layers(x), V)),
    ]
    for ours, theirs in pairs:
        np.testing.assert_allclose(ours, jnp.concatenate(theirs), rtol=1e-14, atol=1e-16)


@pytest.mark.parametrize("network", NETWORKS, ids=["xor", "12", "40"])
def test_forward_is_neuron_by_neuron_and_solves_the_constraint(network, key):
    W = network.init(key)
    u = jnp.linspace(-1, 1, network.num_inputs)
    x = network.forward(W, u)
    np.testing.assert_allclose(x, neuron_by_neuron(network, W, u), rtol=1e-13, atol=1e-15)
    assert jnp.max(jnp.abs(network.constraint(x, W, u))) < 1e-14
    np.testing.assert_array_equal(network.output(x), x[network.num_neurons - network.num_outputs :])


@pytest.mark.parametrize("network", NETWORKS, ids=["xor", "12", "40"])
def test_sweeps_solve_with_the_dense_jacobian(network):
    x, W, r = off_the_constraint(network, 2)
    jacobian = np.asarray(state_jacobian(network, x, W))
    np.testing.assert_allclose(network.solve_forward(x, W, r), np.linalg.solve(jacobian, r), rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(network.solve_backward(x, W, r), np.linalg.solve(jacobian.T, r), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("network", NETWORKS, ids=["xor", "12", "40"])
def test_weight_products_and_gram_are_those_of_the_dense_jacobian(network):
    x, W, r = off_the_constraint(network, 3)
    jacobian = np.asarray(weight_jacobian(network, x, W))
    np.testing.assert_allclose(weight_jvp(network, x, W, W), jacobian @ W, rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(weight_vjp(network, x, W, r), jacobian.T @ r, rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(np.diag(network.weight_gram(x, W)), jacobian @ jacobian.T, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("seed", range(8))
def test_classification_agrees_with_networkx_whatever_the_numbering(seed):
    dag = random_dag(seed, 30, 60, 4)
    assert dag.feedforward
    assert dag.cycles == ()
    assert np.any(dag.edges[:, 0] > dag.edges[:, 1])
    rng = np.random.default_rng(seed)
    pairs = np.unique(rng.integers(0, 30, (40, 2)), axis=0)
    graph = nx.DiGraph(pairs[pairs[:, 1] >= 4].tolist())
    network = Digraph(30, list(graph.edges), 4, 2)
    assert network.feedforward == nx.is_directed_acyclic_graph(graph)
    on_a_cycle = {j for cycle in network.cycles for j in cycle}
    assert on_a_cycle == {j for j in graph if any(nx.has_path(graph, k, j) for k in graph.successors(j))}


def test_cycles_are_listed_upstream_first():
    network = Digraph(7, [(0, 5), (5, 5), (5, 2), (2, 3), (3, 2), (3, 6), (0, 4)], 1, 1)
    assert network.cycles == ((5,), (2, 3))


def test_a_neuron_that_nothing_enters_holds_sigma_of_zero():
    network = Digraph(3, [(0, 2), (1, 2)], 1, 1, activation="logistic")
    x = network.forward(jnp.array([1.0, 2.0]), jnp.array([0.0]))
    np.testing.assert_allclose(x, [0, 0.5, 1 / (1 + np.exp(-1.0))], rtol=1e-15)


def test_uneven_levels_are_cut_into_steps_that_stay_small():
    # A chain of 3000 neurons beside one level of 100 000 edges: padding to the widest level would take 3e8 slots.
    chain = np.stack([np.arange(2999), np.arange(1, 3000)], axis=1)
    fan = np.stack([np.zeros(100_000, int), np.arange(3000, 103_000)], axis=1)
    edges = np.concatenate([chain, fan])
    levels = np.concatenate([np.arange(3000), np.ones(100_000, int)])
    schedule = build_schedule(edges, levels, (range(1, 103_000),))
    assert schedule.edge.array.size < 3e6
    assert sorted(schedule.edge.array[schedule.edge.array < len(edges)]) == list(range(len(edges)))
    finished = schedule.finished[0].array
    assert sorted(finished[finished < 103_000]) == list(range(1, 103_000))


def test_a_neuron_entered_by_several_steps_is_finished_once():
    # Wide fan-in beside many narrow levels, so that one neuron's edges span steps.
    wide = [(k, 4200) for k in range(4000)]
    chain = [(k, k + 1) for k in range(4000, 4199)]
    network = Digraph(4201, wide + chain + [(0, 4000)], 4000, 1)
    assert network._schedule is not None
    assert network._schedule.edge.array.shape[1] < 4000
    W = jax.random.normal(jax.random.key(0), (network.num_weights,)) / 60
    u = jax.random.normal(jax.random.key(1), (4000,))
    np.testing.assert_allclose(network.forward(W, u), neuron_by_neuron(network, W, u), rtol=1e-12, atol=1e-15)


def test_two_thousand_neurons_are_fast(key):
    network = random_dag(9, 2000, 20_000, 10)
    assert network.num_weights == 20_000
    W, u, r = network.init(key), jnp.ones(10), jnp.ones(2000)
    sweep = jax.jit(lambda W: network.solve_backward(network.forward(W, u), W, r))
    sweep(W).block_until_ready()
    start = time.perf_counter()
    sweep(W).block_until_ready()
    assert time.perf_counter() - start < 0.25  # measured 0.0007 s


def test_networkx_round_trip(key):
    network = random_dag(4, 15, 30, 3, activation="sin")
    W = network.init(key)
    graph = network.to_networkx(W)
    assert all(graph.edges[s, t]["weight"] == w for (s, t), w in zip(network.edges.tolist(), W.tolist(), strict=True))
    back = Digraph.from_networkx(graph, 3, 2, activation="sin")
    order = {tuple(edge): i for i, edge in enumerate(network.edges.tolist())}
    V = W[np.array([order[tuple(edge)] for edge in back.edges.tolist()])]
    u = jnp.ones(3)
    np.testing.assert_allclose(back.forward(V, u), network.forward(W, u), rtol=1e-14)
    assert "weight" not in next(iter(network.to_networkx().edges(data=True)))[2]


def test_named_nodes_are_numbered_in_their_order():
    graph = nx.DiGraph([("in", "hidden"), ("hidden", "out"), ("in", "out")])
    network = Digraph.from_networkx(graph, 1, 1)
    assert network.edges.tolist() == [[0, 1], [0, 2], [1, 2]]
    numbered = nx.DiGraph()
    numbered.add_nodes_from([2, 0, 1])
    numbered.add_edges_from([(0, 2), (1, 2)])
    assert Digraph.from_networkx(numbered, 2, 1).edges.tolist() == [[0, 2], [1, 2]]


def test_init_is_lecun_normal_by_in_degree(key):
    hub = [(k, 1000) for k in range(1000)]
    single = [(k, 1001 + k) for k in range(1000)]
    W = Digraph(2001, hub + single, 1000, 1).init(key)
    assert abs(float(jnp.std(W[:1000])) * 1000**0.5 - 1) < 0.06
    assert abs(float(jnp.std(W[1000:])) - 1) < 0.06


def test_float32_twin():
    network = random_dag(1, 40, 150, 5)
    x, W, r = off_the_constraint(network, 5, jnp.float32)
    jacobian = np.asarray(state_jacobian(network, x, W), np.float64)
    forward, backward = network.solve_forward(x, W, r), network.solve_backward(x, W, r)
    assert {v.dtype for v in (forward, backward, network.forward(W, r[:5]), network.weight_gram(x, W))} == {
        jnp.dtype("float32")
    }
    np.testing.assert_allclose(jacobian @ np.asarray(forward, np.float64), r, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(jacobian.T @ np.asarray(backward, np.float64), r, rtol=1e-5, atol=1e-5)


def test_a_batch_of_weights_equals_each_alone(key):
    network = random_dag(0, 12, 25, 3)
    W = jax.vmap(network.init)(jax.random.split(key, 4))
    x = jax.vmap(network.forward, (0, None))(W, jnp.ones(3))
    y = jax.vmap(network.solve_backward)(x, W, x)
    for lane in range(4):
        np.testing.assert_allclose(network.forward(W[lane], jnp.ones(3)), x[lane], rtol=1e-14)
        np.testing.assert_allclose(network.solve_backward(x[lane], W[lane], x[lane]), y[lane], rtol=1e-13, atol=1e-15)


def test_forward_differentiates_four_times_along_a_path():
    weights, rates = np.array([0.7, -1.1, 0.4, 0.9, -0.6, 1.3]), np.array([0.3, 0.1, -0.2, 0.5, 0.4, -0.1])
    network = xor_network()

    def path(t):
        W = jnp.asarray(weights) + jnp.asarray(rates) * t
        return network.output(network.forward(W, jnp.stack([jnp.sin(t), jnp.cos(2 * t)])))[0]

    def by_hand(t):
        w = [mp.mpf(a) + mp.mpf(b) * t for a, b in zip(weights.tolist(), rates.tolist(), strict=True)]
        u = mp.sin(t), mp.cos(2 * t)
        x3, x4 = (mp.tanh(w[i] * u[0] + w[i + 1] * u[1]) for i in (0, 2))
        return mp.tanh(w[4] * x3 + w[5] * x4)

    expected = [float(mp.diff(by_hand, mp.mpf("0.4"), n)) for n in range(5)]
    derivatives = [path]
    for _ in range(4):
        inner = derivatives[-1]
        derivatives.append(lambda t, f=inner: jax.jvp(f, (t,), (jnp.ones_like(t),))[1])
    got = jax.jit(lambda t: [f(t) for f in derivatives])(jnp.asarray(0.4))
    np.testing.assert_allclose(got, expected, rtol=1e-9)


def test_reverse_mode_through_the_forward_sweep_is_backprop(key):
    network = random_dag(0, 12, 25, 3)
    W, u = network.init(key), jnp.ones(3)
    x = network.forward(W, u)
    r = jnp.zeros(12).at[-2:].set(-x[-2:])
    gradient = jax.grad(lambda W: 0.5 * jnp.sum(network.output(network.forward(W, u)) ** 2))(W)
    assert jnp.any(gradient)
    np.testing.assert_allclose(
        weight_vjp(network, x, W, network.solve_backward(x, W, r)), gradient, rtol=1e-12, atol=1e-15
    )


def test_networks_have_no_leaves_and_equal_networks_compile_once(key):
    first, second = (random_dag(0, 12, 25, 3) for _ in range(2))
    assert jax.tree.leaves(first) == []
    assert first == second
    assert hash(first) == hash(second)
    assert first != random_dag(2, 12, 25, 3)
    traces = []

    @jax.jit
    def forward(network, W):
        traces.append(network)
        return network.forward(W, jnp.ones(3))

    W = first.init(key)
    for network in (first, second):
        forward(network, W)
    assert len(traces) == 1


def test_edges_are_read_only():
    with pytest.raises(ValueError, match="read-only"):
        xor_network().edges[0, 0] = 1
