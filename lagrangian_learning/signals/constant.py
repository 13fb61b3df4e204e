"""Constant signals."""

import math
from typing import Any

from jaxtyping import Array, ArrayLike, Inexact

from lagrangian_learning._arrays import all_finite
from lagrangian_learning._checks import require

from .signal import AbstractSignal, as_leaf, as_scalar_time


class Constant(AbstractSignal):
    """e(t) = value.

    Arguments:
        value: the value, of any shape; [num_inputs] for the input of a network.

    Raises ValueError (`eqx.error_if` when traced) for NaN or inf.
    """

    value: Inexact[Array, "..."]

    def __init__(self, value: Any):
        value = as_leaf("the value of a constant signal", value)
        self.value = require(value, all_finite(value), "a constant signal is NaN or inf: give finite numbers.")

    @property
    def smoothness(self) -> float:
        return math.inf

    @property
    def domain(self) -> None:
        return None

    def __call__(self, t: ArrayLike) -> Inexact[Array, "..."]:
        return self.value.astype(as_scalar_time(t).dtype)
