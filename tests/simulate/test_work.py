"""The work of the energy balance is integrated beside the motion, by any stepper, without the stepper's knowing."""

import ast
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import lagrangian_learning as ll
from lagrangian_learning.mechanics import DampedMotion, ExponentialDissipation
from tests.laws import Motion, Oscillator, array

FRICTION, END = 40.0, 1.0


class Damped(Oscillator):
    """An oscillator whose friction an exponential stepper takes out."""

    @property
    def linear_part(self):
        return DampedMotion(ExponentialDissipation(self.friction))


def work(solver, steps):
    """∫ (u − r v) v dt under the force u = 3, beyond what is left of it in v."""
    law, start = Damped(array(2.0), array(FRICTION)), Motion(array([1.0]), array([0.5]))
    path = ll.simulate(law, start, [0.0, END], array(3.0), solver=solver, dt0=END / steps)
    return float((path.energy - path.energy[0] - path.energy_balance)[-1])


def exact_work():
    """By Simpson's rule on the closed form of the two exponentials."""
    t = np.linspace(0, END, 200_001)
    root = np.sqrt(FRICTION**2 / 4 - 4)
    fast, slow = -FRICTION / 2 - root, -FRICTION / 2 + root
    rest = 3 / 4
    a = (0.5 - slow * (1 - rest)) / (fast - slow)
    v = a * fast * np.exp(fast * t) + (1 - rest - a) * slow * np.exp(slow * t)
    power = (3 - FRICTION * v) * v
    weights = np.ones(t.size)
    weights[1:-1:2], weights[2:-1:2] = 4, 2
    return float(weights @ power) * (t[1] - t[0]) / 3


@pytest.mark.parametrize(
    ("solver", "order"), [(ll.KickDrift(), 1), (ll.ExponentialMidpoint(), 2), (ll.ExponentialRK4(), 4)]
)
def test_work_has_the_order_of_its_stepper_where_friction_is_taken_out(solver, order):
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
