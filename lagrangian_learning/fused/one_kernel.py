"""A loop of fused steps as one kernel of a CPU, where XLA would launch a hundred a step."""

from collections.abc import Callable, Iterable

import jax

from .internals import ENTRYWISE, as_one_kernel
from .lanewise import Rows, Table
from .scalars import TRANSCENDENTAL, Program


def fits_one_kernel(program: Program, inputs: Iterable[Rows]) -> bool:
    """Whether a loop of such steps can be one kernel: on a CPU, of arithmetic entry by entry."""
    tables = any(isinstance(leaf, Table) for rows in inputs for leaf in rows)
    plain = not program.calls and (ENTRYWISE | TRANSCENDENTAL).issuperset(program.operations)
    return jax.default_backend() == "cpu" and plain and not tables


def one_kernel(loop: Callable) -> Callable:
    """The same function of arrays, marked to become one kernel."""
    return as_one_kernel(loop)
