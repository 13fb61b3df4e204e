"""The constraints of a network linearised at a point: what every linearisation offers."""

import abc
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from lagrangian_learning._arrays import matmul
from lagrangian_learning._tuning import SOLVER_STEPS


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


# Products with one G_M G_Mᵀ, one a step of the solver.
PRODUCTS = int(SOLVER_STEPS["float64"])


def gram_kernel(below: Float[Array, "*batch _"], width: int, *, bias: bool) -> Float[Array, "..."] | None:
    """K = x xᵀ [+ 1 with a bias], [B, B] over the examples of a batch, |x|² [+ 1] of a single one.

    G_M G_Mᵀ of a layer of `width` neurons above x is K by example, between factors σ′(a) where it has an activation.
    None where two products with x take fewer operations.
    """
    if below.ndim == 1:
        return jnp.sum(below**2) + float(bias)
    batch, n = below.shape
    return matmul(below, below.T) + float(bias) if _pays(batch, n, width) else None


def _pays(batch: int, below: int, above: int) -> bool:
    """Whether B² n operations once and B² m a product are fewer than 2 B n m a product."""
    return batch * (below + PRODUCTS * above) <= 2 * PRODUCTS * below * above
