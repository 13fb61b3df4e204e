"""The default stepper, and what a step of any stepper costs: by counting evaluations."""

import diffrax
import jax
import jax.numpy as jnp
import pytest

import lagrangian_learning as ll
from lagrangian_learning.steppers.defaults import default_stepper, evaluations, num_stages, trait
from tests.boundary.relaxing import Relaxing, from_rest
from tests.laws import array


class Counting(Relaxing):
    """Counts its evaluations as they are computed."""

    def rates(self, t, state, args):
        jax.debug.callback(args)
        return Relaxing(self.theta).rates(t, state, None)


@pytest.mark.parametrize(
    "stepper",
    [
        diffrax.Heun(),
        diffrax.Tsit5(),
        *(
            pytest.param(stepper, marks=pytest.mark.slow)
            for stepper in (diffrax.Dopri5(), ll.ExponentialMidpoint(), ll.ExponentialRK4())
        ),
    ],
)
def test_evaluations_a_step_are_those_that_are_computed(stepper):
    counts = []
    for steps in (2, 5):
        calls = []
        terms = diffrax.ODETerm(Counting(array(3.0)).vector_field)
        diffrax.diffeqsolve(terms, stepper, 0.0, 1.0, 1 / steps, from_rest(), lambda calls=calls: calls.append(1))
        jax.effects_barrier()
        counts.append(len(calls))
    assert counts[1] - counts[0] == 3 * evaluations(stepper)


def test_what_a_step_combines():
    assert num_stages(ll.ExponentialRK4()) == 7
    assert num_stages(diffrax.HalfSolver(diffrax.Tsit5())) == num_stages(diffrax.Tsit5()) == 7
    assert num_stages(ll.Rattle()) is None
    assert isinstance(default_stepper(jnp.float64), diffrax.Dopri8)
    assert isinstance(default_stepper(jnp.float32), diffrax.Tsit5)


def test_steppers_say_what_they_keep_through_wrappers():
    assert trait(diffrax.HalfSolver(ll.Rattle()), "keeps_constraints")
    assert not trait(diffrax.Tsit5(), "keeps_constraints")
