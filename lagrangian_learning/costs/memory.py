"""`LaneMemory`: bytes of one lane of a run, and how many lanes are put on a device at once."""

import math
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
from jaxtyping import PyTree

from lagrangian_learning._tuning import (
    BLOCK,
    FEW_NUMBERS,
    FEWEST_LANES,
    MOST_LANES_CPU,
    MOST_LANES_ELSEWHERE,
    MOST_LANES_IN_BLOCKS,
    SHARE_OF_MEMORY,
    WORTH_A_WORKER,
)
from lagrangian_learning._types import Number


class LaneMemory(NamedTuple):
    """Bytes of one lane.

    given: what the lane has of its own.  state.  left: what it leaves, records and all.
    loop: what it holds beside that while it takes steps.
    at_once: how many lanes of a chunk are in their loop at one time; None: all, side by side.
    """

    given: int
    state: int
    left: int
    loop: int
    at_once: int | None = None

    @property
    def kept(self) -> int:
        """What a lane holds from before its loop until after it."""
        return self.given + self.left

    def of(self, lanes: int, workers: int = 1) -> int:
        """Of so many lanes, in chunks of which as many run at one time as there are workers."""
        return lanes * self.kept + self._of_blocks(lanes) + self.under_way(lanes, workers) * self.loop

    def _of_blocks(self, lanes: int) -> int:
        """Blocks that lanes do not fill are put together by a copy of what they leave."""
        return lanes * self.left if self.at_once is not None and lanes % self.at_once else 0

    def under_way(self, lanes: int, workers: int = 1) -> int:
        """How many of the lanes are in their loop at one time."""
        return lanes if self.at_once is None else min(lanes, workers * self.at_once)

    def fitting(self, room: Number) -> int:
        """The lanes of a chunk that fit: a power of two, so that a little more memory compiles nothing anew."""
        if self.at_once is None:
            each, all_ = self.kept + self.loop, 0
        else:
            each, all_ = self.kept + self.left * (self.at_once > 1), self.at_once * self.loop
        fit = max(int((room - all_) / each), 1)
        return 1 << (fit.bit_length() - 1)


class Placing(NamedTuple):
    """How the lanes of a batch are put on devices.

    memory: bytes of a device.  most: the most lanes that repay being on a device at once.  workers: chunks that run at
    once.  devices: how many share a chunk.
    """

    memory: float
    most: int
    workers: int = 1
    devices: int = 1

    @property
    def room(self) -> Number:
        """Bytes for the lanes of a chunk on a device; one chunk more is held than runs."""
        return SHARE_OF_MEMORY / (self.workers + 1) * self.memory

    def most_of_a_chunk(self, lane: LaneMemory) -> int:
        """The most lanes of a chunk, over all its devices."""
        return self.devices * min(lane.fitting(self.room), self.most)

    def chunk(self, lanes: int, most: int, *, small: bool) -> int:
        """The lanes of a chunk, evenly over devices, over chunks and, where that repays, over workers."""
        chunks = -(-lanes // most)
        if lanes >= self.workers * (WORTH_A_WORKER if small else FEWEST_LANES):
            chunks = self.workers * -(-chunks // self.workers)
        return self.devices * -(-lanes // (chunks * self.devices))


def most_lanes(*, cpu: bool, in_blocks: bool) -> int:
    """The most lanes that repay being put on a device at once; `in_blocks`: small ones of an engine of one core."""
    if not cpu:
        return MOST_LANES_ELSEWHERE
    return MOST_LANES_IN_BLOCKS if in_blocks else MOST_LANES_CPU


def lanes_in_loop(state: PyTree, *, one_core: bool) -> int | None:
    """How many lanes of a chunk step at one time by an engine that is `one_core`; None: all of them."""
    if not one_core:
        return None
    return BLOCK if is_small(state) else 1


def is_small(tree: PyTree) -> bool:
    """Whether a lane's state is of few numbers; leaves may be shapes."""
    return sum(leaf.size for leaf in jax.tree.leaves(tree) if hasattr(leaf, "size")) <= FEW_NUMBERS


def num_bytes(tree: PyTree) -> int:
    """Bytes of all arrays (or their shapes) of a pytree."""
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree) if hasattr(leaf, "dtype"))


def evaluation_bytes(fn: Callable, *args: PyTree, lanes: int = 1) -> int:
    """Bytes of the results of fn(*args) and of what it holds on the way, as XLA counts them for the compiled function.

    Leaves of args may be shapes; nothing is computed. lanes: of so many evaluations side by side the bytes of one: XLA
    places every array on a multiple of 64 bytes, which counts where one lane has few.
    """
    dynamic, static = eqx.partition(args, lambda leaf: hasattr(leaf, "dtype"))
    first = () if lanes == 1 else (lanes,)
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(first + leaf.shape, leaf.dtype), dynamic)

    def of_arrays(arrays: PyTree) -> PyTree:
        return eqx.filter(fn(*eqx.combine(arrays, static)), eqx.is_array)

    whole = of_arrays if lanes == 1 else jax.vmap(of_arrays)
    found = jax.jit(whole).lower(shapes).compile().memory_analysis()
    if found is None:  # a backend that does not count
        return num_bytes(jax.eval_shape(whole, shapes)) // lanes
    return (found.temp_size_in_bytes + found.output_size_in_bytes) // lanes
