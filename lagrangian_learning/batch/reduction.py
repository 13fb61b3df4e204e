"""`Reduction`: what a batch leaves that was folded as it came; prints itself."""

from typing import Any

import equinox as eqx
from jaxtyping import PyTree

from lagrangian_learning.simulate.results import RESULTS
from lagrangian_learning.simulate.table import reduction_printed


class Reduction(eqx.Module):
    """What `simulate_batch(..., reduce=(start, fn))` returns.

    value: what the lanes were folded into, NumPy arrays. result, stats: code and statistics of every lane, as in a
    `Trajectory`.
    """

    value: PyTree
    result: RESULTS
    stats: dict[str, Any]
    description: tuple[tuple[str, str], ...] = eqx.field(static=True)

    def __repr__(self) -> str:
        return reduction_printed(self)

    def __str__(self) -> str:
        return reduction_printed(self)
