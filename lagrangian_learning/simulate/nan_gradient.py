"""The derivative of a failed run: NaN, wherever anything is asked of it."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Bool, PyTree


def nan_gradient(outputs: PyTree, inputs: PyTree, failed: Bool[Array, ""]) -> PyTree:
    """`outputs` to the bit; where `failed`, a tangent or cotangent that is not zero becomes NaN in all of `inputs`.

    A zero one stays zero, so that a lane of a batch which `jnp.where` leaves out does not spoil the others. Without
    this, records that a run did not reach are constants, with a gradient of exactly zero, and its end has the gradient
    of another, shorter run.
    """
    moving, rest = eqx.partition(outputs, eqx.is_inexact_array)
    given = [leaf for leaf in jax.tree.leaves(inputs) if eqx.is_inexact_array(leaf)]
    return eqx.combine(_tied(moving, given, failed), rest)


@jax.custom_jvp
def _tied(outputs: PyTree, inputs: list[Array], failed: Array) -> PyTree:
    del inputs, failed
    return outputs


@_tied.defjvp
def _tied_jvp(primals: tuple, tangents: tuple) -> tuple[PyTree, PyTree]:
    """Linear in the tangents, so that reverse mode can transpose it."""
    outputs, _, failed = primals
    d_outputs, d_inputs, _ = tangents
    link = sum((jnp.sum(_spoiled(leaf, failed)).astype(jnp.float32) for leaf in d_inputs), jnp.zeros((), jnp.float32))

    def tied(leaf: Array) -> Array:
        return leaf + _spoiled(jnp.broadcast_to(link.astype(leaf.dtype), leaf.shape), failed)

    return outputs, jax.tree.map(tied, d_outputs)


def _spoiled(tangent: Array, failed: Array) -> Array:
    return _spoiled_p.bind(jnp.broadcast_to(failed, tangent.shape), tangent)


def _spoil(failed: Array, tangent: Array) -> Array:
    """NaN for what is not zero, where failed, and zero for everything else."""
    return jnp.where(failed & (tangent != 0), jnp.nan, 0).astype(tangent.dtype)


def _batched(args: Any, axes: Any) -> tuple[Array, int]:
    size = next(arg.shape[axis] for arg, axis in zip(args, axes, strict=True) if axis is not None)
    return _spoiled_p.bind(*(batching.bdim_at_front(arg, axis, size) for arg, axis in zip(args, axes, strict=True))), 0


# A primitive, since this must count as linear: products that overflow would say the same, but XLA reorders them.
_spoiled_p = Primitive("spoiled")
_spoiled_p.def_impl(_spoil)
_spoiled_p.def_abstract_eval(lambda failed, tangent: tangent)
mlir.register_lowering(_spoiled_p, mlir.lower_fun(_spoil, multiple_results=False))
batching.primitive_batchers[_spoiled_p] = _batched
ad.defjvp(_spoiled_p, None, lambda tangent, failed, primal: _spoiled_p.bind(failed, tangent))
ad.primitive_transposes[_spoiled_p] = lambda cotangent, failed, tangent: [None, _spoiled_p.bind(failed, cotangent)]
