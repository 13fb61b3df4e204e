"""Exponential Runge–Kutta methods: the linear part of a law exactly, the rest by quadrature."""

import abc
from typing import Any, ClassVar, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PyTree

from lagrangian_learning._arrays import as_time, matmul, tree_add
from lagrangian_learning._types import Args, Terms, Time
from lagrangian_learning.mechanics.linear_part import AbstractLinearPart
from lagrangian_learning.mechanics.propagator import AbstractPropagator, Weights

from .splitting import nonlinear, propagator_over, split
from .terms import forward_only


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

    linear_part: AbstractLinearPart | None = None
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
