"""Compiled functions of pytrees with any leaves, the shapes that they return, and results that are kept."""

import contextlib
import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree


class Rest:
    """What a pytree is beside its arrays: structure and other leaves, None where an array stands. One leaf itself."""

    def __init__(self, structure: Any, leaves: tuple[Any, ...]) -> None:
        self.structure, self.leaves = structure, leaves

    def __hash__(self) -> int:
        return hash((self.structure, self.leaves))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rest) and (self.structure, self.leaves) == (other.structure, other.leaves)

    def whole(self, arrays: list[Any]) -> PyTree:
        """The pytree with these arrays."""
        pairs = zip(arrays, self.leaves, strict=True)
        return jax.tree.unflatten(self.structure, [leaf if array is None else array for array, leaf in pairs])


def apart(tree: PyTree, is_array: Callable[[Any], bool] = eqx.is_array) -> tuple[list[Any], Rest]:
    """The arrays of a pytree, None where another leaf stands, and the rest."""
    leaves, structure = jax.tree.flatten(tree)
    chosen = [is_array(leaf) for leaf in leaves]
    arrays = [leaf if array else None for leaf, array in zip(leaves, chosen, strict=True)]
    return arrays, Rest(structure, tuple(None if array else leaf for leaf, array in zip(leaves, chosen, strict=True)))


class Compiled:
    """`eqx.filter_jit(fn)` for positional arguments, errors included, in less time a call.

    `eqx.filter_jit` walks through every module of arguments and results several times in Python. Here they reach it as
    a list of arrays and one other leaf.
    """

    def __init__(self, fn: Callable[..., PyTree]) -> None:
        def flat(arrays: list[Array | None], rest: Rest) -> tuple[list[Array | None], Rest]:
            return apart(fn(*rest.whole(arrays)))

        flat.__name__, flat.__qualname__ = fn.__name__, fn.__qualname__  # as profiles show it
        self._flat = eqx.filter_jit(flat)

    def __call__(self, *args: PyTree) -> PyTree:
        return self.of_flat(*apart(args))

    def of_flat(self, arrays: list[Any], rest: Rest) -> PyTree:
        """The same of arguments that are taken apart already."""
        arrays, rest = self._flat(arrays, rest)
        return rest.whole(arrays)


def kinds_of(arrays: list[Any]) -> tuple[Any, ...]:
    """Shape, dtype and weak type of each array, all that a trace depends on."""
    return tuple(
        None if leaf is None else (leaf.shape, leaf.dtype, getattr(leaf, "weak_type", False)) for leaf in arrays
    )


def remembered(fn: Callable[..., PyTree]) -> Callable[..., PyTree]:
    """fn(tree, *others), kept for the last 64 trees of equal structure and leaves; called anew where a leaf is an array
    or another unhashable object, and where it raises. The tree may hold no tracers.
    """

    @functools.lru_cache(maxsize=64, typed=True)  # True is another leaf than 1
    def kept(structure: Any, others: tuple[Any, ...], *leaves: Any) -> PyTree:
        return fn(jax.tree.unflatten(structure, leaves), *others)

    @functools.wraps(fn)
    def call(tree: PyTree, *others: Any) -> PyTree:
        leaves, structure = jax.tree.flatten(tree)
        with contextlib.suppress(TypeError, ValueError):
            return kept(structure, others, *leaves)
        return fn(tree, *others)

    return call


def shapes_of(fn: Callable, *args: PyTree) -> PyTree:
    """Shapes of fn(*args), for a function of a module; traced once for all arguments that look alike."""
    arrays, rest = apart(args, lambda leaf: isinstance(leaf, jax.Array | np.ndarray | jax.ShapeDtypeStruct))
    return _shapes(fn, kinds_of(arrays), rest, jnp.result_type(float))


@functools.lru_cache(maxsize=256)
def _shapes(fn: Callable, kinds: tuple, rest: Rest, default: Any) -> PyTree:
    """default: JAX's float, on which a trace depends too."""
    del default
    arrays = [None if kind is None else jax.ShapeDtypeStruct(kind[0], kind[1], weak_type=kind[2]) for kind in kinds]
    return jax.eval_shape(lambda arrays: fn(*rest.whole(arrays)), arrays)
