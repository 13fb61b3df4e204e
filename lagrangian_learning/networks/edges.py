"""Edges of a digraph: validated once, analysed at build time only, and put in the order of a sweep."""

import functools
import itertools
from typing import Any, NamedTuple, final

import networkx as nx
import numpy as np
from jaxtyping import Array, Float, Int

from lagrangian_learning._tuning import EDGES_A_STEP

MAX_NAMED = 8


@final
class FrozenArray:
    """A read-only NumPy array with value equality and a hash computed once: a static field for a million edges."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = np.array(array, order="C")
        self.array.setflags(write=False)

    @functools.cached_property
    def _hash(self) -> int:
        return hash((self.array.shape, self.array.dtype.str, self.array.tobytes()))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, FrozenArray) or self.array.dtype != other.array.dtype:
            return False
        return hash(self) == hash(other) and np.array_equal(self.array, other.array)

    def __repr__(self) -> str:
        if self.array.size <= 2 * MAX_NAMED:
            return repr(self.array.tolist())
        return f"{self.array.dtype}{list(self.array.shape)}"


def as_edges(edges: Any) -> np.ndarray:
    """The (source, target) pairs as an int array [num_edges, 2]; ValueError when they are not pairs of integers."""
    advice = "give (source, target) pairs of zero-based integers, as in [(0, 2), (1, 2)]"
    try:
        pairs = np.asarray(edges if isinstance(edges, np.ndarray) else list(edges))
    except (TypeError, ValueError) as error:
        raise ValueError(f"edges are not pairs: {advice}") from error
    if pairs.size == 0:
        raise ValueError(f"a digraph network without edges computes nothing: {advice}")
    if pairs.ndim != 2 or pairs.shape[1] != 2:
        raise ValueError(f"edges have shape {pairs.shape}, expected (num_edges, 2): {advice}")
    if not np.issubdtype(pairs.dtype, np.integer):
        raise ValueError(f"edges are {pairs.dtype}, not integers: {advice}; Digraph.from_networkx numbers named nodes")
    return pairs.astype(np.int64)


def check_edges(edges: np.ndarray, num_neurons: int, num_inputs: int) -> None:
    """ValueError, naming the edges, for ends out of range, duplicates, and edges into input neurons."""
    outside = ((edges < 0) | (edges >= num_neurons)).any(axis=1)
    _refuse(edges[outside], f"out of range: neurons are numbered 0 to {num_neurons - 1}; raise num_neurons or renumber")
    unique, counts = np.unique(edges, axis=0, return_counts=True)
    _refuse(unique[counts > 1], "given more than once: one edge has one weight, leave the duplicates out")
    into_inputs = edges[:, 1] < num_inputs
    _refuse(
        edges[into_inputs],
        f"into input neurons 0 to {num_inputs - 1}, which are fixed by the input: an edge is (source, target)",
    )


def _refuse(edges: np.ndarray, reason: str) -> None:
    if len(edges):
        named = ", ".join(f"({source}, {target})" for source, target in edges[:MAX_NAMED].tolist())
        more = f" and {len(edges) - MAX_NAMED} more" if len(edges) > MAX_NAMED else ""
        raise ValueError(f"edges {named}{more} are {reason}")


def digraph_of(num_neurons: int, edges: np.ndarray) -> nx.DiGraph:
    """The networkx digraph on neurons 0 … num_neurons - 1."""
    graph = nx.DiGraph()
    graph.add_nodes_from(range(num_neurons))
    graph.add_edges_from(edges.tolist())
    return graph


def levels_of(graph: nx.DiGraph) -> np.ndarray | None:
    """Level of every neuron, the length of the longest path that ends in it; None when the graph has a cycle."""
    if not nx.is_directed_acyclic_graph(graph):
        return None
    levels = np.zeros(graph.number_of_nodes(), np.int64)
    for level, generation in enumerate(nx.topological_generations(graph)):
        levels[generation] = level
    return levels


def cycles_of(graph: nx.DiGraph) -> tuple[tuple[int, ...], ...]:
    """The strongly connected components that hold a cycle, upstream first, each as its sorted neurons."""
    # networkx yields components in reverse topological order: downstream first.
    components = reversed(list(nx.strongly_connected_components(graph)))
    return tuple(tuple(sorted(c)) for c in components if len(c) > 1 or _loops(graph, c))


def _loops(graph: nx.DiGraph, component: set[int]) -> bool:
    (neuron,) = component
    return graph.has_edge(neuron, neuron)


def number_nodes(graph: nx.Graph) -> dict[Any, int]:
    """Neuron number of every node: the node itself when nodes are 0 … n - 1, its place in `graph.nodes` otherwise."""
    if not graph.is_directed() or graph.is_multigraph():
        raise ValueError("a network needs a directed graph with single edges: convert it by networkx.DiGraph(graph)")
    nodes = list(graph.nodes)
    if set(nodes) == set(range(len(nodes))):
        return {node: int(node) for node in nodes}
    return dict(zip(nodes, itertools.count()))


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
