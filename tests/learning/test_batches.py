"""Batches of learning laws: grids of constants, sets of weights and stimuli, and what must not happen silently."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lagrangian_learning as ll
from lagrangian_learning.batch.chunks import lane_memory
from lagrangian_learning.batch.devices import run_chunk
from lagrangian_learning.batch.engines import DiffraxEngine
from lagrangian_learning.batch.lanes import Inputs, lanes_of
from lagrangian_learning.simulate.inputs import checked_times
from lagrangian_learning.simulate.settings import Settings

TS = np.linspace(0, 1, 5)
SETTINGS = {"solver": diffrax.Tsit5(), "dt0": 0.02}
NETWORK = ll.Layered((2, 2, 1))
STIMULUS = ll.Stimulus(ll.Sinusoids(jnp.array([1.0, 1.6]), 0.7, 0.1), jnp.array([0.4]))
W = tuple(jnp.array(matrix) for matrix in ([[0.5, -0.8], [0.3, 1.1]], [[-0.6, 0.9]]))


def action(mass_x, theta, speed=None):
    return ll.CognitiveAction(
        NETWORK, mass_x=mass_x, mass_W=0.5, dissipation=ll.ExponentialDissipation(theta), speed=speed
    )


def assert_lanes_are_runs_alone(batch, make_law, constants, lanes):
    """Our code against itself, one law at a time."""
    assert (batch.result == ll.RESULTS.successful).all(), batch
    for lane in lanes:
        law = make_law(*[constant[lane] for constant in constants])
        alone = ll.simulate(law, law.initial_state(0.0, W, args=STIMULUS), TS, STIMULUS, **SETTINGS)
        for one, many in zip(jax.tree.leaves(alone.saved), jax.tree.leaves(batch.saved), strict=True):
            np.testing.assert_allclose(many[lane], one, rtol=1e-10, atol=1e-12)


@pytest.mark.slow
def test_a_grid_of_masses_and_theta():
    mass_x, theta = (grid.ravel() for grid in jnp.meshgrid(jnp.array([1e-3, 1e-1]), jnp.array([0.5, 2.0, 8.0])))
    make = lambda mass_x, theta: action(mass_x, theta).law()  # noqa: E731
    laws = jax.vmap(make)(mass_x, theta)
    states = jax.vmap(lambda law: law.initial_state(0.0, W, args=STIMULUS))(laws)
    batch = ll.simulate_batch(laws, states, TS, STIMULUS, in_axes=(0, 0, None), progress=False, **SETTINGS)
    assert_lanes_are_runs_alone(batch, make, (mass_x, theta), (0, 5))
    ends = batch.W[0][:, -1].reshape(6, -1)
    assert len(np.unique(ends, axis=0)) == 6


@pytest.mark.slow
def test_a_sweep_of_speeds():
    speed = jnp.array([5.0, 10.0, 20.0])
    make = lambda speed: ll.BackpropDiffusion(NETWORK, gamma=1.0, speed=speed)  # noqa: E731
    laws = jax.vmap(make)(speed)
    states = jax.vmap(lambda law: law.initial_state(0.0, W, args=STIMULUS))(laws)
    batch = ll.simulate_batch(laws, states, TS, STIMULUS, in_axes=(0, 0, None), progress=False, **SETTINGS)
    assert_lanes_are_runs_alone(batch, make, (speed,), (1,))


@pytest.mark.slow
def test_a_costate_that_grows_is_refused_alone():
    theta = jnp.array([8.0, 2.0, 16.0])
    laws = jax.vmap(lambda theta: ll.BackpropDiffusion(NETWORK, speed=4.0, theta=theta, costate="forward"))(theta)
    state = ll.BackpropDiffusion(NETWORK).initial_state(0.0, W, args=STIMULUS)
    settings = {"in_axes": (0, None, None), "progress": False, **SETTINGS}
    batch = ll.simulate_batch(laws, state, TS, STIMULUS, **settings)
    np.testing.assert_array_equal(batch.result == ll.RESULTS.refused_start, [False, True, False])
    text = str(batch)
    assert "run 1: this costate grows exponentially forward in time (eigenvalue +2, 1/time)" in text
    assert "2 of 3 successful" in text
    assert np.isnan(batch.W[0][1]).all()
    assert batch.stats["num_steps"][1] == 0


@pytest.mark.slow
def test_weights_and_stimuli_that_end_too_soon():
    samples = np.random.default_rng(0).uniform(-1, 1, (4, 9, 2))
    starts = jnp.array([0.0, -0.5, 0.0, 0.0])
    stimuli = jax.vmap(lambda start, u: ll.Stimulus(ll.Sampled(start + jnp.linspace(0, 1, 9), u), jnp.array([0.4])))(
        starts, jnp.asarray(samples)
    )
    law = action(1e-3, 1.0).law()
    weights = jax.vmap(NETWORK.init)(jax.random.split(jax.random.key(0), 4))
    states = jax.vmap(lambda W, s: law.initial_state(0.0, W, args=s))(weights, stimuli)
    batch = ll.simulate_batch(law, states, TS, stimuli, progress=False, **SETTINGS)
    np.testing.assert_array_equal(batch.result == ll.RESULTS.refused_start, [False, True, False, False])
    assert "run 1: the run leaves the times at which the stimulus is defined (-0.5 to 0.5)" in str(batch)


def wide_chain():
    keys = jax.random.split(jax.random.key(0), 2)
    filters = eqx.nn.Sequential([eqx.nn.Conv2d(1, 4, 3, key=keys[0]), eqx.nn.Lambda(jnp.tanh)])
    modules = [filters, eqx.nn.Lambda(jnp.ravel), eqx.nn.Linear(144, 5, key=keys[1])]
    return ll.Chain(modules, input_shape=(1, 8, 8)), ll.Constant(jnp.ones((1, 8, 8))), 5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("example", "settings"),
    [
        ((NETWORK, STIMULUS.input, 1), {"solver": diffrax.Tsit5()}),
        # The loop holds its fourteen stages twice: more than all else.
        ((ll.Layered((13, 32, 9)), ll.Constant(jnp.ones(13)), 9), {"solver": diffrax.Dopri8(), "save": lambda t, o: t}),
        (wide_chain(), {"solver": diffrax.Heun(), "save": lambda t, o: t}),
    ],
    ids=["five neurons", "speech", "convolutions"],
)
def test_memory_is_that_of_the_compiled_chunk(example, settings):
    """Against XLA's own account of the compiled chunk."""
    (network, signal, outputs), lanes = example, 8
    law, stimulus = ll.CognitiveAction(network, mass_x=1e-4).law(), ll.Stimulus(signal, jnp.full(outputs, 0.3))
    weights = jax.vmap(network.init)(jax.random.split(jax.random.key(0), lanes))
    states = jax.vmap(lambda W: law.initial_state(0.0, W, args=stimulus))(weights)
    batch = lanes_of(Inputs(law, states, stimulus), (None, 0, None))
    times = checked_times(TS, jnp.float64)
    tolerances, plan = Settings(dt0=0.02, **settings).prepared(law, times)
    lowered = run_chunk.lower(DiffraxEngine(), batch.chunk(0, lanes), batch.shared, times, tolerances, plan, None)
    compiled = lowered.compile()
    sizes = getattr(compiled, "compiled", compiled).memory_analysis()
    used = sizes.temp_size_in_bytes + sizes.output_size_in_bytes + sizes.argument_size_in_bytes
    memory = lane_memory(batch.like_one, times, plan)
    assert 1 / 1.3 <= memory.of(lanes) / used <= 1.3


