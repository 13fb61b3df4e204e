"""The constraints of a network linearised at a point, and the forward pass carried along a motion."""

import abc
from typing import NamedTuple

import equinox as eqx
from jaxtyping import PyTree


class AbstractLinearisation(eqx.Module):
    """G_ξ and G_M of (4) at a point (x, W), as sweeps and products: what is known there is computed once.

    Each sweep, and each product with G_M, reads the weights once: Θ(m) in their number m. δ and r are like x, dW is
    like W.
    """

    @abc.abstractmethod
    def forward(self, r: PyTree) -> PyTree:
        """G_ξ⁻¹ r: a forward sweep."""

    @abc.abstractmethod
    def backward(self, r: PyTree) -> PyTree:
        """G_ξ⁻ᵀ r: an adjoint sweep, the recursion of backprop (16)."""

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
