"""Labelled recordings of several lengths, the streams made of them, and how outputs on them are judged."""

import dataclasses
import numbers
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lagrangian_learning._arrays import is_concrete
from lagrangian_learning.signals.stimulus import Stimulus
from lagrangian_learning.signals.stream import Stream


@dataclasses.dataclass(frozen=True, eq=False)
class Recordings:
    """Recordings one after another, each a row of frames with one label. Plain NumPy arrays: data of the host.

    Arguments:
        frames: [num_frames, num_channels], floating.
        lengths: frames of each recording [num_recordings], positive whole numbers that add up to num_frames.
        labels: [num_recordings], whole numbers from 0.

    Raises ValueError for sizes that do not fit, NaN or inf.
    """

    frames: np.ndarray
    lengths: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        _check_recordings(self.frames, self.lengths, self.labels)

    @property
    def num_recordings(self) -> int:
        """How many recordings there are."""
        return self.lengths.size

    @property
    def num_frames(self) -> int:
        """How many frames they have together."""
        return self.frames.shape[0]

    @property
    def num_channels(self) -> int:
        """How many numbers a frame has."""
        return self.frames.shape[1]

    @property
    def num_labels(self) -> int:
        """One more than the largest label."""
        return int(self.labels.max()) + 1

    @property
    def slices(self) -> tuple[slice, ...]:
        """Where each recording stands among the frames."""
        ends = np.cumsum(self.lengths, dtype=np.int64)
        return tuple(slice(int(end - length), int(end)) for end, length in zip(ends, self.lengths, strict=True))

    def select(self, indices: Any) -> "Recordings":
        """The recordings of the given numbers, in that order; a number may come again."""
        indices = _as_indices(indices, self.num_recordings)
        slices = self.slices
        frames = np.concatenate([self.frames[slices[index]] for index in indices])
        return Recordings(frames, self.lengths[indices], self.labels[indices])

    def hold_out(self, key: Array, per_label: int = 3) -> tuple["Recordings", "Recordings"]:
        """(training, validation): `per_label` recordings of each label, chosen by the key, are kept out for validation.

        Raises ValueError when a label has no more than `per_label` recordings.
        """
        held = []
        for label, subkey in zip(
            np.unique(self.labels), jax.random.split(key, np.unique(self.labels).size), strict=True
        ):
            own = np.flatnonzero(self.labels == label)
            if not 0 < per_label < own.size:
                raise ValueError(
                    f"cannot hold out {per_label} of the {own.size} recordings of label {label}: "
                    "hold out at least one and leave at least one to learn from."
                )
            held.append(own[np.asarray(jax.random.permutation(subkey, own.size))[:per_label]])
        held = np.sort(np.concatenate(held))
        return self.select(np.setdiff1d(np.arange(self.num_recordings), held)), self.select(held)

    def shuffled(self, key: Array, passes: int = 1) -> Int[np.ndarray, " order"]:
        """The numbers of all recordings, `passes` times, each time in another order chosen by the key."""
        if passes < 1:
            raise ValueError(f"a stream has at least one pass, got passes={passes!r}.")
        orders = [jax.random.permutation(subkey, self.num_recordings) for subkey in jax.random.split(key, passes)]
        return np.concatenate([np.asarray(order) for order in orders])

    def inputs(self, constant: float | None = 1.0) -> Float[np.ndarray, "frames inputs"]:
        """All frames, with `constant` as one more channel: the bias of a network without biases. None: as they are."""
        if constant is None:
            return self.frames
        return np.concatenate([self.frames, np.full_like(self.frames[:, :1], constant)], axis=1)

    def stream(
        self, order: Any, codes: Any, *, constant: float | None = 1.0, spacing: float = 1.0, smoothness: int = 2
    ) -> Stimulus:
        """One long stimulus: the recordings in the given order, frame n at time n · spacing.

        Arguments:
            order: numbers of recordings, as `shuffled` gives them.
            codes: the target of each label [num_labels, num_outputs], as `label_codes` gives them. Targets go
                monotonely from one code to the next, between the last frame of a recording and the first of the next.
            constant: see `inputs`.
            spacing: time from one frame to the next.
            smoothness: 2 or 4, of input and target.

        Raises ValueError for numbers out of range and codes that do not fit.
        """
        chosen = self.select(order)
        codes = _as_codes(codes, self.num_labels, self.frames.dtype)
        targets = codes[np.repeat(chosen.labels, chosen.lengths)]
        return Stimulus(
            input=Stream(chosen.inputs(constant), spacing, smoothness),
            target=Stream(targets, spacing, smoothness, degree=0),
        )

    def statistics(self) -> tuple[Float[np.ndarray, " channels"], Float[np.ndarray, " channels"]]:
        """Mean and standard deviation of each channel over all frames."""
        frames = self.frames.astype(np.float64)
        return frames.mean(axis=0), frames.std(axis=0)

    def mean_outputs(self, outputs: Float[Array, "frames outputs"]) -> Float[Array, "recordings outputs"]:
        """The mean over each recording of the outputs at its frames."""
        if outputs.shape[0] != self.num_frames:
            raise ValueError(f"these recordings have {self.num_frames} frames, got outputs at {outputs.shape[0]}.")
        owner = np.repeat(np.arange(self.num_recordings), self.lengths)
        return _means(outputs, owner, self.lengths)

    def accuracy(self, outputs: Float[Array, "frames outputs"]) -> Float[Array, ""]:
        """The share of recordings whose largest mean output is the one of their label; NaN when an output is NaN."""
        return _share_of_hits(self.mean_outputs(outputs), self.labels.astype(np.int32))


