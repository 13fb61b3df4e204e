"""Where steps end, and what they remember."""

import diffrax
import jax.numpy as jnp
import numpy as np
import pytest

from lagrangian_learning.simulate import simulate
from tests.laws import Oscillator, Pendulum, array, at_rest, pendulum_at, released

LAW = Oscillator(array(2.0))


@pytest.mark.parametrize(
    ("ts", "dt0", "count"),
    [
        (np.linspace(0, 10, 11), 0.1, 100),
        (np.linspace(0, 10, 11), 0.3, 40),
        (np.linspace(100, 110, 101), 0.01, 1000),
        (np.array([0.0, 0.1, 1.0]), 1.0, 2),
    ],
)
def test_constant_steps_divide_each_interval(ts, dt0, count):
    assert simulate(LAW, at_rest(), ts, dt0=dt0).stats["num_steps"] == count


def test_saved_times_are_step_ends_without_slivers():
    """Projection is exact at step ends only; a step cut short is remembered, so that few are spent on it."""
    sparse = simulate(Pendulum(array(9.81)), released(), np.linspace(0, 10, 3))
    ts = np.linspace(0, 10, 37)
    dense = simulate(Pendulum(array(9.81)), released(), ts)
    assert np.max(dense.constraint_residual) < 1e-15
    assert int(dense.stats["num_steps"]) < int(sparse.stats["num_steps"]) + 37 * 1.5
    np.testing.assert_allclose(dense.q, pendulum_at(ts, 9.81)[0], atol=2e-9)


def test_a_step_cut_short_does_not_shorten_the_next():
    """Saved times in pairs 1e-4 apart: 235 steps; 249 where the step has to grow again after each pair."""
    ts = np.linspace(0, 10, 11)
    paired = np.sort(np.concatenate([ts, ts[1:-1] + 1e-4]))
    assert simulate(Pendulum(array(9.81)), released(), paired).stats["num_steps"] < 242


def test_dt0_beside_a_tolerance_is_the_first_step():
    path = simulate(LAW, at_rest(), [0.0, 1.0], rtol=1e-6, dt0=1e-3, max_steps=1, throw=False)
    np.testing.assert_allclose(path.carry.t, 1e-3)


def test_a_given_controller_is_left_alone():
    ts = np.linspace(0, 2, 5)
    controller = diffrax.PIDController(rtol=1e-6, atol=1e-6)
    path = simulate(LAW, at_rest(), ts, stepsize_controller=controller, dt0=0.01, solver=diffrax.Tsit5())
    plain = diffrax.diffeqsolve(
        diffrax.ODETerm(LAW.vector_field),
        diffrax.Tsit5(),
        0.0,
        2.0,
        0.01,
        at_rest(),
        stepsize_controller=controller,
        saveat=diffrax.SaveAt(ts=jnp.asarray(ts)),
    )
    assert path.stats["num_steps"] == plain.stats["num_steps"]
    np.testing.assert_allclose(path.q, plain.ys.q, rtol=1e-13)


def test_first_step_is_chosen_by_the_scale_of_the_law():
    """Diffrax 0.7.2 alone starts with 0.01 whatever the law."""
    path = simulate(Oscillator(array(1e-3)), at_rest(), [0.0, 1e3], max_steps=1, throw=False)
    assert path.stats["num_accepted_steps"] == 1
    assert path.carry.t > 0.1


@pytest.mark.parametrize("solver", [diffrax.Kvaerno5(), diffrax.HalfSolver(diffrax.Euler())], ids=["implicit", "half"])
def test_implicit_and_wrapped_steppers(solver):
    path = simulate(LAW, at_rest(), [0.0, 0.5, 1.0], solver=solver, rtol=1e-4)
    np.testing.assert_allclose(path.q[:, 0], np.cos(2 * np.array([0, 0.5, 1.0])), atol=1e-2)


def test_step_to_meets_saved_times_with_projection():
    steps = diffrax.StepTo(jnp.linspace(0, 1, 101))
    path = simulate(Pendulum(array(9.81)), released(), [0.0, 0.5, 1.0], stepsize_controller=steps)
    np.testing.assert_allclose(path.q, pendulum_at(np.array([0, 0.5, 1.0]), 9.81)[0], atol=1e-9)
