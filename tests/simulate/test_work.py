"""The work of the energy balance is integrated beside the motion, by any stepper, without the stepper's knowing."""

import ast
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import lagrangian_learning as ll
from lagrangian_learning.mechanics import DampedMotion, ExponentialDissipation
from tests.laws import Motion, Oscillator, array

FRICTION, END = 1e4, 1.0
STIFFNESS, FORCE = 2 * FRICTION, 3 * FRICTION
REST = FORCE / STIFFNESS
RATE = -2 * STIFFNESS / (FRICTION + np.sqrt(FRICTION**2 - 4 * STIFFNESS))  # of the slow motion, λ² + r λ + k = 0


class Damped(Oscillator):
    """An oscillator whose friction an exponential stepper takes out."""

    @property
    def linear_part(self):
        return DampedMotion(ExponentialDissipation(self.friction))


def work(solver, steps):
    """∫ (F − r v) v dt of the slow motion from q = 1, in units of r; a step lasts for many times 1/r."""
    law, start = Damped(array(np.sqrt(STIFFNESS)), array(FRICTION)), Motion(array([1.0]), array([RATE * (1 - REST)]))
    path = ll.simulate(law, start, [0.0, END], array(FORCE), solver=solver, dt0=END / steps)
    return float((path.energy - path.energy[0] - path.energy_balance)[-1]) / FRICTION


def exact_work():
    """The same as a change of energy of q = REST + (1 − REST) e^{RATE t}."""
    q = REST + (1 - REST) * np.exp(RATE * np.array([0.0, END]))
    return np.diff((RATE * (q - REST)) ** 2 + STIFFNESS * q**2)[0] / 2 / FRICTION


@pytest.mark.slow
@pytest.mark.parametrize(
    ("solver", "order"), [(ll.KickDrift(), 1), (ll.ExponentialMidpoint(), 2), (ll.ExponentialRK4(), 3)]
)
def test_work_converges_by_steps_that_do_not_resolve_the_friction(solver, order):
    """At r h = 30 to 125. Power at the middle stage, where v still lags, would leave the second stepper at order 1."""
    errors = [abs(work(solver, steps) - exact_work()) for steps in (80, 160, 320)]
    assert np.all(-np.diff(np.log2(errors)) > order - 0.1)


def test_steppers_know_nothing_of_how_a_run_is_watched():
    folder = Path(ll.steppers.__file__).parent
    for file in folder.glob("*.py"):
        imports = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.ImportFrom)]
        assert not any("simulate" in (node.module or "") for node in imports), file


def test_a_law_without_power_has_no_work():
    class Silent(Oscillator):
        def rates(self, t, state, args):
            return Oscillator(self.omega).rates(t, state, args)._replace(power=None)

    path = ll.simulate(Silent(array(2.0)), Motion(array([1.0]), jnp.zeros(1)), [0.0, 1.0], dt0=0.1)
    assert path.energy.shape == (2,)
    assert "max_energy_defect" not in path.stats
    with pytest.raises(ll.NotSavedError, match="no power"):
        _ = path.energy_balance


class Careless(ll.AbstractLaw):
    def rates(self, t, state, args):
        return ll.State(state.v, -state.q)


@pytest.mark.usefixtures("unchecked")
def test_rates_that_are_none_are_told_by_the_name_of_their_law():
    with pytest.raises(
        TypeError, match=r"Careless\.rates must return ll\.Rates\(d state/dt, power\), and returns a State"
    ):
        ll.simulate(Careless(), ll.State(jnp.ones(1), jnp.ones(1)), [0.0, 1.0], dt0=0.1)