@pytest.mark.slow
@pytest.mark.usefixtures("optimised")
@pytest.mark.parametrize("engine", [ll.batch.DiffraxEngine(), ll.fused.FusedEngine()])
def test_float32_lanes_hold_their_constraints_over_1e5_steps(engine):
    law, steps, step = action(0.02, 1.0).law("full"), 100_000, 0.02
    weights = [tuple(jnp.asarray(scale * matrix, jnp.float32) for matrix in W) for scale in (0.5, 1.0, 1.5)]
    starts = [law.initial_state(0.0, one, tuple(0.3 * matrix for matrix in one), STIMULUS) for one in weights]
    states = jax.tree.map(lambda *leaves: np.stack(leaves), *starts)
    settings = {"solver": diffrax.Heun(), "dt0": 0.999 * step, "progress": False, "in_axes": (None, 0, None)}
    settings["engine"] = engine
    batch = ll.simulate_batch(law, states, np.array([0.0, step * steps]), STIMULUS, **settings)
    assert batch.q[1][0].dtype == np.float32
    assert (batch.stats["num_accepted_steps"] >= steps).all()
    assert (batch.stats["max_constraint_residual"] <= 5e-6).all(), batch
    assert (batch.stats["max_velocity_residual"] <= 5e-6).all(), batch


