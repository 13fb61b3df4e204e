"""`solve_boundary`: the two-point boundary-value problem of laws whose costate is known at the end."""

from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from lagrangian_learning._arrays import all_finite, is_concrete, max_abs
from lagrangian_learning._checks import require
from lagrangian_learning.mechanics.law import AbstractBoundaryLaw
from lagrangian_learning.simulate.augmented import Augmented
from lagrangian_learning.simulate.monitor import observed
from lagrangian_learning.simulate.records import Record, Recorder, reached
from lagrangian_learning.simulate.results import RESULTS
from lagrangian_learning.simulate.settings import checked_state, checked_times
from lagrangian_learning.simulate.trajectory import Carry, Trajectory

from .collocation import BoundaryProblem, Path, defects, intervals_needed, with_times
from .continuation import first_guess, search
from .newton import implicit, residuals
from .sweeps import sweep

# Above the rounding of c(σ(Wx) − x), which is what the defect is measured by.
_DEFAULT_TOLERANCE = {jnp.dtype("float32"): 1e-3, jnp.dtype("float64"): 1e-8}
_INTERVALS = 320
_ITERATIONS = {"newton": 30, "sweeps": 200}

Method = Literal["newton", "sweeps"]


class Settings(eqx.Module):
    """How the problem is solved."""

    tol: Array
    relaxation: Array
    method: str = eqx.field(static=True)
    intervals: int = eqx.field(static=True)
    max_iterations: int = eqx.field(static=True)


class _Solution(NamedTuple):
    records: Record
    final: PyTree
    result: RESULTS
    failed: Array
    stats: dict[str, Array]


def solve_boundary(
    law: AbstractBoundaryLaw,
    W: PyTree,
    ts: Any,
    stimulus: PyTree = None,
    *,
    x: PyTree = None,
    W_dot: PyTree = None,
    method: Method = "newton",
    tol: Any = None,
    intervals: int | None = None,
    relaxation: Any = 0.5,
    max_iterations: int | None = None,
    throw: bool = True,
) -> Trajectory:
    """ẏ = f(t, y) with x, W [and Ẇ] given at ts[0] and the natural condition δ(t₁) = c m_x ẋ(t₁) at t₁ = ts[-1].

    The reading in which (20) is stable as derived, for ϑ < c: waves x run forward in time, waves δ backward, and for
    c → ∞ they are backpropagation everywhere but in a layer of width 1/(c − ϑ) at t₁ (THEORY §7). The action is
    stationary for all variations that keep x, W at t0 and W at t₁. All of the stimulus is known beforehand: this is not
    an online law.

    Arguments:
        law: `BackpropDiffusion(..., costate="forward")`, where m_x = 0 and δ(t₁) = 0, or
            `CognitiveAction(..., speed=c).law()`.
        W, x, W_dot: weights, neurons (default: the forward pass; zero with cycles) and, for the law of finite mass,
            weight velocities (default zero) at ts[0].
        ts: times to record [T], strictly increasing; the first and the last are the ends.
        method: "newton": collocation at five Lobatto points, Newton with its blocks eliminated one interval at a time,
            from slower learning on where learning is too fast for it, on a mesh that moves to where the defect is.
            O(intervals · n³) for n numbers in the state. "sweeps": forward and backward runs in turn, damped by
            `relaxation`; no matrices, for larger networks and slow learning.
        tol: the largest |u̇ − f(t, u)|/(1 + |f|) allowed anywhere, u being the piecewise polynomial whose values are
            recorded. Default 1e-8 in float64, 1e-3 in float32.
        intervals: how many intervals the mesh has beside those of ts. Default 320.
        relaxation: in (0, 1], the share of a new δ in the next sweep; 1 is undamped.
        max_iterations: Newton steps of one attempt, default 30; sweeps, default 200.
        throw: raise if it fails; otherwise `path.result` tells.

    Returns a `Trajectory`, with in its stats max_defect, boundary_residual (at both ends), max_jump (what is left of
    the discrete equations), num_intervals, intervals_needed (for tol) and num_steps (iterations). Failures are
    `boundary_not_converged` and `non_finite`, whose records are NaN, and `boundary_mesh_too_coarse`, whose records are
    of a solution with the defect told. Raises ValueError for arguments that do not fit, among them ϑ ≥ c (where δ
    grows backward in time) and costates that are causal.

    Works under jit and vmap. Newton's solution is differentiable in both modes by the implicit function theorem, with
    respect to all of law, W, x, W_dot, stimulus and ts; second derivatives raise. Sweeps have no reverse mode.
    """
    if not isinstance(law, AbstractBoundaryLaw):
        raise ValueError(
            f'law must have a costate known at the end: ll.BackpropDiffusion(..., costate="forward") or the law of a '
            f"CognitiveAction(speed=c), got {type(law).__name__}. Others are initial-value problems of ll.simulate."
        )
    dtype = checked_state(W)[1]
    times = checked_times(ts, dtype)
    settings = _checked(method, tol, intervals, relaxation, max_iterations, dtype)
    state, _ = checked_state(law.boundary_state(times, W, stimulus, x=x, W_dot=W_dot))
    problem = BoundaryProblem(law, stimulus, *law.split(state))
    solution = _solved(problem, times, settings)
    path = _trajectory(law, times, settings, solution)
    return path.result.error_if(path, solution.failed) if throw else path


