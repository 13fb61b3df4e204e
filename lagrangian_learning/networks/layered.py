"""Layered networks, their affine maps, and their linearisation by sweeps over the layers."""

import itertools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray, PyTree

from lagrangian_learning._arrays import dtype_of, matmul
from lagrangian_learning._checks import flag, positive_int, random_key, shown
from lagrangian_learning._tuning import CACHED_MATRIX

from ._checks import check_input, check_leaves, float_dtype
from .activations import Activation, check_activations, check_activations_keep, resolve, slope, smoothness
from .linearisation import AbstractLinearisation, TaylorSweep, gram_kernel
from .network import AbstractNetwork

Matrix = Float[Array, "_ _"]
LayerWeights = Matrix | tuple[Matrix, Float[Array, " _"]]
Values = Float[Array, "..."]
Jet = tuple[Values, Values, Values]
"""A value with its first two derivatives along a path."""


def matrix_of(weights: LayerWeights) -> Matrix:
    """W of a matrix, or of a pair (matrix, bias)."""
    return weights[0] if isinstance(weights, tuple) else weights


def times(matrix: Matrix, x: Values) -> Values:
    """W x, by example."""
    return matmul(matrix, x) if x.ndim == 1 else jnp.einsum("...n,mn->...m", x, matrix, precision="highest")


def transpose_times(matrix: Matrix, y: Values) -> Values:
    """Wᵀ y, by example; written from the left, since XLA's CPU code for `matrix.T @ y` copies the matrix first."""
    return matmul(y, matrix)


def activity(weights: LayerWeights, x: Values) -> Values:
    """a = W x [+ b], by example."""
    product = times(matrix_of(weights), x)
    return product + weights[1] if isinstance(weights, tuple) else product


def activity_jet(weights: LayerWeights, rates: LayerWeights, x: Jet) -> Jet:
    """a = Wx, ȧ = Wẋ + Ẇx, ä = Wẍ + 2Ẇẋ [+ biases], each matrix read once."""
    a, a_dot, a_ddot = _times_each(matrix_of(weights), x)
    moved, moved_dot = _times_each(matrix_of(rates), x[:2])
    if isinstance(weights, tuple):
        a, a_dot = a + weights[1], a_dot + rates[1]
    return a, a_dot + moved, a_ddot + 2 * moved_dot


def activity_transpose(error: Values, x: Values, *, bias: bool) -> LayerWeights:
    """The transpose of `activity` in its weights: error xᵀ [, error], summed over examples."""
    if error.ndim == 1:
        return (jnp.outer(error, x), error) if bias else jnp.outer(error, x)
    matrix = matmul(error.T, x)
    return (matrix, jnp.sum(error, 0)) if bias else matrix


def _times_each(matrix: Matrix, values: tuple[Values, ...]) -> tuple[Values, ...]:
    """W times each; in one reading of the matrix where a second one would not find it in a cache, or for a batch."""
    if values[0].ndim > 1:
        return tuple(times(matrix, jnp.stack(values)))
    if matrix.nbytes < CACHED_MATRIX:
        return tuple(times(matrix, value) for value in values)
    # Columns, not rows: with the matrix on the right XLA's CPU code takes up to twice as long.
    columns = matmul(matrix, jnp.stack(values, axis=1))
    return tuple(columns[:, k] for k in range(len(values)))


Layers = tuple[Values, ...]


