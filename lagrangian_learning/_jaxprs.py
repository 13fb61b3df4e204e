"""Programs as JAX traces them: all equations of a jaxpr, those of what it calls included, and those that are needed."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal


def equations(jaxpr: Jaxpr) -> Iterator[JaxprEqn]:
    """Every equation of a jaxpr and of the jaxprs that its equations hold: calls, loops, branches."""
    for equation in jaxpr.eqns:
        yield equation
        for value in equation.params.values():
            for held in _held(value):
                yield from equations(held)


def shape_of(variable: Any) -> tuple[int, ...]:
    """The shape of a variable or a literal; () for what is no array."""
    return getattr(variable.aval, "shape", ())


def _all_inputs(equation: JaxprEqn, asked: Sequence[bool]) -> list:
    del asked
    return equation.invars


def needed(
    jaxpr: Jaxpr,
    wanted: Sequence[bool] | None = None,
    *,
    read_by: Callable[[JaxprEqn, Sequence[bool]], list] = _all_inputs,
    effects: bool = False,
) -> tuple[set, list[JaxprEqn]]:
    """The variables that the wanted outputs (None: all) need, and the equations between them, in their order.

    read_by: the inputs that an equation reads for those of its outputs that are asked for. effects: equations that do
    more than compute are needed too.
    """
    outputs = (
        jaxpr.outvars if wanted is None else [atom for atom, one in zip(jaxpr.outvars, wanted, strict=True) if one]
    )
    variables, kept = _variables(outputs), []
    for equation in reversed(jaxpr.eqns):
        asked = [variable in variables for variable in equation.outvars]
        if any(asked) or (effects and equation.effects):
            kept.append(equation)
            variables |= _variables(read_by(equation, asked))
    return variables, kept[::-1]


def _variables(atoms: Sequence[Any]) -> set:
    return {atom for atom in atoms if not isinstance(atom, Literal)}


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
