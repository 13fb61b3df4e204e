"""What a function costs, read from its jaxpr: arithmetic, bytes moved, how many products follow each other.

Counted here because XLA's cost analysis counts the body of a loop once, as often as it may run, knows neither how many
products follow each other nor which arrays are single numbers, and has to compile. Without loops both count the same.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax.extend.core as jex

from lagrangian_learning._tuning import FUSED_NUMBERS, KERNELS_AN_EQUATION
from lagrangian_learning._types import Number

from .program import Operation, Program
from .traffic import Traffic

# Elementwise functions that take a polynomial each: about as many operations on today's hardware.
_COSTLY = {"tanh", "exp", "exp2", "log", "log1p", "expm1", "sin", "cos", "tan", "logistic", "erf", "pow", "sqrt"}
_COSTLY_FLOPS = 10
_MOVES = {
    "transpose", "reshape", "broadcast_in_dim", "squeeze", "expand_dims", "slice", "dynamic_slice", "concatenate",
    "pad", "gather", "dynamic_update_slice", "convert_element_type", "copy", "rev", "iota", "split", "stop_gradient",
}  # fmt: skip


class Cost(NamedTuple):
    """What an evaluation costs.

    flops: operations, a multiply-add being two;  bytes: what kernels read and write, elementwise operations fused;
    products: how many matrix products and convolutions are done, loops counted in;  kernels: these and what else is
    started one after another;  scalars: the operations on arrays of a few numbers, which start no kernel.
    """

    flops: float
    bytes: float
    products: float
    kernels: float
    scalars: float

    def __add__(self, other: "Cost") -> "Cost":  # pyright: ignore[reportIncompatibleMethodOverride]
        return Cost(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))

    def times(self, count: Number) -> "Cost":
        """The cost of doing it that many times."""
        return Cost(*(count * entry for entry in self))


NOTHING = Cost(0.0, 0.0, 0.0, 0.0, 0.0)


def cost_of(fn: Callable, *args: Any, loop_steps: Number = 1.0) -> Cost:
    """Cost of fn(*args); leaves of args may be `jax.ShapeDtypeStruct`, nothing is computed or allocated.

    Arguments:
        fn: a function that JAX can trace.
        args: what it takes, arrays or shapes.
        loop_steps: how often the body of a `while` runs, which no jaxpr says: steps of conjugate gradients.
    """
    jaxpr = eqx.filter_make_jaxpr(fn)(*args)[0]
    return _total(jaxpr.jaxpr, loop_steps, copies=True)


def _total(jaxpr: jex.Jaxpr, loop_steps: Number, *, copies: bool = False) -> Cost:
    """copies: whether an input that is handed on is copied, as by a compiled function but not by the body of a loop."""
    program = Program(jaxpr)
    moved = Traffic(program, _is_kernel, copies=copies).total
    parts = (_cost(program, operation, loop_steps) for operation in program.operations)
    return sum(parts, start=Cost(0.0, float(moved), 0.0, 0.0, 0.0))


def _cost(program: Program, operation: Operation, loop_steps: Number) -> Cost:
    """Without what is moved, but for what the jaxprs that it holds move."""
    name = operation.name
    sizes = [program.size(value) for value in (*operation.operands, *operation.results)]
    made = sum(program.size(value) for value in operation.results)
    few = max(sizes, default=0) <= FUSED_NUMBERS
    if few and operation.results:  # computed again by whatever reads them
        made *= program.repeats[operation.results[0]]
    if name in _PRODUCTS:
        flops = float(_PRODUCTS[name](program, operation) * made)
        return Cost(flops, 0.0, 1.0, 0.0, flops) if few else Cost(flops, 0.0, 1.0, 1.0, 0.0)
    inside = _inside(operation, loop_steps)
    if inside is not None:
        return inside
    if name in _MOVES:
        return NOTHING
    entries = sum(program.size(value) for value in operation.operands) if _reduces(name) else made
    flops = (_COSTLY_FLOPS if name in _COSTLY else 1) * float(entries)
    return Cost(flops, 0.0, 0.0, 0.0, flops) if few else Cost(flops, 0.0, 0.0, KERNELS_AN_EQUATION, 0.0)


def _reduces(name: str) -> bool:
    return name.startswith(("reduce_", "arg", "cum"))


def _is_kernel(name: str) -> bool:
    """Whether its results are written to memory: what is elementwise, or only moves, is fused into what reads it."""
    return name in _PRODUCTS or name in _HOLDING or _reduces(name)


_HOLDING = {"while", "scan", "cond", "custom_linear_solve", "sort", "scatter", "scatter-add", "lu"}


def _inside(operation: Operation, loop_steps: Number) -> Cost | None:
    """The cost of the jaxprs that an operation holds; None where it holds none."""
    name, parameters = operation.name, operation.params
    if name == "while":
        parts = (parameters["body_jaxpr"], parameters["cond_jaxpr"])
        return sum((_total(part.jaxpr, loop_steps) for part in parts), start=NOTHING).times(loop_steps)
    if name == "scan":
        return _total(parameters["jaxpr"].jaxpr, loop_steps).times(parameters["length"])
    if name == "cond":
        return max((_total(branch.jaxpr, loop_steps) for branch in parameters["branches"]), key=lambda cost: cost.flops)
    if name == "custom_linear_solve":
        return _total(parameters["jaxprs"].solve.jaxpr, loop_steps)
    called = [value for value in parameters.values() if isinstance(value, jex.Jaxpr | jex.ClosedJaxpr)]
    if not called:
        return None
    jaxprs = [part.jaxpr if isinstance(part, jex.ClosedJaxpr) else part for part in called]
    return sum((_total(part, loop_steps) for part in jaxprs), start=NOTHING)


def _dot_flops(program: Program, operation: Operation) -> Number:
    (contracted, _), _ = operation.params["dimension_numbers"]
    shape = program.avals[operation.operands[0]].shape
    return 2 * math.prod(shape[axis] for axis in contracted)


def _convolution_flops(program: Program, operation: Operation) -> Number:
    kernel = program.avals[operation.operands[1]].shape
    return 2 * math.prod(kernel) / kernel[operation.params["dimension_numbers"].rhs_spec[0]]


def _side(share: float) -> Callable[[Program, Operation], Number]:
    return lambda program, operation: share * program.avals[operation.operands[0]].shape[-1]


# Operations for each entry of the result.
_PRODUCTS: dict[str, Callable[[Program, Operation], Number]] = {
    "dot_general": _dot_flops,
    "conv_general_dilated": _convolution_flops,
    "cholesky": _side(1 / 3),
    "triangular_solve": _side(1.0),
}


def held_by_results(fn: Callable, *args: Any) -> int:
    """Bytes of the results of fn(*args) that a program holds which reads them more than once: the results, and arrays
    from which they are summed, since a sum is fused into all that read it.
    """
    program = Program(eqx.filter_make_jaxpr(fn)(*args)[0].jaxpr)
    return Traffic(program, _is_kernel, copies=False).held_by_outputs
