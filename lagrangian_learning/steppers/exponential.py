"""Exponential Runge–Kutta steppers of orders two and four: the linear part is solved exactly."""

import abc
from typing import Any, ClassVar, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, PyTree

from lagrangian_learning._arrays import as_time, matmul, tree_add
from lagrangian_learning._types import Args, Terms, Time
from lagrangian_learning.mechanics.linear_part import AbstractLinearPart, AbstractPropagator, Weights, rest_moments

from .terms import forward_only, nonlinear, optional_part, propagator_over, split


def polynomial_profile(
    nodes: tuple[float, ...], places: tuple[int, ...], functions: int, slopes: int
) -> Float[np.ndarray, "functions slopes"]:
    """Cardinal polynomials C on the nodes: N(u) = Σ_j (Σ_k C[k, j] u^k) N_j, with the N_j in the columns `places`.

    Rows are the functions 1, u, …, e^{bu}.
    """
    profile = np.zeros((functions, slopes))
    profile[: len(nodes), list(places)] = np.linalg.inv(np.vander(nodes, increasing=True))
    return profile


def fitted_profile(
    nodes: tuple[float, ...], places: tuple[int, ...], functions: int, slopes: int, layer: Float[Array, ""]
) -> Float[Array, "functions slopes"]:
    """The same in the span of 1, u, …, u^{m−1} and e^{bu}, on 0 and m more nodes; b: layer.

    Exact where the slope is smooth but for a transient e^{bu} that is over before the first node: a velocity that
    relaxes to the slope of the potential within 1/ϑ. With P the polynomial through the nodes beyond 0,

        N(u) = P(u) + (N₀ − P(0)) ω(u),    ω(u) = (e^{bu} − Πe^{bu})/(1 − Πe^{bu}(0)),

    Π the same interpolation. For |b| ≤ 1 the step resolves the transient, and ω is its limit Π_i (1 − u/c_i) at b = 0,
    which divides by no small number.
    """
    later = np.asarray(nodes[1:])
    smooth = polynomial_profile(nodes[1:], places[1:], functions, slopes)
    excess = np.zeros(slopes)
    excess[places[0]] = 1.0
    excess = excess - smooth[0]
    resolved = np.zeros(functions)
    resolved[: len(nodes)] = np.polynomial.polynomial.polyfromroots(later) / np.prod(-later)
    through = jnp.asarray(smooth[:, list(places[1:])], layer.dtype)
    safe = jnp.where(layer < -1, layer, -1)
    interpolated = jnp.matmul(through, jnp.exp(safe * jnp.asarray(later, layer.dtype)), precision="highest")
    transient = (-interpolated).at[-1].add(1) / (1 - interpolated[0])
    omega = jnp.where(layer < -1, transient, jnp.asarray(resolved, layer.dtype))
    return jnp.asarray(smooth, layer.dtype) + omega[:, None] * jnp.asarray(excess, layer.dtype)


class Tableau(NamedTuple):
    """The weights of one step, each a function of hA that `AbstractPropagator.combined` applies.

    rows: of the slopes in each stage from the second on, and in the step itself, last [stages, slopes];
    errors: of the slopes in the parts of the error estimate [parts, slopes], the slope at the end of the step included;
    profile: the slopes as a function of time over the step, N(u) = Σ_k,j profile[k, j] f_k(u) N_j with
    f = 1, u, …, e^{bu} as in `AbstractPropagator.moments`: for interpolation;
    quadrature: of the slopes in pure quadratures, which no slope depends on and which rest under A [slopes].
    """

    rows: Weights
    errors: Weights
    profile: Float[Array, "functions slopes"]
    quadrature: Float[Array, " slopes"]


