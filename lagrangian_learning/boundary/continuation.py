"""From slow learning to the wanted one, on meshes that follow the solution: collocation until the defect is small."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from lagrangian_learning._arrays import tree_where

from .collocation import (
    BoundaryProblem,
    Path,
    defects,
    intervals_needed,
    layered_points,
    moved_to,
    spread_points,
    times_of,
    with_times,
)
from .newton import NewtonIteration, newton

_MAX_REFINEMENTS = 12
_MAX_ATTEMPTS = 80
_SLOWEST = 1e-6  # of the learning rate: slower than this nothing is learned, and the waves alone do not converge


class Solved(eqx.Module):
    """A path that solves the discrete problem at a share of the learning rate, and how well it does so."""

    free: Float[Array, " free"]
    path: Path
    rate: Float[Array, ""]
    defect: Float[Array, ""]
    needed: Float[Array, ""]


class Search(eqx.Module):
    """The best solution so far, and what is tried next."""

    best: Solved
    free: Float[Array, " free"]
    guess: Path
    rate: Float[Array, ""]
    stride: Float[Array, ""]
    attempts: Int[Array, ""]
    refinements: Int[Array, ""]
    iterations: Int[Array, ""]
    done: Bool[Array, ""]


def first_guess(problem: BoundaryProblem, mesh: Array) -> Path:
    """Waves standing still at each time, with the weights of the start."""
    state = problem.law.joined(mesh[0], problem.causal, problem.costate, problem.args)

    def at(t: Array) -> Array:
        return problem.flat(problem.law.stationary(t, state, problem.args))

    return Path(at(mesh[0]), jax.vmap(jax.vmap(at))(times_of(mesh)[:, 1:]))


def search(problem: BoundaryProblem, ts: Array, tol: Array, intervals: int, max_iterations: int) -> Search:
    """Newton at the wanted learning rate; where that fails, from a slower one on, in strides that adapt.

    Each solution moves the mesh of the next to where its defect is; at the wanted rate until the defect is below tol.
    """
    free = layered_points(ts, problem.law.fastest_rate.astype(ts.dtype), intervals)
    guess = first_guess(problem, with_times(free, ts))
    zero, infinite = jnp.zeros_like(ts[0]), jnp.full_like(ts[0], jnp.inf)
    count = jnp.asarray(0, jnp.int32)
    nothing = Solved(free, guess, zero, infinite, infinite)
    start = Search(nothing, free, guess, jnp.ones_like(zero), zero + 4, count, count, count, jnp.asarray(False))
    newton_tol = jnp.maximum(tol / 100, 64 * jnp.finfo(ts.dtype).eps)

    def body(now: Search) -> Search:
        slow, mesh = problem.slowed(1 / now.rate), with_times(now.free, ts)
        found = newton(slow, mesh, now.guess, newton_tol, max_iterations)
        counted = eqx.tree_at(
            lambda s: (s.attempts, s.iterations), now, (now.attempts + 1, now.iterations + found.steps)
        )
        return tree_where(found.converged, _advanced(slow, mesh, counted, found, tol, ts), _backed(counted))

    def going(now: Search) -> Array:
        return ~now.done & (now.attempts < _MAX_ATTEMPTS)

    return lax.while_loop(going, body, start)


def _advanced(
    problem: BoundaryProblem, mesh: Array, now: Search, found: NewtonIteration, tol: Array, ts: Array
) -> Search:
    """After a success: the mesh moves, and the rate goes on."""
    defect = defects(problem, mesh, found.path)
    needed = intervals_needed(defect, tol)
    solved = Solved(now.free, found.path, now.rate, jnp.max(defect), jnp.sum(needed))
    arrived = now.rate >= 1
    better = (now.rate > now.best.rate) | (solved.defect < now.best.defect)
    settled = (now.best.rate >= 1) & (solved.defect > 0.7 * now.best.defect)
    free = spread_points(mesh, needed, now.free.size)
    refinements = now.refinements + arrived.astype(jnp.int32)
    return Search(
        tree_where(better, solved, now.best),
        free,
        moved_to(problem, mesh, found.path, with_times(free, ts)),
        jnp.minimum(now.rate * now.stride, 1),
        jnp.minimum(now.stride**1.5, 16),
        now.attempts,
        refinements,
        now.iterations,
        arrived & ((solved.defect <= tol) | (refinements >= _MAX_REFINEMENTS) | settled),
    )


def _backed(now: Search) -> Search:
    """After a failure: from the best solution on, by a shorter stride."""
    best = now.best
    rate = jnp.where(best.rate > 0, jnp.sqrt(best.rate * now.rate), now.rate / 16)
    stuck = (best.rate >= 1) | (rate < _SLOWEST) | (rate < 1.005 * best.rate)
    stride = jnp.maximum(jnp.sqrt(now.stride), 1.05)
    return Search(best, best.free, best.path, rate, stride, now.attempts, now.refinements, now.iterations, stuck)
