"""`Quartic`: a kinetic energy that grows faster than the square, and so holds velocities back."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from lagrangian_learning._arrays import cast
from lagrangian_learning._checks import nonnegative, positive

from .kinetic import AbstractKinetic


class Quartic(AbstractKinetic):
    """K = ½ m |v|² + β Σ v⁴, p = m v + 4βv³: v grows as p at small, as p^⅓ at large momenta (docs/theory.md §11).

    The velocity is the one real root of the cubic, in closed form: v = (p/m) f(27 β p²/m³) with
    f(y) = 3 sinh(⅓ arsinh √y)/√y.

    Arguments:
        mass: m > 0.
        beta: β ≥ 0, in units of mass/velocity²; β = 0 is `Quadratic(mass)`.

    Raises ValueError for constants out of range.
    """

    mass: Float[Array, ""]
    beta: Float[Array, ""]

    def __init__(self, mass: Any = 1.0, beta: Any = 1.0) -> None:
        self.mass = positive(mass, "mass", "it is the mass of every coordinate.")
        self.beta = nonnegative(beta, "beta", "it weighs Σ v⁴.")

    def velocity(self, p: PyTree) -> PyTree:
        return jax.tree.map(self._root, p)

    def momentum(self, v: PyTree) -> PyTree:
        return jax.tree.map(lambda leaf: leaf * (cast(self.mass, leaf) + 4 * cast(self.beta, leaf) * leaf**2), v)

    def energy(self, v: PyTree) -> Float[Array, ""]:
        def part(leaf: Array) -> Array:
            square = leaf * leaf
            return jnp.sum(square * (cast(self.mass, leaf) / 2 + cast(self.beta, leaf) * square))

        return jax.tree.reduce(jnp.add, jax.tree.map(part, v))

    def dual(self, p: PyTree) -> Float[Array, ""]:
        # p·v − K at p = m v + 4βv³, without a difference of like numbers.
        def part(v: Array) -> Array:
            square = v * v
            return jnp.sum(square * (cast(self.mass, v) / 2 + 3 * cast(self.beta, v) * square))

        return jax.tree.reduce(jnp.add, jax.tree.map(part, self.velocity(p)))

    def _root(self, p: Array) -> Array:
        mass, beta = cast(self.mass, p), cast(self.beta, p)
        free = p / mass
        return free * _share(27 * (beta / mass) * free**2)


def _share(y: Array) -> Array:
    """f(y) = 3 sinh(⅓ arsinh √y)/√y for y ≥ 0, by its series where it is close to 1: f solves f + (4/27) y f³ = 1."""
    small = y < _SERIES_BELOW
    near, root = jnp.where(small, y, 0), jnp.sqrt(jnp.where(small, 1, y))
    series = sum(c * near**k for k, c in enumerate(_SERIES))
    return jnp.where(small, series, 3 * jnp.sinh(jnp.arcsinh(root) / 3) / root)


# f = Σ_k (−z)^k C(3k, k)/(2k + 1), z = 4y/27, by Lagrange's inversion.
_SERIES = (1.0, -4 / 27, 3 * (4 / 27) ** 2, -12 * (4 / 27) ** 3, 55 * (4 / 27) ** 4, -273 * (4 / 27) ** 5)
_SERIES_BELOW = 1e-3
