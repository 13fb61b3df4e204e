"""Multipliers of feedforward networks by conjugate gradients on forward and adjoint sweeps (docs/theory.md §3)."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from lagrangian_learning._arrays import dtype_of
from lagrangian_learning.networks import AbstractLinearisation, AbstractNetwork

from .cg import Solution, conjugate_gradients
from .network_solver import AbstractNetworkMultipliers, check_feedforward


class ConjugateGradients(AbstractNetworkMultipliers):
    """(I + ρ G_ξ⁻¹ G_M G_Mᵀ G_ξ⁻ᵀ) μ = f, ρ = m_x/m_W, by conjugate gradients; then δ = G_ξ⁻ᵀ μ (docs/theory.md §3).

    Each step is one adjoint and one forward sweep through the network, Θ(m) in the number m of weights; no matrix is
    formed. The smaller ρ, the fewer steps; none but the first at m_x = 0, where δ is backpropagation, (17).

    Arguments:
        rtol: the relative residual at which to stop; None is 1e-12 in float64 and 1e-6 in float32.
        max_steps: multipliers that took more are NaN, which a run reports by name; None is 10 times the number of
            neurons.
    """

    rtol: float | None = eqx.field(static=True, default=None)
    max_steps: int | None = eqx.field(static=True, default=None)
    name: ClassVar[str] = "conjugate gradients on forward and adjoint sweeps"

    def check_network(self, network: AbstractNetwork) -> None:
        check_feedforward(network)

    def solve(self, linearised: AbstractLinearisation, load: PyTree, ratio: Array) -> tuple[PyTree, PyTree]:
        found = self.solution(linearised, load, ratio)
        return found.value, found.image

    def solution(self, linearised: AbstractLinearisation, load: PyTree, ratio: Array, guess: PyTree = None) -> Solution:
        """μ, and δ as its image, with the steps it took and its relative residual; `guess`: start from an earlier μ."""
        # Not lineax.CG: it scales every residual by its own entry of the load, and most of those are zero at rest.
        rtol = default_rtol(load) if self.rtol is None else self.rtol
        num_neurons = sum(leaf.size for leaf in jax.tree.leaves(load))
        max_steps = 10 * num_neurons if self.max_steps is None else self.max_steps
        return conjugate_gradients(lambda mu: self.product(linearised, mu, ratio), load, rtol, max_steps, guess)


def default_rtol(like: Any) -> float:
    """The relative residual at which iterative multiplier solves stop, by dtype."""
    return 1e-12 if dtype_of(like) == jnp.float64 else 1e-6
