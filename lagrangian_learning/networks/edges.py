"""Edges of a digraph: validated once, held hashably, analysed with networkx at build time only."""

import functools
import itertools
from typing import Any, final

import networkx as nx
import numpy as np

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
