"""`solve_boundary`: the two-point boundary-value problem of laws whose costate is known at the end."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from lagrangian_learning._arrays import all_finite, is_concrete, max_abs, observed
from lagrangian_learning._checks import about, flag, positive, positive_int, require, shown
from lagrangian_learning.mechanics.law import AbstractBoundaryLaw
from lagrangian_learning.simulate.inputs import checked_state, checked_times
from lagrangian_learning.simulate.records import Recorder, reached
from lagrangian_learning.simulate.results import RESULTS
from lagrangian_learning.simulate.trajectory import Names, names_of
from lagrangian_learning.simulate.work import Worked

from .collocation import BoundaryProblem, defects, intervals_needed
from .continuation import first_guess
from .newton import residuals
from .solution import AbstractMethod, BoundarySolution, Found, Newton

# Above the rounding of c(σ(Wx) − x), which is what the defect is measured by.
_DEFAULT_TOLERANCE = {jnp.dtype("float32"): 1e-3, jnp.dtype("float64"): 1e-8}
_INTERVALS = 320


def solve_boundary(
    law: AbstractBoundaryLaw,
    W: PyTree,
    ts: Any,
    stimulus: PyTree = None,
    *,
    x: PyTree = None,
    W_dot: PyTree = None,
    method: AbstractMethod | None = None,
    tol: Any = None,
    intervals: int = _INTERVALS,
    throw: bool = True,
) -> BoundarySolution:
    """ẏ = f(t, y) with x, W [and Ẇ] given at ts[0] and the natural condition δ(t₁) = c m_x ẋ(t₁) at t₁ = ts[-1].

    The reading in which (20) is stable as derived, for ϑ < c: waves x run forward in time, waves δ backward, and for
    c → ∞ they are backpropagation everywhere but in a layer of width 1/(c − ϑ) at t₁ (docs/theory.md §7). The action is
    stationary for all variations that keep x, W at t0 and W at t₁. All of the stimulus is known beforehand: this is not
    an online law.

    Arguments:
        law: `BackpropDiffusion(..., costate="forward")`, where m_x = 0 and δ(t₁) = 0, or
            `CognitiveAction(..., speed=c).law()`.
        W, x, W_dot: weights, neurons (default: the forward pass; zero with cycles) and, for the law of finite mass,
            weight velocities (default zero) at ts[0].
        ts: times to record [T], strictly increasing; the first and the last are the ends.
        method: `ll.boundary.Newton()`, the default, or `ll.boundary.Sweeps()`, which forms no matrices.
        tol: the largest |u̇ − f(t, u)|/(1 + |f|) allowed anywhere, u being the piecewise polynomial whose values are
            recorded. Default 1e-8 in float64, 1e-3 in float32.
        intervals: how many intervals the mesh has beside those of ts.
        throw: raise if it fails; otherwise `solution.result` reports it.

    Returns a `BoundarySolution`. Failures are `boundary_not_converged` and `non_finite`, whose records are NaN, and
    `boundary_mesh_too_coarse`, whose records are of a solution with the defect reported. Raises ValueError for
    arguments that do not fit, among them ϑ ≥ c (where δ grows backward in time) and costates that are causal.

    Works under jit and vmap. Newton's solution is differentiable in both modes by the implicit function theorem, with
    respect to all of law, W, x, W_dot, stimulus and ts; second derivatives raise. Sweeps have no reverse mode.
    """
    if not isinstance(law, AbstractBoundaryLaw):
        raise ValueError(
            f'law must have a costate known at the end: ll.BackpropDiffusion(..., costate="forward") or the law of a '
            f"CognitiveAction(speed=c), got {type(law).__name__}. Others are initial-value problems of ll.simulate."
        )
    flag(throw, "throw")
    with about("W"):
        dtype = checked_state(W)[1]
    times = checked_times(ts, dtype)
    method, tol, intervals = _checked_method(method), _checked_tol(tol, dtype), positive_int(intervals, "intervals")
    with about("W, x, W_dot or stimulus"):
        state, _ = checked_state(law.boundary_state(times, W, stimulus, x=x, W_dot=W_dot))
    problem = BoundaryProblem(law, stimulus, *law.split(state))
    how = {"problem": "boundary values at both ends", "method": method.description}
    solution = _solved(problem, times, method, tol, intervals, names_of(law, None, how))
    return solution.result.error_if(solution, solution.result != RESULTS.successful) if throw else solution


def _checked_method(method: Any) -> AbstractMethod:
    if method is None:
        return Newton()
    if not isinstance(method, AbstractMethod):
        raise ValueError(f"method must be ll.boundary.Newton() or ll.boundary.Sweeps(), got {shown(method)}.")
    return method


def _checked_tol(tol: Any, dtype: Any) -> Array:
    finest = 1e3 * float(jnp.finfo(dtype).eps)
    tolerance = positive(_DEFAULT_TOLERANCE[dtype] if tol is None else tol, "tol").astype(dtype)
    known = tol if tol is not None and is_concrete(tol) else tolerance
    return require(tolerance, known >= finest, f"tol must be at least {finest:.1e} in {dtype}.")


@eqx.filter_jit
def _solved(
    problem: BoundaryProblem, ts: Array, method: AbstractMethod, tol: Array, intervals: int, names: Names
) -> BoundarySolution:
    fixed, times, tol = observed(problem), observed(ts), observed(tol)
    found = method.solve(problem, ts, tol, intervals)
    quality = _quality(fixed, observed(found), tol)
    sound = all_finite((fixed, residuals(fixed, times, first_guess(fixed, times))))
    fine = (quality["max_defect"] <= tol) & (quality["max_jump"] <= tol)
    states = jax.vmap(problem.state)(ts, found.path.nodes[jnp.searchsorted(found.mesh, ts)])
    recorder = Recorder(problem.law, None)
    records = jax.vmap(lambda t, state: recorder(t, Worked(state, None), problem.args))(ts, states)
    return BoundarySolution(
        ts,
        reached(records, jnp.broadcast_to(sound & found.converged, ts.shape)),
        _result(sound, found.converged, fine),
        tol,
        **quality,
        iterations=found.iterations,
        final_state=jax.tree.map(lambda leaf: leaf[-1], states),
        names=names,
    )


def _quality(problem: BoundaryProblem, found: Found, tol: Array) -> dict[str, Array]:
    mesh, path = found.mesh, found.path
    defect, left = defects(problem, mesh, path), residuals(problem, mesh, path)
    return {
        "num_intervals": jnp.asarray(mesh.size - 1, jnp.int32),
        "intervals_needed": jnp.ceil(jnp.sum(intervals_needed(defect, tol))),
        "max_defect": jnp.max(defect),
        "max_jump": jnp.max(jnp.abs(left.inside) / (1 + jnp.abs(path.values))),
        "boundary_residual": max_abs((left.start, left.end)),
    }


def _result(sound: Array, converged: Array, fine: Array) -> RESULTS:
    result = RESULTS.where(fine, RESULTS.successful, RESULTS.boundary_mesh_too_coarse)
    result = RESULTS.where(converged, result, RESULTS.boundary_not_converged)
    return RESULTS.where(sound, result, RESULTS.non_finite)
