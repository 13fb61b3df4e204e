"""Accelerations and multipliers of the constrained equations: their saddle point, and its dense solution."""

import abc
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from lagrangian_learning._arrays import dtype_of, matmul, tree_zeros
from lagrangian_learning._checks import nonnegative, positive_int

from .dependence import Traced
from .lagrangian import Jet

LinearMap = Callable[[PyTree], PyTree]


class SaddlePoint(NamedTuple):
    """H a + Bᵀδ = f,  B a = g: Euler–Lagrange and closing equation at one instant (docs/theory.md §2).

    H is the inertia (ℓ_vv for order 1, −ℓ_aa for order 2), B the constraint Jacobian; both are linear maps, so that a
    solver that knows structure need never see a matrix. `coordinates` and `multipliers` are examples of a and δ.
    `structure` is what the law knows of the maps beside them: for the equations of a network its masses, for mechanics
    at large its `ConstantMasses` where there are any.
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


class ConstantMasses(NamedTuple):
    """A diagonal H that depends on nothing, as the equations themselves show."""

    diagonal: np.ndarray


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
    row_scale = _unit(rows)
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
    and are unique;  determined: whether the top derivative is unique, as it is where constraints are redundant.
    """

    num_coordinates: int = eqx.field(static=True)
    num_constraints: int = eqx.field(static=True)
    constraint_rank: Array
    smallest: Array
    largest: Array
    regular: Array
    determined: Array

    def __str__(self) -> str:
        redundant = "REDUNDANT (least-norm multipliers)" if bool(self.determined) else "SINGULAR"
        verdict = "regular" if bool(self.regular) else redundant
        return (
            f"{verdict}: {self.num_coordinates} coordinates, {self.num_constraints} constraints of rank "
            f"{int(self.constraint_rank)}, singular values {float(self.smallest):.3g} to {float(self.largest):.3g}"
        )


def regularity(system: SaddlePoint) -> Regularity:
    """Rank of the constraints and singular values of the scaled saddle-point matrix, by SVD: O((n + k)³)."""
    matrix, column_scale, row_scale = scaled_matrix(system)
    n, k = column_scale.size, row_scale.size
    tolerance = 10 * max(n + k, 1) * float(jnp.finfo(dtype_of(matrix)).eps)
    values = jnp.linalg.svd(matrix, compute_uv=False)
    inertia, rows = matrix[:n, :n], matrix[n:, :n]
    rank, free = _free_directions(rows, tolerance)
    # H on the kernel of B, and 1 on what B reaches: regular where accelerations are unique.
    kept = jnp.linalg.svd(matmul(free, matmul(inertia, free)) + jnp.eye(n, dtype=free.dtype) - free, compute_uv=False)
    vanishing = jnp.any(jnp.max(jnp.abs(rows), axis=1, initial=0) == 0)  # a gradient of zero determines nothing
    return Regularity(
        num_coordinates=n,
        num_constraints=k,
        constraint_rank=rank,
        smallest=values[-1],
        largest=values[0],
        regular=values[-1] > tolerance * values[0],
        determined=(kept[-1] > tolerance * kept[0]) & ~vanishing,
    )


def _free_directions(rows: Array, tolerance: float) -> tuple[Array, Float[Array, "n n"]]:
    """The numerical rank of B, and the orthogonal projector onto its kernel."""
    k, n = rows.shape
    if not k:
        return jnp.asarray(0), jnp.eye(n, dtype=rows.dtype)
    _, values, right = jnp.linalg.svd(rows, full_matrices=False)
    reached = jnp.where((values > tolerance)[:, None], right, 0)
    return jnp.sum(values > tolerance), jnp.eye(n, dtype=rows.dtype) - matmul(reached.T, reached)


_COUPLED = (
    "the dense Schur complement needs a diagonal inertia, and here velocities are coupled. "
    "Use ll.multipliers.DenseSaddlePoint()."
)
_MASSLESS = (
    "the dense Schur complement divides by every mass, and one is not positive (mass_x = 0?). "
    "Use ll.multipliers.DenseSaddlePoint(), or the solver of the network (multiplier_solver=None)."
)


