"""How a two-point problem is solved: Newton's method on collocation, or damped forward and backward sweeps."""

import abc
from typing import ClassVar, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from lagrangian_learning._checks import positive, positive_int, require
from lagrangian_learning.simulate.stepping import observed

from .collocation import BoundaryProblem, Path, with_times
from .continuation import search
from .newton import implicit
from .sweeps import sweep


class Found(NamedTuple):
    """What a method has found: a path on a mesh, whether its iteration converged, and how many iterations it took."""

    mesh: Float[Array, " nodes"]
    path: Path
    converged: Array
    iterations: Array


class AbstractMethod(eqx.Module):
    """A method for two-point problems. description: how the printed solution calls it."""

    description: eqx.AbstractClassVar[str]

    @abc.abstractmethod
    def solve(self, problem: BoundaryProblem, ts: Array, tol: Array, intervals: int) -> Found:
        """A path that solves the problem to tol where it converged; the mesh has so many intervals beside ts."""


class Newton(AbstractMethod):
    """Collocation at five Lobatto points, Newton with its blocks eliminated one interval at a time.

    From slower learning on where learning is too fast for it, on a mesh that moves to where the defect is.
    O(intervals · n³) for n numbers in the state. Differentiable in both modes by the implicit function theorem.

    Arguments:
        max_iterations: Newton steps of one attempt.
    """

    max_iterations: int = eqx.field(static=True, default=30)
    description: ClassVar[str] = "Newton on Lobatto collocation, order 8"

    def __check_init__(self) -> None:
        positive_int(self.max_iterations, "max_iterations")

    def solve(self, problem: BoundaryProblem, ts: Array, tol: Array, intervals: int) -> Found:
        found = search(*observed((problem, ts, tol)), intervals, self.max_iterations)
        mesh = with_times(found.best.free, ts)
        path = implicit(problem, mesh, found.best.path)
        return Found(mesh, path, found.best.rate >= 1, found.iterations)


def _share(value: object) -> Array:
    share = positive(value, "relaxation", "it is the share of a new δ in the next sweep.")
    return require(share, share <= 1, "relaxation must be in (0, 1].")


class Sweeps(AbstractMethod):
    """Forward and adjoint sweeps in turn, damped; no matrices, for larger networks and slow learning.

    No reverse mode.

    Arguments:
        relaxation: in (0, 1], the share of a new δ in the next sweep; 1 is undamped.
        max_iterations: the most sweeps.
    """

    relaxation: Float[Array, ""] = eqx.field(converter=_share, default=0.5)
    max_iterations: int = eqx.field(static=True, default=200)
    description: ClassVar[str] = "damped forward–backward sweeps"

    def __check_init__(self) -> None:
        positive_int(self.max_iterations, "max_iterations")

    def solve(self, problem: BoundaryProblem, ts: Array, tol: Array, intervals: int) -> Found:
        relaxation = jnp.asarray(self.relaxation).astype(ts.dtype)
        return Found(*sweep(problem, ts, tol, intervals, relaxation, self.max_iterations))
