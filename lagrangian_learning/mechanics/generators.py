"""Generators g(t, q, args) of displacements q → q + εg, for charges (docs/theory.md §12)."""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from lagrangian_learning._arrays import cast
from lagrangian_learning._checks import kind_of, module_named, real_array


class AbstractGradientGenerator(eqx.Module):
    """g = Φ_q: a generator that is the gradient of a function, which a law without momenta needs as its charge."""

    @abc.abstractmethod
    def __call__(self, t: Any, q: PyTree, args: PyTree) -> PyTree:
        """g, a pytree like q."""

    @abc.abstractmethod
    def primitive(self, t: Any, q: PyTree, args: PyTree) -> Float[Array, ""]:
        """Φ with Φ_q = g."""


class GradientOf(AbstractGradientGenerator):
    """g = Φ_q of any function Φ(t, q, args): its charge moves by −V_q·Φ_q where nothing has mass (docs/theory.md §12).

    Arguments:
        fn: Φ(t, q, args), a scalar; Φ(t, W, args) for a law of learning.
    """

    fn: Callable[..., Array] = eqx.field(converter=module_named("fn"))

    def __call__(self, t: Any, q: PyTree, args: PyTree) -> PyTree:
        return jax.grad(lambda coordinates: self.primitive(t, coordinates, args))(q)

    def primitive(self, t: Any, q: PyTree, args: PyTree) -> Float[Array, ""]:
        value = jnp.asarray(self.fn(t, q, args))
        if value.shape != ():
            raise ValueError(f"fn of ll.GradientOf must return a scalar, got shape {value.shape}: sum it.")
        return value


class SpaceRotation(eqx.Module):
    """g_i = −(q_j − c_j), g_j = q_i − c_i: rotation in the plane of two axes of space; Q is the angular momentum.

    Every leaf of q holds plain coordinates, those of space on its last axis: one point [d], or many [..., d], which are
    rotated together.

    Arguments:
        i, j: the axes of the plane; 0, 1 is the rotation about the third axis of space.
        center: c [d], the point that stays; None: the origin.

    Raises ValueError for axes that are one and the same, or that q does not have.
    """

    i: int = eqx.field(static=True, default=0)
    j: int = eqx.field(static=True, default=1)
    center: Float[Array, "..."] | None = eqx.field(
        converter=lambda value: None if value is None else vector(value, "center"), default=None
    )  # pyright: ignore[reportAssignmentType]

    def __check_init__(self) -> None:
        check_pair(self.i, self.j)

    def __call__(self, t: Any, q: PyTree, args: PyTree) -> PyTree:
        return jax.tree.map(self._turned, q)

    def _turned(self, q: Array) -> Array:
        if q.ndim == 0 or q.shape[-1] <= max(self.i, self.j):
            raise ValueError(
                f"ll.SpaceRotation({self.i}, {self.j}) needs coordinates with these axes of space last, and q has an "
                f"array of shape {q.shape}."
            )
        arm = q if self.center is None else q - cast(self.center, q)
        return turned(arm, self.i, self.j, axis=-1)


def vector(value: Any, name: str) -> Float[Array, " entries"]:
    """Real numbers in a row; ValueError otherwise."""
    array = real_array(value, name, "numbers in a row")
    if array.ndim != 1 or not array.size:
        raise ValueError(f"{name} must be numbers in a row, got {kind_of(value)}.")
    return array


def turned(array: Array, i: int, j: int, *, axis: int) -> Array:
    """A a along an axis, A being the generator of the rotation of entries i, j: −a_j at i, a_i at j, zero elsewhere."""
    rows = jnp.moveaxis(array, axis, 0)
    return jnp.moveaxis(jnp.zeros_like(rows).at[i].set(-rows[j]).at[j].set(rows[i]), 0, axis)


def check_pair(i: Any, j: Any) -> None:
    """ValueError unless i and j are two different indices."""
    whole = all(isinstance(index, int) and not isinstance(index, bool) and index >= 0 for index in (i, j))
    if not whole or i == j:
        raise ValueError(f"i and j must be two different indices, integers from 0 on, got {i!r} and {j!r}.")
