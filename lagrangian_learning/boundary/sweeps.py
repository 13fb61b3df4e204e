"""Damped forward–backward sweeps: causal part forward with the costate given, costate backward, mixed, again."""

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from lagrangian_learning._arrays import tree_where
from lagrangian_learning.steppers.defaults import default_stepper

from .collocation import (
    BoundaryProblem,
    Path,
    defects,
    interpolate,
    intervals_needed,
    layered_points,
    moved_to,
    slopes,
    spread_points,
    times_of,
    with_times,
)
from .continuation import first_guess

_MAX_STEPS = 2**20  # of one run
_MAX_REFINEMENTS = 4


class Sweep(eqx.Module):
    """The costate with its slopes after mixing, the path of the last sweep on its mesh, and what the sweep changed."""

    free: Float[Array, " free"]
    costate: Float[Array, "points costate"]
    rates: Float[Array, "intervals 5 costate"]
    last: Path
    last_free: Float[Array, " free"]
    change: Float[Array, ""]
    sweeps: Int[Array, ""]
    refinements: Int[Array, ""]
    done: Bool[Array, ""]


def sweep(
    problem: BoundaryProblem, ts: Array, tol: Array, intervals: int, relaxation: Array, max_sweeps: int
) -> tuple[Float[Array, " nodes"], Path, Bool[Array, ""], Int[Array, ""]]:
    """The mesh, the path of the last sweep, whether it changed nothing more, and the number of sweeps.

    Needs no matrix: for networks too large for Newton's blocks. Converged sweeps move the mesh while that lowers the
    defect.
    """
    free = layered_points(ts, problem.law.fastest_rate.astype(ts.dtype), intervals)
    mesh = with_times(free, ts)
    guess = first_guess(problem, mesh)
    enough = tol / 1000

    def body(now: Sweep) -> Sweep:
        mesh = with_times(now.free, ts)
        path, change, mixed = _once(problem, mesh, now, tol, relaxation)
        swept = Sweep(now.free, *mixed, path, now.free, change, now.sweeps + 1, now.refinements, ~jnp.isfinite(change))
        moved = _moved(problem, mesh, swept, tol, ts)
        return tree_where(change <= enough, moved, swept)

    def going(now: Sweep) -> Array:
        return ~now.done & (now.sweeps < max_sweeps)

    count, infinite = jnp.asarray(0, jnp.int32), jnp.full_like(tol, jnp.inf)
    known = _costate(problem, mesh, guess)
    start = Sweep(free, *known, guess, free, infinite, count, count, jnp.asarray(False))
    end = lax.while_loop(going, body, start)
    return with_times(end.last_free, ts), end.last, end.change <= enough, end.sweeps


def _once(
    problem: BoundaryProblem, mesh: Array, now: Sweep, tol: Array, relaxation: Array
) -> tuple[Path, Array, tuple[Array, Array]]:
    causal, starts = problem.start.size, now.costate[:-1:4]
    fine = jnp.maximum(tol / 10000, 10 * jnp.finfo(mesh.dtype).eps)

    def forced(t: Array, y: Array, _: Any) -> Array:
        costate = interpolate(mesh, starts, now.rates, t)
        return problem.field(t, jnp.concatenate([y, costate]))[:causal]

    forward = _run(forced, problem.start, mesh, fine, backward=False)
    carried = _path(forward, now.costate)
    known = (carried.nodes[:-1, :causal], slopes(problem, mesh, carried)[..., :causal])

    def adjoint(t: Array, y: Array, _: Any) -> Array:
        return problem.field(t, jnp.concatenate([interpolate(mesh, *known, t), y]))[causal:]

    end = jnp.concatenate([forward[-1], now.costate[-1]])
    natural = end[causal:] - problem.end_residual(mesh[-1], end)
    costate = _run(adjoint, natural, mesh, fine, backward=True)
    path = _path(forward, costate)
    change = jnp.max(jnp.abs(costate - now.costate) / (1 + jnp.abs(costate)))
    new = (costate, slopes(problem, mesh, path)[..., causal:])
    old = (now.costate, now.rates)
    return path, change, jax.tree.map(lambda a, b: a + relaxation * (b - a), old, new)


def _moved(problem: BoundaryProblem, mesh: Array, now: Sweep, tol: Array, ts: Array) -> Sweep:
    """After convergence: done, or the same costate on a mesh that spreads the defect."""
    defect = defects(problem, mesh, now.last)
    free = spread_points(mesh, intervals_needed(defect, tol), now.free.size)
    new = with_times(free, ts)
    costate = _costate(problem, new, moved_to(problem, mesh, now.last, new))
    done = now.done | (jnp.max(defect) <= tol) | (now.refinements >= _MAX_REFINEMENTS)
    return Sweep(free, *costate, now.last, now.last_free, now.change, now.sweeps, now.refinements + 1, done)


def _costate(problem: BoundaryProblem, mesh: Array, path: Path) -> tuple[Array, Array]:
    """The costate at all points, and its slopes."""
    causal, n = problem.start.size, path.first.size
    points = jnp.concatenate([path.first[None], path.values.reshape(-1, n)])
    return points[:, causal:], slopes(problem, mesh, path)[..., causal:]


def _path(causal: Array, costate: Array) -> Path:
    both = jnp.concatenate([causal, costate], axis=1)
    return Path(both[0], both[1:].reshape(-1, 4, both.shape[1]))


def _run(field: Any, y: Array, mesh: Array, tol: Array, *, backward: bool) -> Float[Array, "points part"]:
    """One direction, recorded at all collocation times in their order; NaN where the run failed."""
    times = times_of(mesh)
    ts = jnp.concatenate([times[:1, 0], times[:, 1:].reshape(-1)])
    ts = ts[::-1] if backward else ts
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(field),
        default_stepper(mesh.dtype),
        ts[0],
        ts[-1],
        None,
        y,
        saveat=diffrax.SaveAt(ts=ts),
        # Steps end on the points: interpolating there would leave a noise at which the sweeps stall.
        stepsize_controller=diffrax.ClipStepSizeController(diffrax.PIDController(rtol=tol, atol=tol), step_ts=ts),
        max_steps=_MAX_STEPS,
        throw=False,
    )
    assert solution.ys is not None
    values = jnp.where(solution.result == diffrax.RESULTS.successful, solution.ys, jnp.nan)
    return values[::-1] if backward else values
