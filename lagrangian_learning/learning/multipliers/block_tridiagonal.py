"""Multipliers of a layered network by block elimination, layer by layer (docs/theory.md §3)."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lagrangian_learning._arrays import matmul
from lagrangian_learning.networks import AbstractLinearisation, AbstractNetwork, Layered, LayeredLinearisation

from .network_solver import AbstractNetworkMultipliers

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