@pytest.mark.slow
def test_lanes_of_many_numbers_one_after_the_other_are_those_side_by_side():
    """To rounding; and to the bit whatever the chunks, the order and the others."""
    network = ll.Layered((9, 60, 4))
    law = ll.CognitiveAction(network, mass_x=1e-4).law()
    stimulus = ll.Stimulus(ll.Sinusoids(jnp.linspace(0.5, 1.5, 9)), jnp.full(4, 0.3))
    weights = jax.vmap(network.init)(jax.random.split(jax.random.key(0), 5))
    states = jax.tree.map(np.array, jax.vmap(lambda W: law.initial_state(0.0, W, args=stimulus))(weights))
    settings = {"solver": diffrax.Heun(), "dt0": 0.02, "in_axes": (None, 0, None), "progress": False}

    def run(states, **further):
        return ll.simulate_batch(law, states, TS, stimulus, **settings, **further)

    serial, beside = run(states), run(states, engine=ll.batch.DiffraxEngine())
    assert serial.engine == ll.batch.SerialEngine()
    for name in ("W", "multipliers", "energy", "stats"):
        for one, other in zip(*(jax.tree.leaves(getattr(path, name)) for path in (serial, beside)), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)
    order = np.array([4, 1, 0, 3, 2])
    states = jax.tree.map(lambda leaf: leaf[order], states)
    states.q[0][3] = np.nan
    for chunk in (None, 2):
        shuffled = run(states, chunk=chunk)
        assert (shuffled.result != ll.RESULTS.successful).tolist() == [False, False, False, True, False]
        good = shuffled.result == ll.RESULTS.successful
        for name in ("W", "multipliers", "energy", "final_state"):
            pair = (jax.tree.leaves(getattr(path, name)) for path in (serial, shuffled))
            for one, other in zip(*pair, strict=True):
                np.testing.assert_array_equal(one[order][good], other[good])


def unlearnable():
    """The XOR network before targets of other frequencies than its inputs', float32: what cannot be learned drives its
    weights up, and its neurons flip ever faster (measured: |ẋ| 6 in the first 50 units of time, 35 after 450)."""
    network = ll.networks.xor_network()
    law = ll.CognitiveAction(network, mass_x=5e-3, mass_W=0.5, dissipation=ll.ExponentialDissipation(1.0)).law("full")
    frequencies = jnp.linspace(0.5, 2.0, 6, dtype=jnp.float32).reshape(2, 3)
    stimuli = jax.vmap(lambda f: ll.Stimulus(ll.Sinusoids(f[:2]), ll.Sinusoids(f[2:])))(frequencies)
    weights = jax.vmap(network.init)(jax.random.split(jax.random.key(3), 2))
    weights = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), weights)
    return law, jax.vmap(lambda W, s: law.initial_state(0.0, W, args=s))(weights, stimuli), stimuli


@pytest.mark.slow
@pytest.mark.usefixtures("optimised")
def test_a_lane_that_outruns_its_step_is_told_and_a_step_that_follows_holds_the_constraint():
    law, states, stimuli = unlearnable()
    runs = {}
    for step, steps in ((2e-3, 100_000), (1e-2, 100_000)):
        settings = {"solver": diffrax.Heun(), "dt0": 0.999 * step, "progress": False, "in_axes": (None, 0, 0)}
        ts = np.array([0.0, step * steps])
        runs[step] = ll.simulate_batch(
            law, states, ts, stimuli, engine=ll.fused.FusedEngine(), max_steps=2**20, **settings
        )
    follows, outrun = runs[2e-3], runs[1e-2]
    assert (follows.stats["max_energy_defect"] < 1e-3).all(), follows
    assert (follows.stats["max_constraint_residual"] <= 5e-6).all(), follows
    assert (follows.stats["max_velocity_residual"] <= 5e-6).all(), follows
    assert outrun.stats["max_energy_defect"][1] > 0.1  # of the energy that moves; a run warns from 0.02
    assert "in 1 of 2 runs: the motion is not resolved; shorten dt0, or give rtol" in str(outrun)
