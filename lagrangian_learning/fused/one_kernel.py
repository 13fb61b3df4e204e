"""A loop of fused steps as one kernel of a CPU, where XLA would launch a hundred a step."""

from collections.abc import Callable, Iterable
from typing import Any

import jax
from jax.experimental.xla_metadata import set_xla_metadata

from .lanewise import Rows, Table
from .scalars import TRANSCENDENTAL, Program

# How XLA itself marks loops that touch few bytes, to make a kernel of each; the first keeps the loop a function until
# then. An XLA that knows these marks no longer launches kernel by kernel, as it would without them.
_MARKS = {"inlineable": "false", "xla_cpu_small_call": "true"}
# What is computed entry by entry. XLA's maker of such kernels aborts at what calls a function for its entries, as
# reductions do, so that nothing else is let in.
_ENTRYWISE = TRANSCENDENTAL | {
    "abs",
    "add",
    "and",
    "ceil",
    "clamp",
    "convert_element_type",
    "div",
    "eq",
    "floor",
    "ge",
    "gt",
    "integer_pow",
    "is_finite",
    "le",
    "lt",
    "max",
    "min",
    "mul",
    "ne",
    "neg",
    "not",
    "or",
    "round",
    "rsqrt",
    "select_n",
    "sign",
    "sqrt",
    "square",
    "sub",
    "xor",
}


def fits_one_kernel(program: Program, inputs: Iterable[Rows]) -> bool:
    """Whether a loop of such steps can be one kernel: on a CPU, of arithmetic entry by entry."""
    tables = any(isinstance(leaf, Table) for rows in inputs for leaf in rows)
    plain = not program.calls and _ENTRYWISE.issuperset(program.operations)
    return jax.default_backend() == "cpu" and plain and not tables


def one_kernel(loop: Callable) -> Callable:
    """The same function of arrays, marked to become one kernel."""

    def unmarked(*arguments: Any) -> Any:
        with set_xla_metadata(**dict.fromkeys(_MARKS)):  # None takes a mark off what is inside
            return loop(*arguments)

    def marked(*arguments: Any) -> Any:
        with set_xla_metadata(**_MARKS):
            return jax.jit(unmarked)(*arguments)

    return marked
