"""Chains of layers of any shape as one network, linearised layer by layer."""

import contextlib
import math
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray, PyTree

from lagrangian_learning._arrays import dtype_of, matmul
from lagrangian_learning._checks import kind_of, positive_int, random_key

from ._checks import check_input, check_leaves, float_dtype
from .callables import HiddenModuleError, opened
from .chain_layer import ChainLayer
from .convolutions import channels_last
from .layered import Jet
from .linearisation import AbstractLinearisation, TaylorSweep, gram_kernel
from .network import AbstractNetwork

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


Shape = tuple[int, ...]


class Chain(AbstractNetwork):
    """G_0 = x_0 − u,  G_l = x_l − f_l(W_l, x_{l−1}) for l = 1 … L: (4) with a layer of any kind in place of σ(Wx).

    Each module is one layer of neurons: a linear map, a convolution, a pooling or normalisation of `equinox.nn`, a
    module of your own, or a function of one array such as `jnp.tanh`; an `eqx.nn.Sequential` is one layer, and its
    inner values are not neurons and have no mass. The inexact arrays of a layer are its weights, those of modules that
    it reaches through functions, partials, bound methods and wrappers such as `jax.vmap` among them; an array that a
    plain function closes over is constant, and the chain prints it. x is a tuple of L + 1 arrays, W a tuple of L
    pytrees: the modules with None for all that is fixed, so that W[0].weight has its usual name.

    Arguments:
        modules: the layers, or an `eqx.nn.Sequential` of them.
        input_shape: of u, as (channels, height, width); None where the first layer fixes it, as a linear one does.

    A chain is structure only: `init` returns new weights (LeCun normal; biases zero; scales of normalisations and
    arrays of any other name as the modules have them), `Chain.weights_of(modules)` the modules' own, and
    `network.modules(W)` the modules with weights W.
    Raises ValueError for layers that keep state, draw random numbers, or do not fit together.
    """

    layers: tuple[ChainLayer, ...] = eqx.field(static=True)
    shapes: tuple[Shape, ...] = eqx.field(static=True)

    feedforward = True
    cycles = ()
    shares_weights = True
    takes_batches = True

    def __init__(self, modules: Any, input_shape: Any = None) -> None:
        given = _as_modules(modules)
        shapes = [_first_shape(_seen_through(given[0])) if input_shape is None else _as_shape(input_shape)]
        layers = []
        for number, module in enumerate(given, start=1):
            layers.append(ChainLayer(module, number, shapes[-1]))
            shapes.append(layers[-1].output_shape)
        self.layers, self.shapes = tuple(layers), tuple(shapes)

    def __check_init__(self) -> None:
        if self.num_weights == 0:
            raise ValueError("this chain has no weights, so that nothing can learn: its modules hold no inexact array.")

    @staticmethod
    def weights_of(modules: Any) -> tuple[PyTree, ...]:
        """The modules' own arrays as W."""
        return tuple(eqx.filter(opened(module), eqx.is_inexact_array) for module in _as_modules(modules))

    def modules(self, W: tuple[PyTree, ...]) -> tuple[Callable[[Array], Array], ...]:
        """The layers with weights W; what a function held is a field of an opened function."""
        return tuple(layer.module(weights) for layer, weights in zip(self.layers, W, strict=True))

    @property
    def input_shape(self) -> Shape:
        return self.shapes[0]

    @property
    def output_shape(self) -> Shape:
        return self.shapes[-1]

    @property
    def num_inputs(self) -> int:
        return math.prod(self.input_shape)

    @property
    def num_outputs(self) -> int:
        return math.prod(self.output_shape)

    @property
    def num_neurons(self) -> int:
        return sum(math.prod(shape) for shape in self.shapes)

    @property
    def num_weights(self) -> int:
        return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(self._weight_shapes))

    @property
    def smoothness(self) -> int | float:
        return min(layer.smoothness for layer in self.layers)

    def init(self, key: PRNGKeyArray, dtype: DTypeLike | None = None) -> tuple[PyTree, ...]:
        dtype = float_dtype(dtype)
        keys = jax.random.split(random_key(key), len(self.layers))
        return tuple(layer.init(k, dtype) for layer, k in zip(self.layers, keys, strict=True))

    def forward(self, W: tuple[PyTree, ...], u: ArrayLike) -> Layers:
        self.check_input(u)
        x = [jnp.asarray(u)]
        for layer, weights in zip(self.layers, W, strict=True):
            x.append(layer(weights, x[-1]))
        return tuple(x)

    def displaced(self, W: tuple[PyTree, ...], u: ArrayLike, r: Layers) -> Layers:
        self.check_input(u)
        x = [jnp.asarray(u) + r[0]]
        for layer, weights, r_l in zip(self.layers, W, r[1:], strict=True):
            x.append(layer(weights, x[-1]) + r_l)
        return tuple(x)

    def output(self, x: Layers) -> Float[Array, "..."]:
        return x[-1]

    def constraint(self, x: Layers, W: tuple[PyTree, ...], u: ArrayLike) -> Layers:
        self.check_input(u)
        images = (layer(weights, below) for layer, weights, below in zip(self.layers, W, x[:-1], strict=True))
        return (x[0] - jnp.asarray(u), *(x_l - image for x_l, image in zip(x[1:], images, strict=True)))

    def linearised(self, x: Layers, W: tuple[PyTree, ...]) -> ChainLinearisation:
        return linearised_chain(self.layers, x, W)

    def taylor_sweep(
        self, W: tuple[PyTree, ...], W_dot: tuple[PyTree, ...], u: Array, u_dot: Array, u_ddot: Array
    ) -> TaylorSweep:
        u = jnp.asarray(u)
        check_input(u, (*u.shape[: u.ndim - len(self.input_shape)], *self.input_shape))
        return chain_taylor_sweep(self.layers, W, W_dot, (u, u_dot, u_ddot))

    def weight_gram(self, x: Layers, W: tuple[PyTree, ...]) -> Layers:
        raise ValueError(
            "the layers of a chain may share weights between neurons, as a convolution does, so that G_M G_Mᵀ is not "
            "diagonal: network.linearised(x, W).gram(delta) multiplies by it."
        )

    def check_weights(self, W: PyTree) -> tuple[PyTree, ...]:
        if not all(eqx.is_array_like(leaf) for leaf in jax.tree.leaves(W)):
            raise ValueError(
                "weights of a chain are arrays alone, and this holds whole modules: take ll.Chain.weights_of(modules)."
            )
        remedy = "W is a tuple of one pytree a layer, as network.init(key) or ll.Chain.weights_of(modules) return it"
        checked = check_leaves("weights of the Chain", W, self._weight_shapes, remedy)
        for layer in self.layers:
            layer.check_dtype(dtype_of(checked))
        return checked

    def check_neurons(self, x: PyTree) -> Layers:
        shapes = tuple(jax.ShapeDtypeStruct(shape, jnp.float32) for shape in self.shapes)
        remedy = "x is a tuple of one array a layer, the input first, as network.forward(W, u) returns it"
        return check_leaves("neurons of the Chain", x, shapes, remedy)

    def check_input(self, u: ArrayLike) -> None:
        check_input(u, self.input_shape)

    @property
    def _weight_shapes(self) -> tuple[PyTree, ...]:
        return tuple(layer.weight_shapes for layer in self.layers)


