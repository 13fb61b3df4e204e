"""Layered networks: G_xi is block bidiagonal, so its solves are one sweep over the layers."""

# An equinox.AbstractVar may be a property in a final class; pyright does not know.
# pyright: reportIncompatibleVariableOverride=false

import itertools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray, PyTree

from .activations import Activation, check_activation, resolve, slope, smoothness
from .linearisation import AbstractLinearisation, TaylorSweep
from .network import AbstractNetwork, check_input, check_leaves, float_dtype, positive_int

Layers = tuple[Float[Array, " _"], ...]
# Two products of a vector with a smaller matrix are faster than one with two columns (measured, XLA on CPU).
_CACHED = 2**20
LayerJet = tuple[Float[Array, "..."], Float[Array, "..."], Float[Array, "..."]]


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


def _products(matrix: Float[Array, "m n"], vectors: tuple[Float[Array, " n"], ...]) -> tuple[Float[Array, " m"], ...]:
    """The matrix times each vector; in one reading of the matrix where a second one would not find it in a cache."""
    if matrix.nbytes < _CACHED:
        return tuple(_product(matrix, vector) for vector in vectors)
    columns = jnp.matmul(matrix, jnp.stack(vectors, axis=1), precision=jax.lax.Precision.HIGHEST)
    return tuple(columns[:, k] for k in range(len(vectors)))


def _back_product(vector: Float[Array, " m"], matrix: Float[Array, "m n"]) -> Float[Array, " n"]:
    """matrixᵀ vector, written from the left: XLA's CPU code for `matrix.T @ vector` copies the matrix first."""
    return jnp.matmul(vector, matrix, precision=jax.lax.Precision.HIGHEST)


def carried(sigma: Callable, a: LayerJet) -> tuple[LayerJet, Float[Array, "..."]]:
    """σ(a), its first two derivatives along the path of a, and σ′(a)."""

    def rate(value: Array, change: Array) -> Array:
        return jax.jvp(sigma, (value,), (change,))[1]

    x_dot, x_ddot = jax.jvp(rate, a[:2], a[1:])
    return (sigma(a[0]), x_dot, x_ddot), rate(a[0], jnp.ones_like(a[0]))


