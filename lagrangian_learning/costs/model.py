"""`Model`: memory and seconds of so many lanes, by the model of docs/scale.md."""

import math
from typing import NamedTuple

import numpy as np

from lagrangian_learning._types import Number

from .cost import Cost
from .hardware import Hardware
from .memory import LaneMemory, Placing, most_lanes


class Model(NamedTuple):
    """The model of docs/scale.md."""

    hardware: Hardware
    dtype: str
    stages: int
    evaluation: Cost
    watched: Cost
    lane: LaneMemory
    shared: int
    weight_devices: int
    leaves: int
    cores: int
    small: bool

    @property
    def workers(self) -> int:
        """How many chunks run at once."""
        return max(self.cores, 1)

    @property
    def in_turn(self) -> bool:
        """Whether lanes go one after the other, a core each."""
        return self.cores > 0 and self.lane.at_once == 1

    def under_way(self, lanes: int) -> int:
        """How many of the lanes take a step at one time."""
        return self.lane.under_way(lanes, self.workers)

    def memory(self, lanes: int) -> Number:
        """What so many lanes share, keep, and hold in their loop."""
        return (self.shared + self.lane.of(lanes, self.workers)) / self.weight_devices

    def memory_of_chunk(self, lanes: int) -> Number:
        """The same of one chunk."""
        return (self.shared + self.lane.of(lanes)) / self.weight_devices

    def chunk(self, lanes: int) -> tuple[int, int]:
        """The lanes of a chunk, as `simulate_batch` plans it, and of all chunks that are there at one time."""
        if lanes == 1:
            return 1, 1
        usual = most_lanes(cpu=True, in_blocks=True) if self.cores and self.small else self.hardware.lanes
        placing = Placing(self.hardware.memory * self.weight_devices, usual, self.workers)
        size = placing.chunk(lanes, placing.most_of_a_chunk(self.lane), small=self.small)
        return size, min(lanes, self.workers * size)

    def _working_set(self, lanes: int) -> int:
        return self.under_way(lanes) * self.lane.loop

    def step(self, lanes: int) -> tuple[float, str]:
        """Seconds of one step of so many lanes, and what bounds them."""
        if not self.in_turn or lanes == 1:
            seconds = self._seconds(lanes)
        else:
            # Lanes in turn are single runs: cores share memory and arithmetic, but not what waits for itself.
            shared = {"memory bandwidth": lanes, "arithmetic": lanes, "exchange between devices": lanes}
            turns = math.ceil(lanes / self.under_way(lanes))
            seconds = {name: shared.get(name, turns) * alone for name, alone in self._seconds(1).items()}
        exchange = seconds.pop("exchange between devices")
        # Launches overlap neither with each other nor with small products; bandwidth and arithmetic overlap.
        overlapping = max(seconds["memory bandwidth"], seconds["arithmetic"])
        total = overlapping + seconds["launches"] + seconds["single numbers"]
        bound_by = max(seconds, key=lambda name: seconds[name])
        return total + exchange, "exchange between devices" if exchange > total else bound_by

    def _seconds(self, lanes: int) -> dict[str, float]:
        """Seconds that a step of lanes side by side takes at least, by what it waits for."""
        work = self.evaluation.times(self.stages) + self.watched
        moved = lanes * (work.bytes + self._combination_bytes()) / self.weight_devices
        # Every lane has weights of its own: their products are a batch of small ones, which are slower than large ones.
        peak = self.hardware.flops[self.dtype]
        rate = peak if lanes == 1 else min(peak, self.hardware.batched)
        return {
            "memory bandwidth": self.hardware.seconds_to_move(moved, self._working_set(lanes) / self.weight_devices),
            "arithmetic": lanes * work.flops / rate / self.weight_devices,
            "launches": (work.kernels + self._combination_kernels()) * self.hardware.launch,
            # One lane computes number after number; many share the work of one instruction.
            "single numbers": work.scalars * max(1 / self.hardware.scalars, lanes / self.hardware.elementwise),
            "exchange between devices": self._exchange(lanes, work),
        }

    def _combination_bytes(self) -> Number:
        """Each stage is made of all stages, which Diffrax reads."""
        return self.stages * self.stages * self.lane.state

    def _combination_kernels(self) -> Number:
        """Each array of the state, unless it is of few numbers, is combined once a stage and for the error."""
        numbers = self.lane.state / np.dtype(self.dtype).itemsize
        return 0.0 if numbers <= 8 * self.leaves else (self.stages + 1) * self.leaves

    def _exchange(self, lanes: int, work: Cost) -> Number:
        """Weights on several devices: every product ends in one exchange of a layer's neurons."""
        if self.weight_devices == 1:
            return 0.0
        neurons = lanes * (work.flops / 2 / max(work.products, 1)) ** 0.5 * np.dtype(self.dtype).itemsize
        return work.products * (self.hardware.link_latency + neurons / self.hardware.link_bandwidth)