class AbstractExponentialRungeKutta(diffrax.AbstractAdaptiveSolver):
    """U_i = e^{c_i hA} y₀ + h Σ_j a_ij(hA) N(U_j),   y₁ = e^{hA} y₀ + h Σ_j b_j(hA) N(U_j),   N = f − A y.

    `nodes` are the c_i from the second stage on. The slope at the end of a step is the first of the next.
    """

    linear_part: eqx.AbstractVar[AbstractLinearPart | None]
    nodes: eqx.AbstractClassVar[tuple[float, ...]]
    fsal: ClassVar[bool] = True

    @property
    def num_stages(self) -> int:
        """How many slopes a step combines, those at both ends included."""
        return len(self.nodes) + 2

    @abc.abstractmethod
    def tableau(self, over: AbstractPropagator) -> Tableau:
        """The weights for a step."""

    def init(self, terms: Terms, t0: Time, t1: Time, y0: PyTree, args: Args) -> PyTree:
        y0 = forward_only(terms, y0, type(self).__name__)
        return split(terms, self.linear_part, type(self).__name__)[1].vf(t0, y0, args)

    def step(
        self, terms: Terms, t0: Time, t1: Time, y0: PyTree, args: Args, solver_state: PyTree, made_jump: Any
    ) -> tuple[PyTree, PyTree, dict, PyTree, diffrax.RESULTS]:
        part, terms = split(terms, self.linear_part, type(self).__name__)
        over = propagator_over(part, t0, t1, y0)
        first = _refreshed(terms, t0, y0, args, solver_state, made_jump)
        tableau = self.tableau(over)
        times = (as_time(t0, y0), as_time(t1, y0))
        slopes, y1, last = self._stages(terms, *times, y0, args, over, tableau, first)
        y1 = over.quadratures(y0, y1, tableau.quadrature, slopes)
        error = _estimate(over, tableau.errors, slopes)
        dense = {"y0": y0, "over": over, "profile": tableau.profile, "slopes": slopes}
        return y1, error, dense, last, diffrax.RESULTS.successful

    def _stages(
        self, terms: Terms, t0: Array, t1: Array, y0: PyTree, args: Args, over: AbstractPropagator, tableau: Tableau,
        first: PyTree,
    ) -> tuple[PyTree, PyTree, PyTree]:  # fmt: skip
        """Slopes at all stages and at the end, the end, and the rates there; one copy of the law to compile."""
        count = len(self.nodes) + 2

        def room(slope: Array) -> Array:
            return jnp.zeros((count, *slope.shape), slope.dtype).at[0].set(slope)

        def stage(carry: tuple, now: tuple) -> tuple[tuple, None]:
            slopes, _, _ = carry
            index, share, weights = now
            y = tree_add(over.exponential(share, y0), over.combined(weights, slopes))
            rates = terms.vf(jnp.where(index == count - 1, t1, t0 + share.astype(t1.dtype) * (t1 - t0)), y, args)
            slope = nonlinear(over, rates, y)
            slopes = jax.tree.map(lambda buffer, new: buffer.at[index].set(new), slopes, slope)
            return (slopes, y, rates), None

        shares = jnp.asarray([*self.nodes, 1.0], over.step.dtype)
        start = (jax.tree.map(room, nonlinear(over, first, y0)), y0, first)
        indices = jnp.arange(1, count)
        (slopes, y1, last), _ = lax.scan(stage, start, (indices, shares, tableau.rows))
        return slopes, y1, last

    def func(self, terms: Terms, t0: Time, y0: PyTree, args: Args) -> PyTree:
        return terms.vf(t0, y0, args)


class ExponentialInterpolation(diffrax.AbstractLocalInterpolation):
    """y(t0 + σh) = e^{σhA} y₀ + h ∫₀^σ e^{(σ−u)hA} N(u) du with the N of the step: as accurate inside as at its end."""

    t0: Any
    t1: Any
    y0: PyTree
    over: AbstractPropagator
    profile: Float[Array, "functions slopes"]
    slopes: PyTree

    def evaluate(self, t0: Any, t1: Any = None, left: bool = True) -> PyTree:
        del left
        if t1 is not None:
            return jax.tree.map(jnp.subtract, self.evaluate(t1), self.evaluate(t0))
        length = self.t1 - self.t0
        share = jnp.where(length > 0, (t0 - self.t0) / jnp.where(length > 0, length, 1), 0)
        share = jnp.asarray(share).astype(self.over.step.dtype)
        moments = self.over.moments(share[None], self.profile.shape[0] - 2)
        weights = jax.tree.map(lambda m: matmul(m[0], self.profile), moments)
        return tree_add(self.over.exponential(share, self.y0), self.over.combined(weights, self.slopes))


