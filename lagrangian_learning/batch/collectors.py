"""Collectors: what is kept on the host of each chunk as it ends: all records, or what they are folded into."""

import abc
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import PyTree

from lagrangian_learning.simulate.results import RESULTS
from lagrangian_learning.simulate.run import Outcome
from lagrangian_learning.simulate.stepping import Statistics

from .fold import Folding


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
        self.value = folding.fold.start

    def part_of(self, outcome: Outcome) -> Summary:
        return Summary(outcome.result, outcome.failed, outcome.statistics)

    def fold(self, outcome: Outcome, lanes: int) -> None:
        self.value = self.folding(self.value, outcome, lanes)

    def configuration(self, like: Outcome) -> dict[str, str]:
        return {"reduce": self.folding.fingerprint(like)}
