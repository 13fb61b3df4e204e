"""`Reduction`: what a batch leaves that was folded as it came; prints itself."""

from typing import Any

import equinox as eqx
from jaxtyping import PyTree

from lagrangian_learning.simulate.results import RESULTS
from lagrangian_learning.simulate.stepping import Statistics
from lagrangian_learning.simulate.table import outcome_rows, run_title, table, value_rows


class Reduction(eqx.Module):
    """What `simulate_batch(..., reduce=(start, fn))` returns.

    value: what the lanes were folded into, NumPy arrays. result, stats: code and statistics of every lane, as in a
    `Trajectory`.
    """

    value: PyTree
    result: RESULTS
    statistics: Statistics
    description: tuple[tuple[str, str], ...] = eqx.field(static=True)

    @property
    def stats(self) -> dict[str, Any]:
        """Steps taken, and extrema over all accepted steps, of every lane."""
        return self.statistics.as_dict()

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        rows = [*self.description, *outcome_rows(self.statistics, self.result), *value_rows(self.value)]
        return table(f"Reduction{run_title(self.statistics)}", rows)
