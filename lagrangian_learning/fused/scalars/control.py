"""Loops, branches and calls: unrolled, selected from, inlined."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from lagrangian_learning.fused.internals import ClosedJaxpr, parameters, primitives, raises_error

from .graph import NotScalarError, Source, filled


def _inlined(name: str) -> Callable:
    def rule(interpreter: Any, equation: Any, operands: list) -> list:
        inner = parameters(equation)[name]
        closed = inner if isinstance(inner, ClosedJaxpr) else ClosedJaxpr(inner, ())
        return interpreter.run(closed, operands)

    return rule


def _scan(interpreter: Any, equation: Any, operands: list) -> list:
    params = parameters(equation)
    inner, length = params["jaxpr"], params["length"]
    fixed, carried = params["num_consts"], params["num_carry"]
    constants, carry, rows = operands[:fixed], operands[fixed : fixed + carried], operands[fixed + carried :]
    if any(isinstance(row, Source) for row in rows):
        raise NotScalarError("it scans over an array that is too large to unroll.")
    steps = range(length)[::-1] if params["reverse"] else range(length)
    outputs: list[list] = []
    for step in steps:
        results = interpreter.run(inner, [*constants, *carry, *(row[step, ...] for row in map(np.asarray, rows))])
        carry = results[:carried]
        outputs.append(results[carried:])
    if params["reverse"]:
        outputs.reverse()
    shapes = [atom.aval.shape for atom in equation.outvars[carried:]]
    return [*carry, *(_stacked([row[k] for row in outputs], shape) for k, shape in enumerate(shapes))]


def _stacked(rows: list, shape: Any) -> np.ndarray:
    return filled(shape, [entry for row in rows for entry in np.asarray(row).ravel()])


def _while(interpreter: Any, equation: Any, operands: list) -> list:
    """Unrolled as long as its condition is known; from where it is not, a loop on arrays."""
    params = parameters(equation)
    condition_size, body_size = params["cond_nconsts"], params["body_nconsts"]
    condition, body = operands[:condition_size], operands[condition_size : condition_size + body_size]
    carry = operands[condition_size + body_size :]
    while True:
        (go_on,) = interpreter.run(params["cond_jaxpr"], [*condition, *carry])
        if not go_on[()].is_constant:
            break
        if not go_on[()].value:
            return carry
        carry = interpreter.run(params["body_jaxpr"], [*body, *carry])
    shapes = [atom.aval for atom in equation.outvars]
    return interpreter.call(equation.primitive, params, [*condition, *body, *carry], shapes, equation)


def _cond(interpreter: Any, equation: Any, operands: list) -> list:
    """The branch, where it is known; else all of them, and a selection. A run-time check that fails gives NaN."""
    which, branches = operands[0][()], parameters(equation)["branches"]
    if which.is_constant:
        taken = min(max(int(which.value), 0), len(branches) - 1)
        return interpreter.run(branches[taken], operands[1:])
    graph, shapes = interpreter.graph, [atom.aval for atom in equation.outvars]
    results = _branch(interpreter, branches[0], operands[1:], shapes)
    for k, branch in enumerate(branches[1:], start=1):
        at_least = graph.compare(primitives.ge_p, which, graph.constant(k, which.dtype))
        others = _branch(interpreter, branch, operands[1:], shapes)
        results = [_selected(graph, at_least, *pair) for pair in zip(results, others, strict=True)]
    return results


def _branch(interpreter: Any, branch: ClosedJaxpr, operands: list, shapes: list) -> list:
    if not any(raises_error(equation) for equation in branch.jaxpr.eqns):
        return interpreter.run(branch, operands)
    if not all(np.issubdtype(shape.dtype, np.inexact) for shape in shapes):
        raise NotScalarError("it checks integers at run time, which cannot be NaN.")
    nan = [interpreter.graph.constant(np.nan, shape.dtype) for shape in shapes]
    return [filled(shape.shape, [number] * shape.size) for shape, number in zip(shapes, nan, strict=True)]


def _selected(graph: Any, which: Any, false: Any, true: Any) -> Any:
    if false is true:
        return false
    if isinstance(false, Source) or isinstance(true, Source):
        raise NotScalarError("it chooses between arrays that are too large for scalars.")
    pairs = zip(false.ravel(), true.ravel(), strict=True)
    return filled(false.shape, [graph.select(which, *pair) for pair in pairs])


def _linear_solve(interpreter: Any, equation: Any, operands: list) -> list:
    lengths, jaxprs = parameters(equation)["const_lengths"], parameters(equation)["jaxprs"]
    skipped = lengths.matvec + lengths.vecmat
    constants = operands[skipped : skipped + lengths.solve]
    return interpreter.run(jaxprs.solve, [*constants, *operands[sum(lengths) :]])


def _platform(interpreter: Any, equation: Any, operands: list) -> list:
    platforms = parameters(equation)["platforms"]
    here = jax.default_backend()
    default = len(platforms) - 1
    chosen = next((k for k, names in enumerate(platforms) if names is not None and here in names), default)
    return [filled((), [interpreter.graph.constant(chosen, equation.outvars[0].aval.dtype)])]


def _select_if(interpreter: Any, equation: Any, operands: list) -> list:
    """Equinox's selection of a loop's buffers."""
    which, true, false = operands
    return [_selected(interpreter.graph, which[()], false, true)]


def _same(interpreter: Any, equation: Any, operands: list) -> list:
    return operands


RULES: dict[str, Callable] = {
    "jit": _inlined("jaxpr"),
    "pjit": _inlined("jaxpr"),
    "closed_call": _inlined("call_jaxpr"),
    "core_call": _inlined("call_jaxpr"),
    "checkpoint": _inlined("jaxpr"),
    "remat": _inlined("jaxpr"),
    "custom_jvp_call": _inlined("call_jaxpr"),
    "custom_vjp_call": _inlined("call_jaxpr"),
    "scan": _scan,
    "while": _while,
    "cond": _cond,
    "custom_linear_solve": _linear_solve,
    "platform_index": _platform,
    "select_if_vmap": _select_if,
    "optimization_barrier": _same,
    "device_put": _same,
    "nontraceable": _same,
}
