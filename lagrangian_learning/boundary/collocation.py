"""Lobatto collocation on a mesh: the piecewise polynomial, its defect, and meshes that spread the defect evenly."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from lagrangian_learning.mechanics.law import AbstractBoundaryLaw

# Five Lobatto points: order 8 at mesh points, 6 between them, and a defect of order 5 in the interval's length.
POINTS = np.array([0.0, (1 - np.sqrt(3 / 7)) / 2, 0.5, (1 + np.sqrt(3 / 7)) / 2, 1.0])
DEFECT_ORDER = 5
_COEFFICIENTS = np.linalg.inv(np.vander(POINTS, increasing=True))  # [power, point]
_SAMPLES = (POINTS[1:] + POINTS[:-1]) / 2
_POWERS = np.arange(POINTS.size)


def _basis(theta: np.ndarray) -> np.ndarray:
    """ℓ_j(θ), [..., point]."""
    return theta[..., None] ** _POWERS @ _COEFFICIENTS


def _integrals(theta: np.ndarray) -> np.ndarray:
    """∫₀^θ ℓ_j, [..., point]."""
    return theta[..., None] ** (_POWERS + 1) / (_POWERS + 1) @ _COEFFICIENTS


MATRIX = _integrals(POINTS)  # Butcher's A, first row zero, last row the weights


class BoundaryProblem(eqx.Module):
    """A law on flat states y = (causal, costate): ẏ = field(t, y), causal given at t0, costate at t1."""

    law: AbstractBoundaryLaw
    args: PyTree
    causal: PyTree
    costate: PyTree

    @property
    def start(self) -> Float[Array, " causal"]:
        """The causal part at t0."""
        return ravel_pytree(self.causal)[0]

    def flat(self, state: PyTree) -> Float[Array, " n"]:
        """The flat form of a state, or of its rates."""
        return ravel_pytree(self.law.split(state))[0]

    def state(self, t: Array, y: Float[Array, " n"]) -> PyTree:
        """The law's state."""
        return self.law.joined(t, *ravel_pytree((self.causal, self.costate))[1](y), self.args)

    def field(self, t: Array, y: Float[Array, " n"]) -> Float[Array, " n"]:
        """ẏ."""
        return self.flat(self.law.vector_field(t, self.state(t, y), self.args))

    def end_residual(self, t: Array, y: Float[Array, " n"]) -> Float[Array, " costate"]:
        """δ(t₁) less what the natural condition asks."""
        natural = self.law.natural_condition(t, self.state(t, y), self.args)
        return y[self.start.size :] - ravel_pytree(natural)[0]

    def slowed(self, factor: Array) -> "BoundaryProblem":
        """The same problem with slower learning."""
        return BoundaryProblem(self.law.slowed(factor), self.args, self.causal, self.costate)


class Path(eqx.Module):
    """Values at the five points of every interval; the first point of one is the last of the interval before."""

    first: Float[Array, " n"]
    values: Float[Array, "intervals 4 n"]

    @property
    def nodes(self) -> Float[Array, "nodes n"]:
        """Values at mesh points."""
        return jnp.concatenate([self.first[None], self.values[:, -1]])

    @property
    def points(self) -> Float[Array, "intervals 5 n"]:
        """Values at all points."""
        return jnp.concatenate([self.nodes[:-1, None], self.values], axis=1)


def times_of(mesh: Float[Array, " nodes"]) -> Float[Array, "intervals 5"]:
    """The collocation times."""
    step = jnp.diff(mesh)[:, None]
    times = mesh[:-1, None] + step * jnp.asarray(POINTS, mesh.dtype)
    return times.at[:, -1].set(mesh[1:])


def slopes(problem: BoundaryProblem, mesh: Array, path: Path) -> Float[Array, "intervals 5 n"]:
    """f at all points: the collocation polynomial is u = y_i + ∫ of the quartic through them."""
    return jax.vmap(jax.vmap(problem.field))(times_of(mesh), path.points)


def interpolate(mesh: Array, starts: Array, rates: Array, t: Array) -> Float[Array, " n"]:
    """The piecewise polynomial with values `starts` at mesh[:-1] and slopes `rates` [intervals, 5, n], at t."""
    index = jnp.clip(jnp.searchsorted(mesh, t, side="right") - 1, 0, mesh.size - 2)
    step = mesh[index + 1] - mesh[index]
    theta = (t - mesh[index]) / jnp.where(step > 0, step, 1)
    powers = jnp.asarray(_POWERS + 1, mesh.dtype)
    weights = (theta**powers / powers) @ jnp.asarray(_COEFFICIENTS, mesh.dtype)
    return starts[index] + step * weights @ rates[index]


