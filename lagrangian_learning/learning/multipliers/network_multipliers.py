"""What the multiplier solvers of feedforward networks share: the system in μ = G_ξᵀδ, and how accelerations follow."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PyTree

from lagrangian_learning._arrays import cast, tree_add, tree_scale, tree_sub
from lagrangian_learning.mechanics import AbstractMultiplierSolver, SaddlePoint
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
    def solve(self, linearised: AbstractLinearisation, load: PyTree) -> tuple[PyTree, PyTree]:
        """(μ, δ) of a load f, all like x."""

    def multipliers(self, linearised: AbstractLinearisation, load: PyTree) -> PyTree:
        """δ of a load f, both like x; its derivative is implicit, one more solve of the same kind."""
        return _solved(self, linearised, load)[1]

    def product(self, linearised: AbstractLinearisation, mu: PyTree) -> tuple[PyTree, PyTree]:
        """(I + (m_x/m_W) G_ξ⁻¹ G_M G_Mᵀ G_ξ⁻ᵀ) μ by a backward and a forward wave, and G_ξ⁻ᵀ μ, the first of them."""
        wave = linearised.backward(mu)
        back = linearised.forward(linearised.gram(wave))
        return tree_add(mu, tree_scale(self.mass_ratio(mu), back)), wave

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


@eqx.filter_custom_jvp
def _solved(
    solver: AbstractNetworkMultipliers, linearised: AbstractLinearisation, load: PyTree
) -> tuple[PyTree, PyTree]:
    return solver.solve(linearised, load)


@_solved.def_jvp
def _solved_jvp(primals: tuple, tangents: tuple) -> tuple[tuple[PyTree, PyTree], tuple[PyTree, PyTree]]:
    """A μ = f moves by A dμ = df − dA μ, and δ = G_ξ⁻ᵀ μ with both."""
    solver, linearised, load = primals
    mu, delta = _solved(solver, linearised, load)

    def left_over(solver: AbstractNetworkMultipliers, linearised: AbstractLinearisation, load: PyTree) -> PyTree:
        return tree_sub(load, solver.product(linearised, mu)[0])

    def matrix(y: Array) -> Array:
        return ravel_pytree(solver.product(linearised, unravel(y))[0])[0]

    def solve(_: object, right: Array) -> Array:
        return ravel_pytree(solver.solve(linearised, unravel(right))[0])[0]

    moved = eqx.filter_jvp(left_over, primals, tangents)[1]
    # Where nothing moves a layer, as a fixed input's, Equinox has None for its derivative; as one array, since JAX
    # transposes a solve only if all its right side is linear.
    right = jax.tree.map(lambda like, rate: jnp.zeros_like(like) if rate is None else rate, load, moved)
    flat, unravel = ravel_pytree(right)
    mu_dot = unravel(jax.lax.custom_linear_solve(matrix, flat, solve, symmetric=True))
    wave = eqx.filter_jvp(lambda point, y: point.backward(y), (linearised, mu), (tangents[1], mu_dot))
    return (mu, delta), (mu_dot, wave[1])


def check_feedforward(network: AbstractNetwork) -> None:
    """ValueError for a network with cycles, which no sweep solves."""
    if not network.feedforward:
        raise ValueError(
            "waves cross feedforward networks, and this one has cycles, on which G_ξ can be singular: "
            "use ll.multipliers.NetworkSchur, or ll.multipliers.DenseSaddlePoint() for mass_x = 0."
        )
