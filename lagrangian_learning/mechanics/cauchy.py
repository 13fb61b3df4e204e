"""Cauchy data: states on the constraints, checked or made so (docs/theory.md §4)."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, PyTree

from lagrangian_learning._arrays import (
    all_finite,
    dtype_of,
    is_concrete,
    max_abs,
    tree_add,
    tree_scale,
    tree_zeros,
)
from lagrangian_learning._checks import one_of, positive, reals, require, time

from .constraint import constraint_tower
from .equations import AbstractEquations
from .law import Residual
from .multipliers import regularity, saddle_defect
from .state import State, matches

_DENSE_CHECK_LIMIT = 256  # above this many unknowns an SVD at the start costs more than it is worth
_START_ITERATIONS = 20  # a start given by hand may lie far off; a step's error does not
_NOT_FINITE = "the start (t0, q, v, a, j or multipliers) may not contain NaN or inf: give finite data."
_SINGULAR = (
    "the equations are singular at the start: the inertia is not regular on the kernel of G_q, or constraints are "
    "dependent (see law.regularity(t0, state, args)). Give a mass to every coordinate that the constraints leave free, "
    "and remove redundant constraints."
)


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
    state = require(state, all_finite((state, t0)), _NOT_FINITE)
    state, start = _prepared(law, t0, state, args, consistent == "project", tolerance)
    if start.residual is not None:
        state = require(state, start.consistent, _off_constraint(start.residual, consistent))
    return require(state, start.regular, _SINGULAR)


def consistent_state(
    law: AbstractEquations, t: Array, state: State, args: PyTree, iterations: int = 3, tolerance: Any = None
) -> tuple[State, Bool[Array, ""]]:
    """A state moved onto G = 0, DG = 0, …, each level orthogonally in the mass metric.

    Newton's method on G, `iterations` times (a fixed number, so that reverse mode works); the velocities and whatever
    stands above them enter their level linearly and take one solve each. Returns the state, and whether the residual
    has come under tolerance (see `start_tolerance`).
    """
    assert law.constraint is not None

    def newton(current: State, _: None) -> tuple[State, None]:
        return _corrected(law, t, current, args, 0), None

    state = jax.lax.scan(newton, state, None, length=iterations)[0]
    for level in range(1, len(law.jet(state)) - law.constraint.level):
        state = _corrected(law, t, state, args, level)
    return state, _on_constraint(law, t, state, args, tolerance)


def start_tolerance(state: State, tolerance: Any = None) -> Array:
    """The largest residual called consistent: tolerance (default eps^¾ of the dtype) times 1 + max |q|, |v|."""
    dtype = dtype_of(state)
    relative = jnp.asarray(jnp.finfo(dtype).eps ** 0.75 if tolerance is None else tolerance).astype(dtype)
    return relative * (1 + max_abs(state))


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

    residual: Residual | None
    consistent: Array
    regular: Array


@eqx.filter_jit
def _prepared(
    law: AbstractEquations, t0: Array, state: State, args: PyTree, project: bool, tolerance: Any
) -> tuple[State, _Start]:
    consistent, residual = jnp.asarray(True), None
    if law.constraint is not None:
        if project:
            state, _ = consistent_state(law, t0, state, args, _START_ITERATIONS, tolerance)
        residual = law.constraint_residual(t0, state, args)
        consistent = _on_constraint(law, t0, state, args, tolerance)
    return state, _Start(residual, consistent, _is_regular(law, t0, state, args))


def _off_constraint(residual: Residual, consistent: str) -> str:
    size = f" (max |G| = {residual.position}, max |DG| = {residual.velocity})" if is_concrete(residual) else ""
    if consistent == "project":
        return (
            f"the projection of the start onto G = DG = 0 did not converge{size}: start nearer to the constraint, "
            "or check that it can be satisfied."
        )
    return f'the start is off the constraint G = DG = 0{size}. Correct q and v, or pass consistent="project".'


def _on_constraint(law: AbstractEquations, t: Array, state: State, args: PyTree, tolerance: Any) -> Array:
    residual = law.constraint_residual(t, state, args)
    return jnp.maximum(residual.position, residual.velocity) <= start_tolerance(state, tolerance)


def _corrected(law: AbstractEquations, t: Array, state: State, args: PyTree, level: int) -> State:
    """One linear correction of the jet's entry that D^level G is linear in, which cancels it to first order."""
    assert law.constraint is not None
    jet = law.jet(state)
    system, _, _ = law.system(t, state, args)
    index = law.constraint.level + level
    left = constraint_tower(law.constraint, t, jet[: index + 1], args)[level]
    step, _ = law.multiplier_solver(system, tree_zeros(state.q), tree_scale(-1, left))
    entry = ("q", "v", "a", "j")[index]
    return eqx.tree_at(lambda s: getattr(s, entry), state, tree_add(jet[index], step))


def _is_regular(law: AbstractEquations, t0: Array, state: State, args: PyTree) -> Array:
    system, force, closing = law.system(t0, state, args)
    unknowns = sum(leaf.size for leaf in jax.tree.leaves((system.coordinates, system.multipliers)))
    if unknowns <= _DENSE_CHECK_LIMIT:
        return regularity(system).regular
    top, delta = law.multiplier_solver(system, force, closing)
    left = saddle_defect(system, force, closing, top, delta)
    bound = jnp.sqrt(jnp.finfo(dtype_of(state)).eps) * (max_abs(force) + max_abs(closing) + max_abs((top, delta)))
    return jnp.isfinite(max_abs((top, delta))) & (max_abs(left) <= bound)
