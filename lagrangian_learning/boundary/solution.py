"""`BoundarySolution`: what `solve_boundary` returns, by name; prints itself."""

import equinox as eqx
from jaxtyping import Array, PyTree

from lagrangian_learning._arrays import is_concrete
from lagrangian_learning.simulate.results import RESULTS
from lagrangian_learning.simulate.table import Row, most, result_row, saved_row, span, steps_row, table, times_row
from lagrangian_learning.simulate.trajectory import AbstractSolution, Names, Record


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

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        rows = [
            *self.names.description,
            steps_row({"tol": self.tol}),
            times_row(self.ts),
            saved_row(self.saved, self.names.known(self.saved)),
            *self._outcome(),
        ]
        return table("BoundarySolution", rows)

    def _outcome(self) -> list[Row]:
        if not is_concrete(self.result, self.iterations):
            return [("result", "traced: values are known once the compiled function has run")]
        return [
            ("taken", f"{span(self.iterations)} iterations on {span(self.num_intervals)} intervals"),
            ("defect", f"{most(self.max_defect)} between mesh points, {most(self.boundary_residual)} at the ends"),
            result_row(self.result),
        ]
