"""The constraints of a chain of layers linearised at a point: each layer's Jacobians as products, never as matrices."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from .convolutions import channels_last
from .linearisation import AbstractLinearisation, TaylorSweep

LayerFunction = Callable[[PyTree, Array], Array]
Product = Callable[[Any], Array]
Layers = tuple[Array, ...]
Jet = tuple[Array, Array, Array]
_HIGHEST = jax.lax.Precision.HIGHEST


class ChainLinearisation(AbstractLinearisation):
    """G_l = x_l − f_l(W_l, x_{l−1}) has A_l = ∂f_l/∂x_{l−1} and M_l = ∂f_l/∂W_l, and G_M G_Mᵀ is M_l M_lᵀ by layer.

    M_l M_lᵀ is dense within a layer that shares weights between neurons, as a convolution does: it is applied as a
    vjp and a jvp (THEORY §3). Of a linear layer it is K_l = x_{l−1} x_{l−1}ᵀ [+ 1 with a bias] over the examples of a
    batch, |x_{l−1}|² [+ 1] for a single one, which is known once for all products.
    """

    x: Layers
    W: tuple[PyTree, ...]
    by_neurons: tuple[Product, ...]  # A_l v
    by_weights: tuple[Product | None, ...]  # M_l V; None for a layer without weights
    kernels: tuple[Array | None, ...]  # K_l; None for a layer that is not linear, or where products are cheaper

    def forward(self, r: Layers) -> Layers:
        y = [r[0]]
        for product, r_l in zip(self.by_neurons, r[1:], strict=True):
            y.append(r_l + product(y[-1]))
        return tuple(y)

    def backward(self, r: Layers) -> Layers:
        y = [r[-1]]
        for product, r_l in reversed(tuple(zip(self.by_neurons, r[:-1], strict=True))):
            y.append(r_l + _transposed(product, r_l, y[-1]))
        return tuple(reversed(y))

    def gram(self, delta: Layers) -> Layers:
        layers = zip(self.by_weights, self.W, self.kernels, delta[1:], strict=True)
        return (jnp.zeros_like(self.x[0]), *(_gram(*layer) for layer in layers))

    def weight_jvp(self, dW: tuple[PyTree, ...]) -> Layers:
        moved = [
            jnp.zeros_like(x_l) if product is None else -product(dW_l)
            for product, dW_l, x_l in zip(self.by_weights, dW, self.x[1:], strict=True)
        ]
        return (jnp.zeros_like(self.x[0]), *moved)

    def weight_vjp(self, delta: Layers) -> tuple[PyTree, ...]:
        pulled = zip(self.by_weights, self.W, delta[1:], strict=True)
        return tuple(W_l if product is None else _transposed(product, W_l, -d) for product, W_l, d in pulled)


def linearised_chain(
    functions: Sequence[LayerFunction], biases: Sequence[bool | None], x: Layers, W: tuple[PyTree, ...]
) -> ChainLinearisation:
    """The linearisation at (x, W) of layers f_l(W_l, x_{l−1}), each differentiated once.

    biases: whether a layer W_l x_{l−1} adds a bias; None for layers that are not linear.
    """
    by_neurons, by_weights, kernels = [], [], []
    for function, bias, weights, below, above in zip(functions, biases, W, x[:-1], x[1:], strict=True):
        by_neurons.append(_by_neurons(function, weights, below))
        by_weights.append(_by_weights(function, weights, below))
        kernels.append(None if bias is None else _kernel(below, above, bias=bias))
    return ChainLinearisation(x, W, tuple(by_neurons), tuple(by_weights), tuple(kernels))


def chain_taylor_sweep(
    functions: Sequence[LayerFunction],
    biases: Sequence[bool | None],
    W: tuple[PyTree, ...],
    W_dot: tuple[PyTree, ...],
    u_jet: Jet,
) -> TaylorSweep:
    """x, ẋ and ẍ at Ẅ = 0, layer by layer: twice the derivative of one layer instead of that of the whole pass."""
    jets = [u_jet]
    for function, weights, rates in zip(functions, W, W_dot, strict=True):
        jets.append(_carried(function, weights, rates, jets[-1]))
    x, x_dot, x_ddot = zip(*jets, strict=True)
    return TaylorSweep(x, x_dot, x_ddot, linearised_chain(functions, biases, x, W))


def _gram(by_weights: Product | None, weights: PyTree, kernel: Array | None, delta: Array) -> Array:
    """M Mᵀ δ of one layer."""
    if by_weights is None:
        return jnp.zeros_like(delta)
    if kernel is None:
        return by_weights(_transposed(by_weights, weights, delta))
    return jnp.matmul(kernel, delta, precision=_HIGHEST) if kernel.ndim else kernel * delta


def _kernel(below: Array, above: Array, *, bias: bool) -> Array | None:
    """K of a linear layer, of one example [] or of a batch [B, B]."""
    examples = 1 if below.ndim == 1 else below.shape[0]
    width = below.shape[-1]
    # K costs B² a neuron above and below, the two products 2 B times their widths multiplied.
    if examples * (width + above.shape[-1]) > 2 * width * above.shape[-1]:
        return None
    return jnp.matmul(below, below.T, precision=_HIGHEST) + float(bias)


def _by_neurons(function: LayerFunction, weights: PyTree, below: Array) -> Product:
    return jax.linearize(lambda x: function(weights, x), below)[1]


def _by_weights(function: LayerFunction, weights: PyTree, below: Array) -> Product | None:
    if not jax.tree.leaves(weights):
        return None
    return jax.linearize(lambda W: function(W, below), weights)[1]


def _transposed(product: Product, like: PyTree, cotangent: Array) -> Any:
    """The transpose of a product with what is `like`."""
    return channels_last(lambda ct: jax.linear_transpose(product, like)(ct)[0])(cotangent)


def _carried(function: LayerFunction, weights: PyTree, rates: PyTree, jet: Jet) -> Jet:
    """f(W, x) and its first two derivatives along W + Ẇτ and the path of x."""

    # Ẇ is closed over: as an argument it would have a zero derivative that is multiplied out.
    def rate(W: PyTree, x: Array, x_dot: Array) -> tuple[Array, Array]:
        return jax.jvp(function, (W, x), (rates, x_dot))

    (y, y_dot), (_, y_ddot) = jax.jvp(rate, (weights, *jet[:2]), (rates, *jet[1:]))
    return y, y_dot, y_ddot
