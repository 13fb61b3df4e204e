"""Layered networks: G_xi is block bidiagonal, so its solves are one sweep over the layers."""

# An equinox.AbstractVar may be a property in a final class; pyright does not know.
# pyright: reportIncompatibleVariableOverride=false

import itertools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray, PyTree

from .activations import Activation, check_activation, resolve, slope, smoothness
from .network import (
    AbstractNetwork,
    check_input,
    check_leaves,
    float_dtype,
    positive_int,
)

Layers = tuple[Float[Array, " _"], ...]


def _as_sizes(sizes: Any) -> tuple[int, ...]:
    try:
        values = tuple(sizes)
    except TypeError:
        raise ValueError(f"sizes must be the widths of the layers, as in (2, 2, 1), got {sizes!r}") from None
    if len(values) < 2:
        raise ValueError(f"sizes needs an input and an output layer at least, as in (2, 1), got {values}")
    return tuple(positive_int(size, f"each of sizes {values}") for size in values)


def _product(matrix: Float[Array, "m n"], vector: Float[Array, " n"]) -> Float[Array, " m"]:
    # Accelerators round the factors of a float32 product to fewer bits by default, which max|G| would show.
    return jnp.matmul(matrix, vector, precision=jax.lax.Precision.HIGHEST)


class Layered(AbstractNetwork):
    """G_0 = x_0 - u,  G_l = x_l - sigma(W_l x_{l-1} [+ b_l]) for l = 1 … L; (4) and (2) of the paper.

    `sizes` are the widths (n_0, …, n_L), input layer first. x is a tuple of L + 1 arrays [n_l]; W a tuple of L matrices
    [n_l, n_{l-1}], or of pairs (matrix, bias [n_l]) with `bias=True`. `activation` (a name of `ACTIVATIONS` or an
    elementwise callable) applies to the output layer too unless `output_activation` is given. Raises ValueError for
    fewer than two layers, widths that are not positive integers, and what is no activation.
    """

    sizes: tuple[int, ...] = eqx.field(static=True)
    activation: Activation = eqx.field(static=True)
    bias: bool = eqx.field(static=True)
    output_activation: Activation | None = eqx.field(static=True)

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
        for activation in self._activations:
            check_activation(activation)

    @property
    def _activations(self) -> tuple[Activation, ...]:
        last = self.activation if self.output_activation is None else self.output_activation
        return (self.activation,) * (len(self.sizes) - 2) + (last,)

    @property
    def num_inputs(self) -> int:
        return self.sizes[0]

    @property
    def num_outputs(self) -> int:
        return self.sizes[-1]

    @property
    def feedforward(self) -> bool:
        return True

    @property
    def num_neurons(self) -> int:
        return sum(self.sizes)

    @property
    def num_weights(self) -> int:
        return sum(m * (n + self.bias) for n, m in itertools.pairwise(self.sizes))

    @property
    def smoothness(self) -> int | float:
        return min(smoothness(activation) for activation in self._activations)

    @property
    def cycles(self) -> tuple[tuple[int, ...], ...]:
        return ()

    def init(self, key: PRNGKeyArray, dtype: Any = None) -> PyTree:
        dtype = float_dtype(dtype)
        keys = jax.random.split(key, len(self.sizes) - 1)
        shapes = [(m, n) for n, m in itertools.pairwise(self.sizes)]
        matrices = (jax.random.normal(k, s, dtype) * s[1] ** -0.5 for k, s in zip(keys, shapes, strict=True))
        return tuple((matrix, jnp.zeros(matrix.shape[:1], dtype)) if self.bias else matrix for matrix in matrices)

    def forward(self, W: PyTree, u: ArrayLike) -> Layers:
        self.check_input(u)
        x = [jnp.asarray(u)]
        for activation, weights in zip(self._activations, W, strict=True):
            x.append(resolve(activation)(self._activity(weights, x[-1])))
        return tuple(x)

    def output(self, x: Layers) -> Float[Array, " num_outputs"]:
        return x[-1]

    def constraint(self, x: Layers, W: PyTree, u: ArrayLike) -> Layers:
        self.check_input(u)
        images = (resolve(f)(a) for f, a in zip(self._activations, self._activities(x, W), strict=True))
        return (x[0] - jnp.asarray(u), *(above - image for above, image in zip(x[1:], images, strict=True)))

    def solve_forward(self, x: Layers, W: PyTree, r: Layers) -> Layers:
        y = [r[0]]
        for s, matrix, r_l in zip(self._slopes(x, W), self._matrices(W), r[1:], strict=True):
            y.append(r_l + s * _product(matrix, y[-1]))
        return tuple(y)

    def solve_backward(self, x: Layers, W: PyTree, r: Layers) -> Layers:
        y = [r[-1]]
        waves = zip(self._slopes(x, W), self._matrices(W), r[:-1], strict=True)
        for s, matrix, r_l in reversed(tuple(waves)):
            y.append(r_l + _product(matrix.T, s * y[-1]))
        return tuple(reversed(y))

    def weight_gram(self, x: Layers, W: PyTree) -> Layers:
        fan_in = (jnp.sum(below**2) + float(self.bias) for below in x[:-1])
        return (jnp.zeros_like(x[0]), *(s**2 * n for s, n in zip(self._slopes(x, W), fan_in, strict=True)))

    def check_weights(self, W: PyTree) -> PyTree:
        form = "(matrix [n_out, n_in], bias [n_out]) pairs" if self.bias else "[n_out, n_in] matrices"
        remedy = f"W is a tuple of {form}, one a layer, as network.init(key) makes it"
        return check_leaves(f"weights of Layered({self.sizes})", W, jax.eval_shape(self._like_weights), remedy)

    def check_neurons(self, x: PyTree) -> Layers:
        shapes = tuple(jax.ShapeDtypeStruct((size,), jnp.float32) for size in self.sizes)
        remedy = "x is a tuple of one array a layer, input layer first, as network.forward(W, u) makes it"
        return check_leaves(f"neurons of Layered({self.sizes})", x, shapes, remedy)

    def check_input(self, u: ArrayLike) -> None:
        check_input(u, self.num_inputs)

    def _like_weights(self) -> PyTree:
        return self.init(jax.random.key(0))

    def _activity(self, weights: PyTree, below: Float[Array, " n"]) -> Float[Array, " m"]:
        if not self.bias:
            return _product(weights, below)
        matrix, offset = weights
        return _product(matrix, below) + offset

    def _activities(self, x: Layers, W: PyTree) -> list[Array]:
        return [self._activity(weights, below) for weights, below in zip(W, x[:-1], strict=True)]

    def _slopes(self, x: Layers, W: PyTree) -> list[Array]:
        return [slope(f, a) for f, a in zip(self._activations, self._activities(x, W), strict=True)]

    def _matrices(self, W: PyTree) -> list[Array]:
        return [weights[0] if self.bias else weights for weights in W]
