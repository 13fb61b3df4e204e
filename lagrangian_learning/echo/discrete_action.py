"""The action of the steps of `Rattle`, as a function of the constants of a law."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, PyTree

from lagrangian_learning._arrays import tree_dot
from lagrangian_learning.mechanics.equations import AbstractEquations
from lagrangian_learning.mechanics.state import State
from lagrangian_learning.steppers.discrete_lagrangian import Instant


class Span(NamedTuple):
    """A step from t0 to t1, and the start of the run, at which ϖ = 1: the scale of the nudge."""

    origin: Array
    t0: Array
    t1: Array

    @property
    def middle(self) -> Array:
        """Where the kinetic energy of the step is weighted."""
        return self.t0 + (self.t1 - self.t0) / 2

    def weight(self, law: AbstractEquations, t: Array) -> Array:
        """ϖ(t)/ϖ(origin)."""
        return jnp.exp(law.lagrangian.dissipation.log_growth(self.origin, t))

    def growth(self, law: AbstractEquations, begin: Array, end: Array) -> Array:
        """ϖ(end)/ϖ(begin)."""
        return jnp.exp(law.lagrangian.dissipation.log_growth(begin, end))


class Recorded(NamedTuple):
    """A step as its action needs it: q at both ends, w = Δq/h, and the weighted impulses Λ of both ends."""

    q0: PyTree
    q1: PyTree
    w: PyTree
    impulse0: PyTree
    impulse1: PyTree


def step_action(law: AbstractEquations, args: PyTree, span: Span, step: Recorded) -> Array:
    """ϖ_{k+½} {½ w·M w h − (h/2) (V(t₀, q₀) + V(t₁, q₁))} − Λ₀·G(t₀, q₀) − Λ₁·G(t₁, q₁), V with −Q·q in it."""
    ends = (span.t0, step.q0), (span.t1, step.q1)
    densities = [_density(law, t, q, step.w, args) for t, q in ends]
    weighted = span.weight(law, span.middle) * (span.t1 - span.t0) / 2 * (densities[0] + densities[1])
    start = constraint_action(law, args, span.t0, step.q0, step.impulse0)
    return weighted - start - constraint_action(law, args, span.t1, step.q1, step.impulse1)


def constraint_action(law: AbstractEquations, args: PyTree, t: Array, q: PyTree, impulse: PyTree) -> Array:
    """Λ·G(t, q)."""
    return tree_dot(impulse, Instant(law, t, q, args).value())


def _density(law: AbstractEquations, t: Array, q: PyTree, w: PyTree, args: PyTree) -> Array:
    value = law.lagrangian.normalised(t, (q, w), args)
    if law.forces is None:
        return value
    return value + tree_dot(law.generalised_force(t, State(q, w), args), q)
