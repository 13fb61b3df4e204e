"""Generators of the weights' symmetries: rescaling, scaling, translation and rotation (docs/theory.md §12)."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from lagrangian_learning._arrays import cast, tree_dot, tree_zeros
from lagrangian_learning._checks import kind_of
from lagrangian_learning.mechanics import AbstractGradientGenerator
from lagrangian_learning.mechanics.generators import check_pair, turned, vector

Matrix = Float[Array, "units ..."]
Bias = Float[Array, "units ..."] | None


class Rescaling(AbstractGradientGenerator):
    """g = W_l at layer l, −W_{l+1} at the next: W_l → e^ε W_l, W_{l+1} → e^{−ε} W_{l+1}, biases of layer l with W_l.

    A symmetry of the potential where what lies between is homogeneous (linear, relu). Of one hidden unit u it is row u
    of W_l and column u of W_{l+1}. g = Φ_W with Φ = ½ (|W_l|² + |b_l|² − |W_{l+1}|²), which the gradient flow keeps.
    Kinetic energy breaks it: damped descent of all units has Q = m (Ẇ_l·W_l − Ẇ_{l+1}·W_{l+1}) and
    (D + ϑ) Q = m (|Ẇ_l|² − |Ẇ_{l+1}|²) (docs/theory.md §12).

    Arguments:
        layer: l, an index of W, from 0; negative ones count from the end.
        unit: u, a hidden unit; None: all of them together.
        following: the index of the next layer; None: the next that has weights.

    Raises ValueError, where it meets the weights, for layers that W does not have or that are no linear ones.
    """

    layer: int = eqx.field(static=True)
    unit: int | None = eqx.field(static=True, default=None)
    following: int | None = eqx.field(static=True, default=None)

    def __check_init__(self) -> None:
        check_index(self.layer, "layer")
        for name in ("unit", "following"):
            if getattr(self, name) is not None:
                check_index(getattr(self, name), name)

    def __call__(self, t: Any, q: PyTree, args: PyTree) -> PyTree:
        below, above = adjacent(q, self.layer, self.following)

        def shrunk(matrix: Matrix, bias: Bias) -> tuple[Matrix, Bias]:
            kept = matrix if self.unit is None else _only(matrix, self.unit, axis=1)
            return -kept, tree_zeros(bias)

        def grown(matrix: Matrix, bias: Bias) -> tuple[Matrix, Bias]:
            if self.unit is None:
                return matrix, bias
            return _only(matrix, self.unit, axis=0), None if bias is None else _only(bias, self.unit, axis=0)

        if self.unit is not None:
            check_units(q, below, above, self.unit)
        return displaced(q, {below: grown, above: shrunk})

    def primitive(self, t: Any, q: PyTree, args: PyTree) -> Float[Array, ""]:
        return tree_dot(self(t, q, args), q) / 2  # g is linear in W, by a symmetric map


class Scaling(AbstractGradientGenerator):
    """g = W_l: W_l → e^ε W_l with its bias, a symmetry of the potential where a normalisation follows.

    Damped descent has Q = m_W Ẇ_l·W_l and (D + ϑ) Q = m_W |Ẇ_l|²: kinetic energy breaks it. g = Φ_W with
    Φ = ½ (|W_l|² + |b_l|²), kept by the gradient flow (docs/theory.md §12).

    Arguments:
        layer: l, an index of W, from 0; negative ones count from the end.

    Raises ValueError, where it meets the weights, for a layer that W does not have.
    """

    layer: int = eqx.field(static=True)

    def __check_init__(self) -> None:
        check_index(self.layer, "layer")

    def __call__(self, t: Any, q: PyTree, args: PyTree) -> PyTree:
        scaled = index_of(q, self.layer)
        return tuple(weights if k == scaled else tree_zeros(weights) for k, weights in enumerate(q))

    def primitive(self, t: Any, q: PyTree, args: PyTree) -> Float[Array, ""]:
        return tree_dot(self(t, q, args), q) / 2


class Translation(AbstractGradientGenerator):
    """g = 1 ⊗ a at layer l: every unit of the layer is moved by the same a·x, a symmetry where a softmax follows.

    Kept up to friction, e^{−ϑt}, by damped descent; the mass of the neurons breaks it, since outputs that move together
    have kinetic energy. g = Φ_W with Φ = Σ_i a·W_i, kept by the gradient flow (docs/theory.md §12).

    Arguments:
        layer: l, an index of W; the last by default.
        direction: a, one entry a unit of the layer below, and one more for the bias if there is one; None: ones.

    Raises ValueError, where it meets the weights, for a layer that W does not have, and for a direction of another
    length.
    """

    layer: int = eqx.field(static=True, default=-1)
    direction: Float[Array, "..."] | None = eqx.field(
        converter=lambda value: None if value is None else vector(value, "direction"), default=None
    )  # pyright: ignore[reportAssignmentType]

    def __check_init__(self) -> None:
        check_index(self.layer, "layer")

    def __call__(self, t: Any, q: PyTree, args: PyTree) -> PyTree:
        return displaced(q, {index_of(q, self.layer): self._moved})

    def primitive(self, t: Any, q: PyTree, args: PyTree) -> Float[Array, ""]:
        return tree_dot(self(t, q, args), q)  # g is constant

    def _moved(self, matrix: Matrix, bias: Bias) -> tuple[Matrix, Bias]:
        if self.direction is None:
            return jnp.ones_like(matrix), None if bias is None else jnp.ones_like(bias)
        length = matrix.shape[1] + (bias is not None)
        if matrix.ndim != 2 or self.direction.shape != (length,):
            raise ValueError(
                f"direction of ll.Translation must be an array [{length}], one entry an input of layer "
                f"{self.layer} and one for its bias if it has one, got {kind_of(self.direction)}."
            )
        a = cast(self.direction, matrix)
        rows = jnp.broadcast_to(a[: matrix.shape[1]], matrix.shape)
        return rows, None if bias is None else jnp.broadcast_to(a[-1], bias.shape)


class Rotation(eqx.Module):
    """Rotation of hidden units i, j of layer l: g = A W_l, −W_{l+1} A with A antisymmetric; biases turn with W_l.

    A symmetry of the action where layer l is linear, of its kinetic energy too, so that Q is kept up to friction,
    e^{−ϑt} (docs/theory.md §12). It is no gradient, and has no charge under the gradient flow.

    Arguments:
        i, j: the hidden units.
        layer: l, an index of W, from 0; negative ones count from the end.
        following: the index of the next layer; None: the next that has weights.

    Raises ValueError for units that are one and the same; and where it meets the weights, for layers or units that W
    does not have.
    """

    i: int = eqx.field(static=True)
    j: int = eqx.field(static=True)
    layer: int = eqx.field(static=True, default=0)
    following: int | None = eqx.field(static=True, default=None)

    def __check_init__(self) -> None:
        check_pair(self.i, self.j)
        check_index(self.layer, "layer")
        if self.following is not None:
            check_index(self.following, "following")

    def __call__(self, t: Any, q: PyTree, args: PyTree) -> PyTree:
        below, above = adjacent(q, self.layer, self.following)
        check_units(q, below, above, max(self.i, self.j))

        def rows(matrix: Matrix, bias: Bias) -> tuple[Matrix, Bias]:
            return self._turned(matrix, 0), None if bias is None else self._turned(bias, 0)

        def columns(matrix: Matrix, bias: Bias) -> tuple[Matrix, Bias]:
            return self._turned(matrix, 1), tree_zeros(bias)

        return displaced(q, {below: rows, above: columns})

    def _turned(self, array: Array, axis: int) -> Array:
        return turned(array, self.i, self.j, axis=axis)


Move = Callable[[Matrix, Bias], tuple[Matrix, Bias]]


def displaced(W: PyTree, moves: dict[int, Move]) -> PyTree:
    """A pytree like W: at some layers moves(matrix, bias), zero at the others."""
    return tuple(_affine(weights, k, moves[k]) if k in moves else tree_zeros(weights) for k, weights in enumerate(W))


def index_of(W: PyTree, layer: int) -> int:
    """The index of a layer from 0; ValueError for weights without layers, and for a layer that they do not have."""
    if not isinstance(W, tuple):
        raise ValueError(
            "weights of this network are no tuple of layers: write the generator as a function g(t, W, args)."
        )
    if not -len(W) <= layer < len(W):
        raise ValueError(f"W has {len(W)} layers, and layer {layer} is none of them: they are counted from 0.")
    return layer % len(W)


def adjacent(W: PyTree, layer: int, following: int | None) -> tuple[int, int]:
    """The indices of a layer and of the next one, or of the next that has weights."""
    below = index_of(W, layer)
    if following is not None:
        return below, index_of(W, following)
    further = [k for k in range(below + 1, len(W)) if jax.tree.leaves(W[k])]
    if not further:
        raise ValueError(f"layer {layer} is the last one with weights: hidden units lie between two layers.")
    return below, further[0]


def check_units(W: PyTree, below: int, above: int, unit: int) -> None:
    """ValueError unless the layer below makes units that the layer above reads one column each, this one among them."""
    lower, upper = (_matrix_and_bias(W[k], k)[0] for k in (below, above))
    if lower.ndim != 2 or upper.ndim != 2 or lower.shape[0] != upper.shape[1]:
        raise ValueError(
            f"units of layer {below} are no inputs of layer {above}: their weights are {list(lower.shape)} and "
            f"{list(upper.shape)}, and should be [units, inputs] and [outputs, units]."
        )
    if not -lower.shape[0] <= unit < lower.shape[0]:
        raise ValueError(f"layer {below} has {lower.shape[0]} units, and unit {unit} is none of them.")


def check_index(value: Any, name: str) -> None:
    """ValueError unless the value is a Python integer."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{name} must be an integer, an index from 0, got {kind_of(value)}.")


def _matrix_and_bias(weights: PyTree, k: int) -> tuple[Matrix, Bias]:
    if isinstance(weights, tuple):
        return weights[0], weights[1]
    if isinstance(weights, jax.Array):
        return weights, None
    matrix = getattr(weights, "weight", None)
    if matrix is None:
        raise ValueError(f"layer {k} is no linear map: its weights have no array called weight.")
    return matrix, getattr(weights, "bias", None)


def _affine(weights: PyTree, k: int, move: Move) -> PyTree:
    """move(matrix, bias) of one layer, in the layer's own structure."""
    matrix, bias = move(*_matrix_and_bias(weights, k))
    if isinstance(weights, tuple):
        return matrix, bias
    if isinstance(weights, jax.Array):
        return matrix
    moved = eqx.tree_at(lambda layer: layer.weight, tree_zeros(weights), matrix)
    return moved if bias is None else eqx.tree_at(lambda layer: layer.bias, moved, bias)


def _only(array: Array, index: int, *, axis: int) -> Array:
    """The array's slice at an index of an axis, zero elsewhere."""
    rows = jnp.moveaxis(array, axis, 0)
    return jnp.moveaxis(jnp.zeros_like(rows).at[index].set(rows[index]), 0, axis)
