"""How a two-point problem is solved, and what is returned of it."""

import abc
from typing import ClassVar, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from lagrangian_learning._arrays import is_concrete, observed
from lagrangian_learning._checks import positive, positive_int, require
from lagrangian_learning.simulate.records import Record
from lagrangian_learning.simulate.results import RESULTS
from lagrangian_learning.simulate.table import Row, most, result_row, saved_row, span, steps_row, times_row
from lagrangian_learning.simulate.trajectory import AbstractSolution, Names

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


class BoundarySolution(AbstractSolution):
    """The solution of a two-point problem at the times ts. All leaves are arrays; time is the first axis of records.

    ts: times [T].
    x, W, x_dot, W_dot, multipliers, energy, saved: records by name, as of a `Trajectory`; NaN where the problem was not
    solved.
    result: a code of `ll.RESULTS`.
    tol: the defect that was asked for.
    max_defect: the largest |u̇ − f(t, u)|/(1 + |f|) between mesh points.
    max_jump: the largest remainder of the discrete equations, relative to 1 + |u|.
    boundary_residual: the largest remainder of the conditions at both ends.
    iterations: Newton steps of all attempts, or sweeps.
    num_intervals: how many intervals the mesh has. intervals_needed: an estimate of how many tol requires.
    final_state: the law's state at ts[-1].
    """

    ts: Array
    record: Record
    result: RESULTS
    tol: Array
    max_defect: Array
    max_jump: Array
    boundary_residual: Array
    iterations: Array
    num_intervals: Array
    intervals_needed: Array
    final_state: PyTree
    names: Names = eqx.field(static=True)

    @property
    def _energy_start(self) -> Array:
        return self.energy[..., 0]

    def _title_and_rows(self) -> tuple[str, list[Row]]:
        rows = [
            *self.names.description,
            steps_row({"tol": self.tol}),
            times_row(self.ts),
            saved_row(self.saved, self.names.known(self.saved)),
            *self._outcome(),
        ]
        return "BoundarySolution", rows

    def _numbers(self) -> dict[str, Array]:
        names = "tol", "max_defect", "max_jump", "boundary_residual", "iterations", "num_intervals", "intervals_needed"
        return {name: getattr(self, name) for name in names}

    def _outcome(self) -> list[Row]:
        if not is_concrete(self.result, self.iterations):
            return [("result", "traced: values are known once the compiled function has run")]
        return [
            ("taken", f"{span(self.iterations)} iterations on {span(self.num_intervals)} intervals"),
            ("defect", f"{most(self.max_defect)} between mesh points, {most(self.boundary_residual)} at the ends"),
            result_row(self.result),
        ]
