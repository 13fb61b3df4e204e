"""Neurons on a digraph as the paper writes them, (4) and (18), in NumPy alone: what the package is compared with."""

from typing import NamedTuple

import numpy as np

from lagrangian_learning.networks import AbstractNetwork, Digraph, Layered

_SWEEPS = 5000


class HandNetwork(NamedTuple):
    """tanh neurons on the edges (source, target), zero-based: x_j = tanh(Σ_k w_jk x_k), inputs first, outputs last.

    x is one array [ν], w one array [edges]: ravelled, as `jax.flatten_util.ravel_pytree` does it.
    """

    source: np.ndarray
    target: np.ndarray
    num_neurons: int
    num_inputs: int
    num_outputs: int

    def activity(self, x: np.ndarray, w: np.ndarray) -> np.ndarray:
        """a_j = Σ_k w_jk x_k; zero for inputs."""
        a = np.zeros(self.num_neurons)
        np.add.at(a, self.target, w * x[self.source])
        return a

    def image(self, x: np.ndarray, w: np.ndarray, u: np.ndarray) -> np.ndarray:
        """e for inputs, σ(a) for all others."""
        image = np.tanh(self.activity(x, w))
        image[: self.num_inputs] = u
        return image

    def constraint(self, x: np.ndarray, w: np.ndarray, u: np.ndarray) -> np.ndarray:
        """G of (4)."""
        return x - self.image(x, w, u)

    def slopes(self, x: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """σ′(a) and σ″(a), zero for inputs."""
        s = np.tanh(self.activity(x, w))
        first, second = 1 - s**2, -2 * s * (1 - s**2)
        first[: self.num_inputs] = second[: self.num_inputs] = 0
        return first, second

    def matrix(self, w: np.ndarray) -> np.ndarray:
        """(w_jk), [ν, ν]."""
        matrix = np.zeros((self.num_neurons, self.num_neurons))
        matrix[self.target, self.source] = w
        return matrix

    def jacobians(self, x: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """G_ξ[j, i] = δ_ij − σ′(a_j) w_ji and G_M[j, jk] = −σ′(a_j) x_k; rows are constraints."""
        first, _ = self.slopes(x, w)
        by_weight = np.zeros((self.num_neurons, w.size))
        by_weight[self.target, np.arange(w.size)] = -first[self.target] * x[self.source]
        return np.eye(self.num_neurons) - first[:, None] * self.matrix(w), by_weight

    def hessians(self, x: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """G_ξξ [j, a, b], G_ξm [j, a, m] and G_mm [j, m, m′], entry by entry."""
        first, second = self.slopes(x, w)
        matrix, inputs = self.matrix(w), np.zeros((self.num_neurons, w.size))
        inputs[self.target, np.arange(w.size)] = x[self.source]
        both = np.einsum("j,ja,jb->jab", second, matrix, matrix)
        mixed = np.einsum("j,ja,jm->jam", second, matrix, inputs)
        mixed[self.target, self.source, np.arange(w.size)] += first[self.target]
        return -both, -mixed, -np.einsum("j,jm,jn->jmn", second, inputs, inputs)

    def settle(self, w: np.ndarray, u: np.ndarray) -> np.ndarray:
        """The x with G = 0 by repeated substitution: exact after ν sweeps without cycles; on cycles w must be small."""
        x = np.zeros(self.num_neurons)
        for _ in range(_SWEEPS):
            x, before = self.image(x, w, u), x
            if np.array_equal(x, before):
                return x
        return x

    def outputs(self, values: np.ndarray) -> np.ndarray:
        """[ν], the values on the outputs and zero elsewhere."""
        return np.concatenate([np.zeros(self.num_neurons - self.num_outputs), values])


def by_hand(network: AbstractNetwork) -> HandNetwork:
    """The same tanh network, its weights in the order in which they ravel."""
    if isinstance(network, Digraph):
        source, target = network.edges.T
    elif isinstance(network, Layered):
        source, target = _layered_edges(network.sizes)
    else:
        raise ValueError(f"no hand-written form of {type(network).__name__}.")
    return HandNetwork(source, target, network.num_neurons, network.num_inputs, network.num_outputs)


def _layered_edges(sizes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    starts = np.concatenate([[0], np.cumsum(sizes)])
    edges = [
        (starts[l] + k, starts[l + 1] + i)
        for l in range(len(sizes) - 1)
        for i in range(sizes[l + 1])
        for k in range(sizes[l])
    ]
    source, target = np.array(edges).T
    return source, target
