"""Kick and drift: stochastic gradient descent with momentum, as the motion that it is."""

from typing import Any, ClassVar

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from lagrangian_learning._arrays import as_time, tree_add, tree_sub
from lagrangian_learning._types import Args, Terms, Time
from lagrangian_learning.mechanics.linear_part import DampedMotion

from .terms import forward_only, propagator_over, split


class KickDrift(diffrax.AbstractSolver):
    """v ← β v − ((1 − β)/γ) ∇V(W),  W ← W + h v,  β = e^{−ϑh},  γ = ϑ m_W   (docs/theory.md §6).

    Exactly gradient descent with momentum β and rate h(1 − β)/γ; as ϑ → ∞ exactly gradient descent with rate h/γ. For
    any law of damped motion, with its force in place of −∇V; of a ϑ that changes, its mean over the step. First order,
    constant steps, one evaluation a step, and no ϑ is too large for a step.

    Arguments:
        linear_part: as in `ExponentialMidpoint`; a `DampedMotion`.

    Raises ValueError for a law that is not of damped motion.
    """

    linear_part: DampedMotion | None = None
    term_structure: ClassVar = diffrax.AbstractTerm
    interpolation_cls: ClassVar = diffrax.LocalLinearInterpolation

    def order(self, terms: Terms) -> int:
        return 1

    def init(self, terms: Terms, t0: Time, t1: Time, y0: PyTree, args: Args) -> None:
        split(terms, self.linear_part, "KickDrift")

    def step(
        self, terms: Terms, t0: Time, t1: Time, y0: PyTree, args: Args, solver_state: None, made_jump: Any
    ) -> tuple[PyTree, None, dict, None, diffrax.RESULTS]:
        del solver_state, made_jump
        y0 = forward_only(terms, y0, "KickDrift")
        part, _ = split(terms, self.linear_part, "KickDrift")
        over = propagator_over(part, t0, t1, y0)
        # Without A(t0) y, not its mean over the step: what is left is the force alone, also where ϑ rises fast.
        slope = tree_sub(terms.vf(t0, y0, args), part.apply(as_time(t0, y0), y0))
        constant = jax.tree.map(lambda m: m[0, :1], over.moments(jnp.ones(1, over.step.dtype), 0))
        kicked = over.combined(constant, jax.tree.map(lambda leaf: leaf[None], slope))
        y1 = over.drifted(y0, tree_add(over.exponential(jnp.ones_like(over.step), y0), kicked))
        return y1, None, {"y0": y0, "y1": y1}, None, diffrax.RESULTS.successful

    def func(self, terms: Terms, t0: Time, y0: PyTree, args: Args) -> PyTree:
        return terms.vf(t0, y0, args)
