"""Sums scattered into small arrays, as selections: a kernel of a CPU holds no scatter (`_one_kernel.py`)."""

import math
from typing import Any

import jax.numpy as jnp
from jax import lax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Primitive
from jax.interpreters import mlir

from ._jaxprs import shape_of

# The sums of a selection are over updates, and XLA would call a library from 1,025 numbers on.
_MOST_SELECTED = 512


def is_small_sum(equation: JaxprEqn) -> bool:
    """Whether a scatter adds few numbers or rows, each to an entry that it names, and leaves out what lies outside."""
    operand, indices, updates = (shape_of(variable) for variable in equation.invars)
    numbers, mode = equation.params["dimension_numbers"], equation.params["mode"]
    named = numbers.scatter_dims_to_operand_dims
    rows = len(indices) - 1
    plain = (
        not numbers.operand_batching_dims
        and numbers.inserted_window_dims == tuple(sorted(named))
        and numbers.update_window_dims == tuple(range(rows, len(updates)))
        and updates[rows:] == tuple(size for axis, size in enumerate(operand) if axis not in named)
        and mode != lax.GatherScatterMode.CLIP
    )
    return plain and math.prod(operand) * math.prod(indices[:-1]) <= _MOST_SELECTED


def selecting(program: ClosedJaxpr) -> ClosedJaxpr:
    """The same program, in which small scattered sums are selections."""
    return ClosedJaxpr(_selecting(program.jaxpr), program.consts)


def _selecting(jaxpr: Jaxpr) -> Jaxpr:
    return jaxpr.replace(eqns=[_selected(equation) for equation in jaxpr.eqns])


def _selected(equation: JaxprEqn) -> JaxprEqn:
    if equation.primitive.name == "scatter-add" and is_small_sum(equation):
        return equation.replace(primitive=_sum, params={"numbers": equation.params["dimension_numbers"]})
    params = {name: _held(value) for name, value in equation.params.items()}
    return equation.replace(params=params)


def _held(value: Any) -> Any:
    """A parameter of an equation, with the programs in it selecting."""
    match value:
        case ClosedJaxpr():
            return selecting(value)
        case Jaxpr():
            return _selecting(value)
        case tuple() if hasattr(value, "_fields"):
            return type(value)(*(_held(one) for one in value))
        case tuple() | list():
            return type(value)(_held(one) for one in value)
        case _:
            return value


def _added(operand: Any, indices: Any, updates: Any, *, numbers: Any) -> Any:
    """operand + Σ_k [entry is the k-th index] update_k; an index that names no entry adds nothing."""
    named = numbers.scatter_dims_to_operand_dims
    rows = jnp.reshape(indices, (-1, len(named)))
    update = jnp.reshape(updates, (rows.shape[0], *(updates.shape[indices.ndim - 1 :])))
    update = jnp.expand_dims(update, [1 + axis for axis in named])  # [k, the operand's axes]
    here = jnp.ones((), bool)
    for k, axis in enumerate(named):
        shape = [1] * operand.ndim
        shape[axis] = operand.shape[axis]
        entry = lax.broadcasted_iota(rows.dtype, tuple(shape), axis)
        here = here & (entry[None] == jnp.expand_dims(rows[:, k], tuple(range(1, operand.ndim + 1))))
    return operand + jnp.sum(jnp.where(here, update, jnp.zeros((), update.dtype)), 0)


_sum = Primitive("scattered_sum")
_sum.def_abstract_eval(lambda operand, *_, numbers: operand)
mlir.register_lowering(_sum, mlir.lower_fun(_added, multiple_results=False))
