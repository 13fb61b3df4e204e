"""The fused engine against the ordinary one, which takes the same steps: equal to rounding, fates of lanes included."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lagrangian_learning as ll
from tests.batches import DIFFRAX, FUSED
from tests.laws import Motion, NaNAfter, Oscillator, Pendulum, oscillator_at

TS = np.linspace(0.0, 1.0, 3)


def both(law, states, args=None, engines=(FUSED, DIFFRAX), **settings):
    axes = (None, 0, None if args is None else 0)
    return [
        ll.simulate_batch(law, states, TS, args, in_axes=axes, engine=engine, progress=False, **settings)
        for engine in engines
    ]


def swings(count=3):
    return Motion(jnp.linspace(0.5, 1.5, count)[:, None], jnp.zeros((count, 1)))


def released(count=3):
    angles = jnp.linspace(0.1, 1.0, count)
    return Motion(jnp.stack([jnp.cos(angles), jnp.sin(angles)], 1), jnp.zeros((count, 2)))


def agree(fused, ordinary, tolerance):
    pairs = zip(jax.tree.leaves(fused), jax.tree.leaves(ordinary), strict=True)
    for got, expected in pairs:
        assert got.dtype == expected.dtype
        np.testing.assert_allclose(np.asarray(got, float), np.asarray(expected, float), rtol=0, atol=tolerance)


@pytest.fixture(scope="module")
def constant_steps():
    return both(Oscillator(2.0, 0.3), swings(), solver=diffrax.Tsit5(), dt0=0.05)


def test_constant_steps_equal_the_ordinary_engine(constant_steps):
    agree(*constant_steps, 1e-13)


def test_constant_steps_against_the_closed_form():
    law = Oscillator(2.0)
    fused = ll.simulate_batch(
        law,
        swings(),
        TS,
        None,
        in_axes=(None, 0, None),
        engine=FUSED,
        solver=diffrax.Heun(),
        dt0=1e-3,
        progress=False,
    )
    for lane, start in enumerate(np.linspace(0.5, 1.5, 3)):
        np.testing.assert_allclose(fused.q[lane, :, 0], oscillator_at(TS, 2.0, start, 0.0), atol=5e-6)


def test_a_bad_lane_has_its_own_fate():
    """One lane meets a NaN on the way: it is told, its records after it are NaN, and the others do not feel it."""
    law = NaNAfter()
    states = Motion(jnp.zeros((3, 1)), jnp.ones((3, 1)))
    settings = {"in_axes": (None, 0, 0), "engine": FUSED, "solver": diffrax.Heun(), "dt0": 0.05, "progress": False}
    path = ll.simulate_batch(law, states, TS, jnp.asarray([9.0, 0.7, 9.0]), **settings)
    healthy = ll.simulate_batch(law, states, TS, jnp.asarray([9.0, 9.0, 9.0]), **settings)
    np.testing.assert_array_equal(path.result == ll.RESULTS.successful, [True, False, True])
    np.testing.assert_array_equal(path.result == ll.RESULTS.non_finite, [False, True, False])
    assert np.isnan(path.q[1, 2, 0])
    assert np.isfinite(path.q[1, 1, 0])
    for lane in (0, 2):
        np.testing.assert_array_equal(path.q[lane], healthy.q[lane])


class Deaf(Oscillator):
    """An oscillator whose force has no hold on it: zero times NaN is 0 where the compiler knows of the zero."""

    def rates(self, t, state, args):
        return Oscillator.rates(self, t, state, 0 * args)


@pytest.mark.parametrize("engine", [FUSED, pytest.param(DIFFRAX, marks=pytest.mark.slow)])
def test_a_nan_behind_a_zero_is_reported(engine):
    """Of what is given and of the law's constants: no lane with a NaN or an infinity counts as successful."""
    forces, friction = jnp.asarray([0.0, jnp.nan, 0.0, jnp.inf, 0.0]), jnp.asarray([0.0, 0.0, 0.0, 0.0, jnp.nan])
    path = ll.simulate_batch(
        Deaf(2.0, friction), swings(5), TS, forces, in_axes=(Deaf(None, 0), 0, 0), engine=engine,
        solver=diffrax.Heun(), dt0=0.1, progress=False,
    )  # fmt: skip
    np.testing.assert_array_equal(path.result == ll.RESULTS.non_finite, [False, True, False, True, True])
    np.testing.assert_array_equal(path.result == ll.RESULTS.successful, [True, False, True, False, False])
    np.testing.assert_array_equal(path.stats["num_steps"] == 0, [False, True, False, True, True])


