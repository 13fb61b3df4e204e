"""What a stepper finds in the terms that Diffrax hands to it: the law behind the vector field."""

import diffrax
import equinox as eqx
import jax.numpy as jnp
from jaxtyping import PyTree

from lagrangian_learning._types import Terms
from lagrangian_learning.mechanics.law import AbstractLaw
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
