"""`LaneMemory`: bytes of one lane of a run, and how many lanes are put on a device at once."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
from jaxtyping import PyTree

from lagrangian_learning._tuning import (
    FEW_NUMBERS,
    FEWEST_LANES,
    KEPT_STATES,
    MOST_LANES_CPU,
    MOST_LANES_ELSEWHERE,
    MOST_LANES_IN_BLOCKS,
    NUMBERS_WATCHED,
    SHARE_OF_MEMORY,
    SPARE_STATES,
    SPARE_STATES_IN_TURN,
    WORTH_A_WORKER,
)
from lagrangian_learning._types import Number
from lagrangian_learning.steppers.defaults import num_stages

# A stepper without a tableau is taken to have as many as Tsit5.
_STAGES = 7


class LaneMemory(NamedTuple):
    """Bytes of one lane.

    given: what the lane has of its own.  state.  records: of all saved times.  evaluation: what one evaluation of the
    rates holds beside the state.  stages: rates that a step holds.  in_turn: whether lanes go one after the other.
    """

    given: int
    state: int
    records: int
    evaluation: int
    stages: int
    in_turn: bool

    @property
    def kept(self) -> int:
        """What a lane holds from before its loop until after it."""
        return self.given + KEPT_STATES * self.state + self.records

    @property
    def in_loop(self) -> int:
        """What a lane holds beside that while it takes steps."""
        copies = self.stages + SPARE_STATES_IN_TURN if self.in_turn else 2 * self.stages + SPARE_STATES
        return copies * self.state + self.evaluation + 8 * NUMBERS_WATCHED

    def of(self, lanes: int, under_way: int) -> int:
        """Of so many lanes, of which some are under way at one time."""
        return lanes * self.kept + under_way * self.in_loop

    def fitting(self, room: Number) -> int:
        """The lanes that fit side by side: a power of two, so that a little more memory compiles nothing anew."""
        fit = max(int(room / (self.kept + self.in_loop)), 1)
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


def is_small(tree: PyTree) -> bool:
    """Whether a lane's state is of few numbers; leaves may be shapes."""
    return sum(leaf.size for leaf in jax.tree.leaves(tree) if hasattr(leaf, "size")) <= FEW_NUMBERS


def num_bytes(tree: PyTree) -> int:
    """Bytes of all arrays (or their shapes) of a pytree."""
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree) if hasattr(leaf, "dtype"))


def evaluation_bytes(fn: Callable, *args: PyTree) -> int:
    """Bytes of the results of fn(*args) and of what it holds on the way, as XLA counts them for the compiled function.

    Leaves of args may be shapes; nothing is computed.
    """
    dynamic, static = eqx.partition(args, lambda leaf: hasattr(leaf, "dtype"))
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), dynamic)

    def of_arrays(arrays: PyTree) -> PyTree:
        return eqx.filter(fn(*eqx.combine(arrays, static)), eqx.is_array)

    found = jax.jit(of_arrays).lower(shapes).compile().memory_analysis()
    if found is None:  # a backend that does not count
        return num_bytes(jax.eval_shape(of_arrays, shapes))
    return found.temp_size_in_bytes + found.output_size_in_bytes


def held_stages(solver: Any) -> int:
    """How many rates a step holds at once."""
    return num_stages(solver) or _STAGES
