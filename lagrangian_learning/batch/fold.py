"""What is kept of each chunk as it ends: its records, or what its lanes are folded into."""

import abc
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PyTree

from lagrangian_learning._checks import kind_of
from lagrangian_learning.simulate.monitor import Statistics
from lagrangian_learning.simulate.plan import Tolerances
from lagrangian_learning.simulate.results import RESULTS
from lagrangian_learning.simulate.run import Outcome, trajectory_of
from lagrangian_learning.simulate.table import outcome_rows, run_title, table, value_rows
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
        raise ValueError(f"{_REMEDY}; got {kind_of(reduce)}.")
    return Fold(jax.tree.map(_strong, reduce[0]), reduce[1])


class Folded(NamedTuple):
    """A value, how many lanes are folded into it, and the lane from which on it has held NaN (−1: it has none)."""

    value: PyTree
    lanes: Array
    nan_from: Array

    def after(self, value: PyTree, *, counts: Array) -> "Folded":
        """With the value after one more lane; one that does not count is padding."""
        nan_from = jnp.where(self.nan_from < 0, self.lanes, self.nan_from)
        new = Folded(value, self.lanes + 1, jnp.where(_any_nan(value), nan_from, -1))
        return jax.tree.map(lambda after, before: jnp.where(counts, after, before), new, self)


def unfolded(start: PyTree) -> Folded:
    """Before the first lane."""
    return Folded(start, jnp.asarray(0, jnp.int32), jnp.asarray(-1, jnp.int32))


def _any_nan(value: PyTree) -> Array:
    leaves = [leaf for leaf in jax.tree.leaves(value) if eqx.is_inexact_array(leaf)]
    return jnp.any(jnp.stack([jnp.asarray(False), *(jnp.any(jnp.isnan(leaf)) for leaf in leaves)]))


class Folding(NamedTuple):
    """The fold with what makes a trajectory of an outcome."""

    fold: Fold
    times: Array
    tolerances: Tolerances
    names: Names

    def __call__(self, value: Folded, outcome: Outcome, count: int) -> Folded:
        """The value after the first `count` lanes of a chunk; the others are padding."""
        return _folded(*self._arguments(value, outcome, count))

    def fingerprint(self, like: Outcome) -> str:
        """Of the start, and of the program that folds a chunk whose outcome has the shapes of `like`."""
        outcome = jax.tree.map(placeholder, like)
        given = self._arguments(unfolded(self.fold.start), outcome, 0)
        text = _folded.lower(*given).as_text()
        program = fingerprint_of_program(text, lambda: traced(_folded, *given), "reduce")
        return f"{program} {fingerprint_of_arrays(self.fold.start)}"

    def _arguments(self, value: Folded, outcome: Outcome, count: int) -> tuple[Any, ...]:
        """All on the host: a loop over lanes whose body is small would be all overhead on an accelerator."""
        given = (value, outcome, jnp.asarray(count), self.times, self.tolerances)
        arrays, rest = eqx.partition(given, has_dtype)
        return self.fold.fn, *eqx.combine(jax.device_put(arrays, _host()), rest), self.names


@eqx.filter_jit
def _folded(
    fn: Callable,
    folded: Folded,
    outcome: Outcome,
    count: Int[Array, ""],
    times: Array,
    tolerances: Tolerances,
    names: Names,
) -> Folded:
    def step(folded: Folded, entry: tuple[Array, Outcome]) -> tuple[Folded, None]:
        lane, one = entry
        new = jax.tree.map(_strong, fn(folded.value, trajectory_of(times, tolerances, one, names)))
        _check_alike(new, folded.value)
        return folded.after(new, counts=lane < count), None

    lanes = jnp.arange(outcome.failed.shape[0])
    return jax.lax.scan(step, folded, (lanes, outcome))[0]


def _check_alike(new: PyTree, old: PyTree) -> None:
    if _looks(new) != _looks(old):
        raise ValueError(f"{_REMEDY}. The start looks like {_looks(old)}, but fn returns {_looks(new)}.")


def _looks(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype.name), tree)


def placeholder(leaf: Any) -> np.ndarray:
    """An array of the shape and dtype that takes no memory."""
    return np.broadcast_to(np.zeros((), leaf.dtype), leaf.shape)


