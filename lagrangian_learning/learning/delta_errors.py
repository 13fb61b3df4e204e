"""Backpropagation as the degenerate multipliers: T δ = −V_x, (16) and (17)."""

from typing import Any

import jax
from jaxtyping import Array, PyTree

from lagrangian_learning._arrays import tree_scale
from lagrangian_learning.networks import AbstractNetwork

from .potential import AbstractPotential


def potential_gradient(network: AbstractNetwork, potential: AbstractPotential, x: PyTree, y: Any) -> PyTree:
    """V_x, like x: the gradient of V(x_out, y) with respect to all neurons."""
    return jax.grad(lambda neurons: potential(network.output(neurons), y))(x)


def delta_errors(network: AbstractNetwork, potential: AbstractPotential, x: PyTree, W: PyTree, y: Any) -> PyTree:
    """δ = −T⁻¹ V_x, T = G_ξᵀ: the multipliers of (16), (17) by one adjoint sweep, like x.

    δ_j is −dV/dx_j with everything downstream of neuron j following: the delta error of backpropagation, after the
    activation (before it, it is −∂V/∂a_j = σ′(a_j) δ_j).

    Arguments:
        x, W: neurons and weights of the network;  y: the target.
    """
    return network.solve_backward(x, W, tree_scale(-1, potential_gradient(network, potential, x, y)))


def descent_force(network: AbstractNetwork, x: PyTree, W: PyTree, delta: PyTree) -> PyTree:
    """−G_Mᵀ δ = σ′(a_i) δ_i x_j, like W: with the δ of `delta_errors` it is −∂V/∂W.

    The right side of (15) times γ, in the sign that descends; the paper prints the other (docs/theory.md §9).
    """
    return tree_scale(-1, network.linearised(x, W).weight_vjp(delta))


def loss(network: AbstractNetwork, potential: AbstractPotential, W: PyTree, u: Array, y: Any) -> Array:
    """V(f(W, u), y), the potential of (12) as a function of the weights."""
    return potential(network.output(network.forward(W, u)), y)
