"""Damped forward–backward sweeps: causal part forward with the costate given, costate backward, mixed, again."""

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from .collocation import BoundaryProblem, Path, interpolate, layered_points, slopes, times_of, with_times
from .continuation import first_guess

_MAX_STEPS = 2**20


class Sweep(eqx.Module):
    """The costate with its slopes after mixing, the path of the last sweep, and how much the sweep changed."""

    costate: Float[Array, "points costate"]
    rates: Float[Array, "intervals 5 costate"]
    path: Path
    change: Float[Array, ""]
    sweeps: Int[Array, ""]
    done: Bool[Array, ""]


def sweep(
    problem: BoundaryProblem, ts: Array, tol: Array, intervals: int, relaxation: Array, max_sweeps: int
) -> tuple[Float[Array, " nodes"], Sweep]:
    """The mesh, and the last sweep. Needs no matrix: for networks too large for Newton's blocks."""
    mesh = with_times(layered_points(ts, problem.law.fastest_rate.astype(ts.dtype), intervals), ts)
    guess = first_guess(problem, mesh)
    causal = problem.start.size
    enough, fine = tol / 10, jnp.maximum(tol / 100, 10 * jnp.finfo(ts.dtype).eps)

    def body(now: Sweep) -> Sweep:
        starts = now.costate[:-1:4]

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
        rates = slopes(problem, mesh, path)[..., causal:]
        mixed = jax.tree.map(
            lambda old, new: old + relaxation * (new - old), (now.costate, now.rates), (costate, rates)
        )
        return Sweep(*mixed, path, change, now.sweeps + 1, (change <= enough) | ~jnp.isfinite(change))

    def going(now: Sweep) -> Array:
        return ~now.done & (now.sweeps < max_sweeps)

    costate = jnp.concatenate([guess.first[None], guess.values.reshape(-1, guess.first.size)])[:, causal:]
    count = jnp.asarray(0, jnp.int32)
    start = Sweep(
        costate,
        slopes(problem, mesh, guess)[..., causal:],
        guess,
        jnp.full_like(tol, jnp.inf),
        count,
        jnp.asarray(False),
    )
    return mesh, lax.while_loop(going, body, start)


def _path(causal: Array, costate: Array) -> Path:
    both = jnp.concatenate([causal, costate], axis=1)
    return Path(both[0], both[1:].reshape(-1, 4, both.shape[1]))


def _run(field: Any, y: Array, mesh: Array, tol: Array, *, backward: bool) -> Float[Array, "points part"]:
    """One direction, recorded at all collocation times in their order; NaN where the run failed."""
    times = times_of(mesh)
    ts = jnp.concatenate([times[:1, 0], times[:, 1:].reshape(-1)])
    ts = ts[::-1] if backward else ts
    solver = diffrax.Dopri8() if mesh.dtype == jnp.dtype("float64") else diffrax.Tsit5()
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(field),
        solver,
        ts[0],
        ts[-1],
        None,
        y,
        saveat=diffrax.SaveAt(ts=ts),
        stepsize_controller=diffrax.PIDController(rtol=tol, atol=tol),
        max_steps=_MAX_STEPS,
        throw=False,
    )
    assert solution.ys is not None
    values = jnp.where(solution.result == diffrax.RESULTS.successful, solution.ys, jnp.nan)
    return values[::-1] if backward else values
