"""`Quadratic`: ½ m |v|², the kinetic energy of momentum methods."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from lagrangian_learning._checks import kind_of, positive

from .kinetic import AbstractKinetic, check_prefix, map_masses


def positive_masses(value: Any) -> PyTree:
    """m > 0, one number or a pytree of them."""
    if not jax.tree.leaves(value):
        raise ValueError(f"mass must be one number, or a pytree of them, got {kind_of(value)}.")
    return jax.tree.map(lambda mass: positive(mass, "mass", "it is the mass of every coordinate."), value)


class Quadratic(AbstractKinetic):
    """K = ½ m |v|², K* = |p|²/(2m): with friction the heavy ball, SGD with momentum (docs/theory.md §11).

    Arguments:
        mass: m > 0, one number for all coordinates, or a pytree of numbers that the coordinates begin with, such as a
            tuple of one a layer.

    Raises ValueError for masses that are not positive.
    """

    mass: PyTree[Float[Array, ""]]

    def __init__(self, mass: Any = 1.0) -> None:
        self.mass = positive_masses(mass)

    def velocity(self, p: PyTree) -> PyTree:
        return map_masses(lambda m, leaf: leaf / m, self.mass, p)

    def momentum(self, v: PyTree) -> PyTree:
        return map_masses(jnp.multiply, self.mass, v)

    def energy(self, v: PyTree) -> Float[Array, ""]:
        return _sum(map_masses(lambda m, leaf: m * jnp.sum(leaf * leaf) / 2, self.mass, v))

    def dual(self, p: PyTree) -> Float[Array, ""]:
        return _sum(map_masses(lambda m, leaf: jnp.sum(leaf * leaf) / (2 * m), self.mass, p))

    def check(self, q: PyTree) -> None:
        check_prefix(self.mass, q, "mass")


def _sum(tree: PyTree) -> Array:
    return jax.tree.reduce(jnp.add, tree)
