"""Layered networks: G_ξ is block bidiagonal, so that its solves are one sweep over the layers."""

# An equinox.AbstractVar may be a property in a final class; pyright does not know.
# pyright: reportIncompatibleVariableOverride=false

import itertools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray, PyTree

from lagrangian_learning._checks import positive_int

from ._checks import check_input, check_leaves, float_dtype
from .activations import Activation, check_activation, resolve, slope, smoothness
from .affine import Jet, LayerWeights, Values, activity, activity_jet
from .layered_linearisation import LayeredLinearisation, Layers, linearised_layers
from .linearisation import TaylorSweep
from .network import AbstractNetwork


class Layered(AbstractNetwork):
    """G_0 = x_0 − u,  G_l = x_l − σ(W_l x_{l−1} [+ b_l]) for l = 1 … L; (4) and (2) of the paper.

    A multilayer perceptron as constraints. x is a tuple of L + 1 arrays [n_l], the input layer first; W a tuple of L
    matrices [n_l, n_{l−1}], or of pairs (matrix, bias [n_l]). `linearised` and `taylor_sweep` also take x and u with a
    batch axis first, for one W.

    Arguments:
        sizes: the widths (n_0, …, n_L), input layer first.
        activation: σ, a name of `ACTIVATIONS` or an elementwise callable.
        bias: whether layers have biases b_l.
        output_activation: that of the output layer; None: `activation` too.

    Raises ValueError for fewer than two layers, widths that are not positive integers, and functions that are not
    elementwise.
    """

    sizes: tuple[int, ...] = eqx.field(static=True)
    activation: Activation = eqx.field(static=True)
    bias: bool = eqx.field(static=True)
    output_activation: Activation | None = eqx.field(static=True)

    feedforward = True
    cycles = ()
    shares_weights = False
    takes_batches = True

    # Written out: type checkers would count the abstract variables among a generated one's arguments.
    def __init__(
        self,
        sizes: Any,
        activation: Activation = "tanh",
        bias: bool = False,
        output_activation: Activation | None = None,
    ) -> None:
        self.sizes = _as_sizes(sizes)
        self.activation, self.output_activation = activation, output_activation
        self.bias = bool(bias)

    def __check_init__(self) -> None:
        for activation in self.activations:
            check_activation(activation)

    @property
    def activations(self) -> tuple[Activation, ...]:
        """Those of the layers above the input."""
        last = self.activation if self.output_activation is None else self.output_activation
        return (self.activation,) * (len(self.sizes) - 2) + (last,)

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self.sizes[0],)

    @property
    def output_shape(self) -> tuple[int, ...]:
        return (self.sizes[-1],)

    @property
    def num_inputs(self) -> int:
        return self.sizes[0]

    @property
    def num_outputs(self) -> int:
        return self.sizes[-1]

    @property
    def num_neurons(self) -> int:
        return sum(self.sizes)

    @property
    def num_weights(self) -> int:
        return sum(m * (n + self.bias) for n, m in itertools.pairwise(self.sizes))

    @property
    def smoothness(self) -> int | float:
        return min(smoothness(activation) for activation in self.activations)

    def init(self, key: PRNGKeyArray, dtype: DTypeLike | None = None) -> PyTree:
        dtype = float_dtype(dtype)
        keys = jax.random.split(key, len(self.sizes) - 1)
        shapes = [(m, n) for n, m in itertools.pairwise(self.sizes)]
        matrices = (jax.random.normal(k, s, dtype) * s[1] ** -0.5 for k, s in zip(keys, shapes, strict=True))
        return tuple((matrix, jnp.zeros(matrix.shape[:1], dtype)) if self.bias else matrix for matrix in matrices)

    def forward(self, W: PyTree, u: ArrayLike) -> Layers:
        self.check_input(u)
        x = [jnp.asarray(u)]
        for sigma, weights in zip(self.activations, W, strict=True):
            x.append(resolve(sigma)(activity(weights, x[-1])))
        return tuple(x)

    def output(self, x: Layers) -> Float[Array, " num_outputs"]:
        return x[-1]

    def constraint(self, x: Layers, W: PyTree, u: ArrayLike) -> Layers:
        self.check_input(u)
        images = (resolve(f)(a) for f, a in zip(self.activations, _activities(x, W), strict=True))
        return (x[0] - jnp.asarray(u), *(above - image for above, image in zip(x[1:], images, strict=True)))

    def linearised(self, x: Layers, W: PyTree) -> LayeredLinearisation:
        slopes = (slope(f, a) for f, a in zip(self.activations, _activities(x, W), strict=True))
        return linearised_layers(x, W, tuple(slopes), bias=self.bias)

    def taylor_sweep(self, W: PyTree, W_dot: PyTree, u: Array, u_dot: Array, u_ddot: Array) -> TaylorSweep:
        u = jnp.asarray(u)
        check_input(u, (*u.shape[:-1], *self.input_shape))
        jets, slopes = [(u, u_dot, u_ddot)], []
        for sigma, weights, rates in zip(self.activations, W, W_dot, strict=True):
            jet, s = _carried(resolve(sigma), activity_jet(weights, rates, jets[-1]))
            jets.append(jet)
            slopes.append(s)
        x, x_dot, x_ddot = zip(*jets, strict=True)
        return TaylorSweep(x, x_dot, x_ddot, linearised_layers(x, W, tuple(slopes), bias=self.bias))

    def weight_gram(self, x: Layers, W: PyTree) -> Layers:
        return self.linearised(x, W).diagonal()

    def check_weights(self, W: PyTree) -> PyTree:
        form = "(matrix [n_out, n_in], bias [n_out]) pairs" if self.bias else "[n_out, n_in] matrices"
        remedy = f"W is a tuple of {form}, one a layer, as network.init(key) returns it"
        return check_leaves(f"weights of Layered({self.sizes})", W, self._weight_shapes, remedy)

    def check_neurons(self, x: PyTree) -> Layers:
        shapes = tuple(jax.ShapeDtypeStruct((size,), jnp.float32) for size in self.sizes)
        remedy = "x is a tuple of one array a layer, input layer first, as network.forward(W, u) returns it"
        return check_leaves(f"neurons of Layered({self.sizes})", x, shapes, remedy)

    def check_input(self, u: ArrayLike) -> None:
        check_input(u, self.input_shape)

    @property
    def _weight_shapes(self) -> PyTree:
        matrices = (jax.ShapeDtypeStruct((m, n), jnp.float32) for n, m in itertools.pairwise(self.sizes))
        if not self.bias:
            return tuple(matrices)
        return tuple((matrix, jax.ShapeDtypeStruct(matrix.shape[:1], jnp.float32)) for matrix in matrices)


def _as_sizes(sizes: Any) -> tuple[int, ...]:
    try:
        values = tuple(sizes)
    except TypeError:
        raise ValueError(f"sizes must be the widths of the layers, as in (2, 2, 1), got {sizes!r}") from None
    if len(values) < 2:
        raise ValueError(f"sizes needs an input and an output layer at least, as in (2, 1), got {values}")
    return tuple(positive_int(size, f"each of sizes {values}") for size in values)


def _activities(x: Layers, W: tuple[LayerWeights, ...]) -> list[Values]:
    return [activity(weights, below) for weights, below in zip(W, x[:-1], strict=True)]


def _carried(sigma: Callable, a: Jet) -> tuple[Jet, Values]:
    """σ(a), its first two derivatives along the path of a, and σ′(a)."""

    def rate(value: Array, change: Array) -> Array:
        return jax.jvp(sigma, (value,), (change,))[1]

    x_dot, x_ddot = jax.jvp(rate, a[:2], a[1:])
    return (sigma(a[0]), x_dot, x_ddot), rate(a[0], jnp.ones_like(a[0]))
