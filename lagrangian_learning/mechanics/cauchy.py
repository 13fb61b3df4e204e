"""Cauchy data: states on the constraints, checked or made so (docs/theory.md §4)."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, PyTree

from lagrangian_learning._arrays import (
    all_finite,
    dtype_of,
    held,
    is_concrete,
    max_abs,
    tree_add,
    tree_scale,
    tree_zeros,
)
from lagrangian_learning._checks import one_of, positive, reals, require, time

from .equations import AbstractEquations
from .law import Residual
from .multipliers import regularity, saddle_defect
from .start_errors import NOT_FINITE, largest, off_constraint, singular
from .state import State, matches

_DENSE_CHECK_LIMIT = 256  # above this many unknowns an SVD at the start costs more than it is worth
_MOST_ITERATIONS = 30  # each at least halves the update before it
_START_ITERATIONS = 20  # a start given by hand may lie far off; a step's error does not
_PROBES = 3
_ENTRIES = ("q", "v", "a", "j")


def initial_state(
    law: AbstractEquations,
    t0: Any,
    q: PyTree,
    v: PyTree,
    args: PyTree,
    a: PyTree,
    j: PyTree,
    multipliers: PyTree,
    consistent: str,
    tolerance: Any,
) -> State:
    """`EulerLagrange.initial_state`, phase by phase: shapes, finiteness, consistency, regularity."""
    one_of(consistent, "consistent", ("check", "project"))
    if tolerance is not None:
        positive(tolerance, "tolerance", "the largest residual accepted.")
    state = _shaped(law, q, v, a, j)
    t0 = time(t0, "t0", state.q)
    state = State(state.q, state.v, state.a, state.j, _multipliers(law, t0, state, args, multipliers))
    if law.constraint is not None:
        law.constraint.check(t0, law.jet(state), args)
    state, start = _prepared(law, t0, state, args, consistent == "project", tolerance)
    state = require(state, start.finite, NOT_FINITE)
    state = require(state, start.regular, singular(start.rank))
    if start.residual is None or law.constraint is None:
        return state
    known = is_concrete((start.consistent, state, t0, args)) and not start.consistent
    worst = largest(law.constraint.rows(t0, law.jet(state), args)) if known else ("", "")
    return require(state, start.consistent, off_constraint(start.residual, consistent, worst))


def consistent_state(
    law: AbstractEquations, t: Array, state: State, args: PyTree, allowed: State | None = None
) -> tuple[State, Bool[Array, ""]]:
    """A state moved onto G = 0, DG = 0, …, each level orthogonally in the mass metric.

    Newton's method on G until its updates are allowed or stop shrinking; the velocities and whatever stands above them
    enter their level linearly and take one solve each. Returns the state, and whether the last update was `allowed`
    (largest changes, like the state; default `rounding_of`), which has the units of the coordinates and not those of G.
    """
    assert law.constraint is not None
    allowed = rounding_of(state) if allowed is None else allowed
    converged = jnp.asarray(True)
    for index in range(law.constraint.level, len(law.jet(state))):
        if law.constraint.starts_at(index):
            state, found = _newton(law, t, state, args, index, allowed)
            converged = converged & found
        else:
            state = _corrected(law, t, state, args, index).state
    return state, converged


def rounding_of(state: State, tolerance: Any = None) -> State:
    """What may be called rounding of a state: eps^¾ of its dtype, or `tolerance`, of the largest entry of q, v, ….

    Of velocities and what stands above them, which may all be zero, a few eps of the levels below too; of coordinates
    that are all zero, as if the largest were 1.
    """
    eps = jnp.finfo(dtype_of(state)).eps
    relative = jnp.asarray(eps**0.75 if tolerance is None else tolerance).astype(dtype_of(state))
    floor, levels = jnp.zeros_like(relative), {}
    for name in ("q", "v", "a", "j"):
        level = getattr(state, name)
        size = max_abs(level)
        size = jnp.where((size == 0) & (name == "q"), 1, size)
        allowed = relative * size + 8 * eps * floor
        floor = floor + size
        levels[name] = jax.tree.map(lambda leaf, allowed=allowed: jnp.full_like(leaf, allowed), level)
    unlimited = jax.tree.map(lambda leaf: jnp.full_like(leaf, jnp.inf), state.multipliers)
    return State(**levels, multipliers=unlimited)


def _shaped(law: AbstractEquations, q: PyTree, v: PyTree, a: PyTree, j: PyTree) -> State:
    q = reals(q, "q")
    if not any(leaf.size for leaf in jax.tree.leaves(q)):
        raise ValueError("q has no coordinates: give at least one array.")
    if len({leaf.dtype for leaf in jax.tree.leaves(q)}) > 1:
        raise ValueError("q mixes dtypes: cast all coordinates to one.")
    if dtype_of(q) not in (jnp.float32, jnp.float64):
        raise ValueError(f"q must be float32 or float64, got {dtype_of(q)}: cast it.")
    if law.lagrangian.order == 1:
        if a is not None or j is not None:
            raise ValueError("a first-order action determines its accelerations: leave a and j out.")
        return State(q, _like(v, q, "v"))
    if a is None or j is None:
        raise ValueError("a second-order action needs the initial accelerations a and jerks j by keyword.")
    return State(q, _like(v, q, "v"), _like(a, q, "a"), _like(j, q, "j"))


def _like(value: PyTree, q: PyTree, name: str) -> PyTree:
    matches(value, q, name, f"give {name} the structure of q")
    return jax.tree.map(lambda leaf, target: leaf.astype(target.dtype), reals(value, name), q)


def _multipliers(law: AbstractEquations, t0: Array, state: State, args: PyTree, given: PyTree) -> PyTree:
    carried = law.constraint is not None and law.constraint.carries_multipliers
    if not carried:
        if given is not None:
            raise ValueError("these multipliers are determined by the state: leave multipliers out.")
        return None
    if given is None:
        raise ValueError("vakonomic multipliers are data of their own: give their start by keyword, multipliers=δ(0).")
    assert law.constraint is not None
    like = law.constraint.value(args)(t0, law.jet(state))
    matches(given, like, "multipliers", "give one multiplier a constraint", "the constraint")
    given = reals(given, "multipliers")
    return jax.tree.map(lambda leaf, target: leaf.astype(target.dtype), given, like)


class _Start(NamedTuple):
    """What was found out about a start; the verdicts are drawn outside jit, so that known data raise a ValueError."""

    finite: Array
    residual: Residual | None
    consistent: Array
    regular: Array
    rank: tuple[Array, int] | None


@eqx.filter_jit
def _prepared(
    law: AbstractEquations, t0: Array, state: State, args: PyTree, project: bool, tolerance: Any
) -> tuple[State, _Start]:
    finite, consistent, residual = all_finite((state, t0)), jnp.asarray(True), None
    if law.constraint is not None:
        if project:
            state, _ = consistent_state(law, t0, _nearer(law, t0, state, args), args, rounding_of(state, tolerance))
        residual = law.constraint_residual(t0, state, args)
        consistent = _on_constraint(law, t0, state, args, tolerance)
    return state, _Start(finite, residual, consistent, *_is_regular(law, t0, state, args))


def _nearer(law: AbstractEquations, t: Array, state: State, args: PyTree) -> State:
    """A state far off its constraints after a fixed number of Newton's updates, all of which are differentiated."""
    assert law.constraint is not None
    for index in range(len(law.jet(state))):
        if law.constraint.starts_at(index):

            def corrected(current: State, _: None, index: int = index) -> tuple[State, None]:
                return _corrected(law, t, current, args, index).state, None

            state = lax.scan(corrected, state, None, length=_START_ITERATIONS)[0]
    return state


