"""The linear part of an equation of motion, which an exponential stepper integrates exactly."""

import abc
import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from lagrangian_learning._arrays import cast, tree_scale

from .dissipation import AbstractDissipation
from .propagator import AbstractPropagator, DecayPropagator, MotionPropagator


class AbstractLinearPart(eqx.Module):
    """A(t) in ẏ = A(t) y + N(t, y)."""

    @abc.abstractmethod
    def apply(self, t: Float[Array, ""], state: PyTree) -> PyTree:
        """A(t) y."""

    @abc.abstractmethod
    def over(self, t0: Float[Array, ""], t1: Float[Array, ""]) -> AbstractPropagator:
        """The motion ẏ = Ā y over a step, Ā being the mean of A from t0 to t1."""

    def phi(self, k: int, t0: Float[Array, ""], t1: Float[Array, ""], state: PyTree) -> PyTree:
        """φ_k(∫_{t0}^{t1} A) y, with φ₀ = exp, φ_{k+1}(z) = (φ_k(z) − 1/k!)/z."""
        over = self.over(t0, t1)
        if k == 0:
            return over.exponential(jnp.ones_like(t0), state)
        moments = over.moments(jnp.ones_like(t0)[None], k - 1)
        weights = jax.tree.map(lambda m: m[0, k - 1 : k] / math.factorial(k - 1) / over.step, moments)
        return over.combined(weights, jax.tree.map(lambda leaf: leaf[None], state))


class DampedMotion(AbstractLinearPart):
    """q̇ = v, v̇ = −r(t) v: free motion under dissipation (docs/theory.md §6).

    The decay of v over a step is ϖ(t0)/ϖ(t1), the exponential of a difference of log ϖ, whatever the weight. States
    have fields q and v.
    """

    dissipation: AbstractDissipation

    def apply(self, t: Float[Array, ""], state: PyTree) -> PyTree:
        return eqx.tree_at(lambda s: (s.q, s.v), state, (state.v, tree_scale(-self.dissipation.rate(t), state.v)))

    def over(self, t0: Float[Array, ""], t1: Float[Array, ""]) -> MotionPropagator:
        return MotionPropagator(t1 - t0, mean_rate(self.dissipation, t0, t1))


class Decay(AbstractLinearPart):
    """ẏ = −c y, leaf by leaf: waves that travel at a finite speed c relax at the rate c (18).

    rates: a tree prefix of the state, in 1/time; zero for what does not decay. speed: the rate of the transient that
    steppers must see through where a step is longer than it lasts.
    """

    rates: PyTree[Float[Array, ""]]
    speed: Float[Array, ""]

    def apply(self, t: Float[Array, ""], state: PyTree) -> PyTree:
        return jax.tree.map(lambda rate, part: tree_scale(-cast(rate, t), part), self.rates, state)

    def over(self, t0: Float[Array, ""], t1: Float[Array, ""]) -> DecayPropagator:
        rates = jax.tree.map(lambda rate: cast(rate, t0), self.rates)
        return DecayPropagator(t1 - t0, rates, cast(self.speed, t0))


def mean_rate(dissipation: AbstractDissipation, t0: Float[Array, ""], t1: Float[Array, ""]) -> Float[Array, ""]:
    """(log ϖ(t1) − log ϖ(t0))/(t1 − t0); r itself over a step of no length, which Diffrax takes where a lane waits."""
    taken = t1 > t0
    length = jnp.where(taken, t1 - t0, 1)
    return jnp.where(taken, dissipation.log_growth(t0, t1) / length, dissipation.rate(t0))