@pytest.mark.slow
@pytest.mark.parametrize(("law", "starts"), [(Oscillator(2.0, 0.3), swings), (Pendulum(9.81), released)])
def test_adaptive_steps_are_those_of_the_ordinary_engine(law, starts):
    """As many steps in every lane; their lengths follow an error estimate, which is itself rounding's neighbour."""
    fused, ordinary = both(law, starts(), solver=diffrax.Tsit5(), rtol=1e-7)
    for name in ("num_steps", "num_rejected_steps"):
        np.testing.assert_array_equal(fused.stats[name], ordinary.stats[name])
    agree(fused.saved, ordinary.saved, 1e-8)
    assert np.all(fused.result == ll.RESULTS.successful)


@pytest.mark.slow
def test_projection_equals_the_ordinary_engine():
    fused, ordinary = both(Pendulum(9.81), released(), solver=diffrax.Tsit5(), dt0=0.05)
    agree(fused, ordinary, 1e-12)
    assert np.max(fused.constraint_residual) < 1e-14


@pytest.mark.slow
def test_a_lane_that_runs_out_of_steps_says_so():
    fused, ordinary = both(Oscillator(2.0, 0.3), swings(), solver=diffrax.Tsit5(), rtol=1e-9, max_steps=7)
    assert np.all(fused.result == ll.RESULTS.max_steps_reached)
    assert np.all(ordinary.result == ll.RESULTS.max_steps_reached)
    np.testing.assert_array_equal(np.isnan(fused.q), np.isnan(ordinary.q))


def xor_lanes(dtype, coordinates="reduced"):
    """The paper's network under signals of two speeds: law, states, stimuli."""
    network = ll.networks.xor_network()
    action = ll.CognitiveAction(network, mass_x=5e-3, mass_W=0.5, dissipation=ll.ExponentialDissipation(1.0))
    law = action.law(coordinates)
    frequencies = jnp.linspace(0.5, 2.0, 6, dtype=dtype).reshape(2, 3)
    stimuli = jax.vmap(lambda f: ll.Stimulus(ll.Sinusoids(f[:2]), ll.Sinusoids(f[2:])))(frequencies)
    keys = jax.random.split(jax.random.key(3), 2)
    weights = jax.tree.map(lambda leaf: leaf.astype(dtype), jax.vmap(network.init)(keys))
    return law, jax.vmap(lambda W, s: law.initial_state(0.0, W, args=s))(weights, stimuli), stimuli


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "coordinates", "tolerance"),
    [("float64", "reduced", 1e-11), ("float64", "full", 1e-11), ("float32", "reduced", 2e-5)],
)
def test_the_xor_network_equals_the_ordinary_engine(dtype, coordinates, tolerance):
    law, states, stimuli = xor_lanes(dtype, coordinates)
    agree(*both(law, states, stimuli, solver=diffrax.Heun(), dt0=0.05), tolerance)


def test_a_large_system_is_refused_by_name():
    with pytest.raises(ValueError, match=r"FusedEngine cannot integrate this: a state of 200 numbers"):
        ll.simulate_batch(
            Oscillator(2.0), Motion(jnp.ones((2, 100)), jnp.ones((2, 100))), TS, None,
            in_axes=(None, 0, None), engine=FUSED, dt0=0.1, progress=False,
        )  # fmt: skip


def test_an_implicit_stepper_is_refused_by_name():
    with pytest.raises(ValueError, match="Kvaerno3 solves equations at every step"):
        ll.simulate_batch(
            Oscillator(2.0), swings(), TS, None,
            in_axes=(None, 0, None), engine=FUSED, solver=diffrax.Kvaerno3(), rtol=1e-4, progress=False,
        )  # fmt: skip


@pytest.mark.slow
def test_a_lane_that_drifts_off_its_constraints_says_so():
    """Pendulums by Euler's method, nothing projected: the quick one leaves its circle, the one at rest does not."""
    states = Motion(jnp.array([[0.0, -1.0], [0.0, -1.0]]), jnp.array([[0.0, 0.0], [3.0, 0.0]]))
    settings = {"solver": diffrax.Euler(), "dt0": 0.05, "stabilisation": ll.NoStabilisation()}
    for batch in both(Pendulum(jnp.asarray(0.0)), states, **settings):
        codes = [ll.RESULTS.successful, ll.RESULTS.constraint_drift]
        assert [bool((batch.result == code)[lane]) for lane, code in enumerate(codes)] == [True, True], batch