def _on_constraint(law: AbstractEquations, t: Array, state: State, args: PyTree, tolerance: Any) -> Array:
    """Whether no level needs more than an update of rounding, and none is out of reach."""
    assert law.constraint is not None
    allowed, consistent = rounding_of(state, tolerance), jnp.asarray(True)
    for index in range(law.constraint.level, len(law.jet(state))):
        step, limit = _corrected(law, t, state, args, index), _entry(allowed, index)
        consistent = consistent & _accepts(step, limit, _reached(law, t, state, args, index, limit))
    return consistent


class _Step(NamedTuple):
    """A linear correction: the state after it, its update, and the residual that it was made from."""

    state: State
    update: PyTree
    left: PyTree


def _newton(
    law: AbstractEquations, t: Array, state: State, args: PyTree, index: int, allowed: State
) -> tuple[State, Bool[Array, ""]]:
    """Newton's method on the level of jet[index]: the first and the last update are differentiated.

    Between the two, as many as it takes. What those would add to the derivative is of the second order in what the
    first one has left over, and the last one projects it.
    """
    limit = _entry(allowed, index)
    first = _corrected(law, t, state, args, index)
    still = held((law, t, args))

    def shrinks(now: tuple[PyTree, Array, Array, Array]) -> Array:
        _, size, before, count = now
        return (size > 0.5) & (size < before / 2) & (count < _MOST_ITERATIONS)

    def again(now: tuple[PyTree, Array, Array, Array]) -> tuple[PyTree, Array, Array, Array]:
        entry, size, _, count = now
        fixed, s, given = still
        step = _corrected(fixed, s, _with_entry(held(state), entry, index), given, index)
        return _entry(step.state, index), relative_size(step.update, limit), size, count + 1

    entry = _entry(first.state, index)
    size = relative_size(held(first.update), limit)
    begin = (held(entry), size, jnp.full_like(size, jnp.inf), jnp.asarray(0))
    end = lax.while_loop(shrinks, again, begin)[0]
    moved = jax.tree.map(lambda leaf, there: leaf + lax.stop_gradient(there - leaf), entry, end)
    before = _with_entry(state, moved, index)
    last = _corrected(law, t, before, args, index)
    rounding = jax.tree.map(lambda leaf: jnp.full_like(leaf, jnp.finfo(leaf.dtype).eps * max_abs(leaf)), moved)
    reached = [_reached(law, t, before, args, index, each) for each in (limit, held(rounding))]
    return last.state, _accepts(last, limit, *reached)


