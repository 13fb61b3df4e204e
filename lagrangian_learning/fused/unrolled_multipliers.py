"""Multipliers of a network of few neurons by elimination written out on scalars (docs/theory.md §3)."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from lagrangian_learning._tuning import MAX_UNROLLED_NEURONS
from lagrangian_learning.learning.laws import AbstractActionLaw
from lagrangian_learning.learning.multipliers import (
    AbstractNetworkMultipliers,
    BlockTridiagonal,
    ConjugateGradients,
    LowRankElimination,
)
from lagrangian_learning.learning.multipliers.network_solver import check_feedforward
from lagrangian_learning.mechanics import AbstractLaw
from lagrangian_learning.networks import AbstractLinearisation, AbstractNetwork

from .scalars import scalarise


class UnrolledMultipliers(AbstractNetworkMultipliers):
    """(I + (m_x/m_W) G_ξ⁻¹ G_M G_Mᵀ G_ξ⁻ᵀ) μ = f by L D Lᵀ, written out on scalars; then δ = G_ξ⁻ᵀ μ.

    Nothing but sums, products and a quotient for each neuron, what is structurally zero left out: a batch under
    `jax.vmap` is elementwise work that fuses, where factorisations of many small matrices do not. The matrix is
    positive definite and 1 where a neuron is light, so that no pivots are sought; m_x = 0 is backpropagation.

    For feedforward networks of at most 32 neurons (docs/theory.md §3); more, and networks with cycles, are a
    ValueError.
    """

    name: ClassVar[str] = "elimination unrolled on scalars"

    def check_network(self, network: AbstractNetwork) -> None:
        check_feedforward(network)
        if network.num_neurons > MAX_UNROLLED_NEURONS:
            raise ValueError(
                f"elimination is unrolled for networks of at most {MAX_UNROLLED_NEURONS} neurons, and this one has "
                f"{network.num_neurons}: use ll.multipliers.ConjugateGradients(), or "
                "ll.multipliers.BlockTridiagonal() for ll.Layered."
            )

    def solve(self, linearised: AbstractLinearisation, load: PyTree, ratio: Array) -> tuple[PyTree, PyTree]:
        return scalarise(self._eliminated)(linearised, load, ratio)

    def _eliminated(self, linearised: AbstractLinearisation, load: PyTree, ratio: Array) -> tuple[PyTree, PyTree]:
        flat, unravel = ravel_pytree(load)

        def column(direction: Array) -> Array:
            return ravel_pytree(self.product(linearised, unravel(direction), ratio)[0])[0]

        matrix = jax.vmap(column)(jnp.eye(flat.size, dtype=flat.dtype))
        mu = unravel(eliminated(matrix, flat))
        return mu, linearised.backward(mu)


def eliminated(matrix: Float[Array, "n n"], right: Float[Array, " n"]) -> Float[Array, " n"]:
    """The solution of a symmetric positive definite system by L D Lᵀ, entry by entry."""
    n = right.size
    factor: list[list[Array]] = []
    pivots: list[Array] = []
    for i in range(n):
        row: list[Array] = []
        for j in range(i):
            known = sum(row[k] * factor[j][k] * pivots[k] for k in range(j))
            row.append((matrix[i, j] - known) / pivots[j])
        pivots.append(matrix[i, i] - sum(row[k] ** 2 * pivots[k] for k in range(i)))
        factor.append(row)
    y: list[Array] = []
    for i in range(n):
        y.append(right[i] - sum(factor[i][k] * y[k] for k in range(i)))
    x: list[Array] = []
    for i in reversed(range(n)):
        x.insert(0, y[i] / pivots[i] - sum(factor[i + 1 + k][i] * above for k, above in enumerate(x)))
    return jnp.stack(x)


def unrolled(law: AbstractLaw) -> AbstractLaw:
    """The law with multipliers by elimination on scalars where it is that of a small network; otherwise as it is."""
    if not isinstance(law, AbstractActionLaw) or law.network.num_neurons > MAX_UNROLLED_NEURONS:
        return law
    if not isinstance(law.multiplier_solver, BlockTridiagonal | ConjugateGradients | LowRankElimination):
        return law
    return dataclasses.replace(law, multiplier_solver=UnrolledMultipliers())
