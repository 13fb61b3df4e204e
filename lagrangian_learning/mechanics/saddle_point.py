"""The saddle-point system that gives top derivative and multipliers together."""

import abc
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from lagrangian_learning._arrays import tree_zeros

from .jets import Jet

LinearMap = Callable[[PyTree], PyTree]


class SaddlePoint(NamedTuple):
    """H a + Bᵀδ = f,  B a = g: Euler–Lagrange and closing equation at one instant (docs/theory.md §2).

    H is the inertia (ℓ_vv for order 1, −ℓ_aa for order 2), B the constraint Jacobian; both are linear maps, so that a
    solver that knows structure need never see a matrix. `coordinates` and `multipliers` are examples of a and δ.
    `structure` is what the law knows of the maps beside them: for the equations of a network its masses.
    """

    inertia: LinearMap
    jacobian: LinearMap
    coordinates: PyTree
    multipliers: PyTree
    t: Array
    jet: Jet
    args: PyTree
    structure: Any = None

    def reaction(self, delta: PyTree) -> PyTree:
        """Bᵀδ."""
        return jax.linear_transpose(self.jacobian, self.coordinates)(delta)[0]

    def matrices(self) -> tuple[Float[Array, "n n"], Float[Array, "k n"]]:
        """H and B as dense matrices, coordinates ravelled in the order of their leaves."""
        flat, unravel = ravel_pytree(tree_zeros(self.coordinates))
        basis = jnp.eye(flat.size, dtype=flat.dtype)

        def columns(linear_map: LinearMap) -> Array:
            return jax.vmap(lambda e: ravel_pytree(linear_map(unravel(e)))[0], out_axes=1)(basis)

        return columns(self.inertia), columns(self.jacobian)


class AbstractMultiplierSolver(eqx.Module):
    """Solves a `SaddlePoint` for given right-hand sides; the laws know no other linear algebra."""

    name: eqx.AbstractClassVar[str]

    @abc.abstractmethod
    def __call__(self, system: SaddlePoint, force: PyTree, closing: PyTree) -> tuple[PyTree, PyTree]:
        """(a, δ) with H a + Bᵀδ = force and B a = closing."""


def scaled_matrix(system: SaddlePoint) -> tuple[Float[Array, "size size"], Float[Array, " n"], Float[Array, " k"]]:
    """The saddle-point matrix after scaling, with the scales of coordinates and constraints."""
    inertia, jacobian = system.matrices()
    diagonal = jnp.abs(jnp.diagonal(inertia))
    column_scale = jnp.where(diagonal > 0, jax.lax.rsqrt(jnp.where(diagonal > 0, diagonal, 1)), 1)
    rows = jacobian * column_scale
    norms = jnp.sqrt(jnp.sum(rows**2, axis=1))
    row_scale = 1 / jnp.where(norms > 0, norms, 1)
    rows = rows * row_scale[:, None]
    corner = jnp.zeros((rows.shape[0], rows.shape[0]), rows.dtype)
    scaled_inertia = column_scale[:, None] * inertia * column_scale
    return jnp.block([[scaled_inertia, rows.T], [rows, corner]]), column_scale, row_scale


def saddle_defect(system: SaddlePoint, force: Any, closing: Any, top: PyTree, delta: PyTree) -> tuple[PyTree, PyTree]:
    """(H a + Bᵀδ − f, B a − g): what a solution leaves over."""
    first = jax.tree.map(lambda h, r, f: h + r - f, system.inertia(top), system.reaction(delta), force)
    second = jax.tree.map(jnp.subtract, system.jacobian(top), closing)
    return first, second
