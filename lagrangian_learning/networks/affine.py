"""The affine map W x [+ b] of a layer and its products, over a leading batch axis of x, the weights being shared."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from lagrangian_learning._arrays import matmul
from lagrangian_learning._tuning import CACHED_MATRIX

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
