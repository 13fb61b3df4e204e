"""Signals given by samples at arbitrary times."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Inexact, Int

from lagrangian_learning._checks import one_of

from .blend import (
    blend,
    blend_weight,
    check_size,
    check_smoothness,
    limited_blend,
    nan_outside,
    smoothstep,
    window,
)
from .signal import AbstractSignal, as_leaf, as_scalar_time, wider
from .times import as_times, checked_times


class Sampled(AbstractSignal):
    """s(t_i) = values_i, in between the C² or C⁴ blend of local polynomials that `signals.blend` defines.

    The error falls with the power degree + 1 of the spacing. Degrees 2 and 4 overshoot where a gap is long beside its
    neighbours; degrees 0 and 1 are monotone from sample to sample and stay between them, and as smooth. Differentiable
    in times and values. Outside [ts[0], ts[-1]] the value is NaN: nothing is extrapolated.

    Arguments:
        ts: strictly increasing times [samples]; at least degree + 2. Their rounding to JAX's dtype is kept beside them.
        values: [samples, ...].
        smoothness: 2 or 4.
        degree: of the local polynomials, 0, 1, 2 or 4; None: as the smoothness.

    Raises ValueError for sizes that do not fit, dates and other things that are not real numbers, and (`eqx.error_if`
    when traced) for times that do not increase or that their dtype cannot distinguish, NaN or inf.
    """

    ts: Inexact[Array, " samples"]
    ts_rest: Inexact[Array, " samples"]
    values: Inexact[Array, " samples ..."]
    smoothness: int = eqx.field(static=True)
    degree: int = eqx.field(static=True)

    def __init__(self, ts: Any, values: Any, smoothness: int = 2, degree: int | None = None):
        ts, rest = as_times(ts)
        values = as_leaf("values", values)
        self.smoothness = check_smoothness(smoothness)
        self.degree = self.smoothness if degree is None else one_of(degree, "degree", (0, 1, 2, 4))
        _check_samples(ts, values, self.degree)
        self.ts, self.ts_rest = checked_times(ts, rest)
        self.values = values

    @property
    def times(self) -> Float[np.ndarray, " samples"]:
        """The sample times as they were given, in float64 on the host; they must be known, not traced."""
        return np.asarray(self.ts, np.float64) + np.asarray(self.ts_rest, np.float64)

    @property
    def domain(self) -> tuple[Array, Array]:
        return self.ts[..., 0], self.ts[..., -1]

    def __call__(self, t: ArrayLike) -> Inexact[Array, "..."]:
        t = as_scalar_time(t)
        num_nodes = self.ts.shape[0]
        at = jax.lax.stop_gradient(t).astype(self.ts.dtype)
        interval = jnp.clip(jnp.searchsorted(self.ts, at, side="right").astype(jnp.int32) - 1, 0, num_nodes - 2)
        return nan_outside(self._blended(t, interval), self._inside(t))

    def _blended(self, t: Array, interval: Int[Array, ""]) -> Array:
        num_nodes = self.ts.shape[0]
        local, length = self._local(t, interval), self._nodes(t, interval, interval + 1)
        if self.degree == 1:
            near = jnp.clip(interval + jnp.arange(-1, 3, dtype=jnp.int32), 0, num_nodes - 1)
            weight = smoothstep(local / length, self.smoothness)
            return limited_blend(local, self._nodes(t, interval, near), self.values[near].astype(t.dtype), weight)
        first = window(interval, num_nodes, self.degree)
        near = first + jnp.arange(self.degree + 2, dtype=jnp.int32)
        weight = blend_weight(local / length, interval, first, self.degree, self.smoothness)
        return blend(local, self._nodes(t, interval, near), self.values[near].astype(t.dtype), weight)

    def _local(self, t: Array, interval: Int[Array, ""]) -> Array:
        """t − t_i, subtracted in the wider dtype before the rest of t_i is: so float32 keeps close samples apart."""
        wide = wider(self.ts.dtype, t.dtype)
        gone = t.astype(wide) - self.ts[interval].astype(wide)
        return (gone - self.ts_rest[interval].astype(wide)).astype(t.dtype)

    def _nodes(self, t: Array, interval: Int[Array, ""], which: Int[Array, "..."]) -> Array:
        """Node times from the interval's start on, in the dtype of t."""
        wide = wider(self.ts.dtype, t.dtype)
        whole = self.ts[which].astype(wide) - self.ts[interval].astype(wide)
        rest = self.ts_rest[which].astype(wide) - self.ts_rest[interval].astype(wide)
        return (whole + rest).astype(t.dtype)

    def _inside(self, t: Array) -> Array:
        """Whether t is in the domain, with room for the rounding of a step that ends at its end."""
        start, end = (time.astype(t.dtype) for time in self.domain)
        room = 8 * jnp.finfo(t.dtype).eps * jnp.maximum(jnp.abs(start), jnp.abs(end))
        return (t >= start - room) & (t <= end + room)


def _check_samples(ts: Array, values: Array, degree: int) -> None:
    if ts.ndim != 1:
        raise ValueError(f"ts must be one row [samples], got shape {ts.shape}: for a batch use jax.vmap(ll.Sampled).")
    if values.ndim == 0 or values.shape[0] != ts.shape[0]:
        turned = ": samples come first, give values.T" if values.shape[-1:] == ts.shape else ""
        raise ValueError(f"{ts.shape[0]} ts need values of shape ({ts.shape[0]}, ...), got {values.shape}{turned}.")
    check_size(ts.shape[0], degree)