class DenseSaddlePoint(AbstractMultiplierSolver):
    """[[H, Bᵀ], [B, −μ]] by pivoted LU, refined towards μ = 0: O((n + k)³), for any system with H regular on ker B.

    Coordinates are scaled by 1/√H_ii first, constraints to unit rows, so that masses of very different size cost no
    accuracy, and singular inertia is no exception. Where the rank of B drops, on the way or always, the multipliers are
    the shortest ones and accelerations stay finite: a singular value σ of the scaled B is met to the factor
    1 − (μ/(μ + σ²))^(1 + refinements).

    Arguments:
        mu: μ ≥ 0; None: the square root of the dtype's rounding unit, at which what is left of a regular system after
            two refinements is below rounding, and noise in a direction without rank stays below the root of rounding.
        refinements: solves with the same factors that follow the first.
    """

    mu: float | None = eqx.field(static=True, default=None)
    refinements: int = eqx.field(static=True, default=2)
    name: ClassVar[str] = "dense saddle point"

    def __check_init__(self) -> None:
        _check_regularisation(self.mu, self.refinements)

    def __call__(self, system: SaddlePoint, force: PyTree, closing: PyTree) -> tuple[PyTree, PyTree]:
        matrix, column_scale, row_scale = scaled_matrix(system)
        f, unravel_a = ravel_pytree(force)
        g, unravel_delta = ravel_pytree(closing)
        corner = jnp.concatenate([jnp.zeros_like(f), jnp.full_like(g, _shift(self.mu, g.dtype))])
        factors = jax.scipy.linalg.lu_factor(lax.stop_gradient(matrix) - jnp.diag(corner))

        def solve(right: Array, transposed: int) -> Array:
            return jax.scipy.linalg.lu_solve(factors, right, trans=transposed)

        solution = _refined(matrix, jnp.concatenate([column_scale * f, row_scale * g]), solve, self.refinements)
        return unravel_a(column_scale * solution[: f.size]), unravel_delta(row_scale * solution[f.size :])


class DenseSchur(AbstractMultiplierSolver):
    """The Schur complement (B H⁻¹ Bᵀ) δ = B H⁻¹ f − g by Cholesky, for a diagonal positive inertia: (10) as printed.

    O(k³ + k² n): cheaper than the saddle point where constraints are fewer than coordinates. It divides by the masses:
    a zero mass is an error that says so. Constraints are scaled to unit rows; μ and its refinements as in
    `DenseSaddlePoint`, so that redundant constraints get the shortest multipliers here too.
    """

    mu: float | None = eqx.field(static=True, default=None)
    refinements: int = eqx.field(static=True, default=2)
    name: ClassVar[str] = "dense Schur complement"

    def __check_init__(self) -> None:
        _check_regularisation(self.mu, self.refinements)

    def __call__(self, system: SaddlePoint, force: PyTree, closing: PyTree) -> tuple[PyTree, PyTree]:
        f, unravel_a = ravel_pytree(force)
        g, unravel_delta = ravel_pytree(closing)
        diagonal = _masses(system)
        if g.size == 0:
            return unravel_a(f / diagonal), closing
        basis = jnp.eye(g.size, dtype=g.dtype)
        jacobian = jax.vmap(lambda e: ravel_pytree(system.reaction(unravel_delta(e)))[0])(basis)
        scaled = jacobian / jnp.sqrt(diagonal)
        row_scale = _unit(scaled)
        scaled = scaled * row_scale[:, None]
        schur = matmul(scaled, scaled.T)
        shifted = lax.stop_gradient(schur) + _shift(self.mu, g.dtype) * jnp.eye(g.size, dtype=g.dtype)
        factor = jax.scipy.linalg.cho_factor(shifted)

        def solve(right: Array, transposed: int) -> Array:
            return jax.scipy.linalg.cho_solve(factor, right)

        delta = row_scale * _refined(schur, row_scale * (jacobian @ (f / diagonal) - g), solve, self.refinements)
        return unravel_a((f - delta @ jacobian) / diagonal), unravel_delta(delta)


