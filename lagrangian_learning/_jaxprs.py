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
