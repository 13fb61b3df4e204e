"""Functions of one lane, made functions of many: every number of a lane becomes a row [lanes]."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, PyTree

from lagrangian_learning._tuning import MAX_ENTRIES

from .scalars import SineCosine, as_numbers, program_of


class Table(NamedTuple):
    """A large array that all lanes look things up in."""

    entries: Any


# An array of a lane: its numbers in ravelled order, each a row [lanes], or a scalar that all lanes share; or a table.
Leaf = list[Any] | Table
Rows = list[Leaf]


class Lanewise:
    """fn(*arguments) of one lane, written out on scalars, for many lanes at once.

    Arguments:
        fn: a function of pytrees of arrays.
        examples: its arguments, arrays or shapes; what is no array is static.
    """

    def __init__(self, fn: Callable, *examples: PyTree) -> None:
        self.program, self.shapes = program_of(fn, *examples)

    def __call__(self, *arguments: Rows) -> Rows:
        """The leaves of the result, all of rows."""
        leaves = [leaf for rows in arguments for leaf in rows]

        def of_a_lane(leaves: Rows) -> list:
            inputs = [leaf.entries if isinstance(leaf, Table) else leaf for leaf in leaves]
            return self.program(*inputs, lowerings=_lowerings(), keep=kept)

        return jax.vmap(of_a_lane, in_axes=([_axes(leaf) for leaf in leaves],))(leaves)


def _axes(leaf: Leaf) -> Any:
    return Table(None) if isinstance(leaf, Table) else [0 if jnp.ndim(number) else None for number in leaf]


def _lowerings() -> dict[str, Callable]:
    if jax.default_backend() != "cpu":
        return {}
    circle = SineCosine(kept)
    return {"sin": circle.sine, "cos": circle.cosine}


def kept(x: Array) -> Array:
    """x, computed once: XLA repeats what it takes to be cheap in every kernel that reads it, but no division.

    It does not see that the divisor is 1; LLVM, which makes the kernel, does, and divides by nothing.
    """
    always = lax.eq(x, x) | lax.ne(x, x)  # one of them, of a NaN too
    return x / jnp.where(always, 1, 2).astype(x.dtype)


def array_leaves(tree: PyTree) -> list[Any]:
    """The arrays of a pytree, or their shapes."""
    return [leaf for leaf in jax.tree.leaves(tree) if is_array(leaf)]


def is_array(leaf: Any) -> bool:
    """Whether a leaf is an array, traced or not, or stands for one."""
    return eqx.is_array(leaf) or isinstance(leaf, jax.ShapeDtypeStruct)


def shared_rows(tree: PyTree) -> Rows:
    """What all lanes share, as numbers, and as tables where they are many."""
    return [Table(leaf) if leaf.size > MAX_ENTRIES else list(as_numbers(leaf)) for leaf in array_leaves(tree)]


def blocked(tree: PyTree, size: int) -> list[Array]:
    """The leaves [lanes, ...] as [blocks, numbers, size]; the last lane is repeated to fill the last block."""
    return [_blocked(leaf, size) for leaf in array_leaves(tree)]


def _blocked(leaf: Array, size: int) -> Array:
    lanes = leaf.shape[0]
    blocks = -(-lanes // size)
    flat = jnp.reshape(leaf, (lanes, -1))
    padded = jnp.concatenate([flat, jnp.repeat(flat[-1:], blocks * size - lanes, axis=0)])
    return jnp.moveaxis(jnp.reshape(padded, (blocks, size, flat.shape[1])), 1, 2)


def rows_of(blocks: list[Array]) -> Rows:
    """[numbers, lanes] as rows."""
    return [[leaf[k] for k in range(leaf.shape[0])] for leaf in blocks]


def unblocked(rows: Rows, shapes: PyTree, lanes: int, times: int | None = None) -> PyTree:
    """Rows [blocks, size], or [blocks, times, size], as leaves with lanes first (then times), in the shapes of one."""
    leaves, structure = jax.tree.flatten(shapes)
    before = (lanes,) if times is None else (lanes, times)
    arrays = [_unblocked(row, leaf, before) for row, leaf in zip(rows, leaves, strict=True)]
    return structure.unflatten(arrays)


def _unblocked(numbers: Any, shape: Any, before: tuple[int, ...]) -> Array:
    if not numbers:
        return jnp.zeros((*before, *shape.shape), shape.dtype)
    stacked = jnp.stack(numbers, axis=-1)  # [blocks, (times,) size, numbers]
    if len(before) == 2:
        stacked = jnp.swapaxes(stacked, 1, 2)
    flat = jnp.reshape(stacked, (-1, *before[1:], len(numbers)))[: before[0]]
    return jnp.reshape(flat, (*before, *shape.shape)).astype(shape.dtype)


def selected(which: Array, new: Rows, old: Rows) -> Rows:
    """Rows of `new` where `which`, else of `old`."""
    return jax.tree.map(lambda a, b: jnp.where(which, a, b), new, old)


def size_of(tree: PyTree) -> int:
    """How many numbers the arrays of a pytree hold."""
    return sum(int(np.prod(leaf.shape, dtype=np.int64)) for leaf in array_leaves(tree))
