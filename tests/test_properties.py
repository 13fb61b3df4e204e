"""Properties of random mechanisms, graphs, weights and signals. Values vary, shapes do not: little compiles."""

import itertools

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st

import lagrangian_learning as ll
from tests.helpers import flat


def few_and_many(few, many):
    """Few examples by default, many among the slow tests; the same ones every time."""
    return pytest.mark.parametrize("count", [few, pytest.param(many, marks=pytest.mark.slow)])


def only_many(many):
    """Among the slow tests alone: what it compiles takes long already."""
    return pytest.mark.parametrize("count", [pytest.param(many, marks=pytest.mark.slow)])


def examples(count):
    return settings(
        max_examples=count, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
    )


seeds = st.integers(0, 2**31 - 1)


def between(low, high):
    """Numbers of an interval. Without subnormals, which hypothesis asks the processor's mode about."""
    return st.floats(low, high, allow_subnormal=False)


# -- mechanisms: two rods on a point of the plane ----------------------------------------------------------------------


def kinetic_minus_potential(t, q, v, args):
    masses, _, gravity = args
    return masses @ jnp.sum(v**2, axis=1) / 2 - gravity * masses @ q[:, 1]


def rods(t, q, args):
    lengths = args[1]
    return jnp.stack([q[0] @ q[0] - lengths[0] ** 2, (q[1] - q[0]) @ (q[1] - q[0]) - lengths[1] ** 2])


DOUBLE_PENDULUM = ll.EulerLagrange(ll.Lagrangian(kinetic_minus_potential), ll.Holonomic(rods))


@st.composite
def double_pendula(draw):
    """(args, q, v): masses, lengths, gravity; positions and velocities that satisfy the rods."""
    masses = np.array([draw(between(0.1, 10.0)) for _ in range(2)])
    lengths = np.array([draw(between(0.3, 3.0)) for _ in range(2)])
    angles, rates = (np.array([draw(between(-limit, limit)) for _ in range(2)]) for limit in (3.0, 1.5))
    gravity = draw(between(0.0, 10.0))
    rod = lengths[:, None] * np.stack([np.sin(angles), -np.cos(angles)], axis=1)
    swing = (lengths * rates)[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return (masses, lengths, np.float64(gravity)), np.cumsum(rod, axis=0), np.cumsum(swing, axis=0)


def energy_of(args, q, v):
    masses, _, gravity = args
    return np.sum(masses * np.sum(v**2, axis=-1), axis=-1) / 2 + gravity * np.sum(masses * q[..., 1], axis=-1)


def swung(args, q, v, times, stabilisation=None, tolerance=1e-10):
    state = DOUBLE_PENDULUM.initial_state(times[0], q, v, args)
    accuracy = {"rtol": tolerance, "atol": tolerance, "stabilisation": stabilisation}
    return ll.simulate(DOUBLE_PENDULUM, state, times, args, **accuracy)


def off_the_rods(path, args):
    return np.array([np.max(np.abs(rods(0.0, at, args))) for at in path.q])


@only_many(30)
def test_mechanisms_hold_their_constraints_and_energy_and_say_no_less_than_is_true(count):
    @examples(count)
    @given(double_pendula())
    def holds(drawn):
        args, q, v = drawn
        path = swung(args, q, v, np.linspace(0.0, 1.0, 5))
        assert path.q.dtype == path.ts.dtype == jnp.float64
        assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves((path.q, path.v, path.a, path.multipliers)))
        assert np.max(off_the_rods(path, args)) < 1e-9 * np.max(args[1]) ** 2
        drifting = swung(args, q, v, np.linspace(0.0, 1.0, 5), ll.NoStabilisation(), 1e-6)
        drift, rounding = off_the_rods(drifting, args), 1e-14 * np.max(args[1]) ** 2
        assert np.all(drift <= np.asarray(drifting.constraint_residual) + rounding)
        assert np.max(drift) <= drifting.stats["max_constraint_residual"] + rounding
        energies = energy_of(args, np.asarray(path.q), np.asarray(path.v))
        start, scale = energy_of(args, q, v), np.sum(args[0]) * (np.max(args[1]) * (args[2] + 20.0))
        assert np.max(np.abs(energies - start)) < 1e-6 * scale
        assert np.max(np.abs(energies - start)) <= path.stats["max_energy_defect_absolute"] + 1e-12 * scale

    holds()


@only_many(20)
def test_mechanisms_go_back_as_they_came_whenever_they_start(count):
    @examples(count)
    @given(double_pendula(), st.integers(-64, 64))
    def holds(drawn, later):
        args, q, v = drawn
        times = np.linspace(0.0, 0.5, 5)
        there = swung(args, q, v, times)
        back = swung(args, there.q[-1], -there.v[-1], times)
        np.testing.assert_allclose(back.q[-1], q, atol=1e-6 * np.max(args[1]))
        np.testing.assert_allclose(-back.v[-1], v, atol=1e-5 * (1 + np.max(np.abs(v))))
        shifted = swung(args, q, v, times + later)
        np.testing.assert_allclose(shifted.q, there.q, atol=1e-7 * np.max(args[1]))

    holds()


