"""Signals that are smooth everywhere: constants and sinusoids."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Inexact

from lagrangian_learning._arrays import all_finite
from lagrangian_learning._checks import require

from .signal import AbstractSmoothSignal, as_leaf, as_scalar_time


class Constant(AbstractSmoothSignal):
    """e(t) = value.

    Arguments:
        value: the value, of any shape; [num_inputs] for the input of a network.

    Raises ValueError (`eqx.error_if` when traced) for NaN or inf.
    """

    value: Inexact[Array, "..."]

    def __init__(self, value: Any):
        value = as_leaf("value", value)
        self.value = require(value, all_finite(value), "a constant signal is NaN or inf: give finite numbers.")

    def __call__(self, t: ArrayLike) -> Inexact[Array, "..."]:
        return self.value.astype(as_scalar_time(t).dtype)


class Sinusoids(AbstractSmoothSignal):
    """e(t) = amplitude · sin(frequency · t + phase) + offset, channel by channel.

    Arguments are broadcast against each other to the shape of the value, [n] for n channels.

    Arguments:
        frequency: angular, in radians a unit of time.
        amplitude, phase, offset: phase in radians.

    Raises ValueError for shapes that do not broadcast and (`eqx.error_if` when traced) for NaN or inf.
    """

    frequency: Inexact[Array, "..."]
    amplitude: Inexact[Array, "..."]
    phase: Inexact[Array, "..."]
    offset: Inexact[Array, "..."]

    def __init__(self, frequency: Any, amplitude: Any = 1.0, phase: Any = 0.0, offset: Any = 0.0):
        given = {"frequency": frequency, "amplitude": amplitude, "phase": phase, "offset": offset}
        constants = tuple(as_leaf(name, value) for name, value in given.items())
        # Broadcast now: a batch needs its leading axis on every leaf.
        shape = _common_shape(constants)
        constants = tuple(jnp.broadcast_to(constant, shape) for constant in constants)
        message = "frequency, amplitude, phase or offset is NaN or inf: give finite numbers."
        self.frequency, self.amplitude, self.phase, self.offset = require(constants, all_finite(constants), message)

    def __call__(self, t: ArrayLike) -> Inexact[Array, "..."]:
        t = as_scalar_time(t)
        frequency, amplitude, phase, offset = (
            constant.astype(t.dtype) for constant in (self.frequency, self.amplitude, self.phase, self.offset)
        )
        return amplitude * jnp.sin(frequency * t + phase) + offset


def _common_shape(constants: tuple[Array, ...]) -> tuple[int, ...]:
    shapes = tuple(constant.shape for constant in constants)
    try:
        return jnp.broadcast_shapes(*shapes)
    except ValueError:
        raise ValueError(
            f"frequency, amplitude, phase and offset have shapes {shapes}, which do not broadcast: "
            "give each one number, or one a channel."
        ) from None