def defects(problem: BoundaryProblem, mesh: Array, path: Path) -> Float[Array, " intervals"]:
    """max |u̇ − f(t, u)|/(1 + |f|) of each interval, at four places between its points."""
    rates, dtype = slopes(problem, mesh, path), mesh.dtype
    step = jnp.diff(mesh)
    inside = jnp.einsum("sj,ijn->isn", jnp.asarray(_integrals(_SAMPLES), dtype), rates)
    u = path.nodes[:-1, None] + step[:, None, None] * inside
    u_dot = jnp.einsum("sj,ijn->isn", jnp.asarray(_basis(_SAMPLES), dtype), rates)
    f = jax.vmap(jax.vmap(problem.field))(mesh[:-1, None] + step[:, None] * jnp.asarray(_SAMPLES, dtype), u)
    return jnp.max(jnp.abs(u_dot - f) / (1 + jnp.abs(f)), axis=(1, 2))


def jumps(problem: BoundaryProblem, mesh: Array, path: Path) -> Float[Array, "intervals 4 n"]:
    """Z_k − y_i − h Σ_j A_kj f(t_j, Z_j): the collocation equations at the last four points of each interval."""
    rates = slopes(problem, mesh, path)
    moved = jnp.einsum("kj,ijn->ikn", jnp.asarray(MATRIX[1:], mesh.dtype), rates)
    return path.values - path.nodes[:-1, None] - jnp.diff(mesh)[:, None, None] * moved


def with_times(free: Float[Array, " free"], ts: Float[Array, " times"]) -> Float[Array, " nodes"]:
    """The mesh of free points and of the saved times, which are mesh points so that records are of full order."""
    return jnp.sort(jnp.concatenate([jax.lax.stop_gradient(free), ts]))


def layered_points(ts: Array, rate: Array, count: int) -> Float[Array, " free"]:
    """A first mesh: a third of the points for each of the layers of width 1/rate at both ends, a third for the rest."""
    span = ts[-1] - ts[0]
    fine = rate / (DEFECT_ORDER + 1)

    def share(t: Array) -> Array:
        return t / span - jnp.expm1(-fine * t) + jnp.exp(-fine * (span - t)) - jnp.exp(-fine * span)

    wanted = jnp.linspace(0, 1, count + 2, dtype=ts.dtype)[1:-1] * share(span)

    def halve(_: Any, bracket: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bracket
        middle = (low + high) / 2
        below = share(middle) < wanted
        return jnp.where(below, middle, low), jnp.where(below, high, middle)

    low, high = jax.lax.fori_loop(0, 60, halve, (jnp.zeros_like(wanted), jnp.full_like(wanted, span)))
    return ts[0] + (low + high) / 2


def intervals_needed(defect: Float[Array, " intervals"], tol: Array) -> Float[Array, " intervals"]:
    """Into how many intervals of defect tol each interval should be cut."""
    return (defect / tol) ** (1 / DEFECT_ORDER)


def spread_points(mesh: Array, needed: Float[Array, " intervals"], count: int) -> Float[Array, " free"]:
    """Free points that give every interval the same defect; a tenth of them evenly in time, to leave no place out."""
    step = jnp.diff(mesh)
    share = needed + jnp.sum(needed) / 10 * step / (mesh[-1] - mesh[0])
    total = jnp.concatenate([jnp.zeros_like(mesh[:1]), jnp.cumsum(share)])
    wanted = jnp.linspace(0, 1, count + 2, dtype=mesh.dtype)[1:-1] * total[-1]
    return jnp.interp(wanted, total, mesh)


def moved_to(problem: BoundaryProblem, mesh: Array, path: Path, new: Array) -> Path:
    """The same piecewise polynomial read at the points of another mesh."""
    starts, rates = path.nodes[:-1], slopes(problem, mesh, path)
    values = jax.vmap(jax.vmap(lambda t: interpolate(mesh, starts, rates, t)))(times_of(new)[:, 1:])
    return Path(path.first, values)