# -- networks and signals ----------------------------------------------------------------------------------------------

NETWORK = ll.Layered((2, 3, 1))
TIMES = np.linspace(0.5, 2.0, 4)
TARGET = jnp.array([0.4])


def weights(seed, size=1.0, dtype=jnp.float64):
    rng = np.random.default_rng(seed)
    return tuple(jnp.asarray(size * rng.normal(size=shape), dtype) for shape in ((3, 2), (1, 3)))


def learned(W, signal, gamma=1.0, times=TIMES, **steps):
    law, stimulus = ll.GradientFlow(NETWORK, gamma=jnp.asarray(gamma, W[0].dtype)), ll.Stimulus(signal, TARGET)
    state = law.initial_state(times[0], W, args=stimulus)
    steps = steps or {"rtol": 1e-5, "atol": 1e-5}
    return ll.simulate(law, state, times, stimulus, max_steps=512, throw=False, **steps)


@st.composite
def samples(draw):
    """Times and values of an uneven signal with two channels."""
    rng = np.random.default_rng(draw(seeds))
    steps = rng.uniform(0.1, 1.0, 7)
    ts = np.concatenate([[0.0], np.cumsum(steps)]) * 2.5 / np.sum(steps)
    return ts, rng.uniform(-1.0, 1.0, size=(8, 2))


@only_many(25)
def test_learning_depends_neither_on_the_clock_nor_on_the_names_of_neurons(count):
    @examples(count)
    @given(samples(), seeds, st.integers(-64, 64), st.permutations(range(3)))
    def holds(drawn, seed, later, order):
        (ts, values), W = drawn, weights(seed)
        path = learned(W, ll.Sampled(ts, values))
        assert {leaf.dtype for leaf in jax.tree.leaves(path.W)} == {jnp.dtype("float64")}
        shifted = learned(W, ll.Sampled(ts + later, values), times=TIMES + later)
        np.testing.assert_allclose(flat(shifted.W), flat(path.W), atol=1e-9)
        order = np.array(order)
        renamed = learned((W[0][order], W[1][:, order]), ll.Sampled(ts, values))
        back = (renamed.W[0][:, np.argsort(order)], renamed.W[1][:, :, np.argsort(order)])
        np.testing.assert_allclose(flat(back), flat(path.W), atol=1e-9)

    holds()


@only_many(60)
def test_success_has_no_nan_whatever_the_constants_and_weights(count):
    @examples(count)
    @given(samples(), seeds, between(-8.0, 8.0), between(-2.0, 307.0))
    def holds(drawn, seed, gamma, size):
        path = learned(weights(seed, 10.0**size), ll.Sampled(*drawn), 10.0**gamma)
        finite = all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves((path.saved, path.energy, path.final_state)))
        assert finite or path.result != ll.RESULTS.successful

    holds()


class Breaks(ll.AbstractLaw):
    """ẏ = −y until the first of the times args["rates"]; observables are NaN after args["observables"]."""

    def rates(self, t, state, args):
        return ll.Rates({"y": jnp.where(t > args["rates"], jnp.nan, -state["y"])})

    def observables(self, t, state, args):
        return {"y": jnp.where(t > args["observables"], jnp.nan, state["y"])}


def nothing(t, observables):
    return ()


def own(t, observables):
    return jnp.log(jnp.where(observables["y"] > 0, 1 - t, jnp.nan))


CONSTANT, ADAPTIVE = {"dt0": 0.125}, {"rtol": 1e-3, "dt0": 0.125}
KINDS = st.sampled_from((None, nothing, own)), st.sampled_from((CONSTANT, ADAPTIVE))


@only_many(15)
def test_success_has_no_nan_wherever_one_arises(count):
    """In the last stage of the last step, where no record and no later step sees it, as well as in records alone."""
    ends = st.sampled_from((0.5, 1.0, 1.5))

    @examples(count)
    @given(between(0.3, 3.0), between(0.3, 3.0), ends, *KINDS)
    @example(0.95, 2.0, 1.0, nothing, CONSTANT)
    @example(2.0, 0.95, 1.0, None, CONSTANT)
    def holds(rates, observables, end, save, steps):
        times, args = np.array([0.0, end / 2, end]), {"rates": rates, "observables": observables}
        settings = {"solver": diffrax.Heun(), "max_steps": 256, "throw": False, "watch": "nothing", "save": save}
        path = ll.simulate(Breaks(), {"y": jnp.ones(1)}, times, args, **settings, **steps)
        kept = jax.tree.leaves((path.saved, path.final_state))
        is_fine = end <= rates and (save is nothing or end <= observables) and (save is not own or end <= 1.0)
        assert bool(path.result == ll.RESULTS.successful) == is_fine, path
        assert not is_fine or not any(np.any(np.isnan(leaf)) for leaf in kept)

    holds()


