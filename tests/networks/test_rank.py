import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lagrangian_learning.networks import (
    Digraph,
    Layered,
    constraint_rank,
    guard_rank,
    state_jacobian,
    weight_jacobian,
    xor_network,
)


def two_neuron_loop(activation="tanh"):
    """Input 0 is apart; neurons 1 and 2 feed each other."""
    return Digraph(3, [(1, 2), (2, 1)], 1, 1, activation)


def dense_rank(network, x, W):
    both = np.concatenate([state_jacobian(network, x, W), weight_jacobian(network, x, W)], axis=1)
    return np.linalg.matrix_rank(both)


def criterion(network, x, W):
    """docs/theory.md §5 word by word: the rows of G_xi of the neurons with d_j = 0 are independent."""
    rows = np.asarray(state_jacobian(network, x, W))[np.asarray(network.weight_gram(x, W)) == 0]
    return np.linalg.matrix_rank(rows) == len(rows)


def test_tanh_loop_at_rest_has_rank_one():
    network, x, W = two_neuron_loop(), jnp.zeros(3), jnp.ones(2)
    report = constraint_rank(network, x, W)
    assert int(report.rank) - 1 == int(report.state_rank) - 1 == 1  # of the two neurons; the input adds one
    assert dense_rank(network, x, W) == 2
    assert not report.full_rank
    assert not criterion(network, x, W)


def test_logistic_loop_at_rest_has_full_rank():
    network, x, W = two_neuron_loop("logistic"), jnp.zeros(3), jnp.ones(2)
    report = constraint_rank(network, x, W)
    assert report.full_rank
    assert dense_rank(network, x, W) == 3
    assert criterion(network, x, W)
    np.testing.assert_allclose(report.state_singular_value, 0.75, rtol=1e-14)  # eigenvalues of I - S W: 1 -+ 1/4, and 1


def test_a_singular_loop_regains_full_rank_through_one_weight_that_moves_it():
    # The slopes are 1 at activity 0; neuron 1 sees x0 = 1 through a weight of 0: d_1 = 1.
    network = Digraph(3, [(1, 2), (2, 1), (0, 1)], 1, 1)
    x, W = jnp.array([1.0, 0.0, 0.0]), jnp.array([1.0, 1.0, 0.0])
    report = constraint_rank(network, x, W)
    assert int(report.state_rank) == 2
    assert int(report.rank) == 3 == dense_rank(network, x, W)
    assert report.full_rank
    assert criterion(network, x, W)
    np.testing.assert_array_equal(guard_rank(network, x, W), x)


@pytest.mark.parametrize("seed", range(6))
def test_rank_and_singular_value_agree_with_the_dense_jacobian(seed):
    # Neurons at rest make d_j = 0 on many rows, and weights of one close tanh loops singularly.
    rng = np.random.default_rng(seed)
    edges = np.unique(rng.integers(0, 8, (14, 2)), axis=0)
    network = Digraph(8, edges[edges[:, 1] >= 2], 2, 1)
    x = jnp.asarray(np.where(rng.random(8) < 0.2, 0.5, 0.0))
    W = jnp.asarray(rng.integers(-1, 2, network.num_weights).astype(float))
    both = np.concatenate([state_jacobian(network, x, W), weight_jacobian(network, x, W)], axis=1)
    report = constraint_rank(network, x, W)
    np.testing.assert_allclose(report.singular_value, np.linalg.svd(both)[1][-1], rtol=1e-10, atol=1e-14)
    assert int(report.rank) == np.linalg.matrix_rank(both)
    assert bool(report.full_rank) == criterion(network, x, W) == (int(report.rank) == 8)


def test_both_verdicts_occur_among_the_random_graphs():
    verdicts = set()
    for seed in range(6):
        rng = np.random.default_rng(seed)
        edges = np.unique(rng.integers(0, 8, (14, 2)), axis=0)
        network = Digraph(8, edges[edges[:, 1] >= 2], 2, 1)
        x = jnp.asarray(np.where(rng.random(8) < 0.2, 0.5, 0.0))
        W = jnp.asarray(rng.integers(-1, 2, network.num_weights).astype(float))
        verdicts.add(criterion(network, x, W))
    assert verdicts == {True, False}


@pytest.mark.parametrize("network", [xor_network(), Layered((2, 3, 1), bias=True)], ids=["xor", "layered"])
def test_feedforward_networks_have_full_rank_by_proposition_1(network, key):
    W = network.init(key)
    x = network.forward(W, jnp.zeros(2))
    report = constraint_rank(network, x, W)
    assert report.full_rank
    assert int(report.rank) == network.num_neurons == dense_rank(network, x, W)
    assert "Proposition 1" in str(report)


def test_the_guard_computes_nothing_for_a_feedforward_network(key):
    network = xor_network()
    jaxpr = jax.make_jaxpr(lambda x, W: guard_rank(network, x, W))(jnp.zeros(5), network.init(key))
    assert jaxpr.eqns == []


def test_the_guard_names_the_singular_cycle_alone():
    # Loop (1, 2) is regular at weights one half, loop (3, 4) singular; each feeds on.
    edges = [(0, 1), (1, 2), (2, 1), (2, 3), (3, 4), (4, 3), (4, 5), (5, 5)]
    network = Digraph(6, edges, 1, 1)
    assert network.cycles == ((1, 2), (3, 4), (5,))
    x = jnp.zeros(6)
    regular = jnp.array([1.0, 0.5, 0.5, 1.0, 0.5, 0.5, 1.0, 0.5])
    guard = eqx.filter_jit(lambda x, W: guard_rank(network, x, W))
    np.testing.assert_array_equal(guard(x, regular), x)
    for singular, named in (((1, 2), "1, 2"), ((4, 5), "3, 4"), ((7,), "5")):
        W = regular.at[np.array(singular)].set(1.0)
        with pytest.raises(RuntimeError, match=rf"lose rank on the cycle through neurons {named}: .*Move x or W"):
            jax.block_until_ready(guard(x, W))


def test_the_guard_stops_nan():
    with pytest.raises(RuntimeError, match="lose rank on the cycle"):
        guard_rank(two_neuron_loop(), jnp.zeros(3), jnp.array([jnp.nan, 1.0]))


def test_a_report_reads_well_and_works_in_float32_and_batches():
    network = two_neuron_loop()
    W = jnp.array([[1.0, 1.0], [0.5, 0.5]], jnp.float32)
    reports = jax.vmap(lambda W: constraint_rank(network, jnp.zeros(3, jnp.float32), W))(W)
    assert reports.full_rank.tolist() == [False, True]
    assert reports.singular_value.dtype == jnp.float32
    text = str(constraint_rank(network, jnp.zeros(3), jnp.ones(2)))
    for line in ("constraints           3", "rank of G_xi          2", "(G_xi G_M)    2", "False   (computed, cyclic)"):
        assert line in text


def test_the_tolerance_is_an_argument():
    network, x, W = two_neuron_loop(), jnp.zeros(3), jnp.array([1.0, 1.0 - 1e-6])
    assert constraint_rank(network, x, W).full_rank
    assert not constraint_rank(network, x, W, rtol=1e-5).full_rank
