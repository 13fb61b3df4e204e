"""What the multiplier solvers of feedforward networks share: the system in μ = G_ξᵀδ, and how accelerations follow."""

import abc

import equinox as eqx
import jax
from jaxtyping import Array, PyTree

from lagrangian_learning.mechanics import AbstractMultiplierSolver, SaddlePoint
from lagrangian_learning.mechanics._arrays import cast, tree_add, tree_scale, tree_sub
from lagrangian_learning.networks import AbstractLinearisation, AbstractNetwork


class AbstractNetworkMultipliers(AbstractMultiplierSolver):
    """(I + (m_x/m_W) G_ξ⁻¹ G_M G_Mᵀ G_ξ⁻ᵀ) μ = f, then δ = G_ξ⁻ᵀ μ: (10) times m_x, between two waves (THEORY §3).

    Nothing is divided by m_x: at m_x = 0 the matrix is I and δ = G_ξ⁻ᵀ f is backpropagation, (17). The load is
    f = −V_ξ + m_x G_ξ⁻¹ (γ₂ − r (G_ξ ẋ + G_M Ẇ)). For feedforward networks whose inertia is m_x, m_W.
    """

    network: eqx.AbstractVar[AbstractNetwork]
    mass_x: eqx.AbstractVar[Array]
    mass_W: eqx.AbstractVar[Array]

    @abc.abstractmethod
    def solve(self, linearised: AbstractLinearisation, load: PyTree) -> PyTree:
        """μ of a load f, both like x."""

    def multipliers(self, linearised: AbstractLinearisation, load: PyTree) -> PyTree:
        """δ of a load f, both like x; its derivative is implicit, one more solve of the same kind."""

        def matrix(mu: PyTree) -> PyTree:
            return self.product(linearised, mu)

        def solve(_: object, right: PyTree) -> PyTree:
            return self.solve(linearised, right)

        return linearised.backward(jax.lax.custom_linear_solve(matrix, load, solve, symmetric=True))

    def product(self, linearised: AbstractLinearisation, mu: PyTree) -> PyTree:
        """(I + (m_x/m_W) G_ξ⁻¹ G_M G_Mᵀ G_ξ⁻ᵀ) μ: a backward and a forward wave."""
        wave = linearised.forward(linearised.gram(linearised.backward(mu)))
        return tree_add(mu, tree_scale(self.mass_ratio(mu), wave))

    def mass_ratio(self, like: PyTree) -> Array:
        """m_x/m_W in the dtype of `like`."""
        return cast(self.mass_x, like) / cast(self.mass_W, like)

    def __call__(self, system: SaddlePoint, force: PyTree, closing: PyTree) -> tuple[PyTree, PyTree]:
        """In full coordinates: Ẅ = (f_W − G_Mᵀδ)/m_W, ẍ = −G_ξ⁻¹(γ₂ + G_M Ẅ), so that D²G = 0 to rounding."""
        x, W = system.jet[0]
        f_x, f_W = force
        mass_x, mass_W = cast(self.mass_x, f_x), cast(self.mass_W, f_x)
        linearised = self.network.linearised(x, W)
        free = tree_sub(linearised.weight_jvp(tree_scale(1 / mass_W, f_W)), closing)
        delta = self.multipliers(linearised, tree_add(f_x, tree_scale(mass_x, linearised.forward(free))))
        W_ddot = tree_scale(1 / mass_W, tree_sub(f_W, linearised.weight_vjp(delta)))
        x_ddot = linearised.forward(tree_sub(closing, linearised.weight_jvp(W_ddot)))
        return (x_ddot, W_ddot), delta


def check_feedforward(network: AbstractNetwork) -> None:
    """ValueError for a network with cycles, which no sweep solves."""
    if not network.feedforward:
        raise ValueError(
            "waves cross feedforward networks, and this one has cycles, on which G_ξ can be singular: "
            "use ll.NetworkSchur, or ll.DenseSaddlePoint() for mass_x = 0."
        )
