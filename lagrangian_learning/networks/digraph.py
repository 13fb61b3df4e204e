"""Networks on any digraph: sweeps level by level where it is acyclic, dense solves where it has cycles."""

# An equinox.AbstractVar may be a property in a final class; pyright does not know.
# pyright: reportIncompatibleVariableOverride=false

import itertools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import networkx as nx
import numpy as np
import optimistix as optx
from jax.typing import DTypeLike
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray, PyTree

from lagrangian_learning._arrays import dtype_of
from lagrangian_learning._checks import flag, positive, positive_int, random_key

from ._checks import check_input, check_leaves, float_dtype
from .activations import Activation, check_activations, check_activations_keep, resolve, slope, smoothness
from .digraph_linearisation import DigraphLinearisation, Neurons, Weights, check_dense, unless_failed
from .edges import (
    FrozenArray,
    Schedule,
    as_edges,
    build_schedule,
    check_edges,
    cycles_of,
    digraph_of,
    levels_of,
    number_nodes,
    take,
)
from .linearisation import TaylorSweep
from .network import AbstractNetwork, taylor_sweep


class Digraph(AbstractNetwork):
    """G_j = x_j − u_j for inputs,  G_j = x_j − σ(Σ w_e x_k over edges e = (k, j)) for all other neurons; (4).

    A network on any digraph. x is one array [num_neurons], W one array [num_edges] in the order of the edges. Any
    acyclic graph is feedforward whatever its numbering; self-loops make it cyclic. A neuron that no edge enters is
    σ(0). On a cyclic graph `forward` finds a root of G by Newton's method from x = 0; there may be other roots.
    Derivatives are implicit.

    Arguments:
        num_neurons: at most MAX_CYCLIC_NEURONS for sweeps through a cyclic graph.
        edges: (source, target) pairs, zero-based, as in networkx.
        num_inputs, num_outputs: the first neurons are inputs, the last ones outputs.
        activation: σ, a name of `ACTIVATIONS` or an elementwise callable.
        output_activation: that of the outputs; None: `activation` too.
        tolerance: of Newton's method, relative and absolute; None: 100 eps of the dtype.
        max_steps: of Newton's method.
        throw: whether a root that is not found, or a singular G_ξ in a sweep, is an error; otherwise the result is NaN.

    Raises ValueError for edges that are empty, not integers, out of range, duplicate or into inputs, for more inputs
    and outputs than neurons, and for functions that are not elementwise.
    """

    num_neurons: int = eqx.field(static=True)
    num_inputs: int = eqx.field(static=True)
    num_outputs: int = eqx.field(static=True)
    activation: Activation = eqx.field(static=True)
    output_activation: Activation | None = eqx.field(static=True)
    tolerance: float | None = eqx.field(static=True)
    max_steps: int = eqx.field(static=True)
    throw: bool = eqx.field(static=True)
    feedforward: bool = eqx.field(static=True)
    cycles: tuple[tuple[int, ...], ...] = eqx.field(static=True, repr=False)
    _edges: FrozenArray = eqx.field(static=True)
    _schedule: Schedule | None = eqx.field(static=True, repr=False)

    shares_weights = False
    takes_batches = False

    def __init__(
        self,
        num_neurons: int,
        edges: Any,  # an iterable of (source, target), or an integer array [num_edges, 2]
        num_inputs: int,
        num_outputs: int,
        activation: Activation = "tanh",
        output_activation: Activation | None = None,
        *,
        tolerance: float | None = None,
        max_steps: int = 256,
        throw: bool = True,
    ) -> None:
        self.num_neurons = positive_int(num_neurons, "num_neurons")
        self.num_inputs = positive_int(num_inputs, "num_inputs")
        self.num_outputs = positive_int(num_outputs, "num_outputs")
        self.activation, self.output_activation = activation, output_activation
        self.tolerance, self.max_steps = tolerance, positive_int(max_steps, "max_steps")
        self.throw = flag(throw, "throw")
        pairs = as_edges(edges)
        check_edges(pairs, self.num_neurons, self.num_inputs)
        graph = digraph_of(self.num_neurons, pairs)
        levels = levels_of(graph)
        self.feedforward = levels is not None
        self.cycles = () if self.feedforward else cycles_of(graph)
        self._edges = FrozenArray(pairs.astype(np.int32))
        self._schedule = None if levels is None else build_schedule(pairs, levels, self._groups)

    def __check_init__(self) -> None:
        if self.num_inputs + self.num_outputs > self.num_neurons:
            raise ValueError(
                f"num_inputs={self.num_inputs} and num_outputs={self.num_outputs} do not fit into "
                f"num_neurons={self.num_neurons}: inputs come first, outputs last, and none is both"
            )
        if self.tolerance is not None:
            positive(self.tolerance, "tolerance", "leave it None for 100 eps.")
        check_activations(self.activation, self.output_activation)

    @classmethod
    def from_networkx(cls, graph: nx.Graph, num_inputs: int, num_outputs: int, *args: Any, **kwargs: Any) -> "Digraph":
        """The network on a networkx digraph; further arguments are those of `Digraph`.

        Nodes 0 … n - 1 keep their numbers; nodes of any other name are numbered in the order of `graph.nodes`. Edges,
        and so W, are in the order of `graph.edges`. Raises ValueError for undirected graphs and multigraphs.
        """
        number = number_nodes(graph)
        edges = [(number[source], number[target]) for source, target in graph.edges]
        return cls(len(number), edges, num_inputs, num_outputs, *args, **kwargs)

    def to_networkx(self, W: Weights | None = None) -> nx.DiGraph:
        """The networkx digraph on neurons 0 … num_neurons - 1, with W as the edge attribute "weight" if given."""
        graph = digraph_of(self.num_neurons, self.edges)
        if W is not None:
            weights = np.asarray(self.check_weights(W)).tolist()
            named = {(s, t): w for (s, t), w in zip(self.edges.tolist(), weights, strict=True)}
            nx.set_edge_attributes(graph, named, "weight")
        return graph

    @property
    def edges(self) -> np.ndarray:
        """The (source, target) pairs, [num_edges, 2], read-only, in the order of W."""
        return self._edges.array

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self.num_inputs,)

    @property
    def output_shape(self) -> tuple[int, ...]:
        return (self.num_outputs,)

    @property
    def num_weights(self) -> int:
        return len(self.edges)

    @property
    def smoothness(self) -> int | float:
        return min(smoothness(activation) for activation in self._activations)

    def init(self, key: PRNGKeyArray, dtype: DTypeLike | None = None) -> Weights:
        dtype = float_dtype(dtype)
        fan_in = np.bincount(self._target, minlength=self.num_neurons)[self._target]
        return jax.random.normal(random_key(key), (self.num_weights,), dtype) * jnp.asarray(fan_in**-0.5, dtype)

    def forward(self, W: Weights, u: ArrayLike) -> Neurons:
        self.check_input(u)
        u = jnp.asarray(u)
        return self._forward_sweep(W, u) if self.feedforward else self._root(W, u)

    def displaced(self, W: Weights, u: ArrayLike, r: Neurons) -> Neurons:
        self.check_input(u)
        if not self.feedforward:
            raise ValueError(
                "neurons displaced from G = 0 follow by a forward sweep, and this network has cycles: remove the "
                "cycles, or leave stiffness out."
            )
        return self._forward_sweep(W, jnp.asarray(u), r)

    def output(self, x: Neurons) -> Float[Array, " num_outputs"]:
        return x[-self.num_outputs :]

    def constraint(self, x: Neurons, W: Weights, u: ArrayLike) -> Neurons:
        self.check_input(u)
        image = self._map(resolve, self._activity(x, W))
        return x - jnp.concatenate([jnp.asarray(u), image])

    def linearised(self, x: Neurons, W: Weights) -> "DigraphLinearisation":
        slopes = self._slopes(x, W)
        return DigraphLinearisation(x, slopes, slopes[self._target] * W, self._edges, self._schedule, self.throw)

    def taylor_sweep(self, W: Weights, W_dot: Weights, u: Array, u_dot: Array, u_ddot: Array) -> TaylorSweep:
        return taylor_sweep(self, W, W_dot, u, u_dot, u_ddot)

    def weight_gram(self, x: Neurons, W: Weights) -> Neurons:
        return self.linearised(x, W).diagonal()

    def check_weights(self, W: PyTree) -> Weights:
        shape = jax.ShapeDtypeStruct((self.num_weights,), jnp.float32)
        checked = check_leaves("weights of the Digraph", W, shape, "W is one array, one entry an edge in their order")
        check_activations_keep(self._activations, dtype_of(checked))
        return checked

    def check_neurons(self, x: PyTree) -> Neurons:
        shape = jax.ShapeDtypeStruct((self.num_neurons,), jnp.float32)
        return check_leaves("neurons of the Digraph", x, shape, "x is one array, one entry a neuron, inputs first")

    def check_input(self, u: ArrayLike) -> None:
        check_input(u, self.input_shape)

    @property
    def _source(self) -> np.ndarray:
        return self.edges[:, 0]

    @property
    def _target(self) -> np.ndarray:
        return self.edges[:, 1]

    @property
    def _activations(self) -> tuple[Activation, ...]:
        return (self.activation,) if self.output_activation is None else (self.activation, self.output_activation)

    @property
    def _groups(self) -> tuple[range, ...]:
        """The neurons that each of `_activations` acts on."""
        bounds = [self.num_inputs, self.num_neurons]
        if self.output_activation is not None:
            bounds.insert(1, self.num_neurons - self.num_outputs)
        return tuple(range(start, stop) for start, stop in itertools.pairwise(bounds))

    def _map(self, function: Callable, activity: Neurons) -> Float[Array, " non_inputs"]:
        """function(activation) at the activity of all neurons but the inputs."""
        parts = zip(self._activations, self._groups, strict=True)
        return jnp.concatenate([function(f)(activity[group.start : group.stop]) for f, group in parts])

    def _collect(self, values: Weights) -> Neurons:
        """Sum of a value on every edge over the edges that enter each neuron."""
        return jnp.zeros(self.num_neurons, values.dtype).at[self._target].add(values)

    def _activity(self, x: Neurons, W: Weights) -> Neurons:
        return self._collect(W * x[self._source])

    def _slopes(self, x: Neurons, W: Weights) -> Neurons:
        def derivative(activation):
            return lambda a: slope(activation, a)

        slopes = self._map(derivative, self._activity(x, W))
        return jnp.concatenate([jnp.zeros(self.num_inputs, slopes.dtype), slopes])

    def _forward_sweep(self, W: Weights, u: Float[Array, " num_inputs"], r: Neurons | None = None) -> Neurons:
        schedule = self._schedule
        assert schedule is not None
        dtype = jnp.result_type(W, u)
        activity = jnp.zeros(self.num_neurons, dtype)
        unfed = np.bincount(self._target, minlength=self.num_neurons)[self.num_inputs :] == 0
        rest = jnp.where(unfed, self._map(resolve, activity), jnp.zeros((), dtype))
        x = jnp.concatenate([u.astype(dtype), rest])
        x = x if r is None else x + r
        functions = tuple(resolve(f) for f in self._activations)

        def step(carry, at):
            activity, x = carry
            weight, source, target, finished = at
            activity = activity.at[target].add(weight * take(x, source), mode="drop")
            for function, neurons in zip(functions, finished, strict=True):
                x = x.at[neurons].add(function(take(activity, neurons)), mode="drop")
            return (activity, x), None

        finished = tuple(neurons.array for neurons in schedule.finished)
        steps = (take(W, schedule.edge.array), schedule.source.array, schedule.target.array, finished)
        (_, x), _ = jax.lax.scan(step, (activity, x), steps)
        return x

    def _root(self, W: Weights, u: Float[Array, " num_inputs"]) -> Neurons:
        check_dense(self.num_neurons)
        dtype = jnp.result_type(W, u)
        start = jnp.concatenate([u.astype(dtype), jnp.zeros(self.num_neurons - self.num_inputs, dtype)])
        tolerance = 100 * float(jnp.finfo(dtype).eps) if self.tolerance is None else self.tolerance
        found = optx.root_find(
            lambda x, args: self.constraint(x, *args),
            optx.Newton(rtol=tolerance, atol=tolerance, linear_solver=lx.LU()),
            start,
            (W, u),
            max_steps=self.max_steps,
            throw=False,
        )
        failed = found.result != optx.RESULTS.successful
        return unless_failed(found.value, failed, _NO_ROOT.format(self.max_steps), throw=self.throw)


_NO_ROOT = (
    "no x with x = sigma(Wx) found in {} Newton steps on the cyclic digraph: use smaller weights on its cycles, a "
    "larger max_steps, or an action with finite speed"
)
