"""`Damping`: friction r(t) and the factor s(t) of the potential, integrated over a step."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lagrangian_learning._arrays import as_module, cast
from lagrangian_learning._checks import instance, nonnegative, real_result

from .bregman import Bregman
from .dissipation import AbstractDissipation, ExponentialDissipation, NoDissipation
from .linear_part import phi_function

_NODES, _WEIGHTS = (values / 2 for values in np.polynomial.legendre.leggauss(16))
_NODES = _NODES + 0.5


def _factor(value: Any) -> Any:
    if value is None or callable(value):
        return value if value is None else as_module(value)
    return nonnegative(value, "factor", "it multiplies the potential; a function s(t) is allowed too.")


class Damping(eqx.Module):
    """(D + r) p = −s V_W over a step: p ← e^{−∫r} p − I V_W with I = ∫ e^{−∫_u^{t₁} r} s(u) du   (docs/theory.md §11).

    Arguments:
        dissipation: the weight ϖ(t), r = d/dt log ϖ.
        factor: s ≥ 0, a number or a function s(t); None: that of the dissipation where it has one (`Bregman`), else 1.

    Raises ValueError for anything else.
    """

    dissipation: AbstractDissipation
    factor: Float[Array, "..."] | Callable[[Array], Array] | None = eqx.field(converter=_factor, default=None)

    def __check_init__(self) -> None:
        made = "a dissipation such as ll.ExponentialDissipation(theta=1.0)"
        instance(self.dissipation, "dissipation", AbstractDissipation, made)

    def factor_at(self, t: Float[Array, ""]) -> Float[Array, ""]:
        """s(t)."""
        if self.factor is None:
            return self.dissipation.factor(t) if isinstance(self.dissipation, Bregman) else jnp.ones_like(t)
        if not callable(self.factor):
            return cast(self.factor, t) * jnp.ones_like(t)
        value = real_result(self.factor(t), "factor", t.dtype)
        if value.shape:
            raise ValueError(f"factor must return one number, got shape {value.shape}.")
        return value

    @property
    def steady(self) -> bool:
        """Whether neither friction nor factor depends on time, so that a step needs its length alone."""
        constant = isinstance(self.dissipation, NoDissipation | ExponentialDissipation)
        return constant and not callable(self.factor)

    def growth(self, t0: Float[Array, ""], t1: Float[Array, ""]) -> Float[Array, ""]:
        """∫ r over the step."""
        return self.dissipation.log_growth(t0, t1)

    def impulse(self, t0: Float[Array, ""], t1: Float[Array, ""]) -> Float[Array, ""]:
        """I, in closed form for constant friction and for `Bregman`, elsewhere by sixteen Gauss points.

        The points lie where the mean friction over the step leaves weight, so that no ϑ is too large for a step.
        """
        if self.factor is None and isinstance(self.dissipation, Bregman):
            return self.dissipation.impulse(t0, t1)
        exponent, h = self.growth(t0, t1), t1 - t0
        mean = h * phi_function(1, -exponent)
        if self.steady:
            return mean * self.factor_at(t0)
        damped = jnp.where(exponent == 0, 1, exponent)
        nodes, weights = jnp.asarray(_NODES, h.dtype), jnp.asarray(_WEIGHTS, h.dtype)
        left = jnp.where(exponent == 0, 1 - nodes, -jnp.log1p((1 - nodes) * jnp.expm1(-damped)) / damped)

        def relative(left: Array) -> Array:
            u = t1 - h * left
            return self.factor_at(u) * jnp.exp(left * exponent - self.growth(u, t1))

        return mean * jnp.sum(weights * jax.vmap(relative)(left))
