"""Long signals sampled on a uniform grid, read in local time."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Inexact

from lagrangian_learning._arrays import all_finite
from lagrangian_learning._checks import about, number, one_of, require

from .blend import blend, blend_weight, check_size, check_smoothness, nan_outside, window
from .signal import AbstractSignal, as_leaf, as_scalar_time

LONGEST = 2**24
"""Frames beyond this number cannot be counted by a float32."""


class Stream(AbstractSignal):
    """s(n · spacing) = frames[start + n], in between the blend of local polynomials that `signals.blend` defines.

    Local time 0 is frame `start`: a long stream is integrated piece by piece, each on the same local times with
    `stream.shift(n)`, so that time keeps its precision (float32 time at 85,000 frames is spaced by 0.008) and one
    compiled run serves every piece. Outside the frames the value is NaN.

    Arguments:
        frames: [frames, channels], or [frames, …]: a frame may have any shape, as a batch of images has.
        spacing: time from one frame to the next.
        smoothness: 2 or 4.
        degree: of the local polynomials, 0, 2 or 4; None: as the smoothness. With 0 the signal goes monotonely
            from each frame to the next and stays between them.
        start: the frame at local time 0, a whole number.

    Raises ValueError for sizes and settings that do not fit and (`eqx.error_if` when traced) for NaN, inf, a spacing
    that is not positive or a start that is not whole.
    """

    frames: Inexact[Array, " frames ..."]
    spacing: Inexact[Array, ""]
    start: Inexact[Array, ""]
    smoothness: int = eqx.field(static=True)
    degree: int = eqx.field(static=True)

    def __init__(
        self, frames: Any, spacing: Any = 1.0, smoothness: int = 2, degree: int | None = None, start: Any = 0.0
    ):
        frames = as_leaf("frames", frames)
        spacing, start = as_leaf("spacing", spacing), as_leaf("start", start)
        leaves = (frames, spacing, start)
        degree = smoothness if degree is None else degree
        check_smoothness(smoothness)
        _check_frames(frames, spacing, start, degree)
        leaves = require(leaves, all_finite(leaves), "frames, spacing or start is NaN or inf: give finite numbers.")
        leaves = require(leaves, spacing > 0, "the spacing of a stream must be positive.")
        self.frames, self.spacing, self.start = require(leaves, _whole(start), _WHOLE.format("start"))
        self.smoothness, self.degree = smoothness, degree

    @property
    def num_frames(self) -> int:
        """How many frames there are, whatever the start."""
        return self.frames.shape[self.start.ndim]  # in a batch of streams every leaf has the batch's axes first

    @property
    def domain(self) -> tuple[Array, Array]:
        start = self.start.astype(self.spacing.dtype)
        return -start * self.spacing, (self.num_frames - 1 - start) * self.spacing

    def shift(self, frames: ArrayLike) -> "Stream":
        """The same stream with local time 0 moved on by a whole number of frames, which may be traced."""
        by = number(frames, "frames")
        by = require(by, _whole(by), _WHOLE.format("frames"))
        start = self.start + by.astype(self.start.dtype)
        return eqx.tree_at(lambda stream: stream.start, self, start)

    def __call__(self, t: ArrayLike) -> Inexact[Array, "..."]:
        t = as_scalar_time(t)
        position = t / self.spacing.astype(t.dtype)
        start = self.start.astype(jnp.int32)
        # Frames are counted in integers; the clip keeps far times from wrapping round.
        whole = jnp.clip(jax.lax.stop_gradient(jnp.floor(position)), -float(2**30), float(2**30)).astype(jnp.int32)
        interval = jnp.clip(start + whole, 0, self.num_frames - 2)
        theta = position - (interval - start).astype(t.dtype)
        first = window(interval, self.num_frames, self.degree)
        nodes = (first - interval + jnp.arange(self.degree + 2, dtype=jnp.int32)).astype(t.dtype)
        values = jax.lax.dynamic_slice_in_dim(self.frames, first, self.degree + 2).astype(t.dtype)
        weight = blend_weight(theta, interval, first, self.degree, self.smoothness)
        # Room for the rounding of a step that ends at the last frame.
        room = 8 * jnp.finfo(t.dtype).eps * jnp.clip(jnp.abs(position), 1.0, self.num_frames)
        return nan_outside(blend(theta, nodes, values, weight), (theta >= -room) & (theta <= 1.0 + room))


_WHOLE = "{} must be a whole number of frames, at most " + f"{LONGEST} either way: round it."


def _whole(frames: Array) -> Array:
    return (frames == jnp.round(frames)) & (jnp.abs(frames) <= LONGEST)


def _check_frames(frames: Array, spacing: Array, start: Array, degree: int) -> None:
    if frames.ndim < 2:
        raise ValueError(f"frames must have shape [frames, channels], got {frames.shape}: for one channel add an axis.")
    if spacing.shape != () or start.shape != ():
        raise ValueError(f"spacing and start are one number each, got shapes {spacing.shape} and {start.shape}.")
    one_of(degree, "degree", (0, 2, 4))
    with about("frames"):
        check_size(frames.shape[0], degree)
    if frames.shape[0] > LONGEST:
        raise ValueError(f"a stream has at most {LONGEST} frames, got {frames.shape[0]}: cut it into several streams.")