def _checked(method: Any, tol: Any, intervals: Any, relaxation: Any, max_iterations: Any, dtype: Any) -> Settings:
    if method not in _ITERATIONS:
        raise ValueError(f'method must be "newton" or "sweeps", got {method!r}.')
    counts = (
        _count(intervals, _INTERVALS, "intervals"),
        _count(max_iterations, _ITERATIONS[method], "max_iterations"),
    )
    finest = 1e3 * float(jnp.finfo(dtype).eps)
    tolerance = _number(_DEFAULT_TOLERANCE[dtype] if tol is None else tol, "tol", dtype)
    tolerance = require(tolerance, _known(tolerance) >= finest, f"tol must be at least {finest:.1e} in {dtype}.")
    share = _number(relaxation, "relaxation", dtype)
    share = require(share, (_known(share) > 0) & (_known(share) <= 1), "relaxation must be in (0, 1].")
    return Settings(tolerance, share, method, *counts)


def _count(given: Any, default: int, name: str) -> int:
    if given is None:
        return default
    if isinstance(given, bool) or not isinstance(given, int | np.integer) or given < 1:
        raise ValueError(f"{name} must be a positive integer, got {given!r}.")
    return int(given)


def _number(value: Any, name: str, dtype: Any) -> Array:
    number = jnp.asarray(value)
    if number.ndim or (
        not jnp.issubdtype(number.dtype, jnp.floating) and not jnp.issubdtype(number.dtype, jnp.integer)
    ):
        raise ValueError(f"{name} must be one real number, got {value!r}.")
    return number.astype(dtype)


def _known(value: Array) -> Any:
    return np.asarray(value) if is_concrete(value) else value


@eqx.filter_jit
def _solved(problem: BoundaryProblem, ts: Array, settings: Settings) -> _Solution:
    fixed, times, tol = observed(problem), observed(ts), observed(settings.tol)
    if settings.method == "newton":
        found = search(fixed, times, tol, settings.intervals, settings.max_iterations)
        converged, path, iterations = found.best.rate >= 1, found.best.path, found.iterations
        mesh = with_times(found.best.free, ts)
        path = implicit(problem, mesh, path)
    else:
        mesh, path, converged, iterations = sweep(
            problem, ts, tol, settings.intervals, settings.relaxation, settings.max_iterations
        )
    stats = _statistics(fixed, observed(mesh), observed(path), tol) | {"num_steps": iterations}
    start = first_guess(fixed, times)
    sound = all_finite((fixed, residuals(fixed, times, start)))
    fine = (stats["max_defect"] <= tol) & (stats["max_jump"] <= tol)
    result = _result(sound, converged, fine)
    states = jax.vmap(problem.state)(ts, path.nodes[jnp.searchsorted(mesh, ts)])
    recorder = Recorder(problem.law, None)
    records = jax.vmap(lambda t, state: recorder(t, Augmented(state, None), problem.args))(ts, states)
    records = reached(records, jnp.broadcast_to(sound & converged, ts.shape))
    final = jax.tree.map(lambda leaf: leaf[-1], states)
    return _Solution(records, final, result, result != RESULTS.successful, stats)


def _statistics(problem: BoundaryProblem, mesh: Array, path: Path, tol: Array) -> dict[str, Array]:
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


def _trajectory(law: AbstractBoundaryLaw, times: Array, settings: Settings, solution: _Solution) -> Trajectory:
    how = {
        "newton": "Newton on Lobatto collocation, order 8",
        "sweeps": "damped forward–backward sweeps",
    }[settings.method]
    description = {**law.description, "problem": "boundary values at both ends", "method": how}
    energy = solution.records.energy
    return Trajectory(
        times,
        solution.records,
        None if energy is None else energy[..., 0],
        solution.result,
        solution.stats,
        {"tol": settings.tol},
        solution.final,
        Carry(times[-1], Augmented(solution.final, None), None, None, jnp.asarray(False)),
        False,
        tuple(law.aliases.items()),
        tuple(description.items()),
    )
