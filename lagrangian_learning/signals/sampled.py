"""Signals given by samples at arbitrary times."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Inexact

from lagrangian_learning._arrays import all_finite
from lagrangian_learning._checks import require

from .blend import blend, blend_weight, check_size, check_smoothness, nan_outside, window
from .signal import AbstractSignal, as_leaf, as_scalar_time, wider


class Sampled(AbstractSignal):
    """s(t_i) = values_i, in between the C² or C⁴ blend of local polynomials that `signals.blend` defines.

    The error falls with the third (C²) or fifth (C⁴) power of the spacing. Differentiable in times and values. Outside
    [ts[0], ts[-1]] the value is NaN: nothing is extrapolated.

    Arguments:
        ts: strictly increasing times [samples]; at least 4 for C², 6 for C⁴.
        values: [samples, ...].
        smoothness: 2 or 4.

    Raises ValueError for sizes that do not fit and (`eqx.error_if` when traced) for times that do not increase, NaN or
    inf.
    """

    ts: Inexact[Array, " samples"]
    values: Inexact[Array, " samples ..."]
    smoothness: int = eqx.field(static=True)

    def __init__(self, ts: Any, values: Any, smoothness: int = 2):
        ts, values = as_leaf("ts", ts), as_leaf("values", values)
        check_smoothness(smoothness)
        _check_samples(ts, values, smoothness)
        samples = require(
            (ts, values), all_finite((ts, values)), "times or values are NaN or inf: give finite samples."
        )
        increasing = jnp.all(jnp.diff(ts) > 0)
        message = "ts must increase strictly: sort the samples by time and keep one at each time."
        self.ts, self.values = require(samples, increasing, message)
        self.smoothness = smoothness

    @property
    def domain(self) -> tuple[Array, Array]:
        return self.ts[..., 0], self.ts[..., -1]

    def __call__(self, t: ArrayLike) -> Inexact[Array, "..."]:
        t = as_scalar_time(t)
        degree = self.smoothness
        num_nodes = self.ts.shape[0]
        at = jax.lax.stop_gradient(t).astype(self.ts.dtype)
        interval = jnp.clip(jnp.searchsorted(self.ts, at, side="right").astype(jnp.int32) - 1, 0, num_nodes - 2)
        first = window(interval, num_nodes, degree)
        # Relative to the interval's start, subtracted in the wider dtype: so float32 keeps close samples apart.
        wide = wider(self.ts.dtype, t.dtype)
        origin = self.ts[interval].astype(wide)
        nodes = jax.lax.dynamic_slice_in_dim(self.ts, first, degree + 2).astype(wide)
        nodes, length = (nodes - origin).astype(t.dtype), (self.ts[interval + 1].astype(wide) - origin).astype(t.dtype)
        local = (t.astype(wide) - origin).astype(t.dtype)
        values = jax.lax.dynamic_slice_in_dim(self.values, first, degree + 2).astype(t.dtype)
        weight = blend_weight(local / length, interval, first, degree, self.smoothness)
        return nan_outside(blend(local, nodes, values, weight), self._inside(t))

    def _inside(self, t: Array) -> Array:
        """Whether t is in the domain, with room for the rounding of a step that ends at its end."""
        start, end = (time.astype(t.dtype) for time in self.domain)
        room = 8 * jnp.finfo(t.dtype).eps * jnp.maximum(jnp.abs(start), jnp.abs(end))
        return (t >= start - room) & (t <= end + room)


def _check_samples(ts: Array, values: Array, degree: int) -> None:
    if ts.ndim != 1:
        raise ValueError(f"ts must be one row [samples], got shape {ts.shape}: for a batch use jax.vmap(ll.Sampled).")
    if values.ndim == 0 or values.shape[0] != ts.shape[0]:
        raise ValueError(f"{ts.shape[0]} ts need values of shape ({ts.shape[0]}, ...), got {values.shape}.")
    check_size(ts.shape[0], degree)
