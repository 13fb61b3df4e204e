"""A run that runs away, and a short one whose every step is too long, say so."""

import diffrax
import jax.numpy as jnp
import numpy as np
import pytest

import lagrangian_learning as ll
from tests.laws import Motion, Oscillator, array

START = Motion(array([1.0]), array([1.0]))


@pytest.mark.parametrize("stepper", [diffrax.Heun(), diffrax.Euler(), diffrax.Tsit5()])
def test_a_short_run_whose_every_step_is_beyond_stability_is_unstable(stepper):
    """v̇ = −ϑ v at ϑ dt0 = 10 for eight steps, fewer than end a longer run on its way; at ϑ dt0 = 1 it is right."""
    ts = np.linspace(0, 8, 3)
    for theta, code in ((10.0, "unstable_step"), (1.0, "successful")):
        path = ll.simulate(Oscillator(array(0.0), array(theta)), START, ts, solver=stepper, dt0=1.0, throw=False)
        assert bool(path.result == getattr(ll.RESULTS, code)), path


def test_an_energy_that_grows_a_millionfold_is_told():
    """q̈ + r q̇ + q = 0 at r = −2 is q = (a + b t) eᵗ, and E grows as t² e^{2t}; at r = 2 it decays."""
    for theta, told in ((-2.0, True), (2.0, False)):
        path = ll.simulate(Oscillator(array(1.0), array(theta)), START, [0.0, 12.0], solver=diffrax.Tsit5(), rtol=1e-6)
        assert ("the motion runs away" in str(path)) == told, path


def test_a_failure_outside_jit_says_when_and_shows_no_other_call():
    """A force that is NaN from t = 1 on; an earlier failure of the same compiled run leaves no trace in the message."""
    law = ll.EulerLagrange(ll.Lagrangian(kinetic), forces=broken_later)
    start = law.initial_state(0.0, array([0.0]), array([1.0]), args=1.0)
    for broken, around in ((1.0, 1.0), (2.0, 2.0)):
        with pytest.raises(RuntimeError, match=r"constants, stimulus or forces.* The run ended at t = ") as told:
            ll.simulate(law, start, [0.0, 3.0], array(broken), solver=diffrax.Heun(), dt0=0.125)
        assert "lagrangian_learning" not in str(told.value)
        assert abs(float(str(told.value).rsplit("= ", 1)[1].rstrip(".")) - around) <= 0.25
        path = ll.simulate(law, start, [0.0, 3.0], array(broken), solver=diffrax.Heun(), dt0=0.125, throw=False)
        assert f"ended           at t = {float(path.carry.t):.6g}" in str(path)


def kinetic(t, q, v, args):
    return jnp.sum(v**2) / 2


def broken_later(t, q, v, args):
    return jnp.where(t > args, jnp.nan, 0.0) * q