def _as_modules(modules: Any) -> tuple[Any, ...]:
    try:
        layers = tuple(modules)
    except TypeError:
        raise ValueError(f"modules must be a sequence of layers, got {kind_of(modules)}: put it in a list.") from None
    if not layers:
        raise ValueError("modules is empty: a chain needs one layer at least.")
    return layers


def _as_shape(shape: Any) -> Shape:
    if not isinstance(shape, int | np.integer | tuple | list):
        raise ValueError(f"input_shape must be a tuple such as (1, 28, 28), or one integer, got {kind_of(shape)}.")
    sizes = (shape,) if isinstance(shape, int | np.integer) else tuple(shape)
    return tuple(positive_int(size, f"each size of the input shape, input_shape={sizes},") for size in sizes)


def _seen_through(module: Any) -> Any:
    """A module without the wrapper of jit; what cannot be opened is refused where it is examined."""
    with contextlib.suppress(HiddenModuleError):
        return opened(module)
    return module


def _first_shape(module: Any) -> Shape:
    """The shape that a first layer asks for."""
    if isinstance(module, eqx.nn.Sequential) and len(module):
        return _first_shape(module[0])
    size = getattr(module, "in_features", getattr(module, "in_size", None))
    if isinstance(module, eqx.nn.Linear | eqx.nn.MLP):
        return () if size == "scalar" else (int(size),)  # pyright: ignore[reportArgumentType]
    raise ValueError(
        f"the first layer, {type(module).__name__}, does not fix the shape of its input: give input_shape=, "
        "as in ll.Chain(modules, input_shape=(1, 28, 28))."
    )
