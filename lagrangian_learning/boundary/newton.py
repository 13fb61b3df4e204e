"""Newton's method on collocation equations: stages eliminated interval by interval, the chain by orthogonal sweeps."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Bool, Float, Int

from lagrangian_learning._arrays import tree_where

from .collocation import MATRIX, BoundaryProblem, Path, jumps, times_of

_SMALLEST_DAMPING = 1 / 256


class Residuals(NamedTuple):
    """What a path leaves over: in the collocation equations, in the start, in the natural condition."""

    inside: Float[Array, "intervals 4 n"]
    start: Float[Array, " causal"]
    end: Float[Array, " costate"]


class Linearised(NamedTuple):
    """The Newton matrix, factorised.

    stages: inverses of I − hA⊗J, m = 4n.  maps: how the four points of an interval follow its first.
    frames, triangles: at every mesh point an orthogonal Q whose first columns C span the one condition Cᵀ y = d that
    everything later puts on y there, and the triangle by which it was normalised.
    """

    stages: Float[Array, "intervals m m"]
    maps: Float[Array, "intervals 4 n n"]
    frames: Float[Array, "nodes n n"]
    triangles: Float[Array, "nodes costate costate"]


def residuals(problem: BoundaryProblem, mesh: Array, path: Path) -> Residuals:
    """All equations of the discrete problem."""
    start = path.first[: problem.start.size] - problem.start
    return Residuals(jumps(problem, mesh, path), start, problem.end_residual(mesh[-1], path.values[-1, -1]))


def linearised(problem: BoundaryProblem, mesh: Array, path: Path) -> Linearised:
    """The derivative of `residuals` by the path, factorised in O(intervals · n³)."""
    times, points = times_of(mesh), path.points
    jacobians = jax.vmap(jax.vmap(_jacobian(problem.field)))(times, points)
    # Interval by interval: on a busy CPU, batches of solves were seen to stall in the threads of the BLAS.
    stages, maps = lax.map(lambda item: _stages(*item), (jnp.diff(mesh), jacobians))
    last = _jacobian(problem.end_residual)(mesh[-1], points[-1, -1])
    frame, triangle = jnp.linalg.qr(last.T, mode="complete")
    costates = last.shape[0]

    def backward(later: Array, along: Array) -> tuple[Array, tuple[Array, Array]]:
        frame, triangle = jnp.linalg.qr(along.T @ later[:, :costates], mode="complete")
        return frame, (frame, triangle[:costates])

    frames, triangles = lax.scan(backward, frame, maps[:, -1], reverse=True)[1]
    return Linearised(
        stages,
        maps,
        jnp.concatenate([frames, frame[None]]),
        jnp.concatenate([triangles, triangle[None, :costates]]),
    )


def _jacobian(fn: Any) -> Any:
    def of(t: Array, y: Array) -> Array:
        return jax.vmap(jax.linearize(lambda z: fn(t, z), y)[1], out_axes=1)(jnp.eye(y.size, dtype=y.dtype))

    return of


def _stages(step: Array, jacobians: Float[Array, "5 n n"]) -> tuple[Float[Array, "m m"], Float[Array, "4 n n"]]:
    n = jacobians.shape[-1]
    matrix = step * jnp.asarray(MATRIX[1:], jacobians.dtype)
    coupling = jnp.einsum("kj,jab->kajb", matrix[:, 1:], jacobians[1:]).reshape(4 * n, 4 * n)
    first = jnp.eye(n, dtype=matrix.dtype) + matrix[:, 0, None, None] * jacobians[0]
    inverse = jnp.linalg.inv(jnp.eye(4 * n, dtype=matrix.dtype) - coupling)
    return inverse, (inverse @ first.reshape(4 * n, n)).reshape(4, n, n)


def newton_step(system: Linearised, left: Residuals) -> Path:
    """The correction that cancels the residuals to first order; linear in them.

    Backward in time the condition that the end puts on y is carried along, forward in time y follows it: neither
    direction lets the waves that grow in it run away, which one product of all maps would.
    """
    own = -jax.vmap(lambda inverse, r: (inverse @ r.reshape(-1)).reshape(r.shape))(system.stages, left.inside)
    costates = left.end.size
    conditions = _conditions(system, own[:, -1], -left.end)
    first = _first(system.frames[0][:, :costates], conditions[0], -left.start)

    def forward(y: Array, item: tuple[Array, Array, Array, Array]) -> tuple[Array, tuple[Array, Array]]:
        along, shift, frame, condition = item
        held, free = frame[:, :costates], frame[:, costates:]
        after = held @ condition + free @ (free.T @ (along @ y + shift))
        return after, (y, after)

    items = (system.maps[:, -1], own[:, -1], system.frames[1:], conditions[1:])
    before, after = lax.scan(forward, first, items)[1]
    values = own + jnp.einsum("ikab,ib->ika", system.maps, before)
    return Path(first, values.at[:, -1].set(after))


def _conditions(system: Linearised, shifts: Array, end: Array) -> Float[Array, "nodes costate"]:
    costates = end.size
    last = solve_triangular(system.triangles[-1], end, trans=1)

    def backward(later: Array, item: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        shift, frame, triangle = item
        condition = solve_triangular(triangle, later - frame[:, :costates].T @ shift, trans=1)
        return condition, condition

    items = (shifts, system.frames[1:], system.triangles[:-1])
    return jnp.concatenate([lax.scan(backward, last, items, reverse=True)[1], last[None]])


def _first(held: Array, condition: Array, start: Array) -> Float[Array, " n"]:
    """y at t0: its causal part given, the rest by the condition."""
    causal = start.size
    return jnp.concatenate([start, jnp.linalg.solve(held[causal:].T, condition - held[:causal].T @ start)])


# -- the iteration -------------------------------------------------------------------------------------------------


class NewtonIteration(eqx.Module):
    """Where the iteration stands."""

    path: Path
    damping: Float[Array, ""]
    steps: Int[Array, ""]
    converged: Bool[Array, ""]
    failed: Bool[Array, ""]


class _Trial(NamedTuple):
    damping: Array
    path: Path
    accepted: Array
    converged: Array


def newton(
    problem: BoundaryProblem, mesh: Array, guess: Path, tol: Array, max_steps: Int[Array, ""] | int
) -> NewtonIteration:
    """Damped Newton steps until the next one would be smaller than tol, relative to 1 + |y|.

    A step is damped until the next correction, by the same matrix, is smaller: a test that no scaling of the equations
    changes (Deuflhard).
    """

    def body(now: NewtonIteration) -> NewtonIteration:
        system = linearised(problem, mesh, now.path)
        step = newton_step(system, residuals(problem, mesh, now.path))
        trial = _damped(problem, mesh, system, now, step, tol)
        through = _size(now.path, step)[1] <= tol
        path = tree_where(through, _plus(now.path, 1, step), trial.path)
        return NewtonIteration(
            tree_where(through | trial.accepted, path, now.path),
            jnp.minimum(2 * trial.damping, 1),
            now.steps + 1,
            through | trial.converged,
            ~through & ~trial.accepted,
        )

    def going(now: NewtonIteration) -> Array:
        return ~now.converged & ~now.failed & (now.steps < max_steps)

    no = jnp.asarray(False)
    start = NewtonIteration(guess, jnp.ones_like(mesh[0]), jnp.asarray(0, jnp.int32), no, no)
    return lax.while_loop(going, body, start)


def _damped(
    problem: BoundaryProblem, mesh: Array, system: Linearised, now: NewtonIteration, step: Path, tol: Array
) -> _Trial:
    size = _size(now.path, step)[0]

    def attempt(damping: Array) -> _Trial:
        path = _plus(now.path, damping, step)
        following = newton_step(system, residuals(problem, mesh, path))
        mean, largest = _size(now.path, following)
        converged = (damping == 1) & (largest <= tol)
        path = tree_where(converged, _plus(path, 1, following), path)
        return _Trial(damping, path, converged | (mean <= (1 - damping / 4) * size), converged)

    def shorter(trial: _Trial) -> _Trial:
        return attempt(trial.damping / 2)

    def going(trial: _Trial) -> Array:
        return ~trial.accepted & (trial.damping > _SMALLEST_DAMPING)

    no = jnp.asarray(False)
    # Twice the first damping, not accepted: one copy of `attempt` is compiled, not two.
    return lax.while_loop(going, shorter, _Trial(2 * now.damping, now.path, no, no))


def _size(path: Path, step: Path) -> tuple[Array, Array]:
    """Root mean square and maximum of a step, relative to 1 + |y|."""
    relative = jnp.abs(step.nodes) / (1 + jnp.abs(path.nodes))
    return jnp.sqrt(jnp.mean(relative**2)), jnp.max(relative)


def _plus(path: Path, scale: Any, step: Path) -> Path:
    return jax.tree.map(lambda y, d: y + scale * d, path, step)


@eqx.filter_custom_jvp
def implicit(problem: BoundaryProblem, mesh: Array, path: Path) -> Path:
    """The path, which solves the discrete problem, as a function of problem and mesh (implicit function theorem)."""
    return path


@implicit.def_jvp
def _implicit_jvp(primals: Any, tangents: Any) -> tuple[Path, Path]:
    problem, mesh, path = primals
    path = implicit(problem, mesh, path)
    change = eqx.filter_jvp(lambda p, m: residuals(p, m, path), (problem, mesh), (tangents[0], tangents[1]))[1]
    zeros = jax.tree.map(jnp.zeros_like, residuals(problem, mesh, path))
    filled = jax.tree.map(lambda z, d: z if d is None else d, zeros, change, is_leaf=lambda leaf: leaf is None)
    return path, newton_step(linearised(problem, mesh, path), Residuals(*filled))
