"""All that this room reads of the insides of JAX, XLA, Equinox and Diffrax, and the versions its tests have run with.

Their public interfaces promise none of it. With other versions the room is not used: a batch that picks its engine runs
by Diffrax, with one warning, and an engine of this room that was asked for is refused.
"""

import functools
from collections.abc import Callable
from typing import Any

import diffrax
import equinox.internal as eqxi
import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax.experimental.xla_metadata import set_xla_metadata
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, Primitive, primitives
from jax.lax import GatherScatterMode

from lagrangian_learning._one_kernel import ENTRYWISE, MARKS, version, within

__all__ = ["ENTRYWISE", "ClosedJaxpr", "GatherScatterMode", "Jaxpr", "Literal", "Primitive", "primitives"]

# From the first to before the second. The suites of tests/fused have run with the oldest and the newest of each.
TESTED = {
    "jax": ("0.10.2", "0.13"),
    "jaxlib": ("0.10.2", "0.13"),
    "equinox": ("0.13.8", "0.14"),
    "diffrax": ("0.7.2", "0.8"),
}


def untested() -> str | None:
    """Which installed versions the tests have not run with; None: they have run with all."""
    found = {name: version(name) for name in TESTED}
    others = [
        f"{name} {found[name]} (tested: {first} to before {end})"
        for name, (first, end) in TESTED.items()
        if not within(found[name], first, end)
    ]
    return ", ".join(others) or None


def is_tracer(value: Any) -> bool:
    """Whether a transformation of JAX traces the value."""
    return isinstance(value, jax.core.Tracer)


def traced(function: Callable, *leaves: Any) -> tuple[ClosedJaxpr, Any]:
    """The jaxpr of a function of arrays, with the primitives of Equinox that only its transformations use resolved."""
    closed, shapes = jax.make_jaxpr(function, return_shape=True)(*leaves)
    return eqxi.finalise_jaxpr(closed), shapes


def parameters(equation: Any) -> dict[str, Any]:
    """The parameters of a primitive in the form of JAX 0.10."""
    params = equation.params
    if equation.primitive.name == "scan" and "ft_in" in params:  # JAX 0.12
        constants, carry, _ = params["ft_in"].unpack()
        return {**params, "num_consts": len(constants), "num_carry": len(carry)}
    return params


def raises_error(equation: Any) -> bool:
    """Whether it is the callback by which Equinox raises an error."""
    if equation.primitive.name != "pure_callback":
        return False
    function = getattr(equation.params["callback"], "callback_func", None)
    return (getattr(function, "__module__", None) or "").startswith("equinox")


# 1 − x², which the derivative of tanh is since JAX 0.12.
ONE_MINUS_SQUARE: Primitive | None = getattr(primitives, "one_minus_square_p", None)


def keeps_last_stage(solver: diffrax.AbstractSolver, state: Any) -> bool:
    """Whether a stepper's state is Diffrax's (first step?, last stage) of a first-same-as-last scheme."""
    return isinstance(solver, diffrax.AbstractERK) and isinstance(state, tuple)


def with_first_stage(state: Any, fresh: Any) -> Any:
    """Such a state with the first stage of the next step in the place of the last one of the step before."""
    first, stage = state
    return jnp.asarray(False), jax.tree.map(lambda new, old: jnp.where(first, new, old), fresh, stage)


def without_first_step(state: Any) -> Any:
    """Such a state, known to be of no first step."""
    return np.asarray(False), state[1]


def as_one_kernel(function: Callable) -> Callable:
    """The same function of arrays, marked to become one kernel of a CPU."""

    @functools.wraps(function)
    def unmarked(*arguments: Any) -> Any:
        with set_xla_metadata(**dict.fromkeys(MARKS)):  # None takes a mark off what is inside
            return function(*arguments)

    def marked(*arguments: Any) -> Any:
        with set_xla_metadata(**MARKS):
            return jax.jit(unmarked)(*arguments)

    return marked
