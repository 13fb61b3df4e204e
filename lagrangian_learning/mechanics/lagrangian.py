"""Lagrangians L = ϖ(t) ℓ(t, q, q̇[, q̈]) + F(t, q, q̇[, q̈]), held without their weight."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from lagrangian_learning._arrays import as_module
from lagrangian_learning._checks import optional_module

from .dissipation import AbstractDissipation, NoDissipation
from .jets import Jet


class Lagrangian(eqx.Module):
    """The action ∫ ϖ ℓ dt (+ ∫ F dt), by its density ℓ, its dissipation and an optional term outside the weight.

    Arguments:
        density: ℓ(t, q, v, args) for order 1, ℓ(t, q, v, a, args) for order 2; a scalar. q is any pytree of floating
            arrays, v and a are its velocities and accelerations.
        dissipation: the weight ϖ(t), see `AbstractDissipation`. Without it ϖ = 1.
        order: the highest derivative in the action, 1 or 2.
        unweighted: F with the same signature as density: a term that stands outside ϖ, as F does in (5).

    Raises ValueError when order is neither 1 nor 2 or density is not callable.
    """

    density: Callable[..., Array] = eqx.field(converter=as_module)
    dissipation: AbstractDissipation = NoDissipation()
    order: int = eqx.field(static=True, default=1)
    unweighted: Callable[..., Array] | None = eqx.field(converter=optional_module, default=None)

    def __check_init__(self) -> None:
        if self.order not in (1, 2):
            raise ValueError(f"order must be 1 (ℓ of q, q̇) or 2 (ℓ of q, q̇, q̈), got {self.order!r}.")
        if not isinstance(self.dissipation, AbstractDissipation):
            raise ValueError(
                f"dissipation must be a dissipation such as ll.ExponentialDissipation(theta), "
                f"got {type(self.dissipation).__name__}."
            )

    def rate(self, t: Array) -> Array:
        """r(t) = d/dt log ϖ."""
        return self.dissipation.rate(t)

    def inverse_weight(self, t: Array) -> Array:
        """1/ϖ(t), which multiplies whatever stands outside the weight."""
        return jnp.exp(-self.dissipation.log_weight(t))

    def normalised(self, t: Array, jet: Jet, args: PyTree) -> Array:
        """L/ϖ = ℓ + F/ϖ on the jet (q, v) or (q, v, a)."""
        value = self.evaluate(self.density, t, jet, args)
        if self.unweighted is None:
            return value
        return value + self.inverse_weight(t) * self.evaluate(self.unweighted, t, jet, args)

    def evaluate(self, fn: Callable[..., Any], t: Array, jet: Jet, args: PyTree) -> Array:
        """One density at a jet, checked to be a scalar."""
        returned = fn(t, *jet[: self.order + 1], args)
        if returned is None:
            raise ValueError("a Lagrangian density returned nothing: does its function end without return?")
        value = jnp.asarray(returned)
        if value.shape != ():
            raise ValueError(
                f"a Lagrangian density must return a scalar, got shape {value.shape}: sum it over the coordinates."
            )
        return value
