"""Lanes: what varies over a batch, with its lanes first, and what all of them share."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from lagrangian_learning._checks import shown

_IN_AXES = (
    "in_axes must be (law, state, args), each None, an integer, or a pytree prefix of them, as in jax.vmap: "
    "(None, 0, 0) for a batch of states and stimuli under one law"
)


class Inputs(NamedTuple):
    """What one run is made from; carry goes on from an earlier run, None: from the state."""

    law: PyTree
    state: PyTree
    args: PyTree
    carry: PyTree = None


class Lanes(NamedTuple):
    """varied: the leaves with one entry a lane, lanes first, on the host; shared: the others. None at each other's."""

    varied: Inputs
    shared: Inputs

    @property
    def count(self) -> int:
        """How many lanes there are."""
        return jax.tree.leaves(self.varied)[0].shape[0]

    @property
    def like_one(self) -> Inputs:
        """One lane, its varied leaves as shapes."""
        shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), self.varied)
        return eqx.combine(shapes, self.shared)

    def one(self, lane: int) -> Inputs:
        """The inputs of one lane."""
        return eqx.combine(jax.tree.map(lambda leaf: leaf[lane], self.varied), self.shared)

    def part(self, start: int, stop: int) -> "Lanes":
        """The lanes from start to stop, without stop."""
        return Lanes(jax.tree.map(lambda leaf: leaf[start:stop], self.varied), self.shared)

    def chunk(self, start: int, size: int) -> Inputs:
        """varied of `size` lanes from start; past the end the last lane is repeated, so that no run is a new one."""
        if start + size <= self.count:
            return self.part(start, start + size).varied
        lanes = np.minimum(np.arange(start, start + size), self.count - 1)
        return jax.tree.map(lambda leaf: leaf[lanes], self.varied)


def lanes_of(inputs: Inputs, in_axes: Any) -> Lanes:
    """The inputs split by in_axes (law, state, args); ValueError where they fix no number of lanes."""
    if not isinstance(in_axes, tuple | list) or len(in_axes) != 3:
        raise ValueError(f"{_IN_AXES}; got {shown(in_axes)}.")
    leaves, structure = jax.tree.flatten(inputs)
    axes = axes_of(inputs, in_axes)
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(inputs)]
    entries = zip(paths, leaves, axes, strict=True)
    lanes = [None if axis is None else _lanes_first(path, leaf, axis) for path, leaf, axis in entries]
    shared = [leaf if axis is None else None for leaf, axis in zip(leaves, axes, strict=True)]
    _check_counts(dict(zip(paths, lanes, strict=True)))
    return Lanes(structure.unflatten(lanes), structure.unflatten(shared))


def axes_of(inputs: Inputs, in_axes: Any) -> list[int | None]:
    """The axis of lanes of each leaf, None where it has none."""
    trees = zip(("law", "state", "args", "carry"), (*in_axes, 0), inputs, strict=True)
    return [axis for name, axis_tree, tree in trees for axis in _spread(name, axis_tree, tree)]


def _spread(name: str, axes: Any, tree: PyTree) -> list[int | None]:
    """The axis of each leaf of a tree; what is no array has none."""
    spread: list[int | None] = []

    def visit(axis: Any, part: PyTree) -> None:
        if axis is not None and (isinstance(axis, bool) or not isinstance(axis, int | np.integer)):
            raise ValueError(f"{_IN_AXES}; got {shown(axis)} for {name}.")
        spread.extend(axis if has_dtype(leaf) else None for leaf in jax.tree.leaves(part))

    try:
        jax.tree.map(visit, axes, tree, is_leaf=lambda entry: entry is None)
    except (ValueError, TypeError) as error:
        raise ValueError(f"the entry of in_axes for {name} is no prefix of it. {_IN_AXES}. ({error})") from None
    return spread


def has_dtype(leaf: Any) -> bool:
    """Whether a leaf is an array; a Python number is part of the program."""
    return isinstance(leaf, jax.Array | np.ndarray | np.generic)


def _lanes_first(path: str, leaf: Any, axis: int) -> Any:
    if not -leaf.ndim <= axis < leaf.ndim:
        raise ValueError(
            f"in_axes gives {path} the axis {axis} of lanes, but its shape is {leaf.shape}: batch it (as jax.vmap over "
            "its constructor does), or give None for it."
        )
    if jnp.issubdtype(leaf.dtype, jax.dtypes.extended):  # PRNG keys have no form on the host
        return leaf if axis == 0 else jnp.moveaxis(leaf, axis, 0)
    return np.moveaxis(np.asarray(leaf), axis, 0)


def _check_counts(lanes: dict[str, Any]) -> None:
    counts = {path: leaf.shape[0] for path, leaf in lanes.items() if leaf is not None}
    if not counts:
        raise ValueError(f"nothing has an axis of lanes. {_IN_AXES}; for one run use ll.simulate.")
    if len(set(counts.values())) > 1:
        counted = ", ".join(f"{path}: {count}" for path, count in _first_of_each(counts).items())
        raise ValueError(
            f"the numbers of lanes differ: {counted}. Give every batched argument as many, "
            "and None in in_axes for what all lanes share."
        )
    if 0 in counts.values():
        raise ValueError(f"the batch is empty: {', '.join(counts)} have no lanes, so give one lane at least.")


def _first_of_each(counts: dict[str, int]) -> dict[str, int]:
    """One path for each count."""
    return {path: count for count, path in {count: path for path, count in reversed(counts.items())}.items()}


# An array by shape and dtype, and whether it stood for one that varies; what is no array as it is, after None.
Kind = tuple[bool | None, Any]


def kinds_of(tree: PyTree) -> tuple[Any, tuple[Kind, ...]]:
    """All that a traced program can depend on: the structure, and the kind of each leaf. Hashable, to be remembered."""
    leaves, structure = jax.tree.flatten(tree)
    return structure, tuple(map(_kind, leaves))


def _kind(leaf: Any) -> Kind:
    varies = isinstance(leaf, jax.ShapeDtypeStruct)
    if not (varies or has_dtype(leaf)):
        return None, leaf
    return varies, jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
