"""Which inputs of a traced function its outputs depend on, read from its equations and never from values."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, jaxpr_as_fun
from jaxtyping import Array, PyTree

from lagrangian_learning._arrays import is_concrete
from lagrangian_learning._jaxprs import needed

_CALLS = ("jit", "pjit", "closed_call", "custom_jvp_call", "custom_vjp_call", "checkpoint", "remat")


class Traced:
    """A function of several pytrees as equations, of which only those are kept that its outputs need.

    An output is called independent of an input where no equation leads from one to the other; what cancels by value
    only counts as dependence.
    """

    def __init__(self, fn: Callable, *args: PyTree) -> None:
        self.closed, shape = jax.make_jaxpr(fn, return_shape=True)(*args)
        self.structure = jax.tree.structure(shape)
        self.owners = [k for k, arg in enumerate(args) for _ in jax.tree.leaves(arg)]
        self.needed, self.kept = needed(self.closed.jaxpr, read_by=_read_by)

    @property
    def arguments(self) -> set[int]:
        """The positions of the arguments that the outputs depend on."""
        pairs = zip(self.owners, self.closed.jaxpr.invars, strict=True)
        return {owner for owner, variable in pairs if variable in self.needed}

    @property
    def constants_known(self) -> bool:
        """Whether everything else that the outputs depend on is known now, that is, traced by no transformation."""
        pairs = zip(self.closed.jaxpr.constvars, self.closed.consts, strict=True)
        return all(is_concrete(value) for variable, value in pairs if variable in self.needed)

    def value(self) -> PyTree:
        """The outputs, which must depend on no argument and on known constants alone."""
        jaxpr = self.closed.jaxpr.replace(eqns=self.kept)
        pairs = zip(jaxpr.constvars, self.closed.consts, strict=True)
        with jax.ensure_compile_time_eval():
            consts = [value if variable in self.needed else _blank(variable) for variable, value in pairs]
            results = jaxpr_as_fun(ClosedJaxpr(jaxpr, consts))(*map(_blank, jaxpr.invars))
            return jax.tree.unflatten(self.structure, results)


def _blank(variable: Any) -> Array:
    return jnp.zeros(variable.aval.shape, variable.aval.dtype)


def _read_by(equation: Any, asked: Sequence[bool]) -> list:
    """The inputs of an equation that its outputs asked for need: all, unless it calls a function that can be read."""
    inner = equation.params.get("jaxpr", equation.params.get("call_jaxpr"))
    inner = inner.jaxpr if isinstance(inner, ClosedJaxpr) else inner
    readable = equation.primitive.name in _CALLS and isinstance(inner, Jaxpr)
    if not readable or len(inner.invars) != len(equation.invars) or len(inner.outvars) != len(asked):
        return list(equation.invars)
    variables, _ = needed(inner, asked, read_by=_read_by)
    return [outer for outer, variable in zip(equation.invars, inner.invars, strict=True) if variable in variables]
