"""The runs back in time, all at once, and d/dβ of what they leave: the gradient by constants and by the start."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, PyTree

from lagrangian_learning._arrays import max_abs, tree_dot, tree_scale, tree_sub
from lagrangian_learning.mechanics.equations import AbstractEquations
from lagrangian_learning.mechanics.state import State
from lagrangian_learning.steppers.discrete_lagrangian import Instant

from .discrete_action import Recorded, Span, constraint_action, step_action
from .forward import Constants
from .refusals import equations_of
from .retrace import Retrace, Returning


class Nudges(NamedTuple):
    """β of each run back, the first being 0, and the factors by which results of the others make d/dβ."""

    betas: Float[Array, " runs"]
    factors: Float[Array, " nudged"]

    def slope(self, rows: PyTree) -> PyTree:
        """d/dβ of a pytree with one row a run that is nudged."""
        return jax.tree.map(lambda leaf: jnp.tensordot(self.factors, leaf, 1, precision="highest"), rows)


def nudges(beta: Array, *, extrapolate: bool) -> Nudges:
    """±β, by which d/dβ has an error of β²; with ±β/2 too, extrapolated, of β⁴."""
    shares, factors = [0, 1, -1], [1 / 2, -1 / 2]
    if extrapolate:
        shares, factors = [*shares, 1 / 2, -1 / 2], [-1 / 6, 1 / 6, 4 / 3, -4 / 3]
    return Nudges(beta * jnp.asarray(shares, beta.dtype), jnp.asarray(factors, beta.dtype) / beta)


class Backward(NamedTuple):
    """What the echo says; see `Echo`."""

    gradient: Constants
    by_start: State
    retraced: Float[Array, ""]
    rounding: Float[Array, ""]
    solved: Bool[Array, ""]


class _Way(NamedTuple):
    """The runs at a node, the impulses there of the step just made, and what has gathered."""

    runs: Returning
    impulse: PyTree
    gradient: Constants
    solved: Bool[Array, ""]


def backward(
    constants: Constants, start: State, end: State, ts: Float[Array, " nodes"], nudged: Nudges, iterations: int
) -> Backward:
    """Runs back from the end over step ends ts, and their d/dβ, which no run keeps a step of."""
    law = equations_of(constants.law)
    retrace = Retrace(law, constants.args, constants.costs, iterations)
    last = Span(ts[0], ts[-2], ts[-1])

    def step(way: _Way, row: tuple[Array, Array]) -> tuple[_Way, None]:
        span = Span(ts[0], *row)
        runs, steps, found = jax.vmap(lambda beta, run: retrace.back(span, beta, run))(nudged.betas, way.runs)
        gradient = tree_sub(way.gradient, _by_action(constants, span, _nudged_rows(steps), nudged))
        return _Way(runs, steps.impulse0, gradient, way.solved & jnp.all(found)), None

    runs, impulse = jax.vmap(lambda beta: retrace.off(last, beta, end))(nudged.betas)
    gradient = _by_constraint(constants, ts[-1], end.q, nudged.slope(_nudged_rows(impulse)))
    begin = _Way(runs, impulse, gradient, jnp.asarray(True))
    way, _ = lax.scan(step, begin, (ts[:-1], ts[1:]), reverse=True)
    return _arrived(constants, law, ts[0], start, way, nudged)


def _arrived(
    constants: Constants, law: AbstractEquations, t: Array, start: State, way: _Way, nudged: Nudges
) -> Backward:
    states, impulse = way.runs.state, nudged.slope(_nudged_rows(way.impulse))
    moved = nudged.slope(_nudged_rows(states))
    here = Instant(law, t, start.q, constants.args)
    by_q = tree_sub(here.momentum(moved.v), here.reaction(impulse))
    by_start = State(by_q, tree_scale(-1, here.momentum(moved.q)))
    # The start is held, and with it G there, which no step solves for: its impulse moves no constant.
    held = tree_sub(way.gradient, _by_constraint(constants, t, start.q, impulse))
    gradient = tree_sub(held, _by_momentum(constants, t, start, moved.q))
    return Backward(gradient, by_start, *_precision(start, states), way.solved)


def _nudged_rows(rows: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: leaf[1:], rows)


def _by_action(constants: Constants, span: Span, steps: Recorded, nudged: Nudges) -> Constants:
    """d/dβ of ∂_θ of the action of one step: one reverse pass for all runs."""

    def action(these: Constants) -> Array:
        law = equations_of(these.law)
        return nudged.slope(jax.vmap(lambda step: step_action(law, these.args, span, step))(steps))

    return eqx.filter_grad(action)(constants)


def _by_constraint(constants: Constants, t: Array, q: PyTree, impulse: PyTree) -> Constants:
    """∂_θ Λ·G(t, q)."""
    return eqx.filter_grad(lambda these: constraint_action(equations_of(these.law), these.args, t, q, impulse))(
        constants
    )


def _by_momentum(constants: Constants, t: Array, start: State, along: PyTree) -> Constants:
    """∂_θ P₀·d_βq₀, at fixed v₀."""

    def momentum(these: Constants) -> Array:
        return tree_dot(Instant(equations_of(these.law), t, start.q, these.args).momentum(start.v), along)

    return eqx.filter_grad(momentum)(constants)


def _precision(start: State, states: State) -> tuple[Array, Array]:
    """How far the run without a nudge misses the start, relative to it, and to what the least nudge moves."""
    miss = max_abs(jax.tree.map(lambda row, leaf: row[0] - leaf, states, start))
    moved = max_abs(jax.tree.map(lambda row: (row[-2] - row[-1]) / 2, states))
    tiny = jnp.finfo(miss.dtype).tiny
    return miss / jnp.maximum(max_abs(start), tiny), miss / jnp.maximum(moved, tiny)
