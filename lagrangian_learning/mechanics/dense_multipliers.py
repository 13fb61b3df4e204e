"""Multiplier solvers on dense matrices, for any mechanics."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from lagrangian_learning._arrays import matmul

from .saddle_point import AbstractMultiplierSolver, SaddlePoint, scaled_matrix

_COUPLED = (
    "the dense Schur complement needs a diagonal inertia, and here velocities are coupled. "
    "Use ll.multipliers.DenseSaddlePoint()."
)
_MASSLESS = (
    "the dense Schur complement divides by every mass, and one is not positive (mass_x = 0?). "
    "Use ll.multipliers.DenseSaddlePoint(), or the solver of the network (multiplier_solver=None)."
)


class DenseSaddlePoint(AbstractMultiplierSolver):
    """The whole symmetric indefinite matrix [[H, Bᵀ], [B, 0]], factorised by pivoted LU, O((n + k)³).

    Works for any system, singular inertia included, as long as H is regular on the kernel of B. Coordinates are
    scaled by 1/√H_ii first, constraints to unit rows, so that masses of very different size cost no accuracy.
    """

    name: ClassVar[str] = "dense saddle point"

    def __call__(self, system: SaddlePoint, force: PyTree, closing: PyTree) -> tuple[PyTree, PyTree]:
        matrix, column_scale, row_scale = scaled_matrix(system)
        f, unravel_a = ravel_pytree(force)
        g, unravel_delta = ravel_pytree(closing)
        solution = _lu_solve(matrix, jnp.concatenate([column_scale * f, row_scale * g]))
        return unravel_a(column_scale * solution[: f.size]), unravel_delta(row_scale * solution[f.size :])


class DenseSchur(AbstractMultiplierSolver):
    """The Schur complement (B H⁻¹ Bᵀ) δ = B H⁻¹ f − g by Cholesky, for a diagonal positive inertia: (10) as printed.

    O(k³ + k² n): cheaper than the saddle point where constraints are fewer than coordinates. It divides by the masses:
    a zero mass is an error that says so.
    """

    name: ClassVar[str] = "dense Schur complement"

    def __call__(self, system: SaddlePoint, force: PyTree, closing: PyTree) -> tuple[PyTree, PyTree]:
        f, unravel_a = ravel_pytree(force)
        g, unravel_delta = ravel_pytree(closing)
        diagonal = _masses(system)
        basis = jnp.eye(g.size, dtype=g.dtype)
        jacobian = jax.vmap(lambda e: ravel_pytree(system.reaction(unravel_delta(e)))[0])(basis)
        scaled = jacobian / jnp.sqrt(diagonal)
        operator = lx.MatrixLinearOperator(matmul(scaled, scaled.T), lx.positive_semidefinite_tag)
        delta = lx.linear_solve(operator, jacobian @ (f / diagonal) - g, lx.Cholesky(), throw=False).value
        return unravel_a((f - delta @ jacobian) / diagonal), unravel_delta(delta)


def _masses(system: SaddlePoint) -> Float[Array, " n"]:
    """The diagonal of a positive diagonal inertia, by one product with ones; an error for any other inertia."""
    ones, unravel = ravel_pytree(jax.tree.map(jnp.ones_like, system.coordinates))
    diagonal = ravel_pytree(system.inertia(unravel(ones)))[0]
    probe = jnp.cos(jnp.arange(ones.size, dtype=ones.dtype))  # a vector of unequal entries shows a coupled inertia
    coupling = ravel_pytree(system.inertia(unravel(probe)))[0] - probe * diagonal
    is_coupled = jnp.any(jnp.abs(coupling) > jnp.sqrt(jnp.finfo(ones.dtype).eps) * jnp.max(jnp.abs(diagonal)))
    return eqx.branched_error_if(
        diagonal, is_coupled | jnp.any(diagonal <= 0), jnp.where(is_coupled, 0, 1), [_COUPLED, _MASSLESS]
    )


def _lu_solve(matrix: Array, vector: Array) -> Array:
    if vector.size == 0:
        return vector
    operator, solver = lx.MatrixLinearOperator(matrix), lx.LU()
    factors = solver.init(operator, {})
    solution = lx.linear_solve(operator, vector, solver, state=factors, throw=False).value
    # One step of refinement: masses that differ by 1e9 otherwise cost as many digits in the small entries.
    left = vector - matmul(matrix, solution)
    return solution + lx.linear_solve(operator, left, solver, state=factors, throw=False).value
