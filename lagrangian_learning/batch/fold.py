"""Lanes folded into one value as they come, so that no record of them need be kept."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PyTree

from lagrangian_learning.simulate.preparation import Names, trajectory_of
from lagrangian_learning.simulate.run import Outcome
from lagrangian_learning.simulate.settings import Tolerances
from lagrangian_learning.simulate.trajectory import Trajectory

from .lanes import has_dtype

_REMEDY = (
    "reduce must be (start, fn) with fn(value, path) -> value called for one lane after the other, in their order, as "
    "in functools.reduce; path is the trajectory of one lane"
)


class Fold(NamedTuple):
    """value ← fn(value, path of the lane), from start."""

    start: PyTree
    fn: Callable[[PyTree, Trajectory], PyTree]


def checked_fold(reduce: Any) -> Fold | None:
    """The user's reduce; ValueError for what is no pair of a start and a function."""
    if reduce is None:
        return None
    if not isinstance(reduce, tuple) or len(reduce) != 2 or not callable(reduce[1]):
        raise ValueError(f"{_REMEDY}; got {reduce!r}.")
    return Fold(jax.tree.map(_strong, reduce[0]), reduce[1])


class Folding(NamedTuple):
    """The fold with what makes a trajectory of an outcome."""

    fold: Fold
    times: Array
    tolerances: Tolerances
    names: Names

    def __call__(self, value: PyTree, outcome: Outcome, count: int) -> PyTree:
        """The value after the first `count` lanes of a chunk; the others are padding."""
        # On the host: a loop over lanes whose body is small would be all overhead on an accelerator.
        given = (value, outcome, self.times, self.tolerances)
        arrays, rest = eqx.partition(given, has_dtype)
        value, outcome, times, tolerances = eqx.combine(jax.device_put(arrays, _host()), rest)
        return _folded(self.fold.fn, value, outcome, jnp.asarray(count), times, tolerances, self.names)


@eqx.filter_jit
def _folded(
    fn: Callable,
    value: PyTree,
    outcome: Outcome,
    count: Int[Array, ""],
    times: Array,
    tolerances: Tolerances,
    names: Names,
) -> PyTree:
    def step(value: PyTree, entry: tuple[Array, Outcome]) -> tuple[PyTree, None]:
        lane, one = entry
        new = jax.tree.map(_strong, fn(value, trajectory_of(times, tolerances, one, names)))
        _check_alike(new, value)
        return jax.tree.map(lambda after, before: jnp.where(lane < count, after, before), new, value), None

    lanes = jnp.arange(outcome.failed.shape[0])
    return jax.lax.scan(step, value, (lanes, outcome))[0]


def _check_alike(new: PyTree, old: PyTree) -> None:
    if _looks(new) != _looks(old):
        raise ValueError(f"{_REMEDY}. The start looks like {_looks(old)}, but fn returns {_looks(new)}.")


def _looks(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype.name), tree)


def _strong(leaf: Any) -> Array:
    array = jnp.asarray(leaf)
    return array.astype(array.dtype)


def _host() -> Any:
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError:  # JAX was started without it
        return jax.local_devices()[0]