class ExponentialMidpoint(AbstractExponentialRungeKutta):
    """y₁ = e^{hA} y₀ + h φ₁(hA) N₀ + 2h φ₂(hA) (N½ − N₀),  N½ at e^{hA/2} y₀ + (h/2) φ₁(hA/2) N₀.

    Second order, with an error estimate, for a law with a linear part A: damped motion under ϑ, decay at a speed c.
    Both W and Ẇ follow by variation of constants, so that neither order nor step depends on ϑ: as ϑ → ∞ at fixed γ it
    is the midpoint rule for the gradient flow (14). Two evaluations a step.

    Arguments:
        linear_part: A, when it cannot be asked of the law: None is right for `ll.simulate` and for
            `diffrax.ODETerm(law.vector_field)`.

    The error estimate is what a parabola through N₀, N½ and the slope at the end of the step would change.
    """

    linear_part: AbstractLinearPart | None = eqx.field(converter=optional_part, default=None)
    nodes: ClassVar[tuple[float, ...]] = (0.5,)
    term_structure: ClassVar = diffrax.AbstractTerm
    interpolation_cls: ClassVar = ExponentialInterpolation

    def order(self, terms: Terms) -> int:
        return 2

    def error_order(self, terms: Terms) -> int:
        return 3

    def tableau(self, over: AbstractPropagator) -> Tableau:
        dtype = over.step.dtype
        # Rows: the functions 1, u, u², e^{bu}; columns: the slopes N₀, N½ and that at the end.
        constant = jnp.asarray([[1, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]], dtype)
        linear = jnp.asarray([[1, 0, 0], [-2, 2, 0], [0, 0, 0], [0, 0, 0]], dtype)
        bend = jnp.asarray([[0, 0, 0], [-1, 2, -1], [2, -4, 2], [0, 0, 0]], dtype)
        moments = over.moments(jnp.asarray([0.5, 1.0], dtype), 2)
        rows = jax.tree.map(lambda m: jnp.stack([matmul(m[0], constant), matmul(m[1], linear)]), moments)
        errors = jax.tree.map(lambda m: matmul(m[1:], bend), moments)
        # Halfway Ẇ still follows the force at the start, so that the power there would be off in first order.
        return Tableau(rows, errors, linear, jnp.asarray([0.5, 0, 0.5], dtype))


def _estimate(over: AbstractPropagator, errors: Weights, slopes: PyTree) -> PyTree:
    """The sum of the parts' absolute values, so that none can hide another."""
    count = jax.tree.leaves(errors)[0].shape[0]
    parts = [over.combined(jax.tree.map(lambda w: w[k], errors), slopes) for k in range(count)]  # noqa: B023
    return jax.tree.map(lambda *values: sum(jnp.abs(value) for value in values), *parts)


def _refreshed(terms: Terms, t0: Time, y0: PyTree, args: Args, kept: PyTree, made_jump: Any) -> PyTree:
    """The rates at the start of the step: those from the end of the last one, unless the state has jumped since."""
    if made_jump is False:
        return kept
    if made_jump is True:
        return terms.vf(t0, y0, args)
    return lax.cond(made_jump, lambda: terms.vf(t0, y0, args), lambda: kept)


# The nodes minimise, among simple fractions, the coefficients of the error of fifth order of both limits, ϑ → 0 and
# ϑ → ∞; they are a fifth of those of the classical method.
_NODES = (1 / 3, 1 / 6, 1 / 2, 1.0, 2 / 3)
_DEGREE = 4  # of the polynomials in the basis 1, u, …, u⁴, e^{bu}
_FUNCTIONS, _SLOPES = _DEGREE + 2, len(_NODES) + 2
_START, _THIRD, _SIXTH, _HALF, _END, _LAST, _ARRIVED = range(_SLOPES)


class _Profiles(NamedTuple):
    """Slopes as functions of time over the step: predicted before the last stage, and final."""

    predicted: Float[Array, "functions slopes"]
    final: Float[Array, "functions slopes"]