class LayeredLinearisation(AbstractLinearisation):
    """G_ξ is block bidiagonal with blocks −σ′(a_l) W_l: a sweep goes once over the layers.

    x, r and δ are those of one example, or have a batch axis first: G_ξ is then block diagonal by example, and the
    examples share W, so that

        (G_M G_Mᵀ δ)_l = s_l (K_l (s_l δ_l)),   K_l = x_{l−1} x_{l−1}ᵀ [+ 1 with a bias],   s_l = σ′(a_l).

    K_l is a number for one example, whose G_M G_Mᵀ is diagonal, and [B, B] for a batch; None where products with
    x_{l−1} are cheaper.
    """

    x: Layers
    slopes: Layers
    matrices: tuple[Matrix, ...]
    kernels: tuple[Float[Array, "..."] | None, ...]
    bias: bool = eqx.field(static=True)

    def forward(self, r: Layers) -> Layers:
        y = [r[0]]
        for s, matrix, r_l in zip(self.slopes, self.matrices, r[1:], strict=True):
            y.append(r_l + s * times(matrix, y[-1]))
        return tuple(y)

    def backward(self, r: Layers) -> Layers:
        y = [r[-1]]
        for s, matrix, r_l in reversed(tuple(zip(self.slopes, self.matrices, r[:-1], strict=True))):
            y.append(r_l + transpose_times(matrix, s * y[-1]))
        return tuple(reversed(y))

    def gram(self, delta: Layers) -> Layers:
        if self.x[0].ndim == 1:
            return jax.tree.map(jnp.multiply, self.diagonal(), delta)
        layers = zip(self.slopes, self.kernels, self.x[:-1], delta[1:], strict=True)
        return (jnp.zeros_like(self.x[0]), *(s * self._coupled(K, below, s * d) for s, K, below, d in layers))

    def diagonal(self) -> Layers:
        """d_j = σ′(a_j)² (Σ_k x_k² [+ 1 with a bias]), 0 for inputs: G_M G_Mᵀ of one example."""
        if self.x[0].ndim > 1:
            raise ValueError("G_M G_Mᵀ of a batch is not diagonal: `gram(delta)` multiplies by it.")
        images = [jnp.zeros_like(self.x[0])]
        for s, kernel in zip(self.slopes, self.kernels, strict=True):
            assert kernel is not None  # of one example it is a number
            images.append(s**2 * kernel)
        return tuple(images)

    def jacobian(self) -> Float[Array, "neurons neurons"]:
        """G_ξ of one example as a dense matrix, put together from its blocks."""
        sizes = [x.size for x in self.x]
        starts = [0, *itertools.accumulate(sizes)]
        dense = jnp.eye(starts[-1], dtype=self.x[0].dtype)
        for l, (s, matrix) in enumerate(zip(self.slopes, self.matrices, strict=True)):
            above, below = (slice(starts[k], starts[k + 1]) for k in (l + 1, l))
            dense = dense.at[above, below].set(-s[:, None] * matrix)
        return dense

    def weight_jvp(self, dW: PyTree) -> Layers:
        layers = zip(self.slopes, dW, self.x[:-1], strict=True)
        return (jnp.zeros_like(self.x[0]), *(-s * activity(rates, below) for s, rates, below in layers))

    def weight_vjp(self, delta: Layers) -> PyTree:
        layers = zip(self.slopes, self.x[:-1], delta[1:], strict=True)
        return tuple(activity_transpose(-s * d, below, bias=self.bias) for s, below, d in layers)

    def _coupled(self, kernel: Array | None, below: Values, errors: Values) -> Values:
        """K errors, with K or without."""
        if kernel is not None:
            return matmul(kernel, errors)
        return activity(activity_transpose(errors, below, bias=self.bias), below)


def linearised_layers(x: Layers, W: PyTree, slopes: Layers, *, bias: bool) -> LayeredLinearisation:
    """The linearisation at (x, W), where σ′(a) is `slopes`."""
    kernels = tuple(gram_kernel(below, s.shape[-1], bias=bias) for below, s in zip(x[:-1], slopes, strict=True))
    return LayeredLinearisation(x, slopes, tuple(matrix_of(weights) for weights in W), kernels, bias)


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
        self.bias = flag(bias, "bias")

    def __check_init__(self) -> None:
        check_activations(self.activation, self.output_activation)

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
        keys = jax.random.split(random_key(key), len(self.sizes) - 1)
        shapes = [(m, n) for n, m in itertools.pairwise(self.sizes)]
        matrices = (jax.random.normal(k, s, dtype) * s[1] ** -0.5 for k, s in zip(keys, shapes, strict=True))
        return tuple((matrix, jnp.zeros(matrix.shape[:1], dtype)) if self.bias else matrix for matrix in matrices)

    def forward(self, W: PyTree, u: ArrayLike) -> Layers:
        self.check_input(u)
        x = [jnp.asarray(u)]
        for sigma, weights in zip(self.activations, W, strict=True):
            x.append(resolve(sigma)(activity(weights, x[-1])))
        return tuple(x)

    def displaced(self, W: PyTree, u: ArrayLike, r: Layers) -> Layers:
        self.check_input(u)
        x = [jnp.asarray(u) + r[0]]
        for sigma, weights, r_l in zip(self.activations, W, r[1:], strict=True):
            x.append(resolve(sigma)(activity(weights, x[-1])) + r_l)
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
        checked = check_leaves(f"weights of Layered({self.sizes})", W, self._weight_shapes, remedy)
        check_activations_keep(self.activations, dtype_of(checked))
        return checked

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
        raise ValueError(f"sizes must be the widths of the layers, as in (2, 2, 1), got {shown(sizes)}") from None
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