@only_many(12)
def test_a_run_in_float32_is_one_of_float64_rounded(count):
    @examples(count)
    @given(samples(), seeds)
    def holds(drawn, seed):
        steps = {"solver": diffrax.Tsit5(), "dt0": 0.05}  # the same in both: what differs is rounding
        single = learned(weights(seed, dtype=jnp.float32), ll.Sampled(*drawn), **steps)
        double = learned(weights(seed), ll.Sampled(*drawn), **steps)
        assert {leaf.dtype for leaf in jax.tree.leaves((single.W, single.ts, single.energy))} == {jnp.dtype("float32")}
        np.testing.assert_allclose(flat(single.W), flat(double.W), atol=1e-5)

    holds()


@only_many(10)
def test_lanes_of_a_batch_are_runs_alone(count):
    @examples(count)
    @given(samples(), seeds)
    def holds(drawn, seed):
        law, W = ll.GradientFlow(NETWORK), weights(seed)
        inputs = jnp.asarray(drawn[1])
        lanes = jax.vmap(lambda u: ll.Stimulus(u, TARGET))(inputs)
        state = law.initial_state(0.5, W, args=ll.Stimulus(inputs[0], TARGET))
        batch = ll.simulate_batch(law, state, TIMES, lanes, in_axes=(None, None, 0), dt0=0.05, progress=False)
        for lane in (0, 7):
            alone = ll.simulate(law, state, TIMES, ll.Stimulus(inputs[lane], TARGET), dt0=0.05)
            np.testing.assert_allclose(flat([leaf[lane] for leaf in batch.W]), flat(alone.W), atol=1e-13)

    holds()


# -- graphs ------------------------------------------------------------------------------------------------------------


@st.composite
def renamed_graphs(draw):
    """A random acyclic digraph of 2 inputs, 3 hidden neurons and 2 outputs, and an order of the hidden ones."""
    pairs = [(source, target) for target in range(2, 7) for source in range(min(target, 5))]
    fed = {(1, 2), (2, 3), (3, 4), (4, 5), (4, 6)}  # every neuron but the inputs has an edge that ends in it
    edges = sorted(draw(st.sets(st.sampled_from(pairs))) | fed)
    return edges, [0, 1, *draw(st.permutations((2, 3, 4))), 5, 6]


@only_many(16)
def test_graphs_compute_the_same_whatever_the_numbers_of_their_neurons(count):
    @examples(count)
    @given(renamed_graphs(), seeds)
    def holds(drawn, seed):
        (edges, names), rng = drawn, np.random.default_rng(seed)
        W, u, r = rng.normal(size=len(edges)), rng.normal(size=2), rng.normal(size=7)
        x, backward = swept(edges, W, u, r)
        by_hand = evaluated(edges, W, u)
        np.testing.assert_allclose(x, by_hand, atol=1e-13)
        others = [(names[source], names[target]) for source, target in edges]
        x_renamed, backward_renamed = swept(others, W, u, r[np.argsort(names)])
        np.testing.assert_allclose(x_renamed[names], x, atol=1e-13)
        np.testing.assert_allclose(backward_renamed[names], backward, atol=1e-12)

    holds()


def swept(edges, W, u, r):
    network = ll.Digraph(7, edges, 2, 2)
    x = network.forward(jnp.asarray(W), jnp.asarray(u))
    return np.asarray(x), np.asarray(network.solve_backward(x, jnp.asarray(W), jnp.asarray(r)))


def evaluated(edges, W, u):
    """x_j = tanh(Σ w_jk x_k), neuron by neuron: every edge goes to a higher number."""
    x = np.concatenate([u, np.zeros(5)])
    for j in range(2, 7):
        x[j] = np.tanh(sum(w * x[source] for (source, target), w in zip(edges, W, strict=True) if target == j))
    return x


# -- signals alone -----------------------------------------------------------------------------------------------------


def read(ts, values, times, degree):
    return jax.vmap(ll.Sampled(ts, values, 2, degree))(times)


READ = jax.jit(read, static_argnames="degree")


@few_and_many(10, 100)
def test_sampled_signals_move_with_their_times_and_low_degrees_stay_between_neighbours(count):
    @examples(count)
    @given(samples(), st.integers(-1024, 1024), st.sampled_from((0, 1, 2)))
    def holds(drawn, later, degree):
        ts, values = (np.asarray(part) for part in drawn)
        times = np.concatenate([np.linspace(*pair, 9) for pair in itertools.pairwise(ts)])
        found = np.asarray(READ(ts, values, times, degree))
        moved = READ(ts + later, values, times + later, degree)
        np.testing.assert_allclose(moved[1:-1], found[1:-1], atol=1e-8)
        np.testing.assert_allclose(found[::9], values[:-1], atol=1e-12)
        if degree < 2:
            low, high = (np.repeat(edge(values[:-1], values[1:]), 9, axis=0) for edge in (np.minimum, np.maximum))
            assert np.all((found > low - 1e-14) & (found < high + 1e-14))

    holds()
