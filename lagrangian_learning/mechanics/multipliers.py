"""Accelerations and multipliers of the constrained equations: their saddle point, and its dense solution."""

import abc
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from lagrangian_learning._arrays import dtype_of, matmul, tree_zeros

from .lagrangian import Jet

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


class Regularity(eqx.Module):
    """How regular a saddle-point system is: prints itself.

    num_coordinates, num_constraints: n and k;  constraint_rank: the numerical rank of B;
    smallest, largest: singular values of the scaled matrix;  regular: whether top derivative and multipliers exist
    and are unique.
    """

    num_coordinates: int = eqx.field(static=True)
    num_constraints: int = eqx.field(static=True)
    constraint_rank: Array
    smallest: Array
    largest: Array
    regular: Array

    def __str__(self) -> str:
        verdict = "regular" if bool(self.regular) else "SINGULAR"
        return (
            f"{verdict}: {self.num_coordinates} coordinates, {self.num_constraints} constraints of rank "
            f"{int(self.constraint_rank)}, singular values {float(self.smallest):.3g} to {float(self.largest):.3g}"
        )


def regularity(system: SaddlePoint) -> Regularity:
    """Rank of the constraints and singular values of the scaled saddle-point matrix, by SVD: O((n + k)³)."""
    matrix, column_scale, row_scale = scaled_matrix(system)
    n, k = column_scale.size, row_scale.size
    tolerance = 10 * max(n + k, 1) * jnp.finfo(dtype_of(matrix)).eps
    values = jnp.linalg.svd(matrix, compute_uv=False)
    rows = matrix[n:, :n]
    row_values = jnp.linalg.svd(rows, compute_uv=False) if k else jnp.zeros((0,), matrix.dtype)
    return Regularity(
        num_coordinates=n,
        num_constraints=k,
        constraint_rank=jnp.sum(row_values > tolerance),
        smallest=values[-1],
        largest=values[0],
        regular=values[-1] > tolerance * values[0],
    )


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