@eqx.filter_jit(inline=True)  # pyright: ignore[reportCallIssue]  # so that its several uses are traced once
def _corrected(law: AbstractEquations, t: Array, state: State, args: PyTree, index: int) -> _Step:
    """One linear correction of jet[index], which cancels to first order the derivatives of G that end with it."""
    assert law.constraint is not None
    constraint = law.constraint.at_level(index)
    assert constraint is not None
    jet = law.jet(state)
    system, _, _ = law.system(t, state, args, index)
    left = constraint.row_of(t, jet[: index + 1], args, index)
    update, _ = law.multiplier_solver(system, tree_zeros(state.q), tree_scale(-1, left))
    return _Step(_with_entry(state, tree_add(jet[index], update), index), update, left)


def _accepts(step: _Step, limit: PyTree, reached: PyTree, rounded: PyTree | None = None) -> Bool[Array, ""]:
    """Whether an update is within its limit, and the residual within reach of a hundred such updates.

    Where constraints contradict each other, or their gradients vanish, the shortest update is zero and G is not. Near
    dependent gradients rounding of G alone makes long updates: a residual within reach of rounding is accepted too.
    """
    within = _all_within(step.left, reached, 100)
    size = relative_size(step.update, held(limit))
    short = (size <= 1) & within
    return short if rounded is None else short | (jnp.isfinite(size) & _all_within(step.left, rounded, 2))


def _all_within(left: PyTree, most: PyTree, times: int) -> Bool[Array, ""]:
    found = jax.tree.map(lambda one, bound: jnp.all(jnp.abs(one) <= times * bound), held(left), most)
    return jnp.all(jnp.stack(jax.tree.leaves(found)))


@eqx.filter_jit(inline=True)  # pyright: ignore[reportCallIssue]
def _reached(law: AbstractEquations, t: Array, state: State, args: PyTree, index: int, limit: PyTree) -> PyTree:
    """Σ |B_ij| limit_j from below, by products that no matrix is needed for; B as in the correction of jet[index]."""
    law, t, state, args, limit = held((law, t, state, args, limit))
    assert law.constraint is not None
    constraint = law.constraint.at_level(index)
    assert constraint is not None
    jacobian, (flat, unravel) = constraint.jacobian(t, law.jet(state), args), ravel_pytree(limit)
    places = jnp.arange(flat.size, dtype=flat.dtype)
    probes = [jacobian(unravel(flat * jnp.cos((k + 1) * 1.618 * places + k))) for k in range(_PROBES)]
    return jax.tree.map(lambda *each: jnp.max(jnp.abs(jnp.stack(each)), axis=0, initial=0), *probes)


def relative_size(update: PyTree, limit: PyTree) -> Float[Array, ""]:
    """max |update| / limit; a NaN anywhere gives NaN."""
    tiny = jnp.finfo(dtype_of(update)).tiny
    return max_abs(jax.tree.map(lambda leaf, most: leaf / jnp.maximum(most, tiny), update, limit))


def _entry(state: State, index: int) -> PyTree:
    return getattr(state, _ENTRIES[index])


def _with_entry(state: State, value: PyTree, index: int) -> State:
    return eqx.tree_at(lambda s: getattr(s, _ENTRIES[index]), state, value)


def _is_regular(
    law: AbstractEquations, t0: Array, state: State, args: PyTree
) -> tuple[Array, tuple[Array, int] | None]:
    """Whether accelerations are determined, and where matrices are small the rank of the constraints, of how many."""
    system, force, closing = law.system(t0, state, args)
    unknowns = sum(leaf.size for leaf in jax.tree.leaves((system.coordinates, system.multipliers)))
    if unknowns <= _DENSE_CHECK_LIMIT:
        found = regularity(system)
        return found.determined, (found.constraint_rank, found.num_constraints)
    top, delta = law.multiplier_solver(system, force, closing)
    left = saddle_defect(system, force, closing, top, delta)
    bound = jnp.sqrt(jnp.finfo(dtype_of(state)).eps) * (max_abs(force) + max_abs(closing) + max_abs((top, delta)))
    return jnp.isfinite(max_abs((top, delta))) & (max_abs(left) <= bound), None