class LayeredLinearisation(AbstractLinearisation):
    """G_ξ is block bidiagonal with blocks −σ′(a_l) W_l, and G_M G_Mᵀ diagonal: a wave is one sweep over the layers."""

    x: Layers
    slopes: Layers
    matrices: tuple[Float[Array, "_ _"], ...]
    bias: bool = eqx.field(static=True)

    def forward(self, r: Layers) -> Layers:
        y = [r[0]]
        for s, matrix, r_l in zip(self.slopes, self.matrices, r[1:], strict=True):
            y.append(r_l + s * _product(matrix, y[-1]))
        return tuple(y)

    def backward(self, r: Layers) -> Layers:
        y = [r[-1]]
        for s, matrix, r_l in reversed(tuple(zip(self.slopes, self.matrices, r[:-1], strict=True))):
            y.append(r_l + _back_product(s * y[-1], matrix))
        return tuple(reversed(y))

    def gram(self, delta: Layers) -> Layers:
        return jax.tree.map(jnp.multiply, self.diagonal(), delta)

    def diagonal(self) -> Layers:
        """d_j = σ′(a_j)² (Σ_k x_k² [+ 1 with a bias]), 0 for inputs."""
        fan_in = (jnp.sum(below**2) + float(self.bias) for below in self.x[:-1])
        return (jnp.zeros_like(self.x[0]), *(s**2 * n for s, n in zip(self.slopes, fan_in, strict=True)))

    def jacobian(self) -> Float[Array, "neurons neurons"]:
        """G_ξ as a dense matrix, put together from its blocks."""
        sizes = [x.size for x in self.x]
        starts = [0, *itertools.accumulate(sizes)]
        dense = jnp.eye(starts[-1], dtype=self.x[0].dtype)
        for l, (s, matrix) in enumerate(zip(self.slopes, self.matrices, strict=True)):
            above, below = (slice(starts[k], starts[k + 1]) for k in (l + 1, l))
            dense = dense.at[above, below].set(-s[:, None] * matrix)
        return dense

    def weight_jvp(self, dW: PyTree) -> Layers:
        moved = [
            _product(rate[0], below) + rate[1] if self.bias else _product(rate, below)
            for rate, below in zip(dW, self.x[:-1], strict=True)
        ]
        return (jnp.zeros_like(self.x[0]), *(-s * a for s, a in zip(self.slopes, moved, strict=True)))

    def weight_vjp(self, delta: Layers) -> PyTree:
        errors = [-s * d for s, d in zip(self.slopes, delta[1:], strict=True)]
        products = [jnp.outer(error, below) for error, below in zip(errors, self.x[:-1], strict=True)]
        return tuple(zip(products, errors, strict=True)) if self.bias else tuple(products)


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
        return min(smoothness(activation) for activation in self.activations)

    @property
    def cycles(self) -> tuple[tuple[int, ...], ...]:
        return ()

    @property
    def shares_weights(self) -> bool:
        return False

    def init(self, key: PRNGKeyArray, dtype: Any = None) -> PyTree:
        dtype = float_dtype(dtype)
        keys = jax.random.split(key, len(self.sizes) - 1)
        shapes = [(m, n) for n, m in itertools.pairwise(self.sizes)]
        matrices = (jax.random.normal(k, s, dtype) * s[1] ** -0.5 for k, s in zip(keys, shapes, strict=True))
        return tuple((matrix, jnp.zeros(matrix.shape[:1], dtype)) if self.bias else matrix for matrix in matrices)

    def forward(self, W: PyTree, u: ArrayLike) -> Layers:
        self.check_input(u)
        x = [jnp.asarray(u)]
        for activation, weights in zip(self.activations, W, strict=True):
            x.append(resolve(activation)(self._activity(weights, x[-1])))
        return tuple(x)

    def output(self, x: Layers) -> Float[Array, " num_outputs"]:
        return x[-1]

    def constraint(self, x: Layers, W: PyTree, u: ArrayLike) -> Layers:
        self.check_input(u)
        images = (resolve(f)(a) for f, a in zip(self.activations, self._activities(x, W), strict=True))
        return (x[0] - jnp.asarray(u), *(above - image for above, image in zip(x[1:], images, strict=True)))

    def linearised(self, x: Layers, W: PyTree) -> "LayeredLinearisation":
        return LayeredLinearisation(x, tuple(self._slopes(x, W)), tuple(self._matrices(W)), self.bias)

    def taylor_sweep(self, W: PyTree, W_dot: PyTree, u: Array, u_dot: Array, u_ddot: Array) -> TaylorSweep:
        self.check_input(u)
        jets, slopes = [(jnp.asarray(u), u_dot, u_ddot)], []
        for activation, weights, rates in zip(self.activations, W, W_dot, strict=True):
            jet, s = carried(resolve(activation), self._activity_jet(weights, rates, jets[-1]))
            jets.append(jet)
            slopes.append(s)
        x, x_dot, x_ddot = zip(*jets, strict=True)
        return TaylorSweep(
            x, x_dot, x_ddot, LayeredLinearisation(x, tuple(slopes), tuple(self._matrices(W)), self.bias)
        )

    def weight_gram(self, x: Layers, W: PyTree) -> Layers:
        return self.linearised(x, W).diagonal()

    def check_weights(self, W: PyTree) -> PyTree:
        form = "(matrix [n_out, n_in], bias [n_out]) pairs" if self.bias else "[n_out, n_in] matrices"
        remedy = f"W is a tuple of {form}, one a layer, as network.init(key) makes it"
        return check_leaves(f"weights of Layered({self.sizes})", W, jax.eval_shape(self._like_weights), remedy)

    def check_neurons(self, x: PyTree) -> Layers:
        shapes = tuple(jax.ShapeDtypeStruct((size,), jnp.float32) for size in self.sizes)
        remedy = "x is a tuple of one array a layer, input layer first, as network.forward(W, u) makes it"
        return check_leaves(f"neurons of Layered({self.sizes})", x, shapes, remedy)

    def check_input(self, u: ArrayLike) -> None:
        check_input(u, self.input_shape)

    def _like_weights(self) -> PyTree:
        return self.init(jax.random.key(0))

    def _activity(self, weights: PyTree, below: Float[Array, " n"]) -> Float[Array, " m"]:
        if not self.bias:
            return _product(weights, below)
        matrix, offset = weights
        return _product(matrix, below) + offset

    def _activity_jet(self, weights: PyTree, rates: PyTree, below: LayerJet) -> LayerJet:
        """a = Wx, ȧ = Wẋ + Ẇx, ä = Wẍ + 2Ẇẋ (+ biases), each matrix read once."""
        matrix, rate = (weights[0], rates[0]) if self.bias else (weights, rates)
        a, a_dot, a_ddot = _products(matrix, below)
        moved, moved_dot = _products(rate, below[:2])
        if self.bias:
            a, a_dot = a + weights[1], a_dot + rates[1]
        return a, a_dot + moved, a_ddot + 2 * moved_dot

    def _activities(self, x: Layers, W: PyTree) -> list[Array]:
        return [self._activity(weights, below) for weights, below in zip(W, x[:-1], strict=True)]

    def _slopes(self, x: Layers, W: PyTree) -> list[Array]:
        return [slope(f, a) for f, a in zip(self.activations, self._activities(x, W), strict=True)]

    def _matrices(self, W: PyTree) -> list[Array]:
        return [weights[0] if self.bias else weights for weights in W]
