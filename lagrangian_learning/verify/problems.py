"""Random networks, weights, velocities and signals on which equations are compared: several seeds, several sizes."""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PyTree

from lagrangian_learning.networks import AbstractNetwork, Digraph, Layered
from lagrangian_learning.signals import Sinusoids, Stimulus

from .claim import Shared
from .handwritten import HandNetwork, layered, on_edges

SEEDS = 4


class Problem(NamedTuple):
    """A tanh network with hand-written twin, and SEEDS consistent Cauchy data on it, found in NumPy.

    t: [S];  x, x_dot: [S, ν];  w, w_dot: [S, m], ravelled. frequency, phase: of the input sin(frequency · t + phase).
    target: [outputs], constant.
    """

    name: str
    network: AbstractNetwork
    hand: HandNetwork
    frequency: np.ndarray
    phase: np.ndarray
    target: np.ndarray
    t: np.ndarray
    x: np.ndarray
    w: np.ndarray
    x_dot: np.ndarray
    w_dot: np.ndarray

    @property
    def stimulus(self) -> Stimulus:
        """e(t) and y."""
        return Stimulus(Sinusoids(jnp.asarray(self.frequency), 1.0, jnp.asarray(self.phase)), jnp.asarray(self.target))

    def input(self, t: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """e, ė and ë at t."""
        angle = self.frequency * t + self.phase
        return np.sin(angle), self.frequency * np.cos(angle), -(self.frequency**2) * np.sin(angle)

    def potential_slope(self, x: np.ndarray) -> np.ndarray:
        """V_ξ of ½ Σ (x_out − y)²."""
        return self.hand.outputs(x[-self.hand.num_outputs :] - self.target)

    def on_every_seed(self, fn: Callable[..., PyTree]) -> Any:
        """fn(t, x, W, ẋ, Ẇ) with the pytrees of the network, compiled once; leaves are NumPy arrays [S, …]."""
        x_like, W_like = tree_of(self.network, self.hand)

        def one(t: Array, *flat: Array) -> PyTree:
            x, w, x_dot, w_dot = flat
            return fn(t, x_like(x), W_like(w), x_like(x_dot), W_like(w_dot))

        found = jax.jit(jax.vmap(one))(*map(jnp.asarray, (self.t, self.x, self.w, self.x_dot, self.w_dot)))
        return jax.tree.map(np.asarray, found)


def problems(shared: Shared) -> tuple[Problem, ...]:
    """Layered networks, acyclic digraphs of mixed numbering, and digraphs with cycles."""
    del shared
    return (*feedforward_problems(), *cyclic_problems())


def feedforward_problems() -> tuple[Problem, ...]:
    """Those without cycles."""
    return (
        problem("layered 2-3-1", Layered((2, 3, 1)), 1),
        problem("layered 3-5-4-2", Layered((3, 5, 4, 2)), 2),
        problem("digraph of 7", acyclic(7, 2, 1, 3), 3),
        problem("digraph of 12", acyclic(12, 3, 2, 4), 4),
    )


def cyclic_problems() -> tuple[Problem, ...]:
    """Those with cycles, on which W is small enough for the neurons to have one state."""
    return (problem("cycles on 6", cyclic(6, 2, 1, 5), 5, 0.5), problem("cycles on 9", cyclic(9, 2, 2, 6), 6, 0.5))


def problem(name: str, network: AbstractNetwork, seed: int, scale: float = 1.0) -> Problem:
    """Consistent Cauchy data: x settles, ẋ = −G_ξ⁻¹ (G_t + G_M Ẇ), in NumPy."""
    hand, rng = by_hand(network), np.random.default_rng(seed)
    fan_in = np.bincount(hand.target, minlength=hand.num_neurons)[hand.target]
    w = scale * rng.normal(size=(SEEDS, fan_in.size)) / np.sqrt(fan_in)
    w_dot = 0.5 * rng.normal(size=w.shape)
    t = rng.uniform(0.2, 1.2, SEEDS)
    frequency, phase = rng.uniform(0.5, 2.0, hand.num_inputs), rng.uniform(0.0, 6.0, hand.num_inputs)
    angle = frequency * t[:, None] + phase
    u, u_dot = np.sin(angle), frequency * np.cos(angle)
    x = np.stack([hand.settle(*at) for at in zip(w, u, strict=True)])
    x_dot = np.stack([hand.rates(*at) for at in zip(x, w, w_dot, u_dot, strict=True)])
    target = rng.uniform(-0.8, 0.8, hand.num_outputs)
    return Problem(name, network, hand, frequency, phase, target, t, x, w, x_dot, w_dot)


def by_hand(network: AbstractNetwork) -> HandNetwork:
    """The same tanh network in NumPy, its weights in the order in which they ravel."""
    if isinstance(network, Digraph):
        edges = [(int(source), int(target)) for source, target in network.edges]
        return on_edges(edges, network.num_neurons, network.num_inputs, network.num_outputs)
    if isinstance(network, Layered):
        return layered(network.sizes)
    raise ValueError(f"no hand-written form of {type(network).__name__}.")


def tree_of(network: AbstractNetwork, hand: HandNetwork) -> tuple[Callable[[Array], PyTree], Callable[[Array], PyTree]]:
    """From ravelled x and w to the pytrees of the network."""
    W = jax.eval_shape(network.init, jax.random.key(0))
    x = jax.eval_shape(network.forward, W, jnp.zeros(hand.num_inputs))
    neurons, weights = (jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), tree) for tree in (x, W))
    return ravel_pytree(neurons)[1], ravel_pytree(weights)[1]


