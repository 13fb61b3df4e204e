"""A jaxpr run on arrays of scalar expressions."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from lagrangian_learning._jaxprs import needed
from lagrangian_learning._tuning import MAX_ENTRIES
from lagrangian_learning.fused.internals import ClosedJaxpr, Jaxpr, Literal, Primitive, is_tracer, parameters

from . import arrange, control, factorise, index, reduce
from .functions import TRANSCENDENTAL
from .graph import Call, Graph, NotScalarError, Source, filled, is_extended

Rule = Callable[..., list]

_ELEMENTWISE = TRANSCENDENTAL | frozenset(
    [
        "abs",
        "add",
        "add_any",
        "and",
        "bessel_i0e",
        "bessel_i1e",
        "ceil",
        "clamp",
        "convert_element_type",
        "copy",
        "copy_p",
        "div",
        "eq",
        "eq_to",
        "floor",
        "ge",
        "gt",
        "integer_pow",
        "is_finite",
        "le",
        "le_to",
        "lt",
        "lt_to",
        "max",
        "min",
        "mul",
        "name",
        "ne",
        "neg",
        "nextafter",
        "nontraceable",
        "not",
        "one_minus_square",
        "or",
        "reduce_precision",
        "rem",
        "round",
        "rsqrt",
        "select_n",
        "shift_left",
        "shift_right_arithmetic",
        "shift_right_logical",
        "sign",
        "sqrt",
        "square",
        "stop_gradient",
        "sub",
        "xor",
    ]
)
_RULES: dict[str, Rule] = {**arrange.RULES, **index.RULES, **reduce.RULES, **factorise.RULES}


class Interpreter:
    """Runs jaxprs on one graph; operations counts the nodes asked for, so that loops do not unroll without end."""

    def __init__(self, graph: Graph, limit: int) -> None:
        self.graph, self.limit, self.spent = graph, limit, 0

    def run(self, closed: ClosedJaxpr, operands: list) -> list:
        """The results of a closed jaxpr for operands that are arrays of scalars, or whole sources."""
        return self.run_open(closed.jaxpr, [self.known(value) for value in closed.consts], operands)

    def run_open(self, jaxpr: Jaxpr, constants: list, operands: list) -> list:
        """The results of a jaxpr and of the values of its constants."""
        values: dict[Any, Any] = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*constants, *operands), strict=True))

        def read(atom: Any) -> Any:
            return self.literal(atom) if isinstance(atom, Literal) else values[atom]

        for equation in needed(jaxpr, effects=True)[1]:
            results = self._apply(equation, [read(atom) for atom in equation.invars])
            values.update(zip(equation.outvars, results, strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    def known(self, value: Any) -> Any:
        """What a function closes over: numbers where they are known and few, else a source."""
        shape, dtype = np.shape(value), jax.numpy.result_type(value)
        if is_extended(dtype):
            raise NotScalarError("it uses random keys, which are no numbers: draw what is random beforehand.")
        size = int(np.prod(shape, dtype=np.int64))
        if is_tracer(value) or size > MAX_ENTRIES:
            return self.spread(Source(shape, dtype, value))
        flat = np.asarray(value).ravel()
        return filled(shape, [self.graph.constant(number, dtype) for number in flat])

    def literal(self, atom: Literal) -> np.ndarray:
        dtype = atom.aval.dtype  # pyright: ignore[reportAttributeAccessIssue]
        return filled((), [self.graph.constant(atom.val, dtype)])

    def spread(self, source: Source) -> Any:
        """The entries of a source, or the source itself where they are too many."""
        return source if source.size > MAX_ENTRIES else self.graph.entries(source)

    def _apply(self, equation: Any, operands: list) -> list:
        name, params = equation.primitive.name, parameters(equation)
        self._spend(sum(int(np.prod(atom.aval.shape, dtype=np.int64)) for atom in equation.outvars))
        if name in control.RULES:
            return control.RULES[name](self, equation, operands)
        if not any(isinstance(operand, Source) for operand in operands):
            if name in _ELEMENTWISE:
                return [self._elementwise(equation, operands)]
            if name in _RULES:
                results = _RULES[name](self.graph, equation, *operands)
                if results is not None:
                    return results
        return self.call(equation.primitive, params, operands, [atom.aval for atom in equation.outvars], equation)

    def _spend(self, operations: int) -> None:
        self.spent += operations
        if self.spent > self.limit:
            raise NotScalarError(
                f"it takes more than {self.limit} scalar operations: this way is for systems of a few numbers."
            )

    def _elementwise(self, equation: Any, operands: list) -> np.ndarray:
        primitive, dtype = equation.primitive, equation.outvars[0].aval.dtype
        arrays = np.broadcast_arrays(*operands)
        rows = zip(*(array.ravel() for array in arrays), strict=True)
        params = parameters(equation)
        return filled(arrays[0].shape, [self.graph.apply(primitive, row, dtype, params) for row in rows])

    def call(self, primitive: Primitive, params: dict, operands: list, shapes: list, equation: Any = None) -> list:
        """The primitive left as it is, on arrays put together from scalars."""
        if equation is not None and (equation.effects or "callback" in primitive.name):
            raise NotScalarError(
                f"it calls back to Python ({primitive.name}), as a run-time check or jax.debug.print does."
            )
        if any(is_extended(shape.dtype) for shape in shapes):
            raise NotScalarError("it uses random keys, which are no numbers: draw what is random beforehand.")
        call = Call(primitive, params, tuple(operands))
        sources = [Source(shape.shape, shape.dtype, call=call, output=k) for k, shape in enumerate(shapes)]
        return [self.spread(source) for source in sources]
