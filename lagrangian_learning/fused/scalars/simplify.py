"""What needs no computing: constants folded, zeros and ones left out, signs drawn outwards.

0·x is 0 here even where x is not finite: structural zeros of derivatives are most of what there is to leave out.
Whoever integrates must therefore look at the state itself for what is not finite. Nothing is reassociated, so that what
is left is computed as it was written.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from lagrangian_learning.fused.internals import ONE_MINUS_SQUARE, Primitive, primitives as p

Rule = Callable[..., Any]

_IDENTITIES = {"copy", "copy_p", "stop_gradient", "nontraceable", "device_put", "reduce_precision", "name"}
_FOLDED: dict[str, Callable] = {
    "add": np.add, "add_any": np.add, "sub": np.subtract, "mul": np.multiply, "neg": np.negative, "abs": np.abs,
    "max": np.maximum, "min": np.minimum, "sqrt": np.sqrt, "square": np.square,
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
    "is_finite": np.isfinite,
}  # fmt: skip


def simplified(graph: Any, primitive: Primitive, args: tuple, dtype: Any, params: dict[str, Any]) -> Any:
    """A simpler node for the primitive of these nodes, or None."""
    if primitive.name in _IDENTITIES and (primitive.name != "reduce_precision" or _keeps(dtype, params)):
        return args[0]
    if all(arg.is_constant for arg in args):
        return graph.constant(_evaluated(primitive, [arg.value for arg in args], dtype, params), dtype)
    rule = _RULES.get(primitive)
    return None if rule is None else rule(graph, *args, **params)


def _keeps(dtype: Any, params: dict[str, Any]) -> bool:
    info = np.finfo(dtype)
    return params["exponent_bits"] >= info.nexp and params["mantissa_bits"] >= info.nmant


def _evaluated(primitive: Primitive, values: list[Any], dtype: Any, params: dict[str, Any]) -> Any:
    known = _FOLDED.get(primitive.name)
    with np.errstate(all="ignore"):
        if known is not None:
            return known(*values)
        if primitive.name == "convert_element_type":
            return np.asarray(values[0]).astype(dtype)
        if primitive.name == "select_n":
            return values[1 + int(values[0])]
    with jax.ensure_compile_time_eval():
        return np.asarray(primitive.bind(*(jax.numpy.asarray(value) for value in values), **params))


def _add(graph: Any, x: Any, y: Any, **_: Any) -> Any:
    if x.equals(0):
        return y
    if y.equals(0):
        return x
    if y.applies(p.neg_p):
        return graph.sub(x, y.args[0])
    if x.applies(p.neg_p):
        return graph.sub(y, x.args[0])
    return graph.node(p.add_p, _ordered(x, y), x.dtype, {})


def _sub(graph: Any, x: Any, y: Any, **_: Any) -> Any:
    if y.equals(0):
        return x
    if x.equals(0):
        return graph.neg(y)
    if x is y:
        return graph.constant(0, x.dtype)
    if y.applies(p.neg_p):
        return graph.add(x, y.args[0])
    if x.applies(p.neg_p):
        return graph.neg(graph.add(x.args[0], y))
    return None


def _mul(graph: Any, x: Any, y: Any, **_: Any) -> Any:
    for factor, other in ((x, y), (y, x)):
        if factor.equals(0):
            return factor
        if factor.equals(1):
            return other
        if factor.equals(-1):
            return graph.neg(other)
        if factor.applies(p.neg_p):
            return graph.neg(graph.mul(factor.args[0], other))
    return graph.node(p.mul_p, _ordered(x, y), x.dtype, {})


def _div(graph: Any, x: Any, y: Any, **_: Any) -> Any:
    if not np.issubdtype(x.dtype, np.inexact):
        return None
    if x.equals(0) or y.equals(1):
        return x
    if x.applies(p.neg_p):
        return graph.neg(graph.div(x.args[0], y))
    if y.applies(p.neg_p):
        return graph.neg(graph.div(x, y.args[0]))
    if y.is_constant and abs(np.frexp(y.value)[0]) == 0.5:  # a power of two: its inverse is exact
        return graph.mul(x, graph.constant(1 / y.value, x.dtype))
    return None


def _neg(graph: Any, x: Any, **_: Any) -> Any:
    if x.applies(p.neg_p):
        return x.args[0]
    if x.applies(p.sub_p):
        return graph.sub(x.args[1], x.args[0])
    return None


def _power(graph: Any, x: Any, *, y: int) -> Any:
    if y < 0:
        return graph.div(graph.constant(1, x.dtype), _power(graph, x, y=-y))
    if y == 0:
        return graph.constant(1, x.dtype)
    half = _power(graph, x, y=y // 2)
    square = graph.mul(half, half)
    return graph.mul(square, x) if y % 2 else square


def _square(graph: Any, x: Any, **_: Any) -> Any:
    return graph.mul(x, x)


def _one_minus_square(graph: Any, x: Any, **_: Any) -> Any:
    return graph.sub(graph.constant(1, x.dtype), graph.mul(x, x))


def _select(graph: Any, which: Any, *cases: Any, **_: Any) -> Any:
    if which.is_constant:
        return cases[int(which.value)]
    return cases[0] if all(case is cases[0] for case in cases) else None


def _and(graph: Any, x: Any, y: Any, **_: Any) -> Any:
    return _logical(x, y, neutral=True)


def _or(graph: Any, x: Any, y: Any, **_: Any) -> Any:
    return _logical(x, y, neutral=False)


def _logical(x: Any, y: Any, *, neutral: bool) -> Any:
    if x.dtype != np.dtype(bool):
        return None
    for known, other in ((x, y), (y, x)):
        if known.is_constant:
            return other if bool(known.value) is neutral else known
    return x if x is y else None


def _extremum(graph: Any, x: Any, y: Any, **_: Any) -> Any:
    return x if x is y else None


def _convert(graph: Any, x: Any, *, new_dtype: Any, **_: Any) -> Any:
    return x if x.dtype == np.dtype(new_dtype) else None


def _ordered(x: Any, y: Any) -> tuple:
    return (x, y) if x.number <= y.number else (y, x)


_RULES: dict[Primitive, Rule] = {
    p.add_p: _add,
    p.add_jaxvals_p: _add,
    p.sub_p: _sub,
    p.mul_p: _mul,
    p.div_p: _div,
    p.neg_p: _neg,
    p.integer_pow_p: _power,
    p.square_p: _square,
    p.select_n_p: _select,
    p.and_p: _and,
    p.or_p: _or,
    p.max_p: _extremum,
    p.min_p: _extremum,
    p.convert_element_type_p: _convert,
}
if ONE_MINUS_SQUARE is not None:
    _RULES[ONE_MINUS_SQUARE] = _one_minus_square
