"""Lanes folded into one value as they come, so that no record of them need be kept."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PyTree

from lagrangian_learning.simulate.run import Outcome, trajectory_of
from lagrangian_learning.simulate.settings import Tolerances
from lagrangian_learning.simulate.trajectory import Names, Trajectory

from .fingerprint import fingerprint_of_arrays, fingerprint_of_program, traced
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
        return _folded(*self._arguments(value, outcome, count))

    def fingerprint(self, like: Outcome) -> str:
        """Of the start, and of the program that folds a chunk whose outcome has the shapes of `like`."""
        outcome = jax.tree.map(_placeholder, like)
        given = self._arguments(self.fold.start, outcome, 0)
        text = _folded.lower(*given).as_text()
        program = fingerprint_of_program(text, lambda: traced(_folded, *given), "reduce")
        return f"{program} {fingerprint_of_arrays(self.fold.start)}"

    def _arguments(self, value: PyTree, outcome: Outcome, count: int) -> tuple[Any, ...]:
        """All on the host: a loop over lanes whose body is small would be all overhead on an accelerator."""
        given = (value, outcome, jnp.asarray(count), self.times, self.tolerances)
        arrays, rest = eqx.partition(given, has_dtype)
        return self.fold.fn, *eqx.combine(jax.device_put(arrays, _host()), rest), self.names


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


def _placeholder(leaf: Any) -> np.ndarray:
    """An array of the shape that takes no memory."""
    return np.broadcast_to(np.zeros((), leaf.dtype), leaf.shape)


def _strong(leaf: Any) -> Array:
    array = jnp.asarray(leaf)
    return array.astype(array.dtype)


def _host() -> Any:
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError:  # JAX was started without it
        return jax.local_devices()[0]
