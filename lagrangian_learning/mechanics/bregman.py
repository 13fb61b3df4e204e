"""`Bregman`: the friction and the factor of the potential that make descent as fast as a power of time."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from lagrangian_learning._arrays import cast
from lagrangian_learning._checks import positive

from .dissipation import AbstractDissipation


class Bregman(AbstractDissipation):
    """ϖ = (t/t₀)^{p+1} and s = C p² t^{p−2}: Ẍ + ((p+1)/t) Ẋ + C p² t^{p−2} ∇f = 0   (docs/theory.md §11).

    The Euclidean Bregman Lagrangian of Wibisono, Wilson and Jordan (2016, doi:10.1073/pnas.1614734113), for
    `Descent(f, Quadratic(1.0), Bregman(p, t0=t0))`. Of convex f,
    f − f* ≤ (½|x₀ + (t₀/p)v₀ − x*|² + C t₀^p (f₀ − f*))/(C t^p). Order 2 with C = ¼ is Nesterov's
    Ẍ + (3/t) Ẋ + ∇f = 0. Constant steps h at a curvature L need h² C p² t^{p−2} L < 4: orders above
    2 become unstable in time.

    Arguments:
        order: p > 0.
        scale: C > 0, in units of 1/(time^p · f) for a unit mass.
        t0: t₀ > 0, where a run begins, ϖ(t₀) = 1. There is no friction to integrate from t = 0.

    Raises ValueError for constants out of range.
    """

    order: Float[Array, "..."]
    scale: Float[Array, "..."]
    t0: Float[Array, "..."]

    def __init__(self, order: Any = 2.0, scale: Any = 0.25, t0: Any = 1.0) -> None:
        self.order = positive(order, "order", "it is p of f − f* = O(t^−p).")
        self.scale = positive(scale, "scale", "it is C, the strength of the potential.")
        self.t0 = positive(t0, "t0", "the friction (p + 1)/t begins at t0, not at 0.")

    def log_weight(self, t: Float[Array, ""]) -> Float[Array, ""]:
        return self.log_growth(cast(self.t0, t), t)

    def rate(self, t: Float[Array, ""]) -> Float[Array, ""]:
        return (cast(self.order, t) + 1) / t

    def log_growth(self, t0: Float[Array, ""], t1: Float[Array, ""]) -> Float[Array, ""]:
        return (cast(self.order, t1) + 1) * jnp.log1p((t1 - t0) / t0)

    def factor(self, t: Float[Array, ""]) -> Float[Array, ""]:
        """s(t) = C p² t^{p−2}."""
        order = cast(self.order, t)
        return cast(self.scale, t) * order**2 * t ** (order - 2)

    def impulse(self, t0: Float[Array, ""], t1: Float[Array, ""]) -> Float[Array, ""]:
        """∫_{t0}^{t1} (u/t1)^{p+1} s(u) du = (C p/2) t1^{p−1} (1 − (t0/t1)^{2p})."""
        order = cast(self.order, t1)
        lost = -jnp.expm1(2 * order * jnp.log1p((t0 - t1) / t1))
        return cast(self.scale, t1) * order / 2 * t1 ** (order - 1) * lost
