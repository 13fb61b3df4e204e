"""Motion that a stepper can take out exactly: linear parts, their propagators, and φ functions of matrices."""

import abc
import math
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from lagrangian_learning._arrays import cast, tree_add, tree_scale

from .dissipation import AbstractDissipation

_RADIUS, _TAYLOR_TERMS = 3, 28  # 3²⁸/28! is below the rounding of float64


def phi_functions(highest: int, z: Float[Array, "*shape"]) -> list[Float[Array, "*shape"]]:
    """φ₀(z), …, φ_highest(z) for real z, with φ₀ = exp and φ_{k+1}(z) = (φ_k(z) − 1/k!)/z.

    Near zero the highest by Taylor's series and the recurrence downward, elsewhere the recurrence upward: each loses
    no digits where it is used.
    """
    small = jnp.abs(z) < _RADIUS
    near, far = jnp.where(small, z, 0), jnp.where(small, -_RADIUS, z)
    series = jnp.zeros_like(z)
    for n in reversed(range(_TAYLOR_TERMS)):
        series = series * near + 1 / math.factorial(n + highest)
    down, up = [series], [jnp.exp(far)]
    for k in range(highest):
        down.insert(0, near * down[0] + 1 / math.factorial(highest - k - 1))
        up.append((up[-1] - 1 / math.factorial(k)) / far)
    values = [jnp.where(small, inner, outer) for inner, outer in zip(down, up, strict=True)]
    return [jnp.exp(z), *values[1:]]


def phi_function(k: int, z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """φ_k(z) for real z."""
    return phi_functions(k, z)[k]


def decay_moments(
    exponent: Float[Array, ""], layer: Float[Array, ""], points: Float[Array, " points"], degree: int
) -> Float[Array, "points functions"]:
    """∫₀ᶜ e^{a(c−u)} f(u) du for f = 1, u, …, u^degree, e^{bu}, at every c of points; a: exponent, b: layer.

    What a forcing f leaves of a quantity that decays by e^{a} over the step.
    """
    phi = phi_functions(degree + 1, points * exponent)
    powers = [points ** (k + 1) * math.factorial(k) * phi[k + 1] for k in range(degree + 1)]
    return jnp.stack([*powers, points * _divided_difference(points * exponent, points * layer)], axis=1)


def rest_moments(
    layer: Float[Array, ""], points: Float[Array, " points"], degree: int
) -> Float[Array, "points functions"]:
    """The same at a = 0: ∫₀ᶜ f(u) du."""
    powers = [points ** (k + 1) / (k + 1) for k in range(degree + 1)]
    return jnp.stack([*powers, points * phi_function(1, points * layer)], axis=1)


def motion_moments(
    exponent: Float[Array, ""], points: Float[Array, " points"], degree: int
) -> tuple[Float[Array, "points functions"], Float[Array, "points functions"], Float[Array, "points functions"]]:
    """The same at a = 0 and at a = b; and with (e^{a(c−u)} − 1)/a: how far what decays carries its integral along."""
    phi, orders = phi_functions(degree + 2, points * exponent), range(degree + 1)
    rest = [points ** (k + 1) / (k + 1) for k in orders]
    decay = [points ** (k + 1) * math.factorial(k) * phi[k + 1] for k in orders]
    drift = [points ** (k + 2) * math.factorial(k) * phi[k + 2] for k in orders]
    return (
        jnp.stack([*rest, points * phi[1]], axis=1),
        jnp.stack([*decay, points * phi[0]], axis=1),
        jnp.stack([*drift, points**2 * (phi[1] - phi[2])], axis=1),
    )


def _divided_difference(a: Array, b: Array) -> Array:
    """(eᵃ − eᵇ)/(a − b), eᵃ where they are equal."""
    return jnp.exp(jnp.maximum(a, b)) * phi_function(1, -jnp.abs(a - b))


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

    def kicked(self, t: Float[Array, ""], state: PyTree, slope: PyTree) -> PyTree:
        """The state with the velocities (momenta) that a constant slope N, taken at t, leaves after the whole step."""
        raise _without_velocities(self)

    def drifted(self, share: float, state: PyTree) -> PyTree:
        """The state, its coordinates carried by its own velocities for a share of the step."""
        raise _without_velocities(self)


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

    def kicked(self, t: Float[Array, ""], state: PyTree, slope: PyTree) -> PyTree:
        constant = jax.tree.map(lambda m: m[0, :1], self.moments(jnp.ones(1, self.step.dtype), 0))
        forced = self.combined(constant, jax.tree.map(lambda leaf: leaf[None], slope))
        end = tree_add(self.exponential(jnp.ones_like(self.step), state), forced)
        return eqx.tree_at(lambda s: s.q, end, state.q)

    def drifted(self, share: float, state: PyTree) -> PyTree:
        return eqx.tree_at(lambda s: s.q, state, tree_add(state.q, tree_scale(share * self.step, state.v)))


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


def _without_velocities(propagator: AbstractPropagator) -> ValueError:
    return ValueError(
        f"{type(propagator).__name__} moves no coordinates by velocities, as ll.KickDrift does: use "
        "ll.ExponentialMidpoint()."
    )


def _with_motion(state: PyTree, q: PyTree, v: PyTree) -> PyTree:
    return eqx.tree_at(lambda s: (s.q, s.v), state, (q, v))


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