class DenseByStructure(AbstractMultiplierSolver):
    """`DenseSchur` where the equations themselves show that masses are constant, diagonal and positive, and so one
    division where there are no constraints; `DenseSaddlePoint` otherwise. μ and its refinements as there.
    """

    mu: float | None = eqx.field(static=True, default=None)
    refinements: int = eqx.field(static=True, default=2)
    name: ClassVar[str] = "dense, by structure"

    def __check_init__(self) -> None:
        _check_regularisation(self.mu, self.refinements)

    def __call__(self, system: SaddlePoint, force: PyTree, closing: PyTree) -> tuple[PyTree, PyTree]:
        known = isinstance(system.structure, ConstantMasses) and bool(np.all(system.structure.diagonal > 0))
        chosen = DenseSchur if known else DenseSaddlePoint
        return chosen(self.mu, self.refinements)(system, force, closing)


def constant_masses(inertia: Callable[..., LinearMap], q: PyTree, *inputs: PyTree) -> ConstantMasses | None:
    """The diagonal of an inertia(*inputs) that depends on none of its inputs; None for any other inertia."""
    flat, unravel = ravel_pytree(tree_zeros(q))
    probes = np.stack([np.ones(flat.size), np.cos(np.arange(flat.size))]).astype(flat.dtype)

    def products(*at: PyTree) -> Array:
        linear_map = inertia(*at)  # once for both probes: it traces the Lagrangian
        return jnp.stack([ravel_pytree(linear_map(unravel(jnp.asarray(probe))))[0] for probe in probes])

    traced = Traced(products, *inputs)
    if traced.arguments or not traced.constants_known:
        return None
    diagonal, turned = np.asarray(traced.value())
    is_coupled = np.abs(turned - probes[1] * diagonal) > 1e-6 * np.max(np.abs(diagonal), initial=0)
    return None if np.any(is_coupled) else ConstantMasses(diagonal)


def _check_regularisation(mu: Any, refinements: Any) -> None:
    if mu is not None:
        nonnegative(mu, "mu", "it regularises the constraints' rows; None takes the root of the dtype's rounding.")
    if refinements != 0:
        positive_int(refinements, "refinements")


def _shift(mu: float | None, dtype: Any) -> float:
    return float(jnp.finfo(dtype).eps) ** 0.5 if mu is None else mu


def _unit(rows: Float[Array, "k n"]) -> Float[Array, " k"]:
    """What scales rows to unit length; 1 where a row is zero."""
    largest = jnp.max(jnp.abs(rows), axis=1, initial=0)  # so that squares neither under- nor overflow
    largest = jnp.where(largest > 0, largest, 1)
    norms = jnp.sqrt(jnp.sum((rows / largest[:, None]) ** 2, axis=1))
    return 1 / (largest * jnp.where(norms > 0, norms, 1))


def _refined(matrix: Array, vector: Array, solve: Callable[[Array, int], Array], refinements: int) -> Array:
    """matrix⁻¹ vector by an approximate solve(right, transposed); its derivative solves with the same factors."""
    if vector.size == 0:
        return vector

    def iterated(right: Array, held: Array, transposed: int) -> Array:
        solution = solve(right, transposed)
        for _ in range(refinements):
            solution = solution + solve(right - matmul(held, solution), transposed)
        return solution

    held = lax.stop_gradient(matrix)
    return lax.custom_linear_solve(
        lambda solution: matmul(matrix, solution),
        vector,
        lambda _, right: iterated(right, held, 0),
        lambda _, right: iterated(right, held.T, 1),
    )


def _masses(system: SaddlePoint) -> Float[Array, " n"]:
    """The diagonal of a positive diagonal inertia, by one product with ones; an error for any other inertia."""
    ones, unravel = ravel_pytree(jax.tree.map(jnp.ones_like, system.coordinates))
    if isinstance(system.structure, ConstantMasses):
        return jnp.asarray(system.structure.diagonal, ones.dtype)
    diagonal = ravel_pytree(system.inertia(unravel(ones)))[0]
    probe = jnp.cos(jnp.arange(ones.size, dtype=ones.dtype))  # a vector of unequal entries shows a coupled inertia
    coupling = ravel_pytree(system.inertia(unravel(probe)))[0] - probe * diagonal
    is_coupled = jnp.any(jnp.abs(coupling) > jnp.sqrt(jnp.finfo(ones.dtype).eps) * jnp.max(jnp.abs(diagonal)))
    return eqx.branched_error_if(
        diagonal, is_coupled | jnp.any(diagonal <= 0), jnp.where(is_coupled, 0, 1), [_COUPLED, _MASSLESS]
    )
