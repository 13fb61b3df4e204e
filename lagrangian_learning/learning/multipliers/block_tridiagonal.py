"""Multipliers of a layered network by block elimination, layer by layer (THEORY §3)."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lagrangian_learning._arrays import is_concrete
from lagrangian_learning.networks import AbstractLinearisation, AbstractNetwork, Layered, LayeredLinearisation

from .network_multipliers import AbstractNetworkMultipliers

Layers = tuple[Float[Array, " _"], ...]


class BlockTridiagonal(AbstractNetworkMultipliers):
    """(G_ξ G_ξᵀ + (m_x/m_W) G_M G_Mᵀ) δ = G_ξ f by block Cholesky: the matrix of (10) is block tridiagonal.

    With B_l = σ′(a_l) W_l its pivots are S_0 = I, S_l = I + (m_x/m_W) D_l + B_l (I − S_{l−1}⁻¹) B_lᵀ. Direct, as fast
    for heavy neurons as for light ones: O(n³) for each layer of width n, where `ConjugateGradients` take O(n²) a step.

    Arguments:
        network: an `ll.Layered`.  mass_x, mass_W: its masses; m_x = 0 is backpropagation.
    """

    network: AbstractNetwork
    mass_x: Array
    mass_W: Array
    name: ClassVar[str] = "block tridiagonal Cholesky"

    def __check_init__(self) -> None:
        if not isinstance(self.network, Layered):
            raise ValueError(
                "the multiplier matrix is block tridiagonal for ll.Layered networks only: use "
                "ll.multipliers.ConjugateGradients for other feedforward networks, ll.multipliers.NetworkSchur for "
                "networks with cycles."
            )

    def solve(self, linearised: AbstractLinearisation, load: Layers) -> tuple[Layers, Layers]:
        assert isinstance(linearised, LayeredLinearisation)
        blocks = [s[:, None] * matrix for s, matrix in zip(linearised.slopes, linearised.matrices, strict=True)]
        factors = self._factors(blocks, linearised.diagonal(), load)
        delta = _substituted(blocks, factors, _times_jacobian(blocks, load))
        return _times_transposed_jacobian(blocks, delta), delta

    def _factors(self, blocks: list[Array], diagonal: Layers, like: Layers) -> list[Array]:
        """Cholesky factors of the pivots S_1 … S_L; S_0 = I has none."""
        ratio = self.mass_ratio(like)
        factors: list[Array] = []
        for block, d in zip(blocks, diagonal[1:], strict=True):
            pivot = jnp.diag(1 + ratio * d)
            if factors:
                pivot = pivot + _matmul(block, block.T - _cho_solve(factors[-1], block.T))
            factors.append(jax.lax.linalg.cholesky(pivot))
        return factors


# Measured by benchmarks/dense_against_structured.py; the cube of a wider layer is too much to do unasked.
_HEAVY, _WIDEST = 30.0, 512


def eliminates_faster(network: AbstractNetwork, mass_x: Array, mass_W: Array) -> bool:
    """Whether `BlockTridiagonal` is to be preferred: (m_x/m_W) n ≥ 30 on layers of width n ≤ 512, masses being known.

    (m_x/m_W) n measures how far the matrix of (10) is from that of backpropagation, and with it the steps of waves.
    Masses that a transformation traces are not known: the answer is no.
    """
    if not isinstance(network, Layered) or not is_concrete(mass_x, mass_W):
        return False
    widest = max(network.sizes)
    return widest <= _WIDEST and float(np.max(np.asarray(mass_x) / np.asarray(mass_W))) * widest >= _HEAVY


def _substituted(blocks: list[Array], factors: list[Array], right: Layers) -> Layers:
    """Forward and backward substitution through the block factors."""
    eliminated = [right[0]]
    for l, (block, b) in enumerate(zip(blocks, right[1:], strict=True)):
        below = eliminated[-1] if l == 0 else _cho_solve(factors[l - 1], eliminated[-1])
        eliminated.append(b + _matmul(block, below))
    delta = [_cho_solve(factors[-1], eliminated[-1])]
    for l in reversed(range(len(blocks))):
        known = eliminated[l] + _matmul(blocks[l].T, delta[0])
        delta.insert(0, known if l == 0 else _cho_solve(factors[l - 1], known))
    return tuple(delta)


def _times_jacobian(blocks: list[Array], y: Layers) -> Layers:
    """G_ξ y."""
    return (y[0], *(y_l - _matmul(block, below) for block, below, y_l in zip(blocks, y[:-1], y[1:], strict=True)))


def _times_transposed_jacobian(blocks: list[Array], y: Layers) -> Layers:
    """G_ξᵀ y."""
    return (*(y_l - _matmul(block.T, above) for block, above, y_l in zip(blocks, y[1:], y[:-1], strict=True)), y[-1])


def _cho_solve(factor: Array, right: Array) -> Array:
    return jax.scipy.linalg.cho_solve((factor, True), right)


def _matmul(left: Array, right: Array) -> Array:
    return jnp.matmul(left, right, precision="highest")
