"""A network in rescaled weights: a mass for each layer."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray, PyTree

from lagrangian_learning._arrays import cast
from lagrangian_learning._checks import instance, kind_of, positive

from .linearisation import AbstractLinearisation, TaylorSweep
from .network import AbstractNetwork


class RescaledLinearisation(AbstractLinearisation):
    """That of the network at W = s V, with s between V and W; `diagonal` is G_V G_Vᵀ where that is diagonal."""

    plain: AbstractLinearisation
    scales: PyTree
    diagonal: PyTree | None

    def forward(self, r: PyTree) -> PyTree:
        return self.plain.forward(r)

    def backward(self, r: PyTree) -> PyTree:
        return self.plain.backward(r)

    def gram(self, delta: PyTree) -> PyTree:
        if self.diagonal is not None:
            return jax.tree.map(jnp.multiply, self.diagonal, delta)
        return self.weight_jvp(self.weight_vjp(delta))

    def weight_jvp(self, dW: PyTree) -> PyTree:
        return self.plain.weight_jvp(_times(self.scales, dW))

    def weight_vjp(self, delta: PyTree) -> PyTree:
        return _times(self.scales, self.plain.weight_vjp(delta))


class Rescaled(AbstractNetwork):
    """G(x, V, u) = G_network(x, s V, u): the coordinates are V = W/s, with a scale s for each layer.

    A mass m of V is a mass m/s² of W = s V, so that scales are masses a layer: with mass_W = m in the action and
    s_l = √(m/m_l), the weights of layer l have the mass m_l, by ½ m |V̇|² = Σ_l ½ m_l |Ẇ_l|². Friction, γ_l = ϑ m_l,
    follows. `weights(V)` are W and `coordinates(W)` V; trajectories, records and starts are in V. Scales are array
    leaves: `jax.grad` and `jax.vmap` reach them.

    Arguments:
        network: a network.
        scales: s > 0, a number for all weights, or a pytree of numbers that W begins with, such as a tuple of one a
            layer.

    Raises ValueError for anything but a network, scales that are not positive, and another structure than that of W.
    """

    network: AbstractNetwork
    scales: PyTree

    # Written out: type checkers would count the abstract variables among a generated one's arguments.
    def __init__(self, network: AbstractNetwork, scales: Any) -> None:
        self.network = network
        meaning = "one a layer, such as 1/√m_l for a mass m_l."
        self.scales = jax.tree.map(lambda scale: positive(scale, "each of scales", meaning), scales)

    def __check_init__(self) -> None:
        instance(
            self.network, "network", AbstractNetwork, "a network, as in ll.Rescaled(ll.Layered((2, 8, 1)), (1., 2.))"
        )
        W = jax.eval_shape(lambda: self.network.init(jax.random.key(0), jnp.float32))
        try:
            jax.tree.map(lambda scale, below: None, self.scales, W)
        except ValueError:
            given = f"a tuple of {len(self.scales)}" if isinstance(self.scales, tuple) else kind_of(self.scales)
            raise ValueError(
                "scales must be one number, or numbers in a structure that W begins with, such as a tuple of one a "
                f"layer; got {given} for W of {jax.tree.structure(W)}."
            ) from None

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.network.input_shape

    @property
    def output_shape(self) -> tuple[int, ...]:
        return self.network.output_shape

    @property
    def num_inputs(self) -> int:
        return self.network.num_inputs

    @property
    def num_outputs(self) -> int:
        return self.network.num_outputs

    @property
    def num_neurons(self) -> int:
        return self.network.num_neurons

    @property
    def num_weights(self) -> int:
        return self.network.num_weights

    @property
    def smoothness(self) -> int | float:
        return self.network.smoothness

    @property
    def feedforward(self) -> bool:
        return self.network.feedforward

    @property
    def cycles(self) -> tuple[tuple[int, ...], ...]:
        return self.network.cycles

    @property
    def shares_weights(self) -> bool:
        return self.network.shares_weights

    @property
    def takes_batches(self) -> bool:
        return self.network.takes_batches

    def weights(self, V: PyTree) -> PyTree:
        """W = s V."""
        return _times(self.scales, V)

    def coordinates(self, W: PyTree) -> PyTree:
        """V = W/s."""
        return _times(jax.tree.map(lambda scale: 1 / scale, self.scales), W)

    def init(self, key: PRNGKeyArray, dtype: DTypeLike | None = None) -> PyTree:
        return self.coordinates(self.network.init(key, dtype))

    def forward(self, W: PyTree, u: ArrayLike) -> PyTree:
        return self.network.forward(self.weights(W), u)

    def displaced(self, W: PyTree, u: ArrayLike, r: PyTree) -> PyTree:
        return self.network.displaced(self.weights(W), u, r)

    def output(self, x: PyTree) -> Float[Array, "..."]:
        return self.network.output(x)

    def constraint(self, x: PyTree, W: PyTree, u: ArrayLike) -> PyTree:
        return self.network.constraint(x, self.weights(W), u)

    def linearised(self, x: PyTree, W: PyTree) -> RescaledLinearisation:
        return self._rescaled(self.network.linearised(x, self.weights(W)), x)

    def taylor_sweep(self, W: PyTree, W_dot: PyTree, u: Array, u_dot: Array, u_ddot: Array) -> TaylorSweep:
        sweep = self.network.taylor_sweep(self.weights(W), self.weights(W_dot), u, u_dot, u_ddot)
        return sweep._replace(linearised=self._rescaled(sweep.linearised, sweep.x))

    def weight_gram(self, x: PyTree, W: PyTree) -> PyTree:
        if self.shares_weights:
            return self.network.weight_gram(x, W)
        return _diagonal(self.network.linearised(x, self.weights(W)), self.scales, x)

    def check_weights(self, W: PyTree) -> PyTree:
        return self.network.check_weights(W)

    def check_neurons(self, x: PyTree) -> PyTree:
        return self.network.check_neurons(x)

    def check_input(self, u: ArrayLike) -> None:
        self.network.check_input(u)

    def _rescaled(self, plain: AbstractLinearisation, x: PyTree) -> RescaledLinearisation:
        batch = len(jax.tree.leaves(x)[0].shape) > len(self.input_shape)
        diagonal = None if batch or self.shares_weights else _diagonal(plain, self.scales, x)
        return RescaledLinearisation(plain, self.scales, diagonal)


def _diagonal(plain: AbstractLinearisation, scales: PyTree, x: PyTree) -> PyTree:
    """That of G_M s² G_Mᵀ, a diagonal matrix: what it makes of ones."""
    ones = jax.tree.map(jnp.ones_like, x)
    return plain.weight_jvp(_times(scales, _times(scales, plain.weight_vjp(ones))))


def _times(scales: PyTree, W: PyTree) -> PyTree:
    def scaled(scale: Any, below: PyTree) -> PyTree:
        return jax.tree.map(lambda leaf: cast(scale, leaf) * leaf, below)

    return jax.tree.map(scaled, scales, W)
