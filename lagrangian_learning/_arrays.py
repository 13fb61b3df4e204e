"""Arrays and pytrees: constants, dtypes, arithmetic leaf by leaf."""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact, PyTree


class Function(eqx.Module):
    """A plain Python callable as a module without leaves, so that `vmap` and `grad` pass it by."""

    fn: Callable = eqx.field(static=True)

    def __call__(self, *args: Any) -> Any:
        return self.fn(*args)


def as_module(fn: Callable) -> Callable:
    """A callable pytree as it is; any other callable held statically in a `Function`."""
    if not callable(fn):
        raise ValueError(f"expected a callable, got {type(fn).__name__}: pass a function or a callable Equinox module.")
    return Function(fn) if jax.tree_util.all_leaves([fn]) else fn


def as_constant(value: Any) -> Inexact[Array, "..."]:
    """A physical constant as an inexact array; integers and Python floats take JAX's default float dtype.

    Never weakly typed: two calls that differ in nothing else would compile twice.
    """
    array = jnp.asarray(value)
    if not jnp.issubdtype(array.dtype, jnp.inexact):
        return array.astype(jnp.result_type(float))
    return array.astype(array.dtype) if array.weak_type else array


def in_dtype(array: Array, dtype: Any) -> Array:
    """The array in a dtype: itself where it has it, since a conversion to the same dtype is an operation too."""
    return array if array.dtype == dtype and not array.weak_type else array.astype(dtype)


def cast(constant: Any, like: Any) -> Array:
    """`constant`, which may be a Python number, in the dtype of `like` (an array, or the first leaf of a pytree)."""
    return jnp.asarray(constant).astype(dtype_of(like))


def dtype_of(tree: PyTree) -> Any:
    """The dtype of the first leaf of a pytree."""
    return jnp.result_type(jax.tree.leaves(tree)[0])


def as_time(t: Any, like: PyTree) -> Inexact[Array, ""]:
    """A time, which may be a Python number, in the dtype of the state `like`."""
    return in_dtype(jnp.asarray(t), dtype_of(like))


def is_concrete(*values: Any) -> bool:
    """Whether values are known now, that is, not traced by a transformation."""
    return not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(values))


def time_derivative(fn: Callable[[Array], PyTree], t: Array) -> PyTree:
    """dfn/dt at t, like fn(t)."""
    return jax.jvp(fn, (t,), (jnp.ones_like(t),))[1]


def nothing_traced() -> bool:
    """Whether arrays made now are values: false inside `jit`, where even a constant is traced."""
    return is_concrete(jnp.asarray(_ANY_CONSTANT))


_ANY_CONSTANT = np.zeros(())


def all_finite(tree: PyTree) -> Array:
    """Whether every inexact entry of a pytree is finite."""
    leaves = [leaf for leaf in jax.tree.leaves(tree) if eqx.is_inexact_array(leaf)]
    return _all_finite(leaves) if leaves else jnp.asarray(True)


# One program outside jit, where three operations a leaf would be dispatched one by one.
@functools.partial(jax.jit, inline=True)
def _all_finite(leaves: list[Array]) -> Array:
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in leaves]))


def max_abs(tree: PyTree) -> Array:
    """max |·| over all entries of a pytree; a NaN anywhere gives NaN."""
    leaves = [leaf for leaf in jax.tree.leaves(tree) if leaf.size]
    return jnp.max(jnp.stack([jnp.max(jnp.abs(leaf)) for leaf in leaves])) if leaves else jnp.asarray(0.0)


def held(tree: PyTree) -> PyTree:
    """The same values as constants: arrays out of the derivative, the rest as it is."""
    arrays, rest = eqx.partition(tree, eqx.is_array)
    return eqx.combine(jax.lax.stop_gradient(arrays), rest)


def tree_dot(left: PyTree, right: PyTree) -> Array:
    """Σ left · right over all entries of two pytrees of one structure."""
    products = jax.tree.map(lambda a, b: jnp.sum(a * b), left, right)
    return jax.tree.reduce(jnp.add, products)


def tree_add(left: PyTree, right: PyTree) -> PyTree:
    """left + right, leaf by leaf."""
    return jax.tree.map(jnp.add, left, right)


def tree_sub(left: PyTree, right: PyTree) -> PyTree:
    """left − right, leaf by leaf."""
    return jax.tree.map(jnp.subtract, left, right)


def tree_scale(scale: Any, tree: PyTree) -> PyTree:
    """scale · tree, leaf by leaf."""
    return jax.tree.map(lambda leaf: scale * leaf, tree)


def tree_zeros(tree: PyTree) -> PyTree:
    """A pytree of zeros of the same shapes and dtypes."""
    return jax.tree.map(jnp.zeros_like, tree)


def tree_where(condition: Any, chosen: PyTree, otherwise: PyTree) -> PyTree:
    """`chosen` where the scalar condition holds, `otherwise` elsewhere, leaf by leaf."""
    return jax.tree.map(lambda left, right: jnp.where(condition, left, right), chosen, otherwise)


def matmul(left: Array, right: Array) -> Array:
    """left @ right in full precision on every device."""
    return jnp.matmul(left, right, precision="highest")


def observed(tree: PyTree) -> PyTree:
    """The same values, out of the derivative: watching a run must neither cost nor change its gradient."""
    arrays, rest = eqx.partition(tree, eqx.is_array)
    return eqx.combine(jax.lax.stop_gradient(arrays), rest)
