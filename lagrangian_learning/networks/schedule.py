"""The order in which a sweep visits the edges of an acyclic digraph: by the level of their target, in equal steps."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float, Int

from lagrangian_learning._tuning import EDGES_A_STEP

from .edges import FrozenArray


class Schedule(NamedTuple):
    """Steps of a forward sweep, each an equal number of edges that end in one level; index arrays [steps, width].

    A level with more edges than `width` takes several steps, so padding stays small however uneven the levels are.
    Padding indexes one past the end, which gathers fill and scatters drop. `finished` holds, for every group of
    neurons, those whose last incoming edge lies in the step.
    """

    edge: FrozenArray
    source: FrozenArray
    target: FrozenArray
    finished: tuple[FrozenArray, ...]


def build_schedule(edges: np.ndarray, levels: np.ndarray, groups: tuple[range, ...]) -> Schedule:
    """Schedule for `edges` [num_edges, 2] and `levels` [num_neurons]; `groups` are ranges of neurons."""
    num_edges, num_neurons = len(edges), len(levels)
    order = np.lexsort((edges[:, 1], levels[edges[:, 1]]))
    target = edges[order, 1]
    step = _steps(levels[target])
    num_steps = int(step[-1]) + 1
    edge = _padded(step, order, num_steps, num_edges)
    last = np.flatnonzero(np.append(target[1:] != target[:-1], True))
    finished = []
    for group in groups:
        inside = last[(target[last] >= group.start) & (target[last] < group.stop)]
        finished.append(FrozenArray(_padded(step[inside], target[inside], num_steps, num_neurons)))
    ends = np.append(edges, [[num_neurons, num_neurons]], axis=0).astype(np.int32)
    return Schedule(FrozenArray(edge), FrozenArray(ends[edge, 0]), FrozenArray(ends[edge, 1]), tuple(finished))


def _steps(level: np.ndarray) -> np.ndarray:
    """Step of every edge, given the level (sorted) of its target."""
    _, start, counts = np.unique(level, return_index=True, return_counts=True)
    width = _width(counts)
    first = np.concatenate([[0], np.cumsum(-(-counts // width))[:-1]])
    rank = np.repeat(np.arange(len(counts)), counts)
    return first[rank] + (np.arange(len(level)) - start[rank]) // width


def _width(counts: np.ndarray) -> int:
    largest = int(counts.max())
    widths = [largest, *(2**k for k in range(largest.bit_length()))]
    return min(widths, key=lambda width: int((-(-counts // width)).sum()) * (width + EDGES_A_STEP))


def _padded(row: np.ndarray, value: np.ndarray, num_rows: int, fill: int) -> np.ndarray:
    """`value` spread over rows (`row` is sorted), padded to the longest with `fill`."""
    counts = np.bincount(row, minlength=num_rows)
    table = np.full((num_rows, int(counts.max(initial=0))), fill, np.int32)
    column = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    table[row, column] = value
    return table


def take(values: Float[Array, " n"], indices: Int[Array | np.ndarray, "..."]) -> Float[Array, "..."]:
    """Entries of `values`, zero where an index points past the end: the padding of a schedule."""
    return values.at[indices].get(mode="fill", fill_value=0)
