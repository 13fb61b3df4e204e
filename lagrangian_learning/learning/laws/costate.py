"""Costate rules: how the multipliers of (20) may move in time, and when that is stable (docs/theory.md §7)."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, PyTree

from lagrangian_learning._arrays import max_abs, tree_scale
from lagrangian_learning.networks import AbstractNetwork, Layered, state_jacobian

Costate = str
_RUNAWAY = 1e6
COSTATES: tuple[Costate, ...] = ("sign_flip", "forward", "parity")


def check_costate(costate: Any, network: AbstractNetwork) -> None:
    """ValueError for an unknown rule, and for "parity" on a network that is not strictly layered."""
    if costate not in COSTATES:
        raise ValueError(f"costate must be one of {COSTATES}, got {costate!r}.")
    if costate == "parity" and not isinstance(network, Layered):
        raise ValueError(
            'costate="parity" undoes one gain a layer, which exists for ll.Layered networks only: '
            'use costate="sign_flip".'
        )


def direction(costate: Costate) -> int:
    """The sign s of δ̇ = s c (T δ + V_ξ) − ϑ δ: +1 as derived, −1 for the sign flip."""
    return -1 if costate == "sign_flip" else 1


def growth_rate(
    network: AbstractNetwork, costate: Costate, speed: Array, theta: Array, x: PyTree, W: PyTree
) -> Float[Array, ""]:
    """The largest real part of the spectrum of δ ↦ s c T δ − ϑ δ, x and W frozen: unstable if positive.

    s c − ϑ for a feedforward network, where T is unit triangular; by the eigenvalues of T, O(ν³), on cycles.
    """
    if network.feedforward:
        return direction(costate) * speed - theta
    eigenvalues = jnp.linalg.eigvals(state_jacobian(network, x, W))
    return jnp.max(direction(costate) * speed * jnp.real(eigenvalues)) - theta


def is_unstable(rate: Array, speed: Array, theta: Array) -> Bool[Array, ""]:
    """Whether a growth rate is positive beyond rounding."""
    return rate > 1e3 * jnp.finfo(rate.dtype).eps * (speed + theta)


def has_run_away(delta: PyTree, potential_gradient: PyTree) -> Bool[Array, ""]:
    """Whether |δ| has left every size that the loss explains, long before it overflows."""
    return max_abs(delta) > _RUNAWAY * (1 + max_abs(potential_gradient))


def layer_gains(costate: Costate, speed: ArrayLike, theta: ArrayLike, num_layers: int) -> Float[Array, " layers"]:
    """(1 − s ϑ/c)^{−(L−l+1)} for l = 0 … L: stationary δ over backprop's, x frozen, layer by layer (docs/theory.md §7).

    s = +1 as derived (forward, parity), −1 for the sign flip. num_layers is L; layer L is the output.
    """
    base = 1 - direction(costate) * jnp.asarray(theta) / jnp.asarray(speed)
    return base ** -jnp.arange(num_layers + 1, 0, -1).astype(base.dtype)


def without_gains(costate: Costate, speed: Array, theta: Array, delta: PyTree) -> PyTree:
    """δ of a layered network with its stationary gains divided out."""
    gains = layer_gains(costate, speed, theta, len(delta) - 1)
    return tuple(tree_scale(1 / gain, layer) for gain, layer in zip(gains, delta, strict=True))


def costate_rate(
    costate: Costate, speed: Array, theta: Array, reaction: PyTree, potential_gradient: PyTree, delta: PyTree
) -> PyTree:
    """δ̇ = s c (G_ξᵀ δ + V_ξ) − ϑ δ: (20) with the term −ϑδ that substituting λ = e^{ϑt} δ leaves (erratum 2)."""
    forward = direction(costate) * speed
    return jax.tree.map(lambda r, v, d: forward * (r + v) - theta * d, reaction, potential_gradient, delta)