@jax.jit
def _means(outputs: Array, owner: Array, lengths: Array) -> Array:
    sums = jax.ops.segment_sum(outputs, owner, lengths.shape[0])
    return sums / lengths[:, None].astype(outputs.dtype)


@jax.jit
def _share_of_hits(means: Array, labels: Array) -> Array:
    hits = jnp.argmax(means, axis=1).astype(jnp.int32) == labels
    return jnp.where(jnp.all(jnp.isfinite(means)), jnp.mean(hits.astype(means.dtype)), jnp.nan)


def label_codes(num_labels: int, low: float = -1.0, high: float = 1.0) -> Float[np.ndarray, "labels labels"]:
    """One code a label: `high` at its own place, `low` elsewhere.

    Arguments:
        num_labels: how many labels there are.
        low, high: the two values.

    Raises ValueError where num_labels is no positive whole number.
    """
    if not isinstance(num_labels, numbers.Integral) or num_labels < 1:
        raise ValueError(
            f"num_labels is how many labels there are, such as 9, got {type(num_labels).__name__}: the codes of an "
            "array of labels are ll.data.label_codes(9)[labels]."
        )
    return np.where(np.eye(num_labels, dtype=bool), high, low)


def standardise(reference: Recordings, *others: Recordings) -> tuple[Recordings, ...]:
    """All given recordings with the mean of each channel of `reference` at 0 and its standard deviation at 1.

    Give the training recordings first: recordings that are only measured must not decide how to scale.

    Arguments:
        reference: the recordings that decide.
        others: further ones, scaled by the same numbers.

    Returns all of them, in order. Raises ValueError for a channel that is constant in `reference`, or other numbers of
    channels.
    """
    mean, deviation = reference.statistics()
    if not np.all(deviation > 0):
        raise ValueError(f"channels {np.flatnonzero(deviation == 0).tolist()} are constant: leave them out.")
    for other in others:
        if other.num_channels != reference.num_channels:
            raise ValueError(
                f"recordings have {reference.num_channels} and {other.num_channels} channels: give the same."
            )
    return tuple(
        dataclasses.replace(each, frames=((each.frames - mean) / deviation).astype(each.frames.dtype))
        for each in (reference, *others)
    )


def _check_recordings(frames: np.ndarray, lengths: np.ndarray, labels: np.ndarray) -> None:
    if frames.ndim != 2 or not np.issubdtype(frames.dtype, np.floating):
        raise ValueError(f"frames must be floating of shape [frames, channels], got {frames.dtype} {frames.shape}.")
    if not np.all(np.isfinite(frames)):
        raise ValueError("a frame is NaN or inf: leave such recordings out.")
    for name, given in (("lengths", lengths), ("labels", labels)):
        if given.ndim != 1 or given.size == 0 or not np.issubdtype(given.dtype, np.integer):
            named = ": number names by np.unique(labels, return_inverse=True)[1]" if name == "labels" else ""
            got = f"{given.dtype} {given.shape}{named}"
            raise ValueError(f"{name} must be whole numbers, one a recording, got {got}.")
    if lengths.size != labels.size:
        raise ValueError(f"there are {lengths.size} lengths but {labels.size} labels: give one of each a recording.")
    if lengths.min() < 1 or lengths.sum(dtype=np.int64) != frames.shape[0]:
        raise ValueError(f"lengths must be positive and add up to the {frames.shape[0]} frames, got {lengths.sum()}.")
    if labels.min() < 0:
        raise ValueError(f"labels count from 0, got {labels.min()}.")


def _as_indices(indices: Any, count: int) -> np.ndarray:
    if not is_concrete(indices):
        raise ValueError(
            "the order of recordings decides how long a stream is, so that it cannot be traced: "
            "build streams outside jit and vmap, and stack them with jax.tree.map(jnp.stack, ...)."
        )
    indices = np.asarray(indices)
    if indices.ndim != 1 or indices.size == 0 or not np.issubdtype(indices.dtype, np.integer):
        raise ValueError(f"an order is a row of whole numbers, got {indices.dtype} {indices.shape}.")
    if indices.min() < 0 or indices.max() >= count:
        raise ValueError(f"recordings are numbered from 0 to {count - 1}, got {indices.min()} to {indices.max()}.")
    return indices


def _as_codes(codes: Any, num_labels: int, dtype: Any) -> np.ndarray:
    codes = np.asarray(codes, dtype=dtype)
    if codes.ndim != 2 or codes.shape[0] < num_labels:
        raise ValueError(
            f"{num_labels} labels need codes of shape ({num_labels}, num_outputs), got {codes.shape}: one row for each "
            f"label from 0 to the largest, {num_labels - 1}, such as ll.data.label_codes({num_labels})."
        )
    return codes
