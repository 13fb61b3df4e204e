"""Programs as JAX traces them: all equations of a jaxpr, those of what it calls included."""

from collections.abc import Iterator
from typing import Any

from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn


def equations(jaxpr: Jaxpr) -> Iterator[JaxprEqn]:
    """Every equation of a jaxpr and of the jaxprs that its equations hold: calls, loops, branches."""
    for equation in jaxpr.eqns:
        yield equation
        for value in equation.params.values():
            for held in _held(value):
                yield from equations(held)


def constants(closed: ClosedJaxpr) -> list[Any]:
    """The arrays that a traced program holds, those of the programs that it calls included."""
    called = (_closed(value) for equation in equations(closed.jaxpr) for value in equation.params.values())
    return [*closed.consts, *(array for group in called for program in group for array in program.consts)]


def _closed(value: Any) -> list[ClosedJaxpr]:
    if isinstance(value, ClosedJaxpr):
        return [value]
    return [found for entry in value for found in _closed(entry)] if isinstance(value, tuple | list) else []


def _held(value: Any) -> list[Jaxpr]:
    match value:
        case ClosedJaxpr():
            return [value.jaxpr]
        case Jaxpr():
            return [value]
        case tuple() | list():
            return [found for entry in value for found in _held(entry)]
        case _:
            return []
