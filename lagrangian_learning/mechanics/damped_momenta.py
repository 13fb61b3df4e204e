"""`DampedMomenta`: the linear part of Hamilton's equations under friction, and how kick and drift take it."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from lagrangian_learning._arrays import tree_add, tree_scale

from .damping import Damping
from .kinetic import AbstractKinetic
from .linear_part import AbstractLinearPart, AbstractPropagator, DecayPropagator, mean_rate


class Phase(eqx.Module):
    """Coordinates q and momenta p."""

    q: PyTree
    p: PyTree


class MomentumPropagator(AbstractPropagator):
    """ṗ = −r p with q at rest; a kick with the whole impulse of a constant force, a drift with v = K*_p(p)."""

    decay: DecayPropagator
    kinetic: AbstractKinetic
    damping: Damping
    span: tuple[Float[Array, ""], Float[Array, ""]]

    @property
    def step(self) -> Float[Array, ""]:
        return self.decay.step

    @property
    def layer(self) -> Float[Array, ""]:
        return self.decay.layer

    def linear(self, state: Phase) -> Phase:
        return self.decay.linear(state)

    def exponential(self, share: Float[Array, ""], state: Phase) -> Phase:
        return self.decay.exponential(share, state)

    def moments(self, points: Float[Array, " points"], degree: int) -> PyTree:
        return self.decay.moments(points, degree)

    def combined(self, weights: Any, slopes: PyTree) -> Phase:
        return self.decay.combined(weights, slopes)

    def kicked(self, t: Float[Array, ""], state: Phase, slope: Phase) -> Phase:
        """The slope is −s(t) V_W at t: over the step it has the impulse I, in place of s(t) h."""
        factor = self.damping.factor_at(t)
        share = jnp.where(factor == 0, 0, self.damping.impulse(*self.span) / jnp.where(factor == 0, 1, factor))
        kept = tree_scale(jnp.exp(-self.damping.growth(*self.span)), state.p)
        return Phase(state.q, tree_add(kept, tree_scale(share, slope.p)))

    def drifted(self, share: float, state: Phase) -> Phase:
        return Phase(tree_add(state.q, tree_scale(share * self.step, self.kinetic.velocity(state.p))), state.p)


class DampedMomenta(AbstractLinearPart):
    """q̇ = 0, ṗ = −r(t) p: what friction alone does to coordinates and momenta (docs/theory.md §11).

    Arguments:
        kinetic: the kinetic energy, whose velocities a drift takes.
        damping: friction, and the factor of the potential.

    States are a `Phase`.
    """

    kinetic: AbstractKinetic
    damping: Damping

    def apply(self, t: Float[Array, ""], state: Phase) -> Phase:
        return Phase(tree_scale(0, state.q), tree_scale(-self.damping.dissipation.rate(t), state.p))

    def over(self, t0: Float[Array, ""], t1: Float[Array, ""]) -> MomentumPropagator:
        rate = mean_rate(self.damping.dissipation, t0, t1)
        decay = DecayPropagator(t1 - t0, Phase(jnp.zeros_like(rate), rate), rate)
        return MomentumPropagator(decay, self.kinetic, self.damping, (t0, t1))  # pyright: ignore[reportCallIssue]
