"""The time weight ϖ(t) of an action, kept as its logarithm: e^{ϑt} is never formed."""

import abc
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lagrangian_learning._arrays import cast
from lagrangian_learning._checks import module_named, nonnegative, real_result


class AbstractDissipation(eqx.Module):
    """ϖ(t) = exp(log_weight(t)) > 0 with ϖ(0) = 1, and its rate r(t) = d/dt log ϖ, in 1/time (docs/theory.md §1)."""

    @abc.abstractmethod
    def log_weight(self, t: Float[Array, ""]) -> Float[Array, ""]:
        """log ϖ(t), zero at t = 0."""

    @abc.abstractmethod
    def rate(self, t: Float[Array, ""]) -> Float[Array, ""]:
        """r(t) = d/dt log ϖ(t)."""

    @abc.abstractmethod
    def log_growth(self, t0: Float[Array, ""], t1: Float[Array, ""]) -> Float[Array, ""]:
        """log ϖ(t1) − log ϖ(t0), with the digits that a difference of two large logarithms would lose."""


class NoDissipation(AbstractDissipation):
    """ϖ = 1: conservative mechanics."""

    def log_weight(self, t: Float[Array, ""]) -> Float[Array, ""]:
        return jnp.zeros_like(t)

    def rate(self, t: Float[Array, ""]) -> Float[Array, ""]:
        return jnp.zeros_like(t)

    def log_growth(self, t0: Float[Array, ""], t1: Float[Array, ""]) -> Float[Array, ""]:
        return jnp.zeros_like(t1)


def _theta(value: object) -> Array:
    return nonnegative(
        value,
        "theta",
        "a negative rate feeds energy into the motion. For a weight that decreases, write it out with "
        "ll.ScheduledDissipation(log_weight).",
    )


class ExponentialDissipation(AbstractDissipation):
    """ϖ = e^{ϑt}, r = ϑ: the weight of the paper's reductions, (12)–(17) and (20).

    theta is ϑ ≥ 0, in 1/time; a negative or non-finite one is a ValueError.
    """

    theta: Float[Array, "..."] = eqx.field(converter=_theta)

    def log_weight(self, t: Float[Array, ""]) -> Float[Array, ""]:
        return cast(self.theta, t) * t

    def rate(self, t: Float[Array, ""]) -> Float[Array, ""]:
        return cast(self.theta, t) * jnp.ones_like(t)

    def log_growth(self, t0: Float[Array, ""], t1: Float[Array, ""]) -> Float[Array, ""]:
        return cast(self.theta, t1) * (t1 - t0)


class ScheduledDissipation(AbstractDissipation):
    """Any weight, given by its logarithm: ϖ(t) = exp(f(t) − f(0)), r = f′ by automatic differentiation.

    log_weight_fn is a differentiable function of t (or a callable Equinox module, whose arrays are then traced).
    A second-order action needs it twice differentiable.
    """

    log_weight_fn: Callable[[Array], Array] = eqx.field(converter=module_named("log_weight_fn"))

    def log_weight(self, t: Float[Array, ""]) -> Float[Array, ""]:
        return self._value(t) - self._value(jnp.zeros_like(t))

    def rate(self, t: Float[Array, ""]) -> Float[Array, ""]:
        value, rate = jax.jvp(self._value, (t,), (jnp.ones_like(t),))
        return jnp.where(jnp.isfinite(value), rate, jnp.nan)  # a constant infinity has a rate of 0

    def log_growth(self, t0: Float[Array, ""], t1: Float[Array, ""]) -> Float[Array, ""]:
        return self._value(t1) - self._value(t0)

    def _value(self, t: Array) -> Array:
        value = real_result(self.log_weight_fn(t), "log_weight_fn", t.dtype)
        if value.shape:
            raise ValueError(f"log_weight_fn must return one number, got shape {value.shape}.")
        return value
