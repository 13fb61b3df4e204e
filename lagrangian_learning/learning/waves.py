"""Multipliers from forward and backward waves, and from the Schur complement that knows the network (THEORY §3)."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PyTree

from lagrangian_learning.mechanics import AbstractMultiplierSolver, SaddlePoint
from lagrangian_learning.mechanics._arrays import cast, dtype_of, tree_add, tree_scale, tree_sub
from lagrangian_learning.networks import AbstractNetwork, state_jacobian, weight_jvp, weight_vjp


class WaveMultipliers(AbstractMultiplierSolver):
    """Conjugate gradients on (I + m_x G_ξ⁻¹ Δ G_ξ⁻ᵀ) μ = f_x + m_x G_ξ⁻¹ (γ₂ + G_M f_W/m_W), then δ = G_ξ⁻ᵀ μ.

    Δ = diag(d)/m_W with d the diagonal of G_M G_Mᵀ. Each step is one backward and one forward wave through the network,
    Θ(m) in the number m of weights. Regular at m_x = 0, where the matrix is I and δ = G_ξ⁻ᵀ f_x is backpropagation,
    (17). Accelerations follow without a division by m_x: Ẅ = (f_W − G_Mᵀδ)/m_W, ẍ = −G_ξ⁻¹(γ₂ + G_M Ẅ), so that
    D²G = 0 holds to rounding whatever the tolerance.

    For feedforward networks whose inertia is m_x, m_W. rtol is the relative residual at which conjugate gradients stop;
    None is 1e-12 in float64 and 1e-6 in float32.
    """

    network: AbstractNetwork
    mass_x: Array
    mass_W: Array
    rtol: float | None = eqx.field(static=True, default=None)
    max_steps: int | None = eqx.field(static=True, default=None)
    name: ClassVar[str] = "conjugate gradients on forward and backward waves"

    def __check_init__(self) -> None:
        if not self.network.feedforward:
            raise ValueError(
                "waves cross feedforward networks, and this one has cycles, on which G_ξ can be singular: "
                "use ll.NetworkSchur, or ll.DenseSaddlePoint() for mass_x = 0."
            )

    def __call__(self, system: SaddlePoint, force: PyTree, closing: PyTree) -> tuple[PyTree, PyTree]:
        x, W = system.jet[0]
        f_x, f_W = force
        mass_x, mass_W = cast(self.mass_x, f_x), cast(self.mass_W, f_x)
        network = self.network
        free = tree_sub(weight_jvp(network, x, W, tree_scale(1 / mass_W, f_W)), closing)
        right = tree_add(f_x, tree_scale(mass_x, network.solve_forward(x, W, free)))
        delta = network.solve_backward(x, W, self._mu(x, W, right, mass_x, mass_W))
        W_ddot = tree_scale(1 / mass_W, tree_sub(f_W, weight_vjp(network, x, W, delta)))
        x_ddot = network.solve_forward(x, W, tree_sub(closing, weight_jvp(network, x, W, W_ddot)))
        return (x_ddot, W_ddot), delta

    def _mu(self, x: PyTree, W: PyTree, right: PyTree, mass_x: Array, mass_W: Array) -> PyTree:
        gram = tree_scale(mass_x / mass_W, self.network.weight_gram(x, W))

        def matrix(mu: PyTree) -> PyTree:
            backward = self.network.solve_backward(x, W, mu)
            return tree_add(mu, self.network.solve_forward(x, W, jax.tree.map(jnp.multiply, gram, backward)))

        # Not lineax.CG: it scales every residual by its own entry of `right`, and most of those are zero at rest.
        rtol = self.rtol if self.rtol is not None else default_rtol(right)
        return jax.scipy.sparse.linalg.cg(matrix, right, tol=rtol, maxiter=self.max_steps)[0]


class NetworkSchur(AbstractMultiplierSolver):
    """(G_ξ G_ξᵀ/m_x + diag(d)/m_W) δ = G_ξ f_x/m_x + G_M f_W/m_W + γ₂ by Cholesky: (10) with its diagonal known.

    O(ν³) in the number ν of neurons, independent of the number of weights; works on cycles too. Divides by m_x:
    m_x = 0 is an error.
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
        jacobian = state_jacobian(self.network, x, W)
        gram = ravel_pytree(self.network.weight_gram(x, W))[0]
        schur = jnp.matmul(jacobian, jacobian.T, precision="highest") / mass_x + jnp.diag(gram / mass_W)
        flat_f, unravel = ravel_pytree(f_x)
        known = tree_sub(weight_jvp(self.network, x, W, tree_scale(1 / mass_W, f_W)), closing)
        right = jacobian @ flat_f / mass_x + ravel_pytree(known)[0]
        operator = lx.MatrixLinearOperator(schur, lx.positive_semidefinite_tag)
        delta = lx.linear_solve(operator, right, lx.Cholesky(), throw=False).value
        x_ddot = (flat_f - delta @ jacobian) / mass_x
        reaction = weight_vjp(self.network, x, W, unravel(delta))
        return (unravel(x_ddot), tree_scale(1 / mass_W, tree_sub(f_W, reaction))), unravel(delta)


_NEEDS_MASS = (
    "this multiplier solver divides by mass_x, which is 0. Give neurons a mass, use a feedforward network "
    "(multiplier_solver=None then takes ll.WaveMultipliers), or multiplier_solver=ll.DenseSaddlePoint()."
)


def default_rtol(like: Any) -> float:
    """The relative residual at which iterative multiplier solves stop, by dtype."""
    return 1e-12 if dtype_of(like) == jnp.float64 else 1e-6
