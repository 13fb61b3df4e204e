"""The time weight ϖ(t) of an action, kept as its logarithm: e^{ϑt} is never formed."""

import abc
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lagrangian_learning._arrays import cast
from lagrangian_learning._checks import module_named, nonnegative, real_array, real_result, require


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


def _thetas(value: object) -> Array:
    theta = real_array(value, "thetas")
    return require(theta, theta >= 0, "thetas must be >= 0: a negative rate feeds energy into the motion.")


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


class PiecewiseLinearDissipation(AbstractDissipation):
    """ϑ(t) straight between given numbers, and constant before the first time and after the last; ϖ = exp ∫₀ᵗ ϑ.

    A schedule of friction by a few numbers, which gradients through a run can tune. ϑ has kinks at the times, which an
    action of second order, with ϑ̇ in its equations, sees as jumps.

    Arguments:
        times: [n], strictly increasing.
        thetas: ϑ ≥ 0 at the times [n], in 1/time.

    Raises ValueError for other shapes, for times out of order and for numbers out of range.
    """

    times: Float[Array, " n"] = eqx.field(converter=lambda value: real_array(value, "times"))
    thetas: Float[Array, " n"] = eqx.field(converter=_thetas)

    def __check_init__(self) -> None:
        if self.times.ndim != 1 or self.times.shape != self.thetas.shape:
            raise ValueError(
                "times and thetas must be equally many numbers, one theta for each time, got shapes "
                f"{self.times.shape} and {self.thetas.shape}."
            )
        require(self.times, jnp.diff(self.times) > 0, "times must increase strictly: sort the pairs by time.")

    def log_weight(self, t: Float[Array, ""]) -> Float[Array, ""]:
        return self.log_growth(jnp.zeros_like(t), t)

    def rate(self, t: Float[Array, ""]) -> Float[Array, ""]:
        return jnp.interp(t, cast(self.times, t), cast(self.thetas, t))

    def log_growth(self, t0: Float[Array, ""], t1: Float[Array, ""]) -> Float[Array, ""]:
        # Each piece gives its share of [t0, t1] times ϑ in the middle of that share: no large integrals to subtract.
        times, theta = cast(self.times, t1), cast(self.thetas, t1)
        lower, upper = jnp.append(-jnp.inf, times), jnp.append(times, jnp.inf)
        begin, end = jnp.clip(t0, lower, upper), jnp.clip(t1, lower, upper)
        return jnp.sum((end - begin) * jnp.interp(begin + (end - begin) / 2, times, theta))


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
