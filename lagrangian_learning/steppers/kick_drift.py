"""Kick and drift: stochastic gradient descent with momentum, as the motion that it is."""

from typing import Any, ClassVar

import diffrax
import equinox as eqx
from jaxtyping import PyTree

from lagrangian_learning._arrays import as_time, tree_sub
from lagrangian_learning._checks import flag
from lagrangian_learning._types import Args, Terms, Time
from lagrangian_learning.mechanics.linear_part import AbstractLinearPart

from .terms import forward_only, optional_part, propagator_over, split


class KickDrift(diffrax.AbstractSolver):
    """p ← e^{−∫r} p − I ∇V(W),  W ← W + h K*_p(p),  I = ∫ e^{−∫_u r} s(u) du   (docs/theory.md §6, docs/theory.md §11).

    Of a quadratic kinetic energy, with γ = ϑ m_W and β = e^{−ϑh}: v ← β v − ((1 − β)/γ) ∇V, W ← W + h v, exactly
    gradient descent with momentum β and rate h(1 − β)/γ; as ϑ → ∞ exactly gradient descent with rate h/γ. For
    `Descent` of any kinetic energy, and for any law of damped motion, with its force in place of −∇V; of a ϑ that
    changes, its mean over the step. First order, constant steps, one evaluation a step; no ϑ is too large for a step.

    Arguments:
        linear_part: as in `ExponentialMidpoint`; a `DampedMotion` or a `DampedMomenta`.
        symmetric: half a drift before the kick, which is taken at the middle of the step, and half after it: of second
            order where ϑh is small, for the same price. From rest it is the plain scheme, seen half a drift earlier.

    Raises ValueError for a law that is not of damped motion.
    """

    linear_part: AbstractLinearPart | None = eqx.field(converter=optional_part, default=None)
    symmetric: bool = eqx.field(static=True, default=False, converter=lambda value: flag(value, "symmetric"))
    term_structure: ClassVar = diffrax.AbstractTerm
    interpolation_cls: ClassVar = diffrax.LocalLinearInterpolation

    def order(self, terms: Terms) -> int:
        return 2 if self.symmetric else 1

    def init(self, terms: Terms, t0: Time, t1: Time, y0: PyTree, args: Args) -> None:
        split(terms, self.linear_part, "KickDrift")

    def step(
        self, terms: Terms, t0: Time, t1: Time, y0: PyTree, args: Args, solver_state: None, made_jump: Any
    ) -> tuple[PyTree, None, dict, None, diffrax.RESULTS]:
        del solver_state, made_jump
        y0 = forward_only(terms, y0, "KickDrift")
        part, _ = split(terms, self.linear_part, "KickDrift")
        over = propagator_over(part, t0, t1, y0)
        begin, end = as_time(t0, y0), as_time(t1, y0)
        t, at = (begin + (end - begin) / 2, over.drifted(0.5, y0)) if self.symmetric else (begin, y0)
        # Without A(t) y, not its mean over the step: what is left is the force alone, also where ϑ rises fast.
        force = tree_sub(terms.vf(t, at, args), part.apply(t, at))
        y1 = over.drifted(0.5 if self.symmetric else 1.0, over.kicked(t, at, force))
        return y1, None, {"y0": y0, "y1": y1}, None, diffrax.RESULTS.successful

    def func(self, terms: Terms, t0: Time, y0: PyTree, args: Args) -> PyTree:
        return terms.vf(t0, y0, args)
