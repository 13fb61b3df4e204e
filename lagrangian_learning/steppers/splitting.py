"""ẏ = A y + N(t, y): the law and its linear part, found in the terms that Diffrax hands to a solver."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from lagrangian_learning._arrays import as_time, tree_sub
from lagrangian_learning.mechanics.law import AbstractLaw, AbstractMechanicalLaw
from lagrangian_learning.mechanics.linear_part import AbstractLinearPart
from lagrangian_learning.mechanics.phi_functions import rest_moments
from lagrangian_learning.mechanics.propagator import AbstractPropagator, weighted
from lagrangian_learning.simulate.augmented import Augmented, AugmentedField, unwrapped


class AugmentedPropagator(AbstractPropagator):
    """The propagator of a law's state, and beside it the work, which has no linear part."""

    inner: AbstractPropagator

    @property
    def step(self) -> Float[Array, ""]:
        return self.inner.step

    @property
    def layer(self) -> Float[Array, ""]:
        return self.inner.layer

    def linear(self, state: Augmented) -> Augmented:
        return Augmented(self.inner.linear(state.state), None if state.work is None else jnp.zeros_like(state.work))

    def exponential(self, share: Float[Array, ""], state: Augmented) -> Augmented:
        return Augmented(self.inner.exponential(share, state.state), state.work)

    def moments(self, points: Float[Array, " points"], degree: int) -> tuple[PyTree, Array]:
        return self.inner.moments(points, degree), rest_moments(self.layer, points, degree)

    def combined(self, weights: tuple[PyTree, Array], slopes: Augmented) -> Augmented:
        inner, resting = weights
        return Augmented(self.inner.combined(inner, slopes.state), weighted(self.step * resting, slopes.work))


def law_in(terms: Any) -> AbstractLaw | None:
    """The law whose vector field the terms integrate: that of `simulate`, or of `ODETerm(law.vector_field)`."""
    field = getattr(unwrapped(terms), "vector_field", None)
    law = field.law if isinstance(field, AugmentedField) else getattr(field, "__self__", None)
    return law if isinstance(law, AbstractLaw) else None


def with_damped_drift(terms: Any) -> Any:
    """The terms with a law whose nonlinear part N = q̈ + r v is free of r v where stages are off the constraints."""
    law = law_in(terms)
    if not isinstance(law, AbstractMechanicalLaw) or not law.drifts:
        return terms
    return eqx.tree_at(_place_of_law, terms, law.damping_drift())


def _place_of_law(terms: Any) -> AbstractLaw:
    field = unwrapped(terms).vector_field
    return field.law if isinstance(field, AugmentedField) else field.__self__


def linear_part_of(terms: Any, given: AbstractLinearPart | None, stepper: str) -> AbstractLinearPart:
    """The linear part to take out: the one given, or the law's. ValueError where there is none."""
    if given is not None:
        return given
    law = law_in(terms)
    if law is None:
        raise ValueError(
            f"ll.{stepper} finds no law in these terms: integrate law.vector_field itself, or say what the linear part "
            f"is, as in ll.{stepper}(linear_part=DampedMotion(dissipation))."
        )
    if law.linear_part is None:
        raise ValueError(
            f"ll.{stepper} takes out the linear part of a law (damping, decay), and this law has none "
            f"({law.description.get('equation', type(law).__name__)}): use a Diffrax stepper such as diffrax.Tsit5()."
        )
    return law.linear_part


def propagator_over(part: AbstractLinearPart, t0: Any, t1: Any, y: PyTree) -> AbstractPropagator:
    """The propagator of a step, for a law's state as `simulate` augments it or as it is."""
    if isinstance(y, Augmented):
        return AugmentedPropagator(part.over(as_time(t0, y.state), as_time(t1, y.state)))
    return part.over(as_time(t0, y), as_time(t1, y))


def nonlinear(propagator: AbstractPropagator, rates: PyTree, y: PyTree) -> PyTree:
    """N = f − A y. Where A y is large so is N, and what rounds off in N is of the size of what rounds off in f."""
    return tree_sub(rates, propagator.linear(y))


def with_work(y0: PyTree, y1: PyTree, step: Array, weights: Float[Array, " slopes"], slopes: PyTree) -> PyTree:
    """y1 with the work of the step by these weights of the powers; as it is where there is none."""
    if not isinstance(y1, Augmented) or y1.work is None:
        return y1
    return Augmented(y1.state, y0.work + weighted(step * weights, slopes.work))


def forward_only(terms: Any, y: PyTree, stepper: str) -> PyTree:
    """y; an error when Diffrax integrates backward in time, where decay would be growth."""
    direction = getattr(terms, "direction", 1)
    backward = jnp.asarray(direction) < 0
    return eqx.error_if(y, backward, f"ll.{stepper} integrates forward in time only.")
