"""The operations that remain of a jaxpr once equal ones are shared and unused ones dropped, as every compiler does.

Automatic differentiation leaves a program that evaluates the same products several times, multiplies by one and hands
on what nobody reads: counted equation by equation, its arithmetic would be up to three times what runs.
"""

import collections
import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, NamedTuple

import jax.extend.core as jex
import numpy as np

# Called once, where they stand: their equations are those of the program around them.
_CALLS = {"jit", "pjit", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr",
          "remat", "checkpoint", "remat2"}  # fmt: skip
_FOLDED: dict[str, Callable[..., float]] = {
    "neg": lambda a: -a, "mul": lambda a, b: a * b, "add": lambda a, b: a + b, "sub": lambda a, b: a - b,
    "div": lambda a, b: a / b if b else math.nan, "broadcast_in_dim": lambda a: a, "convert_element_type": lambda a: a,
    "reshape": lambda a: a,
}  # fmt: skip


class Operation(NamedTuple):
    """An equation that remains; operands and results are numbers of values of its `Program`."""

    name: str
    params: dict[str, Any]
    operands: tuple[int, ...]
    results: tuple[int, ...]
    effects: bool


class Program:
    """The operations of a jaxpr in their order.

    avals: of each value, by its number.  operations: those that the outputs need.  inputs (constants first), outputs:
    numbers of values.  repeats: how often the jaxpr has the operation of a first result.
    """

    def __init__(self, jaxpr: jex.Jaxpr) -> None:
        self.avals: list[Any] = []
        self._known: dict[Hashable, tuple[int, ...]] = {}
        self._numbers: dict[int, float] = {}
        self._multiples: dict[int, tuple[float, int]] = {}
        self._made: list[Operation] = []
        self.repeats: collections.Counter[int] = collections.Counter()
        self.inputs = [self._new(variable.aval) for variable in (*jaxpr.constvars, *jaxpr.invars)]
        self.outputs = self._read(jaxpr, self.inputs)
        self.operations = self._needed()

    def size(self, value: int) -> int:
        """Numbers of a value."""
        return math.prod(getattr(self.avals[value], "shape", ()))

    def num_bytes(self, value: int) -> int:
        """Bytes of a value."""
        dtype = getattr(self.avals[value], "dtype", None)
        return 0 if dtype is None else self.size(value) * dtype.itemsize

    def base(self, value: int) -> int:
        """What a value is a constant multiple of."""
        return self._multiples.get(value, (1.0, value))[1]

    def _needed(self) -> list[Operation]:
        wanted, kept = set(self.outputs), []
        for operation in reversed(self._made):
            if operation.effects or wanted.intersection(operation.results):
                kept.append(operation)
                wanted.update(operation.operands)
        return kept[::-1]

    def _new(self, aval: Any) -> int:
        self.avals.append(aval)
        return len(self.avals) - 1

    def _read(self, jaxpr: jex.Jaxpr, inputs: Sequence[int]) -> list[int]:
        """The values that a jaxpr returns for the values of its constants and inputs."""
        values = dict(zip((*jaxpr.constvars, *jaxpr.invars), inputs, strict=True))

        def of(atoms: Sequence[Any]) -> list[int]:
            return [self._literal(atom) if isinstance(atom, jex.Literal) else values[atom] for atom in atoms]

        for equation in jaxpr.eqns:
            values.update(zip(equation.outvars, self._of_equation(equation, of(equation.invars)), strict=True))
        return of(jaxpr.outvars)

    def _literal(self, atom: jex.Literal) -> int:
        known = ("literal", str(atom.val), str(atom.aval))
        if known not in self._known:
            number = self._new(atom.aval)
            self._known[known] = (number,)
            if np.ndim(atom.val) == 0 and np.issubdtype(np.result_type(atom.val), np.floating):
                self._numbers[number] = float(atom.val)
        return self._known[known][0]

    def _of_equation(self, equation: Any, operands: list[int]) -> Sequence[int]:
        called = _called(equation)
        if called is not None:
            constants = [self._new(variable.aval) for variable in called.constvars]
            return self._read(called, [*constants, *operands])
        name = equation.primitive.name
        folded = self._folded(name, equation, operands)
        if folded is not None:
            return folded
        return self._operation(name, equation.params, operands, equation.outvars, effects=bool(equation.effects))

    def _operation(
        self, name: str, params: dict[str, Any], operands: Sequence[int], results: Sequence[Any], *, effects: bool
    ) -> Sequence[int]:
        """The results of an operation, which may have been made before."""
        known = (name, _hashable(params), tuple(operands), tuple(str(result.aval) for result in results))
        if known not in self._known or effects:
            made = tuple(self._new(result.aval) for result in results)
            self._known[known] = made
            self._made.append(Operation(name, params, tuple(operands), made, effects))
        found = self._known[known]
        self.repeats.update(found[:1])
        return found

    def _folded(self, name: str, equation: Any, operands: list[int]) -> Sequence[int] | None:
        """What needs no operation, or one with what was made before: numbers, and multiples of a value."""
        numbers = [self._numbers.get(operand) for operand in operands]
        if name in _FOLDED and operands and None not in numbers:
            value = self._new(equation.outvars[0].aval)
            self._numbers[value] = _FOLDED[name](*numbers)
            return (value,)
        if name == "neg":
            return self._multiple(-1.0, operands[0], equation)
        if name == "mul" and numbers.count(None) == 1:
            factor = next(number for number in numbers if number is not None)
            return self._multiple(factor, operands[numbers.index(None)], equation)
        if name in {"add", "add_any"} and 0.0 in numbers:
            return (operands[1 - numbers.index(0.0)],)
        return None

    def _multiple(self, factor: float, value: int, equation: Any) -> Sequence[int]:
        before, base = self._multiples.get(value, (1.0, value))
        total = factor * before
        if total == 1.0 and self.avals[base].shape == equation.outvars[0].aval.shape:
            return (base,)
        made = self._operation("mul", {"by": total}, (base,), equation.outvars, effects=False)
        self._multiples[made[0]] = (total, base)
        return made


def _called(equation: Any) -> jex.Jaxpr | None:
    """The jaxpr that stands for an equation which only calls it."""
    if equation.primitive.name not in _CALLS:
        return None
    found = next(_jaxprs(equation.params), None)
    return found if found is not None and len(found.invars) == len(equation.invars) else None


def _jaxprs(params: dict[str, Any]) -> Iterator[jex.Jaxpr]:
    for value in params.values():
        if isinstance(value, jex.ClosedJaxpr):
            yield value.jaxpr
        elif isinstance(value, jex.Jaxpr):
            yield value


def _hashable(params: dict[str, Any]) -> Hashable:
    """Parameters to compare operations by: jaxprs and functions are equal to themselves alone."""
    return tuple((name, str(value) if _is_plain(value) else id(value)) for name, value in sorted(params.items()))


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float | tuple | list | None) or not (
        callable(value) or isinstance(value, jex.Jaxpr | jex.ClosedJaxpr) or hasattr(value, "shape")
    )
