"""ẏ = A y + N(t, y): the linear part that a stepper takes out, and what it leaves."""

from jaxtyping import PyTree

from lagrangian_learning._arrays import as_time, tree_sub
from lagrangian_learning._types import Terms, Time
from lagrangian_learning.mechanics.linear_part import AbstractLinearPart
from lagrangian_learning.mechanics.propagator import AbstractPropagator

from .terms import law_in, with_law


def split(terms: Terms, given: AbstractLinearPart | None, stepper: str) -> tuple[AbstractLinearPart, Terms]:
    """The linear part to take out, given or the law's, and the terms to integrate. ValueError where there is none."""
    law = law_in(terms)
    if law is None:
        return _given(given, stepper), terms
    part, integrated = law.splitting(given)
    if part is None:
        raise ValueError(
            f"ll.{stepper} takes out the linear part of a law (damping, decay), and this law has none "
            f"({law.description.get('equation', type(law).__name__)}): use a Diffrax stepper such as diffrax.Tsit5()."
        )
    return part, terms if integrated is law else with_law(terms, integrated)


def propagator_over(part: AbstractLinearPart, t0: Time, t1: Time, y: PyTree) -> AbstractPropagator:
    """The propagator of a step, in the dtype of the state."""
    return part.over(as_time(t0, y), as_time(t1, y))


def nonlinear(propagator: AbstractPropagator, rates: PyTree, y: PyTree) -> PyTree:
    """N = f − A y. Where A y is large so is N, and what rounds off in N is of the size of what rounds off in f."""
    return tree_sub(rates, propagator.linear(y))


def _given(part: AbstractLinearPart | None, stepper: str) -> AbstractLinearPart:
    if part is None:
        raise ValueError(
            f"ll.{stepper} finds no law in these terms: integrate law.vector_field itself, or specify the linear part, "
            f"as in ll.{stepper}(linear_part=DampedMotion(dissipation))."
        )
    return part
