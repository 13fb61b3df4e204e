"""Multipliers of a layered network by conjugate gradients on a block elimination of low rank."""

from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from lagrangian_learning._arrays import matmul, tree_add, tree_scale
from lagrangian_learning._checks import positive, positive_int
from lagrangian_learning.networks import AbstractLinearisation, AbstractNetwork, Layered, LayeredLinearisation
from lagrangian_learning.networks.layered import times, transpose_times

from .conjugate_gradients import Solution, default_rtol
from .network_solver import AbstractNetworkMultipliers
from .preconditioned_gradients import preconditioned_gradients

Layers = tuple[Float[Array, " _"], ...]
FRACTION = 4  # rank by default: the widest layer over this


class Pivot(NamedTuple):
    """S = diag(1/e) + U Uᵀ of a layer by its inverse: S⁻¹ = diag(e) − V Vᵀ."""

    diagonal: Float[Array, " n"]
    columns: Float[Array, "n rank"]

    def solve(self, right: Float[Array, " n"]) -> Float[Array, " n"]:
        """S⁻¹ right."""
        inside = matmul(right, self.columns)
        return self.diagonal * right - matmul(self.columns, inside)


class LowRankElimination(AbstractNetworkMultipliers):
    """(I + ρ G_ξ⁻¹ G_M G_Mᵀ G_ξ⁻ᵀ) μ = f, ρ = m_x/m_W, by conjugate gradients on an elimination of low rank.

    The pivots of `BlockTridiagonal`, S_l = I + Σ_l with Σ_l = ρ D_l + B_l Σ_{l−1} (I + Σ_{l−1})⁻¹ B_lᵀ, are those of a
    Kalman filter whose covariance is Σ_l. Here Σ_l is a diagonal and U_l U_lᵀ of rank k: Nyström's approximation on
    B_l V_{l−1}, the directions that grew so far, and the diagonal of what it leaves. The directions in which deep
    networks with heavy weights expand are few, so that a few steps remain. Each reads the weights three times, where
    one of `ConjugateGradients` reads them twice; the elimination is O(k n²) for each layer of width n.

    For `ll.Layered` of many layers whose weights are larger than those of `network.init`, where `ConjugateGradients`
    take many steps (benchmarks/heavy_weights.py). The result is as exact as theirs, whatever the rank.

    Arguments:
        rank: k; None is a quarter of the widest layer.
        rtol: the relative residual at which to stop; None is 1e-12 in float64 and 1e-6 in float32.
        max_steps: multipliers that took more are NaN, which a run reports by name; None is 10 times the number of
            neurons.
    """

    rank: int | None = eqx.field(static=True, default=None)
    rtol: float | None = eqx.field(static=True, default=None)
    max_steps: int | None = eqx.field(static=True, default=None)
    name: ClassVar[str] = "conjugate gradients on an elimination of low rank"

    def __check_init__(self) -> None:
        if self.rtol is not None:
            positive(self.rtol, "rtol", "leave it None for 1e-12 in float64 and 1e-6 in float32.")
        for value, named in ((self.rank, "rank"), (self.max_steps, "max_steps")):
            if value is not None:
                positive_int(value, named)

    def check_network(self, network: AbstractNetwork) -> None:
        if not isinstance(network, Layered):
            raise ValueError(
                "elimination layer by layer is for ll.Layered networks only: use ll.multipliers.ConjugateGradients() "
                "for other feedforward networks, ll.multipliers.NetworkSchur() for networks with cycles."
            )

    def solve(self, linearised: AbstractLinearisation, load: Layers, ratio: Array) -> tuple[Layers, Layers]:
        found = self.solution(linearised, load, ratio)
        return found.value, found.image

    def solution(self, linearised: AbstractLinearisation, load: Layers, ratio: Array) -> Solution:
        """μ, and δ as its image, with the steps it took and its relative residual."""
        assert isinstance(linearised, LayeredLinearisation)
        widest = max(leaf.size for leaf in load)
        rank = max(1, widest // FRACTION) if self.rank is None else self.rank
        pivots = eliminated(linearised, ratio, rank)
        rtol = default_rtol(load) if self.rtol is None else self.rtol
        max_steps = 10 * sum(leaf.size for leaf in load) if self.max_steps is None else self.max_steps

        def matrix(mu: Layers, delta: Layers) -> PyTree:
            return tree_add(mu, tree_scale(ratio, linearised.forward(linearised.gram(delta))))

        return preconditioned_gradients(matrix, lambda r: substituted(linearised, pivots, r), load, rtol, max_steps)


def eliminated(linearised: LayeredLinearisation, ratio: Array, rank: int) -> list[Pivot]:
    """The pivots S_0 … S_L of low rank; S_0 = I, and S_1 = I + ρ D_1 is diagonal."""
    images = linearised.diagonal()
    left, diagonal = jnp.zeros_like(images[0]), jnp.ones_like(images[0])
    pivots = [Pivot(diagonal, jnp.zeros((diagonal.size, 0), diagonal.dtype))]
    for l, (s, matrix) in enumerate(zip(linearised.slopes, linearised.matrices, strict=True)):
        noise = ratio * images[l + 1]
        if l == 0:
            left, columns = noise, jnp.zeros((noise.size, 0), noise.dtype)
        else:
            # what is left of Σ (I + Σ)⁻¹ beside V Vᵀ is a diagonal
            columns, rest = _propagated(s, matrix, left * pivots[-1].diagonal, pivots[-1].columns, rank)
            left = noise + rest
        pivots.append(_pivot(left, columns))
    return pivots


def _propagated(s: Array, matrix: Array, left: Array, columns: Array, rank: int) -> tuple[Array, Array]:
    """B (diag(left) + V Vᵀ) Bᵀ as U Uᵀ and a diagonal, B = diag(s) W: Nyström's approximation on B V."""
    carried = columns.shape[1]
    spare = max(0, min(rank, *matrix.shape) - carried)
    grown = s[:, None] * matmul(matrix, jnp.concatenate([columns, _probe(matrix.shape[1], spare, s.dtype)], axis=1))
    known, basis = grown[:, :carried], _over(grown, _factor(matmul(grown.T, grown))[0])
    back = matmul((s[:, None] * basis).T, matrix)
    image = s[:, None] * matmul(matrix, (back * left).T) + matmul(known, matmul(known.T, basis))
    factor, shift = _factor(matmul(basis.T, image))
    found = _over(image + shift * basis, factor)
    whole = s**2 * jnp.sum(matrix**2 * left, axis=1) + jnp.sum(known**2, axis=1)
    return found, jnp.maximum(whole - jnp.sum(found**2, axis=1), 0)


def _pivot(left: Array, columns: Array) -> Pivot:
    """The inverse of I + diag(left) + U Uᵀ."""
    diagonal = 1 / (1 + left)
    scaled = diagonal[:, None] * columns
    core = matmul(columns.T, scaled) + jnp.eye(columns.shape[1], dtype=columns.dtype)
    return Pivot(diagonal, _over(scaled, jax.lax.linalg.cholesky(core)))


def _factor(gram: Array) -> tuple[Array, Array]:
    """Cholesky's factor of a Gram matrix, and what was added to its diagonal, for rounding and for a zero matrix."""
    eps = jnp.finfo(gram.dtype).eps
    shift = eps * (jnp.trace(gram) + eps)
    return jax.lax.linalg.cholesky(gram + shift * jnp.eye(len(gram), dtype=gram.dtype)), shift


def _over(columns: Array, factor: Array) -> Array:
    """columns factor⁻ᵀ, factor lower triangular."""
    return jax.lax.linalg.triangular_solve(factor, columns, lower=True, transpose_a=True)


def _probe(rows: int, columns: int, dtype: jnp.dtype) -> Array:
    """Directions to begin with, the same at every call."""
    return jax.random.normal(jax.random.key(0), (rows, columns), dtype)


def substituted(linearised: LayeredLinearisation, pivots: list[Pivot], r: Layers) -> tuple[Layers, Layers]:
    """(G_ξᵀ δ, δ) of M δ = G_ξ r, with the pivots of M: the weights are read twice."""
    slopes, matrices = linearised.slopes, linearised.matrices
    forward, below = [r[0]], jnp.zeros_like(r[0])  # S_0 = I leaves nothing of r_0
    for l, (s, matrix) in enumerate(zip(slopes, matrices, strict=True)):
        forward.append(r[l + 1] - s * times(matrix, below))
        below = r[l + 1] - pivots[l + 1].solve(forward[-1])
    delta = [pivots[-1].solve(forward[-1])]
    value = [delta[0]]
    for l in reversed(range(len(matrices))):
        from_above = transpose_times(matrices[l], slopes[l] * delta[0])
        delta.insert(0, pivots[l].solve(forward[l] + from_above))
        value.insert(0, delta[0] - from_above)
    return tuple(value), tuple(delta)
