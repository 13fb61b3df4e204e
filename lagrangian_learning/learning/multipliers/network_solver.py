"""What multiplier solvers that know a network have in common."""

import abc
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PyTree

from lagrangian_learning._arrays import cast, tree_add, tree_scale, tree_sub
from lagrangian_learning.mechanics import AbstractMultiplierSolver, SaddlePoint
from lagrangian_learning.networks import AbstractLinearisation, AbstractNetwork


class NetworkStructure(NamedTuple):
    """The equations of a network as its solvers know them: q = (x, W), inertia m_x, m_W; speed None is (4), c (19)."""

    network: AbstractNetwork
    mass_x: Any
    mass_W: Any
    speed: Any = None


def structure_of(system: SaddlePoint, solver: AbstractMultiplierSolver) -> NetworkStructure:
    """The structure that a saddle point brings; ValueError for equations that are not those of a network."""
    if not isinstance(system.structure, NetworkStructure):
        raise ValueError(
            f"ll.multipliers.{type(solver).__name__} solves the equations of a network, made by action.law(...). For "
            "other mechanics use ll.multipliers.DenseSaddlePoint() or ll.multipliers.DenseSchur()."
        )
    return system.structure


class AbstractNetworkMultipliers(AbstractMultiplierSolver):
    """(I + ρ G_ξ⁻¹ G_M G_Mᵀ G_ξ⁻ᵀ) μ = f with ρ = m_x/m_W, then δ = G_ξ⁻ᵀ μ: (10) times m_x (docs/theory.md §3).

    Nothing is divided by m_x: at m_x = 0 the matrix is I and δ = G_ξ⁻ᵀ f is backpropagation, (17). The load is
    f = −V_ξ + m_x G_ξ⁻¹ (γ₂ − r (G_ξ ẋ + G_M Ẇ)). For feedforward networks.
    """

    @abc.abstractmethod
    def solve(self, linearised: AbstractLinearisation, load: PyTree, ratio: Array) -> tuple[PyTree, PyTree]:
        """(μ, δ) of a load f, all like x, at the mass ratio ρ."""

    @abc.abstractmethod
    def check_network(self, network: AbstractNetwork) -> None:
        """ValueError for a network that this solver cannot serve."""

    def multipliers(self, linearised: AbstractLinearisation, load: PyTree, ratio: Array) -> PyTree:
        """δ of a load f, both like x; its derivative is implicit, one more solve of the same kind."""
        return _solved(self, linearised, load, ratio)[1]

    def product(self, linearised: AbstractLinearisation, mu: PyTree, ratio: Array) -> tuple[PyTree, PyTree]:
        """(I + ρ G_ξ⁻¹ G_M G_Mᵀ G_ξ⁻ᵀ) μ by an adjoint and a forward sweep, and G_ξ⁻ᵀ μ, the first of them."""
        delta = linearised.backward(mu)
        back = linearised.forward(linearised.gram(delta))
        return tree_add(mu, tree_scale(ratio, back)), delta

    def accelerations(
        self,
        linearised: AbstractLinearisation,
        masses: tuple[Array, Array],
        forces: tuple[PyTree, PyTree | None],
        x_ddot_free: PyTree,
    ) -> tuple[PyTree, PyTree]:
        """(Ẅ, δ) of m_x ẍ + G_ξᵀδ = f_x, m_W Ẅ + G_Mᵀδ = f_W, ẍ = z − G_ξ⁻¹ G_M Ẅ: (8)–(10) solved.

        Arguments:
            masses: m_x and m_W.  forces: f_x, like x, and f_W, like W (None: zero).
            x_ddot_free: z, the ẍ of D²G = 0 at Ẅ = 0.
        """
        (mass_x, mass_W), (f_x, f_W) = masses, forces
        ratio = mass_x / mass_W
        load = tree_sub(f_x, tree_scale(mass_x, x_ddot_free))
        if f_W is not None:
            load = tree_add(load, tree_scale(ratio, linearised.forward(linearised.weight_jvp(f_W))))
        delta = self.multipliers(linearised, load, ratio)
        reaction = linearised.weight_vjp(delta)
        pull = tree_scale(-1, reaction) if f_W is None else tree_sub(f_W, reaction)
        return tree_scale(1 / mass_W, pull), delta

    def __call__(self, system: SaddlePoint, force: PyTree, closing: PyTree) -> tuple[PyTree, PyTree]:
        """In full coordinates; ẍ follows from Ẅ, so that D²G = 0 to rounding."""
        structure, (x, W) = structure_of(system, self), system.jet[0]
        linearised = structure.network.linearised(x, W)
        masses = (cast(structure.mass_x, x), cast(structure.mass_W, x))
        free = linearised.forward(closing)
        W_ddot, delta = self.accelerations(linearised, masses, force, free)
        x_ddot = linearised.forward(tree_sub(closing, linearised.weight_jvp(W_ddot)))
        return (x_ddot, W_ddot), delta


