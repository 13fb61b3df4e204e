"""Multipliers of any network, cycles included, by its dense Schur complement (docs/theory.md §3)."""

from typing import ClassVar

import equinox as eqx
import lineax as lx
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PyTree

from lagrangian_learning._arrays import cast, matmul, tree_scale, tree_sub
from lagrangian_learning.mechanics import AbstractMultiplierSolver, SaddlePoint
from lagrangian_learning.networks import (
    AbstractNetwork,
    Layered,
    state_jacobian,
    weight_gram_matrix,
    weight_jvp,
    weight_vjp,
)

from .network_solver import structure_of


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
