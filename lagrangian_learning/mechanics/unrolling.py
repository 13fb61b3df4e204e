"""Laws of small systems with their multipliers by plain arithmetic, as a batch of them wants it."""

import functools
from typing import Any

import jax
from jaxtyping import PyTree

from .saddle_point import AbstractMultiplierSolver


@functools.singledispatch
def unrolled_solver(solver: Any) -> Any:
    """The solver that a batch of small systems had better use: the same multipliers, without iterations.

    A solver that has none is its own. Packages register theirs: `unrolled_solver.register(Solver)`.
    """
    return solver


def unrolled(law: PyTree) -> PyTree:
    """The law with every multiplier solver in it replaced so; leaves may be shapes."""

    def is_solver(part: Any) -> bool:
        return isinstance(part, AbstractMultiplierSolver)

    return jax.tree.map(lambda part: unrolled_solver(part) if is_solver(part) else part, law, is_leaf=is_solver)