def acyclic(num_neurons: int, num_inputs: int, num_outputs: int, seed: int) -> Digraph:
    """A random feedforward digraph whose hidden neurons are not numbered along its edges."""
    rng = np.random.default_rng(seed)
    hidden = rng.permutation(np.arange(num_inputs, num_neurons - num_outputs))
    order = [*range(num_inputs), *hidden, *range(num_neurons - num_outputs, num_neurons)]
    edges = [
        (int(order[k]), int(order[place]))
        for place in range(num_inputs, num_neurons)
        for k in rng.choice(place, size=min(3, place), replace=False)
    ]
    return Digraph(num_neurons, edges, num_inputs, num_outputs)


def cyclic(num_neurons: int, num_inputs: int, num_outputs: int, seed: int) -> Digraph:
    """A random digraph with cycles and self-loops."""
    rng = np.random.default_rng(seed)
    edges = [
        (int(k), target) for target in range(num_inputs, num_neurons) for k in rng.choice(num_neurons, 3, replace=False)
    ]
    return Digraph(num_neurons, edges, num_inputs, num_outputs)


def layers(sizes: tuple[int, ...], seed: int, count: int) -> tuple[Array, ...]:
    """Weights of `count` layered networks, [count, n_out, n_in] a layer, of variance 1/fan_in.

    Drawn by NumPy: XLA takes seconds to compile JAX's generators into a program.
    """
    rng = np.random.default_rng(seed)
    pairs = itertools.pairwise(sizes)
    return tuple(jnp.asarray(rng.normal(size=(count, rows, columns)) / columns**0.5) for columns, rows in pairs)


def relative(left: np.ndarray, terms: list[np.ndarray]) -> float:
    """max |left| over the largest entry of the terms that make it up."""
    return float(np.max(np.abs(left)) / max(np.max(np.abs(term)) for term in terms))


def worst(errors: list[float]) -> float:
    """The largest; NaN if one is NaN."""
    return float(np.max(errors))


def slope(parameters: np.ndarray, errors: np.ndarray) -> float:
    """The least-squares slope of log errors against log parameters."""
    return float(np.polyfit(np.log(parameters), np.log(errors), 1)[0])


def cosine(left: np.ndarray, right: np.ndarray) -> float:
    """cos of the angle between two vectors."""
    return float(np.vdot(left, right) / (np.linalg.norm(left) * np.linalg.norm(right)))
