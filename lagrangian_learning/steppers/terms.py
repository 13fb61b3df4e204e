"""What a stepper finds in the terms that Diffrax hands to it: the law, and the linear part that it takes out."""

from typing import Any

import diffrax
import equinox as eqx
import jax.numpy as jnp
from jaxtyping import PyTree

from lagrangian_learning._arrays import as_time, tree_sub
from lagrangian_learning._checks import instance
from lagrangian_learning._types import Terms, Time
from lagrangian_learning.mechanics.law import AbstractLaw
from lagrangian_learning.mechanics.linear_part import AbstractLinearPart, AbstractPropagator
from lagrangian_learning.mechanics.method import Method


def unwrapped(terms: Terms) -> Terms:
    """The ODETerm inside Diffrax's own wrapper for the direction of time."""
    return terms if isinstance(terms, diffrax.ODETerm) else getattr(terms, "term", terms)


def law_in(terms: Terms) -> AbstractLaw | None:
    """The law of `ODETerm(law.vector_field)`; None for a vector field of another kind."""
    field = getattr(unwrapped(terms), "vector_field", None)
    return field.owner if isinstance(field, Method) and isinstance(field.owner, AbstractLaw) else None


def with_law(terms: Terms, law: AbstractLaw) -> Terms:
    """The same terms, of another law."""
    return eqx.tree_at(lambda these: unwrapped(these).vector_field.owner, terms, law)


def forward_only(terms: Terms, y: PyTree, stepper: str) -> PyTree:
    """y; an error where Diffrax integrates backward in time, where decay would be growth."""
    backward = jnp.asarray(getattr(terms, "direction", 1)) < 0
    return eqx.error_if(y, backward, f"ll.{stepper} integrates forward in time only.")


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


def optional_part(given: Any) -> AbstractLinearPart | None:
    """The linear part that a stepper is given, or None; ValueError otherwise."""
    kind = "a linear part such as ll.mechanics.DampedMotion(dissipation), or None to ask the law"
    return given if given is None else instance(given, "linear_part", AbstractLinearPart, kind)


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
