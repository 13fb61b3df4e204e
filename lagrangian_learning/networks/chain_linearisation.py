"""The constraints of a chain of layers linearised at a point: each layer's Jacobians as products, never as matrices."""

from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from lagrangian_learning._arrays import matmul

from .affine import Jet
from .chain_layer import ChainLayer
from .convolutions import channels_last
from .gram_kernel import gram_kernel
from .linearisation import AbstractLinearisation, TaylorSweep

Product = Callable[[PyTree], Array]
Layers = tuple[Array, ...]


class ChainLinearisation(AbstractLinearisation):
    """G_l = x_l − f_l(W_l, x_{l−1}) has A_l = ∂f_l/∂x_{l−1} and M_l = ∂f_l/∂W_l, and G_M G_Mᵀ is M_l M_lᵀ by layer.

    M_l M_lᵀ is dense within a layer that shares weights between neurons, as a convolution does, and over the examples
    of a batch: it is applied as a vjp and a jvp (docs/theory.md §3), of a linear layer as `gram_kernel`, which is known
    once for all products.
    """

    x: Layers
    W: tuple[PyTree, ...]
    by_neurons: tuple[Product, ...]  # A_l v
    by_weights: tuple[Product | None, ...]  # M_l V; None for a layer without weights
    kernels: tuple[Array | None, ...]  # K_l; None for a layer that is not linear, or where products are cheaper
    layers: tuple[ChainLayer, ...] = eqx.field(static=True)

    def forward(self, r: Layers) -> Layers:
        y = [r[0]]
        for product, r_l in zip(self.by_neurons, r[1:], strict=True):
            y.append(r_l + product(y[-1]))
        return tuple(y)

    def backward(self, r: Layers) -> Layers:
        y = [r[-1]]
        for layer, product, r_l in reversed(tuple(zip(self.layers, self.by_neurons, r[:-1], strict=True))):
            y.append(r_l + _transposed(layer, product, r_l, y[-1]))
        return tuple(reversed(y))

    def gram(self, delta: Layers) -> Layers:
        layers = zip(self.layers, self.by_weights, self.W, self.kernels, delta[1:], strict=True)
        return (jnp.zeros_like(self.x[0]), *(_gram(*layer) for layer in layers))

    def weight_jvp(self, dW: tuple[PyTree, ...]) -> Layers:
        moved = [
            jnp.zeros_like(x_l) if product is None else -product(dW_l)
            for product, dW_l, x_l in zip(self.by_weights, dW, self.x[1:], strict=True)
        ]
        return (jnp.zeros_like(self.x[0]), *moved)

    def weight_vjp(self, delta: Layers) -> tuple[PyTree, ...]:
        layers = zip(self.layers, self.by_weights, self.W, delta[1:], strict=True)
        return tuple(
            W_l if product is None else _transposed(layer, product, W_l, -d) for layer, product, W_l, d in layers
        )


def linearised_chain(layers: Sequence[ChainLayer], x: Layers, W: tuple[PyTree, ...]) -> ChainLinearisation:
    """The linearisation at (x, W) of layers f_l(W_l, x_{l−1}); x may have a batch axis before all its arrays."""
    by_neurons, by_weights, kernels = [], [], []
    for layer, weights, below in zip(layers, W, x[:-1], strict=True):
        by_neurons.append(_by_neurons(layer, weights, below))
        by_weights.append(_by_weights(layer, weights, below))
        bias = layer.bias
        kernels.append(None if bias is None else gram_kernel(below, layer.output_shape[0], bias=bias))
    return ChainLinearisation(x, W, tuple(by_neurons), tuple(by_weights), tuple(kernels), tuple(layers))


def chain_taylor_sweep(
    layers: Sequence[ChainLayer], W: tuple[PyTree, ...], W_dot: tuple[PyTree, ...], u_jet: Jet
) -> TaylorSweep:
    """x, ẋ and ẍ at Ẅ = 0, layer by layer: twice the derivative of one layer instead of that of the whole pass."""
    jets = [u_jet]
    for layer, weights, rates in zip(layers, W, W_dot, strict=True):
        jets.append(_carried(layer, weights, rates, jets[-1]))
    x, x_dot, x_ddot = zip(*jets, strict=True)
    return TaylorSweep(x, x_dot, x_ddot, linearised_chain(layers, x, W))


def _gram(layer: ChainLayer, by_weights: Product | None, weights: PyTree, kernel: Array | None, delta: Array) -> Array:
    """M Mᵀ δ of one layer."""
    if by_weights is None:
        return jnp.zeros_like(delta)
    if kernel is None:
        return by_weights(_transposed(layer, by_weights, weights, delta))
    return matmul(kernel, delta) if kernel.ndim else kernel * delta


def _by_neurons(layer: ChainLayer, weights: PyTree, below: Array) -> Product:
    return jax.linearize(lambda x: layer(weights, x), below)[1]


def _by_weights(layer: ChainLayer, weights: PyTree, below: Array) -> Product | None:
    if not jax.tree.leaves(weights):
        return None
    return jax.linearize(lambda W: layer(W, below), weights)[1]


def _transposed(layer: ChainLayer, product: Product, like: PyTree, cotangent: Array) -> PyTree:
    """The transpose of a layer's product with a pytree like `like`."""

    def transpose(cotangent: Array) -> PyTree:
        return jax.linear_transpose(product, like)(cotangent)[0]

    return channels_last(transpose)(cotangent) if layer.convolves else transpose(cotangent)


def _carried(layer: ChainLayer, weights: PyTree, rates: PyTree, jet: Jet) -> Jet:
    """f(W, x) and its first two derivatives along W + Ẇτ and the path of x."""

    # Ẇ is closed over: as an argument it would have a zero derivative that is multiplied out.
    def rate(W: PyTree, x: Array, x_dot: Array) -> tuple[Array, Array]:
        return jax.jvp(layer, (W, x), (rates, x_dot))

    (y, y_dot), (_, y_ddot) = jax.jvp(rate, (weights, *jet[:2]), (rates, *jet[1:]))
    return y, y_dot, y_ddot
