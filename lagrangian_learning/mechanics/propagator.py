"""Linear motion over one step, in closed form: what an exponential stepper needs of the linear part of a law."""

import abc
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from lagrangian_learning._arrays import tree_add, tree_scale

from .phi_functions import decay_moments, motion_moments, phi_function

Weights = PyTree[Float[Array, "... slopes"]]


class AbstractPropagator(eqx.Module):
    """e^{chA} for shares c of a step of length h, and integrals ∫₀ᶜ e^{(c−u)hA} f(u) du; A is held at its mean.

    A function w(hA) of the operator is given by its values on A's spectrum. `moments` gives them for the integrals with
    f = 1, u, …, u^degree and the transient e^{bu}, b being `layer`; whoever forms linear combinations of those (leaf by
    leaf, along the last axis) has weights that `combined` applies to vectors.
    """

    step: eqx.AbstractVar[Float[Array, ""]]

    @property
    @abc.abstractmethod
    def layer(self) -> Float[Array, ""]:
        """The exponent b ≤ 0 of the transient over the step; zero where there is none to see through."""

    @abc.abstractmethod
    def linear(self, state: PyTree) -> PyTree:
        """A y."""

    @abc.abstractmethod
    def exponential(self, share: Float[Array, ""], state: PyTree) -> PyTree:
        """e^{chA} y for one share c of the step."""

    @abc.abstractmethod
    def moments(self, points: Float[Array, " points"], degree: int) -> PyTree[Float[Array, "points functions"]]:
        """∫₀ᶜ e^{(c−u)z} f(u) du for each c of points and each f, where z runs through the spectrum of hA."""

    @abc.abstractmethod
    def combined(self, weights: Weights, slopes: PyTree[Float[Array, "slopes ..."]]) -> PyTree:
        """h Σ_j w_j(hA) N_j; slopes are states N_j stacked along a first axis."""

    def quadratures(
        self, start: PyTree, end: PyTree, weights: Float[Array, " slopes"], slopes: PyTree[Float[Array, "slopes ..."]]
    ) -> PyTree:
        """`end`, its pure quadratures (parts at rest under A that no rate depends on) by these weights; none here."""
        return end

    def drifted(self, start: PyTree, end: PyTree) -> PyTree:
        """`end`, its coordinates being those of `start` carried by the velocities of `end`. ValueError without any."""
        raise ValueError(
            f"{type(self).__name__} moves no coordinates by velocities, as ll.KickDrift does: use "
            "ll.ExponentialMidpoint()."
        )


class MotionWeights(NamedTuple):
    """A function of the hA of damped motion: at 0, at z, and its divided difference between them, times h elsewhere."""

    rest: PyTree
    decay: PyTree
    drift: PyTree


class MotionPropagator(AbstractPropagator):
    """q̇ = v, v̇ = −r v; states have fields q and v, and whatever else they have rests."""

    step: Float[Array, ""]
    rate: Float[Array, ""]

    @property
    def layer(self) -> Float[Array, ""]:
        return -self.rate * self.step

    def linear(self, state: PyTree) -> PyTree:
        return _with_motion(tree_scale(0, state), state.v, tree_scale(-self.rate, state.v))

    def exponential(self, share: Float[Array, ""], state: PyTree) -> PyTree:
        z = share * self.layer
        moved = tree_add(state.q, tree_scale(share * self.step * phi_function(1, z), state.v))
        return _with_motion(state, moved, tree_scale(jnp.exp(z), state.v))

    def moments(self, points: Float[Array, " points"], degree: int) -> MotionWeights:
        return MotionWeights(*motion_moments(self.layer, points, degree))

    def combined(self, weights: MotionWeights, slopes: PyTree) -> PyTree:
        resting = weighted(self.step * weights.rest, slopes)
        carried = weighted(self.step**2 * weights.drift, slopes.v)
        return _with_motion(resting, tree_add(resting.q, carried), weighted(self.step * weights.decay, slopes.v))

    def drifted(self, start: PyTree, end: PyTree) -> PyTree:
        return eqx.tree_at(lambda s: s.q, end, tree_add(start.q, tree_scale(self.step, end.v)))


class DecayPropagator(AbstractPropagator):
    """ẏ = −c y, leaf by leaf: rates c as a tree prefix of the state, and that of the transient."""

    step: Float[Array, ""]
    rates: PyTree[Float[Array, ""]]
    speed: Float[Array, ""]

    @property
    def layer(self) -> Float[Array, ""]:
        return -self.speed * self.step

    def linear(self, state: PyTree) -> PyTree:
        return jax.tree.map(lambda c, part: tree_scale(-c, part), self.rates, state)

    def exponential(self, share: Float[Array, ""], state: PyTree) -> PyTree:
        return jax.tree.map(lambda c, part: tree_scale(jnp.exp(-c * share * self.step), part), self.rates, state)

    def moments(self, points: Float[Array, " points"], degree: int) -> PyTree:
        return jax.tree.map(lambda c: decay_moments(-c * self.step, self.layer, points, degree), self.rates)

    def combined(self, weights: Weights, slopes: PyTree) -> PyTree:
        return jax.tree.map(lambda w, part: weighted(self.step * w, part), weights, slopes)


def weighted(weights: Float[Array, " slopes"], slopes: PyTree[Float[Array, "slopes ..."]]) -> PyTree:
    """Σ_j w_j N_j, written out so that it fuses and keeps full precision on every device."""
    return jax.tree.map(lambda leaf: sum(weights[j] * leaf[j] for j in range(weights.shape[0])), slopes)


def _with_motion(state: PyTree, q: PyTree, v: PyTree) -> PyTree:
    return eqx.tree_at(lambda s: (s.q, s.v), state, (q, v))