class ExponentialRK4(AbstractExponentialRungeKutta):
    """y₁ = e^{hA} y₀ + h ∫₀¹ e^{(1−u)hA} N(u) du, N(u) a quartic or a cubic and e^{bu} through slopes of fourth order.

    Fourth order, with an error estimate of third, for a law with a linear part A: damped motion under ϑ, decay at a
    speed c. From ϑ = 0 to ∞ the order of W is the same, also from rest or where the force jumps, when Ẇ relaxes within
    1/ϑ: that transient e^{bu}, b = −ϑh, is among the functions that the quadrature is exact for. Methods that
    interpolate by polynomials alone (Krogstad 2005; Hochbruck and Ostermann 2005) lose the order there, at an error of
    h/(6ϑ). Six evaluations a step.

    The stages: U₂ by a constant slope; U₃ and U₄ by straight lines; U₅, at the end of the step, by a parabola; and U₆
    by the best interpolation R of what is known then, corrected so that the errors of stages cancel in the result:

        b₆ U₆ = b₆ ∫R + Σ_{i=3,4,5} b_i (∫R − U_i),    ∫R = e^{c_i hA} y₀ + h ∫₀^{c_i} e^{(c_i−u)hA} R(u) du.

    Arguments:
        linear_part: as in `ExponentialMidpoint`.

    The error estimate adds, entry by entry, what stage six has changed against R, and what the slope at the end of the
    step would change in place of that of stage five, which is all that Ẇ depends on when ϑh is large.
    """

    linear_part: AbstractLinearPart | None = eqx.field(converter=optional_part, default=None)
    nodes: ClassVar[tuple[float, ...]] = _NODES
    term_structure: ClassVar = diffrax.AbstractTerm
    interpolation_cls: ClassVar = ExponentialInterpolation

    def order(self, terms: Terms) -> int:
        return 4

    def tableau(self, over: AbstractPropagator) -> Tableau:
        profiles = _profiles(over.layer)
        dtype = over.layer.dtype
        b = matmul(rest_moments(over.layer, jnp.ones(1, dtype), _DEGREE)[0], profiles.final)
        moments = over.moments(jnp.asarray(_NODES, dtype), _DEGREE)
        rows = jax.tree.map(lambda m: _rows(m, profiles, b), moments)
        errors = jax.tree.map(lambda m: _errors(m[_END - 1], profiles), moments)
        return Tableau(rows, errors, profiles.final, b)


def _profiles(layer: Float[Array, ""]) -> _Profiles:
    known, everything = (_START, _SIXTH, _HALF, _END), (_START, _SIXTH, _HALF, _LAST, _END)
    return _Profiles(
        fitted_profile(_nodes(known), known, _FUNCTIONS, _SLOPES, layer),
        fitted_profile(_nodes(everything), everything, _FUNCTIONS, _SLOPES, layer),
    )


def _nodes(places: tuple[int, ...]) -> tuple[float, ...]:
    return tuple((0.0, *_NODES)[place] for place in places)


def _early(places: tuple[int, ...]) -> Float[np.ndarray, "functions slopes"]:
    return polynomial_profile(_nodes(places), places, _FUNCTIONS, _SLOPES)


# What each stage but the last takes the slope to be.
_EARLY = np.stack(
    [_early((_START,)), _early((_START, _THIRD)), _early((_START, _SIXTH)), _early((_START, _SIXTH, _HALF))]
)


def _rows(moments: Float[Array, "nodes functions"], profiles: _Profiles, b: Float[Array, " slopes"]) -> Array:
    """Weights of the slopes in stages two to six, and in the step."""
    early = jnp.asarray(_EARLY, moments.dtype)
    stages = jnp.einsum("kf,kfs->ks", moments[: len(_EARLY)], early, precision="highest")
    ideal = matmul(moments, profiles.predicted)
    compensated = (_SIXTH, _HALF, _END)
    missed = sum(b[place] * (ideal[place - 1] - stages[place - 1]) for place in compensated)
    last = ideal[_LAST - 1] + missed / b[_LAST]
    return jnp.concatenate([stages, last[None], matmul(moments[_END - 1], profiles.final)[None]])


def _errors(moments: Float[Array, " functions"], profiles: _Profiles) -> Array:
    """Weights of the slopes in the two error estimates."""
    final, predicted = matmul(moments, profiles.final), matmul(moments, profiles.predicted)
    arrival = jnp.zeros_like(final).at[_END].set(-final[_END]).at[_ARRIVED].set(final[_END])
    return jnp.stack([final - predicted, arrival])
