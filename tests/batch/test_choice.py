"""Which engine a batch takes where none is given."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lagrangian_learning as ll
from lagrangian_learning.batch import simulate_batch
from lagrangian_learning.batch.engines import engine_for
from lagrangian_learning.batch.lanes import Inputs
from lagrangian_learning.simulate import RESULTS
from lagrangian_learning.simulate.inputs import checked_times
from lagrangian_learning.simulate.settings import Settings
from tests.batches import AXES, DIFFRAX, FUSED, GRAVITY, SETTINGS, assert_same_bits, released, run
from tests.laws import Motion, Oscillator, Pendulum, array

TIMES = np.linspace(0, 1, 3)


def chosen(lanes=64, size=1, engine=None, **settings):
    times = checked_times(TIMES, np.float64)
    law = Oscillator(2.0)
    tolerances, plan = Settings(**{"dt0": 0.1, "solver": diffrax.Heun(), **settings}).prepared(law, times)
    shape = jax.ShapeDtypeStruct((size,), np.float64)
    return engine_for(engine, Inputs(law, Motion(shape, shape), None), lanes, times, tolerances, plan).name


def test_none_fuses_many_small_lanes_of_constant_steps():
    assert chosen() == "fused"


@pytest.mark.slow
def test_none_fuses_lanes_of_the_xor_network():
    """The case of the benchmark: what a step watches besides must not push it over the most operations."""
    network = ll.networks.xor_network()
    law, times = ll.CognitiveAction(network, mass_x=1e-2).law(), checked_times(TIMES, np.float64)
    stimulus = ll.Stimulus(ll.Sinusoids(jnp.array([1.0, 0.7]), jnp.ones(2), jnp.zeros(2)), jnp.full(1, 0.3))
    tolerances, plan = Settings(dt0=0.01, solver=diffrax.Heun()).prepared(law, times)
    weights = jax.ShapeDtypeStruct((6,), np.float64)
    lane = Inputs(law, ll.State(weights, weights), stimulus)
    assert engine_for(None, lane, 64, times, tolerances, plan).name == "fused"


def test_none_takes_lanes_of_many_numbers_one_after_the_other():
    assert chosen(size=512) == "diffrax"
    assert chosen(size=513) == "serial"  # and as many velocities
    assert chosen(lanes=2, size=10_000, dt0=None, rtol=1e-6) == "serial"


@pytest.mark.parametrize(
    "why",
    [
        {"lanes": 63},
        {"size": 100},
        {"dt0": None, "rtol": 1e-6},
        {"stepsize_controller": diffrax.ConstantStepSize()},
        {"solver": diffrax.Kvaerno3(), "dt0": None, "rtol": 1e-6},
        {"solver": diffrax.ImplicitEuler()},
    ],
)
def test_none_leaves_the_rest_to_diffrax(why):
    assert chosen(**why) == "diffrax"


def test_a_law_that_calls_back_is_left_to_diffrax():
    def save(t, observables):
        return jax.pure_callback(np.sin, jax.ShapeDtypeStruct((), np.float64), t)

    assert chosen(save=save) == "diffrax"


@pytest.fixture(scope="module")
def fused():
    return run(engine=FUSED)


@pytest.mark.slow
def test_fused_lanes_depend_on_no_other(fused):
    """Bits, as for the ordinary engine: chunks, order, number, lanes that fail."""
    for chunk in (None, 2, 3, 5, 7):
        assert_same_bits(run(chunk=chunk, engine=FUSED), fused)
    order = np.random.default_rng(1).permutation(len(GRAVITY))
    assert_same_bits(run(GRAVITY[order], engine=FUSED), fused, others=order)
    for few in (1, 2, 5):
        assert_same_bits(run(GRAVITY[:few], engine=FUSED), fused, others=slice(few))


@pytest.mark.slow
def test_bad_fused_lanes_fail_as_in_the_ordinary_engine(fused):
    state, gravity = released(), GRAVITY.copy()
    state.q[1], state.q[5], gravity[6], gravity[10] = np.nan, [1.1, 0.0], np.inf, np.nan
    bad, ordinary = run(gravity, state, engine=FUSED), run(gravity, state, engine=DIFFRAX)
    good = np.setdiff1d(np.arange(len(GRAVITY)), [1, 5, 6, 10])
    assert_same_bits(bad, fused, good, good)
    for name in ("inconsistent_start", "non_finite"):
        code = getattr(RESULTS, name)
        np.testing.assert_array_equal(bad.result == code, ordinary.result == code)
    np.testing.assert_array_equal(np.isnan(bad.q), np.isnan(ordinary.q))


@pytest.mark.slow
def test_a_fused_batch_is_resumed_by_the_fused_engine(fused):
    """A part that another engine would take by itself ends with the bits of the whole."""
    times = np.linspace(0, 2, 5)
    settings = {"in_axes": AXES, "chunk": 4, **SETTINGS}
    law = Pendulum(array(GRAVITY))

    first = simulate_batch(law, released(), times[:3], engine=FUSED, **settings)
    second = simulate_batch(law, None, times[2:], resume=first, **settings)
    assert second.engine == FUSED
    np.testing.assert_array_equal(second.q, fused.q[:, 2:])
