"""Pulses and jumps whose times are known: no step reaches over one, and the order of the stepper is kept."""

import diffrax
import jax.numpy as jnp
import numpy as np
import pytest

import lagrangian_learning as ll

STEPPERS = {
    "adaptive": {},
    "Tsit5": {"solver": diffrax.Tsit5(), "rtol": 1e-8},
    "constant": {"dt0": 0.5},
    "Tsit5, constant": {"solver": diffrax.Tsit5(), "dt0": 0.5},
    "controller": {"stepsize_controller": diffrax.PIDController(rtol=1e-8, atol=1e-8)},
}


def pushed(ts, kinks, **settings):
    """A unit mass at rest, pushed by 100 from t = 5 to 5.01: a velocity of 1."""
    law = ll.EulerLagrange(
        ll.Lagrangian(lambda t, q, v, a: v @ v / 2 + jnp.where((t > 5) & (t < 5.01), 100.0, 0.0) * q[0])
    )
    return ll.simulate(law, ll.State(jnp.zeros(1), jnp.zeros(1)), ts, kinks=kinks, **settings)


@pytest.mark.slow
@pytest.mark.parametrize("name", STEPPERS)
def test_a_pulse_is_not_stepped_over(name):
    path = pushed([0.0, 5.0, 10.0], [5.01, 5.0], **STEPPERS[name])
    np.testing.assert_allclose(path.v[:, 0], [0.0, 0.0, 1.0], atol=1e-11)
    np.testing.assert_allclose(path.q[:, 0], [0.0, 0.0, 100 * 0.01**2 / 2 + 4.99], atol=1e-11)
    if name == "adaptive":
        assert path.stats["num_steps"] < 40


def test_without_its_times_it_is():
    assert pushed([0.0, 10.0], None).v[-1, 0] == 0


def test_kinks_that_are_saved_times_or_outside():
    path = pushed([0.0, 5.0, 5.01, 10.0], [-1.0, 0.0, 5.0, 5.01, 10.0, 12.0], dt0=1.0)
    np.testing.assert_allclose(path.v[:, 0], [0.0, 0.0, 1.0, 1.0], atol=1e-11)
    assert path.stats["num_steps"] == 5 + 1 + 5


@pytest.mark.parametrize("kinks", ["5", [np.nan], [[1.0]], {"t": 1.0}, [1j], None.__class__])
def test_what_are_no_times_is_refused(kinks):
    with pytest.raises(ValueError, match="kinks must be finite times"):
        pushed([0.0, 10.0], kinks)


def test_where_steps_cannot_end_on_kinks():
    with pytest.raises(ValueError, match=r"not for ll\.Rattle"):
        pushed([0.0, 10.0], 5.0, solver=ll.Rattle(), dt0=0.1)
    with pytest.raises(ValueError, match="kinks need steps that can end on them"):
        pushed([0.0, 10.0], 5.0, stepsize_controller=diffrax.StepTo([0.0, 10.0]))


def test_a_signal_states_its_own():
    push = ll.signals.Function(lambda t: jnp.where((t > 5) & (t < 5.01), 100.0, 0.0)[None], kinks=[5.01, 5.0])
    law = ll.EulerLagrange(ll.Lagrangian(lambda t, q, v, force: v @ v / 2 + force(t) @ q))
    path = ll.simulate(law, ll.State(jnp.zeros(1), jnp.zeros(1)), [0.0, 10.0], push, kinks=7.0)
    np.testing.assert_allclose(path.v[-1, 0], 1.0, atol=1e-11)
    with pytest.raises(ValueError, match="kinks="):
        ll.simulate(law, path.final_state, [10.0, 0.0], push)


@pytest.mark.parametrize("kinks", ["five", [np.nan], None, jnp.inf])
def test_kinks_of_a_signal_are_times(kinks):
    with pytest.raises(ValueError, match="kinks must be finite times"):
        ll.signals.Function(jnp.sin, kinks=kinks)
