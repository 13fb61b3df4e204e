"""Multipliers by conjugate gradients on waves, and by the Schur complement that knows the network (THEORY §3)."""

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
import lineax as lx
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PyTree

from lagrangian_learning._arrays import cast, dtype_of, tree_scale, tree_sub
from lagrangian_learning.mechanics import AbstractMultiplierSolver, SaddlePoint
from lagrangian_learning.networks import (
    AbstractLinearisation,
    AbstractNetwork,
    Layered,
    state_jacobian,
    weight_gram_matrix,
    weight_jvp,
    weight_vjp,
)

from .conjugate_gradients import Solution, conjugate_gradients
from .network_multipliers import AbstractNetworkMultipliers, check_feedforward


class ConjugateGradients(AbstractNetworkMultipliers):
    """(I + (m_x/m_W) G_ξ⁻¹ G_M G_Mᵀ G_ξ⁻ᵀ) μ = f by conjugate gradients; then δ = G_ξ⁻ᵀ μ (THEORY §3).

    Each step is one backward and one forward wave through the network, Θ(m) in the number m of weights; no matrix is
    formed. The fewer steps the smaller m_x/m_W; none but the first at m_x = 0, where δ is backpropagation, (17).

    Arguments:
        network: a feedforward network.  mass_x, mass_W: its masses.
        rtol: the relative residual at which to stop; None is 1e-12 in float64 and 1e-6 in float32.
        max_steps: multipliers that took more are NaN, which a run reports by name; None is 10 times the number of
            neurons.
    """

    network: AbstractNetwork
    mass_x: Array
    mass_W: Array
    rtol: float | None = eqx.field(static=True, default=None)
    max_steps: int | None = eqx.field(static=True, default=None)
    name: ClassVar[str] = "conjugate gradients on forward and backward waves"

    def __check_init__(self) -> None:
        check_feedforward(self.network)

    def solve(self, linearised: AbstractLinearisation, load: PyTree) -> tuple[PyTree, PyTree]:
        found = self.solution(linearised, load)
        return found.value, found.image

    def solution(self, linearised: AbstractLinearisation, load: PyTree, guess: PyTree = None) -> Solution:
        """μ, and δ as its image, with the steps it took and its relative residual; `guess`: start from an earlier μ."""
        # Not lineax.CG: it scales every residual by its own entry of the load, and most of those are zero at rest.
        rtol = default_rtol(load) if self.rtol is None else self.rtol
        max_steps = 10 * self.network.num_neurons if self.max_steps is None else self.max_steps
        return conjugate_gradients(lambda mu: self.product(linearised, mu), load, rtol, max_steps, guess)


class NetworkSchur(AbstractMultiplierSolver):
    """(G_ξ G_ξᵀ/m_x + diag(d)/m_W) δ = G_ξ f_x/m_x + G_M f_W/m_W + γ₂ by Cholesky: (10) with its diagonal known.

    O(ν³) in the number ν of neurons, independent of the number of weights; works on cycles too. Where weights are
    shared, G_M G_Mᵀ stands in the place of diag(d), by ν products. Divides by m_x: m_x = 0 is an error.
    """

    network: AbstractNetwork
    mass_x: Array
    mass_W: Array
    name: ClassVar[str] = "dense Schur complement of the network"

    def __call__(self, system: SaddlePoint, force: PyTree, closing: PyTree) -> tuple[PyTree, PyTree]:
        x, W = system.jet[0]
        f_x, f_W = force
        mass_W = cast(self.mass_W, f_x)
        mass_x = eqx.error_if(cast(self.mass_x, f_x), self.mass_x <= 0, _NEEDS_MASS)
        jacobian = _jacobian(self.network, x, W)
        gram = weight_gram_matrix(self.network, x, W)
        schur = jnp.matmul(jacobian, jacobian.T, precision="highest") / mass_x + gram / mass_W
        flat_f, unravel = ravel_pytree(f_x)
        known = tree_sub(weight_jvp(self.network, x, W, tree_scale(1 / mass_W, f_W)), closing)
        right = jacobian @ flat_f / mass_x + ravel_pytree(known)[0]
        operator = lx.MatrixLinearOperator(schur, lx.positive_semidefinite_tag)
        delta = lx.linear_solve(operator, right, lx.Cholesky(), throw=False).value
        x_ddot = (flat_f - delta @ jacobian) / mass_x
        reaction = weight_vjp(self.network, x, W, unravel(delta))
        return (unravel(x_ddot), tree_scale(1 / mass_W, tree_sub(f_W, reaction))), unravel(delta)


def _jacobian(network: AbstractNetwork, x: PyTree, W: PyTree) -> Array:
    """G_ξ from its blocks where they are known, otherwise column by column."""
    return network.linearised(x, W).jacobian() if isinstance(network, Layered) else state_jacobian(network, x, W)


_NEEDS_MASS = (
    "this multiplier solver divides by mass_x, which is 0. Give neurons a mass, use a feedforward network "
    "(multiplier_solver=None then takes ll.multipliers.ConjugateGradients), or "
    "multiplier_solver=ll.multipliers.DenseSaddlePoint()."
)


def default_rtol(like: Any) -> float:
    """The relative residual at which iterative multiplier solves stop, by dtype."""
    return 1e-12 if dtype_of(like) == jnp.float64 else 1e-6