@eqx.filter_custom_jvp
def _solved(
    solver: AbstractNetworkMultipliers, linearised: AbstractLinearisation, load: PyTree, ratio: Array
) -> tuple[PyTree, PyTree]:
    return solver.solve(linearised, load, ratio)


@_solved.def_jvp
def _solved_jvp(primals: tuple, tangents: tuple) -> tuple[tuple[PyTree, PyTree], tuple[PyTree, PyTree]]:
    """A μ = f moves by A dμ = df − dA μ, and δ = G_ξ⁻ᵀ μ with both."""
    solver, linearised, load, ratio = primals
    mu, delta = _solved(solver, linearised, load, ratio)

    def left_over(
        solver: AbstractNetworkMultipliers, linearised: AbstractLinearisation, load: PyTree, ratio: Array
    ) -> PyTree:
        return tree_sub(load, solver.product(linearised, mu, ratio)[0])

    def matrix(y: Array) -> Array:
        return ravel_pytree(solver.product(linearised, unravel(y), ratio)[0])[0]

    def solve(_: object, right: Array) -> Array:
        return ravel_pytree(solver.solve(linearised, unravel(right), ratio)[0])[0]

    moved = eqx.filter_jvp(left_over, primals, tangents)[1]
    # Where nothing moves a layer, as a fixed input's, Equinox has None for its derivative; as one array, since JAX
    # transposes a solve only if all its right side is linear.
    right = jax.tree.map(lambda like, rate: jnp.zeros_like(like) if rate is None else rate, load, moved)
    flat, unravel = ravel_pytree(right)
    mu_dot = unravel(jax.lax.custom_linear_solve(matrix, flat, solve, symmetric=True))
    moved_delta = eqx.filter_jvp(lambda point, y: point.backward(y), (linearised, mu), (tangents[1], mu_dot))
    return (mu, delta), (mu_dot, moved_delta[1])


def check_feedforward(network: AbstractNetwork) -> None:
    """ValueError for a network with cycles, which no sweep solves."""
    if not network.feedforward:
        raise ValueError(
            "sweeps cross feedforward networks, and this one has cycles, on which G_ξ can be singular: "
            "use ll.multipliers.NetworkSchur(), or ll.multipliers.DenseSaddlePoint() for mass_x = 0."
        )


class FiniteSpeedMultipliers(AbstractMultiplierSolver):
    """The saddle point of (19) in closed form: G_v = (1/c, 0), so ẍ = c g, Ẅ = f_W/m_W, and −δ̇ = c (f_x − m_x ẍ).

    For any digraph, cycles included, and m_x = 0; no linear system is left to solve.
    """

    name: ClassVar[str] = "closed form of the finite speed"

    def __call__(self, system: SaddlePoint, force: PyTree, closing: PyTree) -> tuple[PyTree, PyTree]:
        structure, (f_x, f_W) = structure_of(system, self), force
        if structure.speed is None:
            raise ValueError("ll.multipliers.FiniteSpeedMultipliers() is for an action with a speed: leave it out.")
        mass_x, mass_W, speed = (cast(constant, f_x) for constant in structure[1:])
        x_ddot = tree_scale(speed, closing)
        minus_delta_dot = tree_scale(speed, tree_sub(f_x, tree_scale(mass_x, x_ddot)))
        return (x_ddot, tree_scale(1 / mass_W, f_W)), minus_delta_dot
