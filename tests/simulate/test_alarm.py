"""The alarm on its table, what is counted, and how often a run is watched."""

import diffrax
import jax.numpy as jnp
import numpy as np
import pytest

import lagrangian_learning as ll
from lagrangian_learning.simulate.stability import real_interval
from tests.laws import Motion, Oscillator, Pendulum, array, released
from tests.simulate import alarms

# A pendulum that nearly stands on its head: errors grow a hundredfold on the way, while its energy is right to a
# thousandth. No measure of energy sees that, and no local error estimate.
SILENT = {"pendulum, Heun too long"}

# Heavy weights that follow a stream whose power jumps from frame to frame: its quadrature by two samples a frame is off
# by more than the weights are. Of fast driven runs that are wrong some have smaller defects (docs/limits.md).
FALSE = {"speech, the guide's run", "speech, other seed, exponential"}


@pytest.mark.slow
@pytest.mark.parametrize("row", [*alarms.ROWS, alarms.SPEECH, *alarms.BLIND], ids=lambda row: row.name)
def test_a_run_is_warned_of_if_it_is_wrong(row):
    path = alarms.run(row)
    kind = alarms.kind(alarms.error(row, path))
    warned = "FAILED" in str(path) or "the motion is not resolved" in str(path)
    if row.name in SILENT:
        assert (kind, warned) == ("bad", False)
    elif row.name in FALSE:
        assert (kind, warned) == ("good", True)
    elif kind != "neither":
        assert warned == (kind == "bad"), (kind, str(path))


QUICK = ("pendulum, Heun far too long", "pendulum of zero energy, Heun", "oscillator, Euler", "oscillator, rtol 0.3")


@pytest.mark.parametrize("name", QUICK)
def test_some_rows(name):
    """Two that are wrong and two that are right, without their references."""
    (row,) = [row for row in alarms.ROWS if row.name == name]
    path = alarms.run(row)
    assert bool(path.statistics.unbalanced) == ("too long" in name or "Euler" in name), path


@pytest.mark.slow
def test_the_origin_of_the_energy_does_not_matter():
    near, far = (alarms.run(alarms.Row("", alarms.swinging(20.0, origin=z), {"dt0": 0.1})) for z in (-np.cos(2.5), 1e3))
    assert far.stats["energy_min"] < -900
    # The defect of the far one is rounding of a thousand: 1e-13 a step.
    np.testing.assert_allclose(near.stats["max_energy_defect"], far.stats["max_energy_defect"], rtol=1e-2, atol=1e-12)


@pytest.mark.parametrize(
    ("stepper", "interval"),
    [(diffrax.Heun, 2.0), (diffrax.Midpoint, 2.0), (diffrax.Bosh3, 2.5127), (diffrax.Dopri5, 3.3066)],
)
def test_real_stability_intervals(stepper, interval):
    """Of order two and three as the roots of 1 − x + x²/2 (− x³/6) = ±1; of Dopri5 as published (Hairer and Wanner)."""
    assert abs(real_interval(stepper) - interval) <= 0.011


@pytest.mark.parametrize("stepper", [diffrax.Heun(), diffrax.Euler()])
def test_constant_steps_past_their_stability_end_the_run(stepper):
    """v̇ = −ϑ v at dt0 = 0.1: ϑ = 19 still decays, 25 does not. The state before is kept."""
    ts, start = np.linspace(0, 10, 3), Motion(array([0.0]), array([1.0]))
    for theta, code in ((19.0, "successful"), (25.0, "unstable_step")):
        path = ll.simulate(Oscillator(array(0.0), array(theta)), start, ts, solver=stepper, dt0=0.1, throw=False)
        assert bool(path.result == getattr(ll.RESULTS, code)), path
    assert path.stats["num_steps"] < 20
    assert np.isfinite(path.final_state.v).all()
    with pytest.raises(RuntimeError, match="Shorten dt0, give rtol in its place"):
        ll.simulate(Oscillator(array(0.0), array(25.0)), start, ts, solver=stepper, dt0=0.1)


def test_a_fast_oscillation_that_is_resolved_is_not_unstable():
    """J = [[0, 1], [−ω², 0]] has a norm of ω² = 10⁴, and h ω² = 10 is no sign of instability: h ω = 0.1 is stable."""
    path = ll.simulate(
        Oscillator(array(100.0)), Motion(array([1.0]), array([0.0])), np.linspace(0, 1, 5), solver=diffrax.Tsit5(),
        dt0=1e-3,
    )  # fmt: skip
    assert path.statistics.monitor.stability.beyond == 0


def watched(watch, **settings):
    law = Pendulum(array(9.81))
    return ll.simulate(law, released(), np.linspace(0, 2, 41), solver=diffrax.Tsit5(), watch=watch, **settings)


@pytest.mark.slow
def test_how_often_a_run_is_watched():
    steps, saved, nothing = (watched(watch, rtol=1e-6) for watch in ("steps", "saved", "nothing"))
    for path in (saved, nothing):
        np.testing.assert_allclose(path.q, steps.q, rtol=1e-13, atol=1e-13)
    stats = saved.stats
    np.testing.assert_allclose(stats["energy_min"], np.min(saved.energy), rtol=1e-14)
    np.testing.assert_allclose(stats["max_energy_defect_absolute"], np.max(np.abs(saved.energy_balance)), rtol=1e-9)
    np.testing.assert_allclose(stats["max_constraint_residual"], np.max(saved.constraint_residual))
    assert "max_constraint_residual_before_projection" not in stats
    assert stats["max_energy_defect"] <= steps.stats["max_energy_defect"] * (1 + 1e-9)
    assert {name for name in nothing.stats if not name.startswith("num_")} == set()
    with pytest.raises(ll.NotSavedError, match="watch='nothing' reads none"):
        nothing.energy  # noqa: B018
    assert "energy" not in str(nothing)


def test_what_is_no_way_to_watch_is_refused():
    with pytest.raises(ValueError, match="watch must be one of 'steps', 'saved', 'nothing', got 'all'"):
        watched("all")


def test_evaluations_steps_and_rejections_are_counted_apart():
    """Tsit5 evaluates six stages a step, and under projection the first one again."""
    free = ll.simulate(
        Oscillator(array(9.0)), Motion(jnp.ones(1), jnp.ones(1)), [0.0, 5.0], solver=diffrax.Tsit5(), rtol=1e-3, dt0=1.0
    )
    held = watched("steps", dt0=0.01)
    assert free.stats["num_rejected_steps"] > 0
    for path, stages in ((free, 6), (held, 7)):
        stats = path.stats
        assert stats["num_steps"] == stats["num_accepted_steps"] + stats["num_rejected_steps"]
        assert stats["num_evaluations"] == stages * stats["num_steps"]
