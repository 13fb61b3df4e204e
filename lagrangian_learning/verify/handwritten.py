"""Neurons on a digraph and their equations (4) and (8)–(10) as the paper prints them, in NumPy alone.

What the package is compared with, in `verify`, in tests, notebooks and benchmarks: nothing here imports it.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

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

    def rates(self, x: np.ndarray, w: np.ndarray, w_dot: np.ndarray, u_dot: np.ndarray) -> np.ndarray:
        """ẋ = −G_ξ⁻¹ (G_t + G_M Ẇ), with which the constraints stay fulfilled."""
        by_neuron, by_weight = self.jacobians(x, w)
        return -np.linalg.solve(by_neuron, by_weight @ w_dot - self.inputs(u_dot))

    def inputs(self, values: np.ndarray) -> np.ndarray:
        """[ν], the values on the inputs and zero elsewhere."""
        return np.concatenate([values, np.zeros(self.num_neurons - self.num_inputs)])

    def outputs(self, values: np.ndarray) -> np.ndarray:
        """[ν], the values on the outputs and zero elsewhere."""
        return np.concatenate([np.zeros(self.num_neurons - self.num_outputs), values])


def on_edges(edges: Sequence[tuple[int, int]], num_neurons: int, num_inputs: int, num_outputs: int) -> HandNetwork:
    """The tanh network of these edges (source, target); weights in their order."""
    source, target = np.array(edges).T
    return HandNetwork(source, target, num_neurons, num_inputs, num_outputs)


def layered(sizes: Sequence[int]) -> HandNetwork:
    """Layers of tanh neurons; weights matrix by matrix, row by row."""
    starts = [0, *itertools.accumulate(sizes)]
    edges = [
        (starts[l] + k, starts[l + 1] + i)
        for l in range(len(sizes) - 1)
        for i in range(sizes[l + 1])
        for k in range(sizes[l])
    ]
    return on_edges(edges, sum(sizes), sizes[0], sizes[-1])


class Moment(NamedTuple):
    """Where (8)–(10) are evaluated: coordinates, velocities, ë of the inputs, ϖ and ϖ̇.

    Divided by ϖ, the equations are those of δ = λ/ϖ: leave weight at 1, and give weight_dot as ϖ̇/ϖ and forces as L_F/ϖ.
    """

    x: np.ndarray
    w: np.ndarray
    x_dot: np.ndarray
    w_dot: np.ndarray
    u_ddot: np.ndarray
    weight: float = 1.0
    weight_dot: float = 0.0


class HandEquations(NamedTuple):
    """(8)–(10) of the action (5) with masses m_x and m_W, from explicit gradients and Hessians of (4).

    force_x, force_w: L_F of (8) and (9), the functional derivatives of F.
    """

    network: HandNetwork
    mass_x: float
    mass_w: float

    def neuron_terms(self, at: Moment, x_ddot: np.ndarray, lam: np.ndarray, force_x: np.ndarray) -> list[np.ndarray]:
        """The terms of (8), whose sum is zero: −m_x ϖ ẍ − m_x ϖ̇ ẋ − λ G_ξ + L_F."""
        by_neuron, _ = self.network.jacobians(at.x, at.w)
        inertia = [-self.mass_x * at.weight * x_ddot, -self.mass_x * at.weight_dot * at.x_dot]
        return [*inertia, -lam @ by_neuron, force_x]

    def weight_terms(self, at: Moment, w_ddot: np.ndarray, lam: np.ndarray, force_w: np.ndarray) -> list[np.ndarray]:
        """The terms of (9), whose sum is zero: −m_W ϖ Ẅ − m_W ϖ̇ Ẇ − λ G_M + L_F."""
        _, by_weight = self.network.jacobians(at.x, at.w)
        inertia = [-self.mass_w * at.weight * w_ddot, -self.mass_w * at.weight_dot * at.w_dot]
        return [*inertia, -lam @ by_weight, force_w]

    def multipliers(self, at: Moment, force_x: np.ndarray, force_w: np.ndarray, *, gamma_2: bool = True) -> np.ndarray:
        """λ of (10) as printed; with gamma_2=False without its second derivatives of G, which is wrong."""
        by_neuron, by_weight = self.network.jacobians(at.x, at.w)
        matrix = by_neuron @ by_neuron.T / self.mass_x + by_weight @ by_weight.T / self.mass_w
        right = -at.weight_dot * (by_neuron @ at.x_dot + by_weight @ at.w_dot)
        right += by_neuron @ force_x / self.mass_x + by_weight @ force_w / self.mass_w
        return np.linalg.solve(matrix, right + gamma_2 * at.weight * self.second_derivatives(at))

    def second_derivatives(self, at: Moment) -> np.ndarray:
        """G_ττ + 2 (… + G_ξm ẋ Ẇ) + G_ξξ ẋ ẋ + G_mm Ẇ Ẇ; G_τξ = G_τm = 0, since the input enters (4) alone."""
        by_neurons, mixed, by_weights = self.network.hessians(at.x, at.w)
        quadratic = np.einsum("jab,a,b", by_neurons, at.x_dot, at.x_dot)
        quadratic += np.einsum("jmn,m,n", by_weights, at.w_dot, at.w_dot)
        return quadratic + 2 * np.einsum("jam,a,m", mixed, at.x_dot, at.w_dot) - self.network.inputs(at.u_ddot)

    def accelerations(
        self, at: Moment, force_x: np.ndarray, force_w: np.ndarray, *, gamma_2: bool = True
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """ẍ and Ẅ of (8) and (9), and the λ of (10)."""
        lam = self.multipliers(at, force_x, force_w, gamma_2=gamma_2)
        on_x = self.neuron_terms(at, np.zeros_like(at.x), lam, force_x)
        on_w = self.weight_terms(at, np.zeros_like(at.w), lam, force_w)
        x_ddot, w_ddot = (np.sum(terms, axis=0) / at.weight for terms in (on_x, on_w))
        return x_ddot / self.mass_x, w_ddot / self.mass_w, lam
