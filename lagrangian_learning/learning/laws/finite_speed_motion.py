"""The linear part of the equations of finite speed: neurons relax at c, weights at ϑ, multipliers at ϑ − c."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from lagrangian_learning._arrays import cast, tree_scale
from lagrangian_learning.mechanics import AbstractDissipation, AbstractLinearPart, AbstractPropagator, State
from lagrangian_learning.mechanics.linear_part import mean_rate
from lagrangian_learning.mechanics.propagator import DecayPropagator, MotionPropagator


class FiniteSpeedMotion(AbstractLinearPart):
    """ẍ = −c ẋ,  Ẅ = −r Ẇ,  δ̇ = −(r − c) δ: the diagonal of the equations before (20) (docs/theory.md §7)."""

    speed: Float[Array, ""]
    dissipation: AbstractDissipation

    def apply(self, t: Float[Array, ""], state: State) -> State:
        speed, rate = cast(self.speed, t), self.dissipation.rate(t)
        v = (tree_scale(-speed, state.v[0]), tree_scale(-rate, state.v[1]))
        return State(state.v, v, multipliers=tree_scale(speed - rate, state.multipliers))

    def over(self, t0: Float[Array, ""], t1: Float[Array, ""]) -> "FiniteSpeedPropagator":
        step, speed, rate = t1 - t0, cast(self.speed, t0), mean_rate(self.dissipation, t0, t1)
        return FiniteSpeedPropagator(
            step,
            MotionPropagator(step, speed),
            MotionPropagator(step, rate),
            DecayPropagator(step, rate - speed, jnp.zeros_like(step)),
        )


class FiniteSpeedPropagator(AbstractPropagator):
    """Neurons, weights and multipliers, each with its own rate."""

    step: Float[Array, ""]
    neurons: MotionPropagator
    weights: MotionPropagator
    costate: DecayPropagator

    @property
    def layer(self) -> Float[Array, ""]:
        """Zero: three rates make three transients, which steppers resolve and do not see through."""
        return jnp.zeros_like(self.step)

    def linear(self, state: State) -> State:
        x, W, delta = _parts(state)
        return _whole(self.neurons.linear(x), self.weights.linear(W), self.costate.linear(delta))

    def exponential(self, share: Float[Array, ""], state: State) -> State:
        x, W, delta = _parts(state)
        return _whole(
            self.neurons.exponential(share, x),
            self.weights.exponential(share, W),
            self.costate.exponential(share, delta),
        )

    def moments(self, points: Float[Array, " points"], degree: int) -> tuple[PyTree, PyTree, PyTree]:
        neurons, weights = self.neurons.moments(points, degree), self.weights.moments(points, degree)
        return neurons, weights, self.costate.moments(points, degree)

    def combined(self, weights: tuple[PyTree, PyTree, PyTree], slopes: State) -> State:
        x, W, delta = _parts(slopes)
        return _whole(
            self.neurons.combined(weights[0], x),
            self.weights.combined(weights[1], W),
            self.costate.combined(weights[2], delta),
        )


class _Pair(eqx.Module):
    q: PyTree
    v: PyTree


def _parts(state: State) -> tuple[_Pair, _Pair, PyTree]:
    neurons, weights = (_Pair(q, v) for q, v in zip(state.q, state.v, strict=True))
    return neurons, weights, state.multipliers


def _whole(neurons: _Pair, weights: _Pair, multipliers: PyTree) -> State:
    return State((neurons.q, weights.q), (neurons.v, weights.v), multipliers=multipliers)
