"""Kick and drift: stochastic gradient descent with momentum, as the motion that it is."""

from typing import Any, ClassVar

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from lagrangian_learning._arrays import tree_add, tree_scale
from lagrangian_learning.mechanics.linear_part import DampedMotion
from lagrangian_learning.simulate.augmented import Augmented

from .splitting import forward_only, linear_part_of, nonlinear, propagator_over


class KickDrift(diffrax.AbstractSolver):
    """v ← β v − ((1 − β)/γ) ∇V(W),  W ← W + h v,  β = e^{−ϑh}   (THEORY §6).

    Exactly gradient descent with momentum β and rate h(1 − β)/γ; as ϑ → ∞ exactly gradient descent with rate h/γ. For
    any law of damped motion, with its force in place of −∇V. First order, constant steps, one evaluation a step, and no
    ϑ is too large for a step.

    Arguments:
        linear_part: as in `ExponentialMidpoint`; a `DampedMotion`.

    Raises ValueError for a law that is no damped motion.
    """

    linear_part: DampedMotion | None = None
    term_structure: ClassVar = diffrax.AbstractTerm
    interpolation_cls: ClassVar = diffrax.LocalLinearInterpolation

    def order(self, terms: Any) -> int:
        return 1

    def init(self, terms: Any, t0: Any, t1: Any, y0: PyTree, args: PyTree) -> None:
        _motion(terms, self.linear_part)

    def step(
        self, terms: Any, t0: Any, t1: Any, y0: PyTree, args: PyTree, solver_state: None, made_jump: Any
    ) -> tuple[PyTree, None, dict, None, diffrax.RESULTS]:
        del solver_state, made_jump
        y0 = forward_only(terms, y0, "KickDrift")
        over = propagator_over(_motion(terms, self.linear_part), t0, t1, y0)
        slope = nonlinear(over, terms.vf(t0, y0, args), y0)
        constant = jax.tree.map(lambda m: m[0, :1], over.moments(jnp.ones(1, over.step.dtype), 0))
        kicked = over.combined(constant, jax.tree.map(lambda leaf: leaf[None], slope))
        y1 = tree_add(over.exponential(jnp.ones_like(over.step), y0), kicked)
        y1 = _drifted(over.step, y0, y1)
        return y1, None, {"y0": y0, "y1": y1}, None, diffrax.RESULTS.successful

    def func(self, terms: Any, t0: Any, y0: PyTree, args: PyTree) -> PyTree:
        return terms.vf(t0, y0, args)


def _motion(terms: Any, given: DampedMotion | None) -> DampedMotion:
    part = linear_part_of(terms, given, "KickDrift")
    if not isinstance(part, DampedMotion):
        raise ValueError(
            f"ll.KickDrift kicks velocities and lets them drift, and the linear part of this law is a "
            f"{type(part).__name__}: use ll.ExponentialMidpoint()."
        )
    return part


def _drifted(step: Any, y0: PyTree, y1: PyTree) -> PyTree:
    """y1, its coordinates carried from those of y0 by its own velocities."""
    if isinstance(y1, Augmented):
        return Augmented(_drifted(step, y0.state, y1.state), y1.work)
    return eqx.tree_at(lambda s: s.q, y1, tree_add(y0.q, tree_scale(step, y1.v)))
