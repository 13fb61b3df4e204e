"""Small array habits shared by the whole package: constants, dtypes, checks of values."""

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, NamedTuple

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
    return array.astype(array.dtype if jnp.issubdtype(array.dtype, jnp.inexact) else jnp.result_type(float))


def cast(constant: Array, like: Any) -> Array:
    """`constant` in the dtype of `like` (an array, or a pytree whose first leaf tells)."""
    return constant.astype(dtype_of(like))


def dtype_of(tree: PyTree) -> Any:
    """The dtype of the first leaf of a pytree."""
    return jnp.result_type(jax.tree.leaves(tree)[0])


def as_time(t: Any, like: PyTree) -> Inexact[Array, ""]:
    """A time, which may be a Python number, in the dtype of the state `like`."""
    return jnp.asarray(t).astype(dtype_of(like))


def is_concrete(*values: Any) -> bool:
    """Whether values are known now, that is, not traced by a transformation."""
    return not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(values))


class Verdict(NamedTuple):
    """What a check of traced values found, and what it says where that is false."""

    ok: Array
    message: str


_verdicts: ContextVar[list[Verdict] | None] = ContextVar("verdicts", default=None)


def require(value: PyTree, ok: Any, message: str) -> PyTree:
    """`value`, if `ok`: else a ValueError when it is known now, and a run-time error of Equinox when it is traced."""
    if is_concrete(ok):
        if not np.all(np.asarray(ok)):  # NumPy: under jit even a constant would be traced
            raise ValueError(message)
        return value
    ok, verdicts = jnp.all(jnp.asarray(ok)), _verdicts.get()
    if verdicts is not None:
        verdicts.append(Verdict(ok, message))
        return value
    return eqx.error_if(value, jnp.logical_not(ok), message)


@contextlib.contextmanager
def collected_verdicts() -> Iterator[list[Verdict]]:
    """What `require` finds of traced values inside, told instead of raised.

    An error would end a batch for one lane, and would be lost with the value it hangs on where nothing uses that.
    """
    found: list[Verdict] = []
    token = _verdicts.set(found)
    try:
        yield found
    finally:
        _verdicts.reset(token)


def refused(verdicts: list[Verdict]) -> Array:
    """Whether any verdict is against it."""
    return jnp.logical_not(jnp.all(jnp.stack([jnp.asarray(True), *(verdict.ok for verdict in verdicts)])))


def raised(value: PyTree, verdicts: list[Verdict]) -> PyTree:
    """`value`, which must be used, with a run-time error that tells the first verdict against it."""
    if not verdicts:
        return value
    wrong = jnp.logical_not(jnp.stack([verdict.ok for verdict in verdicts]))
    return eqx.branched_error_if(value, jnp.any(wrong), jnp.argmax(wrong), [verdict.message for verdict in verdicts])


def all_finite(tree: PyTree) -> Array:
    """Whether every inexact entry of a pytree is finite."""
    leaves = [leaf for leaf in jax.tree.leaves(tree) if eqx.is_inexact_array(leaf)]
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in leaves])) if leaves else jnp.asarray(True)


def max_abs(tree: PyTree) -> Array:
    """max |·| over all entries of a pytree; a NaN anywhere gives NaN."""
    leaves = [leaf for leaf in jax.tree.leaves(tree) if leaf.size]
    return jnp.max(jnp.stack([jnp.max(jnp.abs(leaf)) for leaf in leaves])) if leaves else jnp.asarray(0.0)


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
