"""`simulate` against closed forms."""

import diffrax
import jax.numpy as jnp
import numpy as np
import pytest

from lagrangian_learning.simulate import NoStabilisation, Projection, simulate
from tests.helpers import mostly_slow
from tests.laws import Motion, Oscillator, Pendulum, array, at_rest, oscillator_at, pendulum_at, released

TS = np.linspace(0, 10, 11)


def test_oscillator_at_the_default_tolerances():
    path = simulate(Oscillator(array(2.0)), Motion(array([1.0]), array([0.5])), TS)
    np.testing.assert_allclose(path.q[:, 0], oscillator_at(TS, 2.0, 1.0, 0.5), atol=1e-9)
    np.testing.assert_array_equal(path.ts, TS)
    np.testing.assert_array_equal(path.final_state.q, path.q[-1])


def test_pendulum_at_the_default_tolerances_and_no_drift():
    path = simulate(Pendulum(array(9.81)), released(), TS)
    q, v = pendulum_at(TS, 9.81)
    np.testing.assert_allclose(path.q, q, atol=2e-9)
    np.testing.assert_allclose(path.v, v, atol=1e-8)
    assert path.stats["max_constraint_residual"] < 1e-15
    assert path.stats["max_velocity_residual"] < 1e-14


def test_float32_runs_in_float32_at_its_own_tolerance():
    path = simulate(Pendulum(array(9.81, jnp.float32)), released(jnp.float32), TS[:5])
    assert {leaf.dtype for leaf in (path.ts, path.q, path.energy, path.constraint_residual)} == {jnp.dtype("float32")}
    np.testing.assert_allclose(path.q, pendulum_at(TS[:5], 9.81)[0], atol=2e-3)
    assert path.stats["max_constraint_residual"] < 5e-7


def test_energy_balance_of_a_driven_damped_oscillator():
    path = simulate(Oscillator(array(2.0), array(0.3)), at_rest(), TS, array(0.7))
    np.testing.assert_allclose(path.energy_balance, 0, atol=1e-9)
    assert path.stats["max_energy_defect"] < 1e-9
    assert float(path.energy[-1]) < float(path.energy[0]) - 1  # there was something to balance


@pytest.mark.parametrize("constant", [True, False], ids=["constant", "adaptive"])
def test_watching_the_energy_changes_no_step(constant):
    settings = {"dt0": 0.01} if constant else {"rtol": 1e-8}
    watched = simulate(Oscillator(array(2.0), array(0.3)), at_rest(), TS, array(0.7), **settings)
    unwatched = simulate(_Unwatched(array(2.0), array(0.3)), at_rest(), TS, array(0.7), **settings)
    np.testing.assert_array_equal(watched.stats["num_steps"], unwatched.stats["num_steps"])
    np.testing.assert_allclose(watched.q, unwatched.q, rtol=1e-14)


class _Unwatched(Oscillator):
    def rates(self, t, state, args):
        return Oscillator(self.omega, self.friction).rates(t, state, args)._replace(power=None)

    @property
    def energy_part(self):
        return None


ORDERS = {
    "Heun": (diffrax.Heun(), 2, (0.04, 0.02)),
    "Bosh3": (diffrax.Bosh3(), 3, (0.04, 0.02)),
    "Dopri5": (diffrax.Dopri5(), 5, (0.05, 0.025)),
    "Tsit5": (diffrax.Tsit5(), 5, (0.05, 0.025)),
    "Dopri8": (diffrax.Dopri8(), 8, (0.1, 0.05)),
}


@pytest.mark.parametrize("name", mostly_slow(ORDERS, "Heun", "Dopri5"))
def test_order_of_convergence_with_projection(name):
    solver, order, steps = ORDERS[name]
    ts = np.array([0.0, 1.0, 2.0])
    exact = np.concatenate(pendulum_at(ts, 9.81), 1)

    def error(dt0):
        path = simulate(Pendulum(array(9.81)), released(), ts, dt0=dt0, solver=solver)
        return np.linalg.norm(np.concatenate([path.q, path.v], 1) - exact)

    measured = np.log2(error(steps[0]) / error(steps[1]))
    assert abs(measured - order) < 0.3, measured


class _Listening(diffrax.Bosh3):
    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        heard.append(made_jump)
        return diffrax.Bosh3().step(terms, t0, t1, y0, args, solver_state, made_jump)


heard = []


@pytest.mark.parametrize(("stabilisation", "jumps"), [(Projection(), True), (NoStabilisation(), False)])
def test_projection_reports_its_jump_to_the_stepper(stabilisation, jumps):
    heard.clear()
    simulate(Pendulum(array(9.81)), released(), [0.0, 0.1], dt0=0.05, solver=_Listening(), stabilisation=stabilisation)
    assert all(made_jump is jumps for made_jump in heard)
