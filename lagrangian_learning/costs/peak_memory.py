"""How much memory a traced function holds at once, read from its jaxpr."""

import math
from typing import Any

from jax.extend.core import ClosedJaxpr, Jaxpr, Literal


def most_alive(jaxpr: Jaxpr) -> int:
    """The most bytes of results alive at one time, as if equations ran in turn and nothing were fused.

    A result lives from its equation to the last that reads it; what the function is given is not counted, and a loop
    or a call holds beside its results what its body holds.
    """
    ends = _ends(jaxpr)
    dying: dict[int, list[Any]] = {}
    for result, place in ends.items():
        dying.setdefault(place, []).append(result)
    alive = most = 0
    for place, equation in enumerate(jaxpr.eqns):
        inside = max(map(most_alive, _called(equation)), default=0)
        most = max(most, alive + _bytes(equation.outvars) + inside)
        alive += _bytes([result for result in equation.outvars if result in ends])
        alive -= _bytes(dying.get(place, []))
    return most


def _ends(jaxpr: Jaxpr) -> dict[Any, int]:
    """The place of the last equation that reads each result that is read; what is returned outlives all."""
    results = {result for equation in jaxpr.eqns for result in equation.outvars}
    reads = [*(equation.invars for equation in jaxpr.eqns), jaxpr.outvars]
    return {
        read: place
        for place, several in enumerate(reads)
        for read in several
        if not isinstance(read, Literal) and read in results
    }


def _called(equation: Any) -> list[Jaxpr]:
    """The jaxprs that an equation calls."""
    return [found for value in equation.params.values() for found in _jaxprs(value)]


def _jaxprs(value: Any) -> list[Jaxpr]:
    if isinstance(value, tuple | list):
        return [found for entry in value for found in _jaxprs(entry)]
    if isinstance(value, ClosedJaxpr):
        return [value.jaxpr]
    return [value] if isinstance(value, Jaxpr) else []


def _bytes(variables: list[Any]) -> int:
    arrays = [variable.aval for variable in variables if hasattr(variable.aval, "shape")]
    return sum(math.prod(array.shape) * array.dtype.itemsize for array in arrays)
