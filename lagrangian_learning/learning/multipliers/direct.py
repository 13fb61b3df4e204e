"""Multipliers of a network by direct solves: block tridiagonal for layers, a dense Schur form for any network."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from lagrangian_learning._arrays import cast, matmul, tree_scale, tree_sub
from lagrangian_learning.mechanics import AbstractMultiplierSolver, SaddlePoint
from lagrangian_learning.networks import (
    AbstractLinearisation,
    AbstractNetwork,
    Layered,
    LayeredLinearisation,
    state_jacobian,
    weight_gram_matrix,
    weight_jvp,
    weight_vjp,
)

from .network_solver import AbstractNetworkMultipliers, structure_of

Layers = tuple[Float[Array, " _"], ...]


class BlockTridiagonal(AbstractNetworkMultipliers):
    """(G_ξ G_ξᵀ + (m_x/m_W) G_M G_Mᵀ) δ = G_ξ f by block Cholesky: the matrix of (10) is block tridiagonal.

    With B_l = σ′(a_l) W_l its pivots are S_0 = I, S_l = I + (m_x/m_W) D_l + B_l (I − S_{l−1}⁻¹) B_lᵀ. Direct, as fast
    for heavy neurons as for light ones: O(n³) for each layer of width n, where `ConjugateGradients` take O(n²) a step.

    m_x = 0 is backpropagation. Prefer it where (m_x/m_W) n ≥ 30 on layers of width n ≤ 512
    (benchmarks/dense_against_structured.py).
    """

    name: ClassVar[str] = "block tridiagonal Cholesky"

    def check_network(self, network: AbstractNetwork) -> None:
        if not isinstance(network, Layered):
            raise ValueError(
                "the multiplier matrix is block tridiagonal for ll.Layered networks only: use "
                "ll.multipliers.ConjugateGradients() for other feedforward networks, ll.multipliers.NetworkSchur() for "
                "networks with cycles."
            )

    def solve(self, linearised: AbstractLinearisation, load: Layers, ratio: Array) -> tuple[Layers, Layers]:
        assert isinstance(linearised, LayeredLinearisation)
        blocks = [s[:, None] * matrix for s, matrix in zip(linearised.slopes, linearised.matrices, strict=True)]
        factors = _factors(blocks, linearised.diagonal(), ratio)
        delta = _substituted(blocks, factors, _times_jacobian(blocks, load))
        return _times_transposed_jacobian(blocks, delta), delta


def _factors(blocks: list[Array], diagonal: Layers, ratio: Array) -> list[Array]:
    """Cholesky factors of the pivots S_1 … S_L; S_0 = I has none."""
    factors: list[Array] = []
    for block, d in zip(blocks, diagonal[1:], strict=True):
        pivot = jnp.diag(1 + ratio * d)
        if factors:
            pivot = pivot + matmul(block, block.T - _cho_solve(factors[-1], block.T))
        factors.append(jax.lax.linalg.cholesky(pivot))
    return factors


def _substituted(blocks: list[Array], factors: list[Array], right: Layers) -> Layers:
    """Forward and backward substitution through the block factors."""
    eliminated = [right[0]]
    for l, (block, b) in enumerate(zip(blocks, right[1:], strict=True)):
        below = eliminated[-1] if l == 0 else _cho_solve(factors[l - 1], eliminated[-1])
        eliminated.append(b + matmul(block, below))
    delta = [_cho_solve(factors[-1], eliminated[-1])]
    for l in reversed(range(len(blocks))):
        known = eliminated[l] + matmul(blocks[l].T, delta[0])
        delta.insert(0, known if l == 0 else _cho_solve(factors[l - 1], known))
    return tuple(delta)


def _times_jacobian(blocks: list[Array], y: Layers) -> Layers:
    """G_ξ y."""
    return (y[0], *(y_l - matmul(block, below) for block, below, y_l in zip(blocks, y[:-1], y[1:], strict=True)))


def _times_transposed_jacobian(blocks: list[Array], y: Layers) -> Layers:
    """G_ξᵀ y."""
    return (*(y_l - matmul(block.T, above) for block, above, y_l in zip(blocks, y[1:], y[:-1], strict=True)), y[-1])


def _cho_solve(factor: Array, right: Array) -> Array:
    return jax.scipy.linalg.cho_solve((factor, True), right)


class NetworkSchur(AbstractMultiplierSolver):
    """(G_ξ G_ξᵀ/m_x + diag(d)/m_W) δ = G_ξ f_x/m_x + G_M f_W/m_W + γ₂ by Cholesky: (10) with its diagonal known.

    O(ν³) in the number ν of neurons, independent of the number of weights; works on cycles too. Where weights are
    shared, G_M G_Mᵀ stands in the place of diag(d), by ν products. Divides by m_x: m_x = 0 is an error.
    """

    name: ClassVar[str] = "dense Schur complement of the network"

    def __call__(self, system: SaddlePoint, force: PyTree, closing: PyTree) -> tuple[PyTree, PyTree]:
        (network, given_x, given_W, _), (x, W) = structure_of(system, self), system.jet[0]
        f_x, f_W = force
        mass_W, mass_x = cast(given_W, f_x), cast(given_x, f_x)
        mass_x = eqx.error_if(mass_x, mass_x <= 0, _NEEDS_MASS)
        jacobian = _jacobian(network, x, W)
        schur = matmul(jacobian, jacobian.T) / mass_x + weight_gram_matrix(network, x, W) / mass_W
        flat_f, unravel = ravel_pytree(f_x)
        known = tree_sub(weight_jvp(network, x, W, tree_scale(1 / mass_W, f_W)), closing)
        right = jacobian @ flat_f / mass_x + ravel_pytree(known)[0]
        operator = lx.MatrixLinearOperator(schur, lx.positive_semidefinite_tag)
        delta = lx.linear_solve(operator, right, lx.Cholesky(), throw=False).value
        x_ddot = (flat_f - delta @ jacobian) / mass_x
        reaction = weight_vjp(network, x, W, unravel(delta))
        return (unravel(x_ddot), tree_scale(1 / mass_W, tree_sub(f_W, reaction))), unravel(delta)


def _jacobian(network: AbstractNetwork, x: PyTree, W: PyTree) -> Array:
    """G_ξ from its blocks where they are known, otherwise column by column."""
    return network.linearised(x, W).jacobian() if isinstance(network, Layered) else state_jacobian(network, x, W)


_NEEDS_MASS = (
    "this multiplier solver divides by mass_x, which is 0. Give neurons a mass, use a feedforward network "
    "(multiplier_solver=None then takes ll.multipliers.ConjugateGradients()), or "
    "multiplier_solver=ll.multipliers.DenseSaddlePoint()."
)
