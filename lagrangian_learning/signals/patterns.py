"""Patterns shown one after another."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Inexact, Int

from lagrangian_learning._arrays import all_finite
from lagrangian_learning._checks import flag, require

from .blend import blend, check_smoothness, smoothstep
from .signal import AbstractSignal, as_leaf, as_scalar_time, wider


class Patterns(AbstractSignal):
    """e(t) = values_i for i·dwell ≤ t ≤ (i + 1)·dwell − rise, then a smooth and monotone rise to values_{i+1}.

    Defined for all times: before t = 0 the first pattern is held and after the last one the last, or, if periodic, the
    first follows the last.

    Arguments:
        values: [patterns, ...].
        dwell: time from one pattern to the next.
        rise: duration of the transition at the end of each dwell, 0 < rise < dwell.
        smoothness: 2 or 4.
        periodic: whether the patterns start again after the last.

    Raises ValueError for no patterns and (`eqx.error_if` when traced) for NaN, inf, or a rise that does not fit.
    """

    values: Inexact[Array, " patterns ..."]
    dwell: Inexact[Array, ""]
    rise: Inexact[Array, ""]
    smoothness: int = eqx.field(static=True)
    periodic: bool = eqx.field(static=True)

    def __init__(self, values: Any, dwell: Any, rise: Any, smoothness: int = 2, periodic: bool = False):
        values = as_leaf("values", values)
        dwell, rise = as_leaf("dwell", dwell), as_leaf("rise", rise)
        leaves = (values, dwell, rise)
        check_smoothness(smoothness)
        _check_patterns(values, dwell, rise)
        leaves = require(leaves, all_finite(leaves), "values, dwell or rise is NaN or inf: give finite numbers.")
        wide = wider(dwell.dtype, rise.dtype)
        fits = (rise > 0) & (rise.astype(wide) < dwell.astype(wide))
        message = "a rise must take some time and less than the dwell: give 0 < rise < dwell."
        self.values, self.dwell, self.rise = require(leaves, fits, message)
        self.smoothness, self.periodic = smoothness, flag(periodic, "periodic")

    @property
    def domain(self) -> None:
        return None

    def __call__(self, t: ArrayLike) -> Inexact[Array, "..."]:
        t = as_scalar_time(t)
        dwell, rise = self.dwell.astype(t.dtype), self.rise.astype(t.dtype)
        cell = jax.lax.stop_gradient(jnp.floor(t / dwell))
        theta = jnp.clip((t - cell * dwell - (dwell - rise)) / rise, 0.0, 1.0)
        values = self.values[jnp.stack([self._index(cell), self._index(cell + 1.0)])].astype(t.dtype)
        ends = jnp.arange(2).astype(t.dtype)
        return blend(theta, ends, values, smoothstep(theta, self.smoothness))

    def _index(self, cell: Array) -> Int[Array, ""]:
        count = self.values.shape[0]
        number = jnp.mod(cell, float(count)) if self.periodic else jnp.clip(cell, 0.0, float(count - 1))
        return number.astype(jnp.int32)


def _check_patterns(values: Array, dwell: Array, rise: Array) -> None:
    if values.ndim == 0 or values.shape[0] == 0:
        raise ValueError(
            f"patterns need values of shape [patterns, ...] with at least one pattern, got {values.shape}."
        )
    if dwell.shape != () or rise.shape != ():
        raise ValueError(
            f"dwell and rise are one number each, got shapes {dwell.shape} and {rise.shape}: "
            "for a batch use jax.vmap(ll.Patterns)."
        )