def _strong(leaf: Any) -> Array:
    array = jnp.asarray(leaf)
    return array.astype(array.dtype)


def _host() -> Any:
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError:  # JAX was started without it
        return jax.local_devices()[0]


NAN_REMEDY = (
    "either that run failed (its result says so), and reduce should leave out paths whose path.result is not "
    "successful, or reduce itself made NaN of a good one."
)


class Reduction(eqx.Module):
    """What `simulate_batch(..., reduce=(start, fn))` returns.

    value: what the lanes were folded into, NumPy arrays. nan_from: the run from which on it has held NaN, which the
    printed reduction names; None: it holds none. result, stats: code and statistics of every lane, as in a
    `Trajectory`.
    """

    value: PyTree
    result: RESULTS
    statistics: Statistics
    description: tuple[tuple[str, str], ...] = eqx.field(static=True)
    nan_from: int | None = eqx.field(static=True, default=None)

    @property
    def stats(self) -> dict[str, Any]:
        """Steps taken, and extrema over all accepted steps, of every lane."""
        return self.statistics.as_dict()

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        rows = [*self.description, *outcome_rows(self.statistics, self.result), *value_rows(self.value)]
        if self.nan_from is not None:
            rows.append(("", f"NaN FROM RUN {self.nan_from} ON: {NAN_REMEDY}"))
        return table(f"Reduction{run_title(self.statistics)}", rows)


class Summary(NamedTuple):
    """What is kept of a lane that is folded: how it ended."""

    result: RESULTS
    failed: Any
    statistics: Statistics


class HostArrays:
    """A pytree of NumPy arrays [count, ...], allocated once and filled as chunks come."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.tree: Any = None

    def fill(self, start: int, part: PyTree) -> None:
        """Takes a chunk whose first lane is start."""
        if self.tree is None:
            self.tree = jax.tree.map(lambda leaf: np.empty((self.count, *leaf.shape[1:]), leaf.dtype), part)
        for whole, leaf in zip(jax.tree.leaves(self.tree), jax.tree.leaves(part), strict=True):
            whole[start : start + leaf.shape[0]] = leaf


class AbstractCollector(abc.ABC):
    """Takes the outcomes of chunks in order. value: what the lanes so far are folded into; None: they are not."""

    def __init__(self, count: int) -> None:
        self.arrays = HostArrays(count)
        self.value: Any = None

    @abc.abstractmethod
    def part_of(self, outcome: Outcome) -> Any:
        """What is kept of an outcome."""

    @abc.abstractmethod
    def fold(self, outcome: Outcome, lanes: int) -> None:
        """Takes the first lanes of a chunk into the value."""

    @abc.abstractmethod
    def configuration(self, like: Outcome) -> dict[str, str]:
        """What decides the value beside the outcomes, whose shapes are those of `like`: names and fingerprints."""

    def take(self, start: int, stop: int, outcome: Outcome) -> Any:
        """Takes a chunk whose lanes beyond stop are padding; returns what it keeps of it."""
        self.fold(outcome, stop - start)
        part = jax.tree.map(lambda leaf: leaf[: stop - start], jax.device_get(self.part_of(outcome)))
        self.arrays.fill(start, part)
        return part

    def restore(self, start: int, part: Any) -> None:
        """Takes a part that an earlier run kept."""
        self.arrays.fill(start, part)


class RecordCollector(AbstractCollector):
    """Keeps everything."""

    def part_of(self, outcome: Outcome) -> Outcome:
        return outcome

    def fold(self, outcome: Outcome, lanes: int) -> None:
        pass

    def configuration(self, like: Outcome) -> dict[str, str]:
        return {"reduce": "nothing"}


class FoldingCollector(AbstractCollector):
    """Keeps how each lane ended, and folds its trajectory into the value."""

    def __init__(self, count: int, folding: Folding) -> None:
        self.arrays = HostArrays(count)
        self.folding = folding
        self.value = unfolded(folding.fold.start)

    def part_of(self, outcome: Outcome) -> Summary:
        return Summary(outcome.result, outcome.failed, outcome.statistics)

    def fold(self, outcome: Outcome, lanes: int) -> None:
        self.value = self.folding(self.value, outcome, lanes)

    def configuration(self, like: Outcome) -> dict[str, str]:
        return {"reduce": self.folding.fingerprint(like)}
