"""Multipliers of a network of few neurons by elimination written out on scalars (THEORY §3)."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from lagrangian_learning._tuning import MAX_UNROLLED_NEURONS
from lagrangian_learning.learning.multipliers.block_tridiagonal import BlockTridiagonal
from lagrangian_learning.learning.multipliers.network_multipliers import AbstractNetworkMultipliers, check_feedforward
from lagrangian_learning.learning.multipliers.waves import ConjugateGradients
from lagrangian_learning.mechanics.unrolling import unrolled_solver
from lagrangian_learning.networks import AbstractLinearisation, AbstractNetwork

from .scalars import scalarise


class UnrolledMultipliers(AbstractNetworkMultipliers):
    """(I + (m_x/m_W) G_ξ⁻¹ G_M G_Mᵀ G_ξ⁻ᵀ) μ = f by L D Lᵀ, written out on scalars; then δ = G_ξ⁻ᵀ μ (THEORY §3).

    Nothing but sums, products and a quotient for each neuron, what is structurally zero left out: a batch under
    `jax.vmap` is elementwise work that fuses, where factorisations of many small matrices do not. The matrix is
    positive definite and 1 where a neuron is light, so that no pivots are sought; m_x = 0 is backpropagation.

    Arguments:
        network: a feedforward network of at most 32 neurons.  mass_x, mass_W: its masses.

    Raises ValueError for networks with cycles or more neurons.
    """

    network: AbstractNetwork
    mass_x: Array
    mass_W: Array
    name: ClassVar[str] = "elimination unrolled on scalars"

    def __check_init__(self) -> None:
        check_feedforward(self.network)
        if self.network.num_neurons > MAX_UNROLLED_NEURONS:
            raise ValueError(
                f"elimination is unrolled for networks of at most {MAX_UNROLLED_NEURONS} neurons, and this one has "
                f"{self.network.num_neurons}: use ll.multipliers.ConjugateGradients, or "
                "ll.multipliers.BlockTridiagonal for ll.Layered."
            )

    def solve(self, linearised: AbstractLinearisation, load: PyTree) -> tuple[PyTree, PyTree]:
        return scalarise(self._eliminated)(linearised, load)

    def _eliminated(self, linearised: AbstractLinearisation, load: PyTree) -> tuple[PyTree, PyTree]:
        flat, unravel = ravel_pytree(load)

        def column(direction: Array) -> Array:
            return ravel_pytree(self.product(linearised, unravel(direction))[0])[0]

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


@unrolled_solver.register(ConjugateGradients)
@unrolled_solver.register(BlockTridiagonal)
def _(solver: AbstractNetworkMultipliers) -> AbstractNetworkMultipliers:
    if solver.network.num_neurons > MAX_UNROLLED_NEURONS:
        return solver
    return UnrolledMultipliers(solver.network, solver.mass_x, solver.mass_W)
