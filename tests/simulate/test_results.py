"""Every way to fail has a name, comes soon, and leaves the last good state."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lagrangian_learning.simulate import RESULTS, Baumgarte, NoStabilisation, Projection, simulate
from tests.helpers import mostly_slow
from tests.laws import BlowUp, Motion, NaNAfter, NeverProjects, Oscillator, Pendulum, Singular, array, at_rest, released

TS = np.linspace(0, 2, 5)
PENDULUM = Pendulum(array(9.81))
OFF = Motion(array([1.1, 0.0]), array([0.0, 0.0]))
SKIDDING = Motion(array([1.0, 0.0]), array([0.1, 0.0]))
TIGHT = 1e-4
CONSTANT = {"dt0": 0.02}
HEUN = {"solver": diffrax.Heun()}
KICKED = Motion(array([1.0, 0.0]), array([0.0, 1.0]))

FAILURES = {
    "NaN state": (Oscillator(array(1.0)), at_rest(np.nan), None, {}, "non_finite", 0),
    "inf state": (Oscillator(array(1.0)), at_rest(np.inf), None, CONSTANT, "non_finite", 0),
    "NaN constant": (Oscillator(array(np.nan)), at_rest(), None, {}, "non_finite", 1),
    "NaN constant, constant steps": (Oscillator(array(np.nan)), at_rest(), None, CONSTANT, "non_finite", 1),
    "inf force": (Oscillator(array(1.0)), at_rest(), array(np.inf), {}, "non_finite", 1),
    "NaN in mid-run": (NaNAfter(), at_rest(), array(0.7), {}, "non_finite", 200),
    "NaN in mid-run, constant steps": (NaNAfter(), at_rest(), array(0.7), CONSTANT, "non_finite", 36),
    "blow-up": (BlowUp(), at_rest(), None, {}, "step_underflow", 600),
    "blow-up, constant steps": (BlowUp(), at_rest(), None, CONSTANT, "non_finite", 70),
    "off the constraint": (PENDULUM, OFF, None, {}, "inconsistent_start", 0),
    "velocity off the constraint": (PENDULUM, SKIDDING, None, CONSTANT, "inconsistent_start", 0),
    "NaN on a constraint": (PENDULUM, Motion(OFF.q * np.nan, OFF.v), None, {}, "non_finite", 0),
    "singular": (Singular(array(1.0)), released(), None, {}, "singular_multipliers", 1),
    "singular, constant steps": (Singular(array(1.0)), released(), None, CONSTANT, "singular_multipliers", 1),
    "no projection": (NeverProjects(array(1.0)), released(), None, {}, "projection_failed", 30),
    "no projection, constant steps": (NeverProjects(array(1.0)), released(), None, CONSTANT, "projection_failed", 1),
    "drift": (PENDULUM, released(), None, {"stabilisation": NoStabilisation(TIGHT)}, "constraint_drift", 30),
    "drift under Baumgarte": (PENDULUM, released(), None, {"stabilisation": "gains"}, "constraint_drift", 30),
    "drift in one step": (PENDULUM, released(), None, {"stabilisation": Projection(TIGHT)}, "constraint_drift", 30),
    "unstable": (Oscillator(array(0.0), array(150.0)), KICKED, None, CONSTANT | HEUN, "unstable_step", 20),
    "too few steps": (PENDULUM, released(), None, {"max_steps": 5}, "max_steps_reached", 5),
}

# Each has a sibling that fails in the same way and runs by default.
OF_A_KIND = {
    "NaN constant, constant steps",
    "NaN in mid-run",
    "blow-up, constant steps",
    "singular, constant steps",
    "no projection, constant steps",
    "drift under Baumgarte",
    "NaN on a constraint",
}


@pytest.mark.parametrize("name", mostly_slow(FAILURES, *(set(FAILURES) - OF_A_KIND)))
def test_failure(name):
    law, state, args, settings, code, steps = FAILURES[name]
    if "drift" in name:
        settings = settings | {"dt0": 0.1, "solver": diffrax.Heun()}
    if settings.get("stabilisation") == "gains":
        settings = settings | {"stabilisation": Baumgarte(1.0, 1.0, TIGHT)}
    path = simulate(law, state, TS, args, throw=False, **settings)
    assert bool(path.result == getattr(RESULTS, code)), path
    assert path.stats["num_steps"] <= steps
    assert "FAILED" in str(path)
    arrived = np.asarray(TS) <= float(path.carry.t)
    refused = steps == 0 or path.stats["num_accepted_steps"] == 0
    np.testing.assert_array_equal(np.isfinite(path.q[:, 0]), arrived & (not refused))
    if "state" not in name and "NaN on" not in name:
        assert np.isfinite(path.final_state.q).all()


def test_a_step_too_long_succeeds_and_is_told():
    """A radian a step: the amplitude is wrong and nothing fails, but energy comes from nowhere."""
    follows = simulate(Oscillator(array(1.0)), at_rest(), TS, throw=False, **CONSTANT, **HEUN)
    jumps = simulate(Oscillator(array(50.0)), at_rest(), TS, throw=False, **CONSTANT, **HEUN)
    warning = "over 2 % of it: the motion is not resolved; shorten dt0, or give rtol"
    assert bool(jumps.result == RESULTS.successful)
    assert warning in str(jumps)
    assert warning not in str(follows)


def test_throw_says_the_message_of_the_code():
    with pytest.raises(RuntimeError, match="NaN or an infinity appeared"):
        simulate(Oscillator(array(1.0)), at_rest(np.nan), TS)
    with pytest.raises(RuntimeError, match="off the constraints"):
        eqx.filter_jit(lambda q: simulate(PENDULUM, Motion(q, OFF.v), TS).q)(OFF.q)


def test_our_codes_extend_those_of_diffrax():
    assert bool(RESULTS.promote(diffrax.RESULTS.max_steps_reached) == RESULTS.max_steps_reached)
    assert "multipliers" in RESULTS[RESULTS.singular_multipliers]


def test_a_controller_that_would_accept_a_NaN_is_overruled():
    controller = diffrax.PIDController(rtol=1e-6, atol=1e-6, dtmin=1e-3)
    path = simulate(NaNAfter(), at_rest(), TS, array(0.7), stepsize_controller=controller, throw=False)
    assert bool(path.result == RESULTS.non_finite)
    assert np.isfinite(path.final_state.q).all()


def test_a_NaN_in_the_records_alone_is_no_success():
    class Unobservable(Oscillator):
        def observables(self, t, state, args):
            return {"q": state.q, "v": state.v, "a": jnp.where(t > 1, jnp.nan, state.q)}

    path = simulate(Unobservable(array(1.0)), at_rest(), TS, dt0=0.1, throw=False)
    assert bool(path.result == RESULTS.non_finite)


def test_one_bad_lane_leaves_the_others_untouched():
    run = jax.jit(jax.vmap(lambda q, v: simulate(PENDULUM, Motion(q, v), TS, throw=False)))
    good = jnp.array([[1.0, 0.0], [0.0, -1.0], [-1.0, 0.0]])
    v = jnp.zeros_like(good)
    clean = run(good, v)
    for bad in (jnp.array([jnp.nan, 0.0]), jnp.array([1.1, 0.0])):
        path = run(good.at[1].set(bad), v)
        for lane in (0, 2):
            for name in ("q", "v", "energy", "constraint_residual"):
                np.testing.assert_array_equal(getattr(path, name)[lane], getattr(clean, name)[lane])
        assert "2 of 3 successful" in str(path)
        assert np.isnan(path.q[1]).all()
