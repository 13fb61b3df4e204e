"""`AbstractKinetic`: a convex kinetic energy of the velocities alone, and its Legendre transform."""

import abc
from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, Float, PyTree

from lagrangian_learning._arrays import cast
from lagrangian_learning._checks import kind_of


class AbstractKinetic(eqx.Module):
    """K(v), convex, with p = K_v(v); its Legendre transform K*(p) = max_v p·v − K(v), with v = K*_p(p).

    Zero at rest: K(0) = K*(0) = 0. Velocities and momenta are pytrees like the coordinates.
    """

    @abc.abstractmethod
    def velocity(self, p: PyTree) -> PyTree:
        """v = K*_p(p)."""

    @abc.abstractmethod
    def momentum(self, v: PyTree) -> PyTree:
        """p = K_v(v)."""

    @abc.abstractmethod
    def energy(self, v: PyTree) -> Float[Array, ""]:
        """K(v)."""

    @abc.abstractmethod
    def dual(self, p: PyTree) -> Float[Array, ""]:
        """K*(p), the energy of the motion p·v − K."""

    def check(self, q: PyTree) -> None:
        """ValueError where this kinetic energy does not fit coordinates q; by default it fits all."""


def map_masses(fn: Any, masses: PyTree, *trees: PyTree) -> PyTree:
    """fn(m, leaf, …) for every leaf, m being the number above it in the tree of masses."""

    def below(mass: Any, *branches: PyTree) -> PyTree:
        return jax.tree.map(lambda *leaves: fn(cast(mass, leaves[0]), *leaves), *branches)

    return jax.tree.map(below, masses, *trees)


def check_prefix(masses: PyTree, q: PyTree, name: str) -> None:
    """ValueError unless q begins with the structure of the masses."""
    try:
        jax.tree.map(lambda mass, below: None, masses, q)
    except ValueError:
        given = f"a tuple of {len(masses)}" if isinstance(masses, tuple) else kind_of(masses)
        raise ValueError(
            f"{name} must be one number, or numbers in a structure that the coordinates begin with, such as a tuple of "
            f"one a layer; got {given} for coordinates of {jax.tree.structure(q)}."
        ) from None
