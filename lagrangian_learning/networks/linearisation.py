"""The constraints of a network linearised at a point, and the forward pass carried along a motion."""

import abc
from typing import TYPE_CHECKING, NamedTuple

import equinox as eqx
import jax
from jaxtyping import Array, PyTree

if TYPE_CHECKING:
    from .network import AbstractNetwork


class AbstractLinearisation(eqx.Module):
    """G_ξ and G_M of (4) at a point (x, W), as waves and products: what is known there is computed once.

    Each wave, and each product with G_M, reads the weights once: Θ(m) in their number m. δ and r are like x, dW like W.
    """

    @abc.abstractmethod
    def forward(self, r: PyTree) -> PyTree:
        """G_ξ⁻¹ r: a forward wave."""

    @abc.abstractmethod
    def backward(self, r: PyTree) -> PyTree:
        """G_ξ⁻ᵀ r: a backward wave, the recursion of backprop (16)."""

    @abc.abstractmethod
    def gram(self, delta: PyTree) -> PyTree:
        """G_M G_Mᵀ δ: diagonal where no two neurons share a weight."""

    @abc.abstractmethod
    def weight_jvp(self, dW: PyTree) -> PyTree:
        """G_M dW: how the constraints change when W moves and x is held."""

    @abc.abstractmethod
    def weight_vjp(self, delta: PyTree) -> PyTree:
        """G_Mᵀ δ: minus the force of the multipliers on the weights."""


class TaylorSweep(NamedTuple):
    """The forward pass along W + Ẇτ, u + u̇τ + ½üτ²: x, its first two derivatives at τ = 0, and G linearised at x.

    x_ddot is what ẍ would be at Ẅ = 0; it is affine in ü.
    """

    x: PyTree
    x_dot: PyTree
    x_ddot: PyTree
    linearised: AbstractLinearisation


def taylor_sweep(
    network: "AbstractNetwork", W: PyTree, W_dot: PyTree, u: Array, u_dot: Array, u_ddot: Array
) -> TaylorSweep:
    """The same for any feedforward network, by two nested derivatives of its forward pass."""

    def rate(weights: PyTree, signal: Array, signal_dot: Array) -> tuple[PyTree, PyTree]:
        return jax.jvp(network.forward, (weights, signal), (W_dot, signal_dot))

    (x, x_dot), (_, x_ddot) = jax.jvp(rate, (W, u, u_dot), (W_dot, u_dot, u_ddot))
    return TaylorSweep(x, x_dot, x_ddot, network.linearised(x, W))
