"""The linear part of an equation of motion, as an operator whose exponential and φ-functions a stepper can apply."""

import abc
import math

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ._arrays import tree_add, tree_scale
from .dissipation import AbstractDissipation

_TAYLOR_TERMS = 20


class AbstractLinearPart(eqx.Module):
    """A(t) in ẏ = A(t) y + N(t, y)."""

    @abc.abstractmethod
    def apply(self, t: Float[Array, ""], state: PyTree) -> PyTree:
        """A(t) y."""

    @abc.abstractmethod
    def phi(self, k: int, t0: Float[Array, ""], t1: Float[Array, ""], state: PyTree) -> PyTree:
        """φ_k(∫_{t0}^{t1} A) y, with φ₀ = exp, φ_{k+1}(z) = (φ_k(z) − 1/k!)/z."""


class DampedMotion(AbstractLinearPart):
    """q̇ = v, v̇ = −r(t) v: free motion under dissipation, exact for any weight ϖ (THEORY §6).

    The decay over a step is ϖ(t0)/ϖ(t1), the exponential of a difference of log ϖ. States have fields q and v.
    """

    dissipation: AbstractDissipation

    def apply(self, t: Float[Array, ""], state: PyTree) -> PyTree:
        return eqx.tree_at(_motion, state, (state.v, tree_scale(-self.dissipation.rate(t), state.v)))

    def phi(self, k: int, t0: Float[Array, ""], t1: Float[Array, ""], state: PyTree) -> PyTree:
        z = self.dissipation.log_weight(t0) - self.dissipation.log_weight(t1)
        drift = (t1 - t0) * phi_function(k + 1, z)
        moved = tree_add(tree_scale(1 / math.factorial(k), state.q), tree_scale(drift, state.v))
        return eqx.tree_at(_motion, state, (moved, tree_scale(phi_function(k, z), state.v)))


def phi_function(k: int, z: Float[Array, "..."]) -> Float[Array, "..."]:
    """φ_k(z) for real z ≤ 0: Taylor's series near zero, the recurrence φ_{k+1} = (φ_k − 1/k!)/z elsewhere."""
    small = jnp.abs(z) < 1
    near = jnp.where(small, z, 0)
    series = jnp.zeros_like(z)
    for n in reversed(range(_TAYLOR_TERMS)):
        series = series * near + 1 / math.factorial(n + k)
    far = jnp.where(small, -1, z)
    value = jnp.exp(far)
    for n in range(k):
        value = (value - 1 / math.factorial(n)) / far
    return jnp.where(small, series, value)


def _motion(state: PyTree) -> tuple[PyTree, PyTree]:
    return state.q, state.v
