"""A batch under way: its chunks launched, taken, kept, told."""

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array

from lagrangian_learning.simulate.run import Outcome, Plan
from lagrangian_learning.simulate.settings import Tolerances
from lagrangian_learning.simulate.table import message_of

from .checkpoint import Checkpoint
from .chunks import padded
from .collect import AbstractSink
from .devices import compiled_chunk, num_devices, on_all, over_devices, run_chunk
from .engines import AbstractEngine
from .lanes import Inputs, Lanes
from .pipeline import ahead, side_by_side, usable_cores
from .progress import Meter


class BatchRun(NamedTuple):
    """All that decides what comes out of a batch."""

    engine: AbstractEngine
    lanes: Lanes
    times: Array
    tolerances: Tolerances
    plan: Plan
    mesh: jax.sharding.Mesh | None

    @property
    def description(self) -> str:
        """How the printed batch calls it."""
        devices = num_devices(self.mesh)
        return self.engine.name if devices == 1 else f"{self.engine.name}, on {devices} devices"

    @property
    def workers(self) -> int:
        """How many chunks run at once: XLA keeps all its threads busy with one, but for engines of one core."""
        alone = self.engine.one_core and self.mesh is None and jax.default_backend() == "cpu"
        return usable_cores() if alone else 1

    def outcomes(self, start: int, size: int) -> Iterator[tuple[int, int, Outcome]]:
        """(first lane, last + 1, outcome) of each chunk from start on; others are under way while one is looked at."""
        shared = on_all(self.mesh, (self.lanes.shared, self.times, self.tolerances, self.plan))
        computed = padded(size, num_devices(self.mesh), self.lanes.like_one)

        def on_devices(first: int) -> Inputs:
            return over_devices(self.mesh, self.lanes.chunk(first, computed))

        def launched(varied: Inputs) -> Outcome:
            return run(self.engine, varied, *shared, self.mesh)

        starts = range(start, self.lanes.count, size)
        chunks = map(on_devices, starts)
        run = compiled_chunk(self.engine, self.lanes.like_one)
        if self.workers == 1 or len(starts) <= 1:
            outcomes = ahead(map(launched, chunks))
        else:
            # Compiled and put on the device here: a thread has a context of JAX's of its own, of another precision say.
            given = next(chunks)
            run = run.lower(self.engine, given, *shared, self.mesh).compile()
            outcomes = side_by_side(launched, itertools.chain([given], chunks), self.workers)
        for first, outcome in zip(starts, outcomes, strict=True):
            yield first, min(first + size, self.lanes.count), outcome

    def like(self) -> Outcome:
        """Shapes of the outcome of a chunk."""
        varied = self.lanes.chunk(0, padded(1, num_devices(self.mesh), self.lanes.like_one))
        given = (self.engine, varied, self.lanes.shared, self.times, self.tolerances, self.plan, self.mesh)
        return eqx.filter_eval_shape(run_chunk, *given)


def carry_out(
    run: BatchRun, size: int, sink: AbstractSink, kept: Checkpoint | None, meter: Meter, *, throw: bool
) -> None:
    """Runs what the checkpoint does not hold, into the sink; `throw`: stops at the first lane that fails."""
    done = 0 if kept is None else _restore(run, kept, sink, meter, throw=throw)
    for start, stop, outcome in run.outcomes(done, size):
        part = sink.take(start, stop, outcome)
        if kept is not None:
            kept.write(start, stop, part, sink.value)
        meter.advance(stop - start, int(np.sum(part.failed)))
        _raise_if_failed(part, start, throw=throw)


def _restore(run: BatchRun, kept: Checkpoint, sink: AbstractSink, meter: Meter, *, throw: bool) -> int:
    """Takes what an earlier run has finished; returns the first lane that it has not."""
    spans = kept.spans()
    if not spans:
        return 0
    like = sink.part_of(run.like())
    for start, stop in spans:
        part = kept.read(start, stop, like)
        sink.restore(start, part)
        meter.restored(stop - start, int(np.sum(part.failed)))
        _raise_if_failed(part, start, throw=throw)
    if sink.value is not None:
        sink.value = kept.read_value(spans[-1][1], sink.value)
    return spans[-1][1]


def _raise_if_failed(part: Any, start: int, *, throw: bool) -> None:
    failed = np.flatnonzero(part.failed)
    if throw and failed.size:
        raise RuntimeError(f"run {start + failed[0]} of the batch failed: {message_of(part.result, failed[0])}")
