"""What a function costs, read from its jaxpr: arithmetic, bytes that products move, how many follow each other.

Counted here because XLA's cost analysis counts the body of a loop once, as often as it may run, and knows neither how
many products follow each other nor which arrays are single numbers. Of products it counts the same.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax.extend.core as jex

from lagrangian_learning._jaxprs import needed
from lagrangian_learning._tuning import FUSED_NUMBERS, KERNELS_AN_EQUATION
from lagrangian_learning._types import Number

from .memory import num_bytes

# Elementwise functions that take a polynomial or a division each: about as many operations on today's hardware.
_COSTLY = {"tanh", "exp", "exp2", "log", "log1p", "expm1", "sin", "cos", "tan", "logistic", "erf", "pow", "div", "sqrt"}
_COSTLY_FLOPS = 10
_MOVES = {
    "transpose", "reshape", "broadcast_in_dim", "squeeze", "expand_dims", "slice", "dynamic_slice", "concatenate",
    "pad", "gather", "dynamic_update_slice", "convert_element_type", "copy", "rev", "iota", "split", "stop_gradient",
}  # fmt: skip


class Cost(NamedTuple):
    """flops: operations, a multiply-add being two;  bytes: operands and results of matrix products and convolutions;
    products: how many of these are done, loops counted in;  kernels: these and what else is started one after another;
    scalars: the operations on arrays of a few numbers, which start no kernel.
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

    loop_steps: how often the body of a `while` runs, which no jaxpr says: steps of conjugate gradients. Elementwise
    results are taken to be fused away: what they move is not counted.
    """
    jaxpr = eqx.filter_make_jaxpr(fn)(*args)[0]
    return _total(jaxpr.jaxpr, loop_steps)


def _total(jaxpr: jex.Jaxpr, loop_steps: Number) -> Cost:
    """Of the equations that are needed: XLA drops the others, as the power where only rates are asked for."""
    return sum((_cost(equation, loop_steps) for equation in needed(jaxpr, effects=True)[1]), start=NOTHING)


def _cost(equation: Any, loop_steps: Number) -> Cost:
    name = equation.primitive.name
    if name in _PRODUCTS:
        return _product(equation, _PRODUCTS[name](equation))
    inside = _inside(name, equation.params, loop_steps)
    if inside is not None:
        return inside
    if name in _MOVES:
        return NOTHING
    flops = (_COSTLY_FLOPS if name in _COSTLY else 1) * float(_size(equation.outvars))
    few = max(_size([variable]) for variable in (*equation.invars, *equation.outvars)) <= FUSED_NUMBERS
    return Cost(flops, 0.0, 0.0, 0.0, flops) if few else Cost(flops, 0.0, 0.0, KERNELS_AN_EQUATION, 0.0)


def _inside(name: str, parameters: dict[str, Any], loop_steps: Number) -> Cost | None:
    """The cost of the jaxprs that an equation calls; None where it calls none."""
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


def _dot_flops(equation: Any) -> Number:
    (contracted, _), _ = equation.params["dimension_numbers"]
    return 2 * math.prod(equation.invars[0].aval.shape[axis] for axis in contracted)


def _convolution_flops(equation: Any) -> Number:
    kernel = equation.invars[1].aval.shape
    return 2 * math.prod(kernel) / kernel[equation.params["dimension_numbers"].rhs_spec[0]]


# Operations for each entry of the result.
_PRODUCTS: dict[str, Callable[[Any], float]] = {
    "dot_general": _dot_flops,
    "conv_general_dilated": _convolution_flops,
    "cholesky": lambda equation: equation.invars[0].aval.shape[-1] / 3,
    "triangular_solve": lambda equation: equation.invars[0].aval.shape[-1],
}


def _product(equation: Any, flops_an_entry: Number) -> Cost:
    moved = num_bytes([variable.aval for variable in (*equation.invars, *equation.outvars)])
    flops = flops_an_entry * _size(equation.outvars)
    if max(_size([variable]) for variable in equation.invars) <= FUSED_NUMBERS:
        return Cost(flops, 0.0, 1.0, 0.0, flops)
    return Cost(flops, float(moved), 1.0, 1.0, 0.0)


def _size(variables: list[Any]) -> int:
    return sum(math.prod(variable.aval.shape) for variable in variables if hasattr(variable.aval, "shape"))
