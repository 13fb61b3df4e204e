"""The chunks of a batch, run one after the other, with a meter and with work done meanwhile."""

import collections
import itertools
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array

from lagrangian_learning.costs.hardware import usable_cores
from lagrangian_learning.simulate.plan import Plan, Tolerances
from lagrangian_learning.simulate.run import Outcome
from lagrangian_learning.simulate.table import message_of

from .checkpoint import Checkpoint
from .chunks import padded
from .devices import compiled_chunk, compiler_options, num_devices, on_all, over_devices, run_chunk
from .engines import AbstractEngine
from .fingerprint import environment, fingerprint_of_arrays, fingerprint_of_program, traced
from .fold import AbstractCollector
from .lanes import Inputs, Lanes

_EVERY_SECONDS = 5.0
_LEAST_OF_TIME = 0.2  # the share of the time after the first chunk from which on lanes a second are said


class Meter:
    """Counts lanes as chunks end, and prints to standard error. The rate leaves the first chunk out, which compiles."""

    def __init__(self, total: int, *, shown: bool, name: str = "simulate_batch") -> None:
        self.total, self.shown, self.name = total, shown, name
        self.done = self.failed = self.first = 0
        self.started = self.shown_at = time.perf_counter()
        self.compiled: float | None = None

    def restored(self, lanes: int, failed: int) -> None:
        """Lanes that an earlier run has finished."""
        self.done += lanes
        self.failed += failed
        if self.done >= self.total:
            self._say(f"{self.total:,} lanes, all read from the checkpoint{self._failures()}")
        elif lanes:
            self._say(f"{self.done:,} of {self.total:,} lanes read from the checkpoint{self._failures()}")

    def advance(self, lanes: int, failed: int) -> None:
        """A chunk has ended."""
        now = time.perf_counter()
        if self.compiled is None:
            self.first, self.compiled = self.done + lanes, now
        self.done += lanes
        self.failed += failed
        if self.done >= self.total:
            self._say(f"{self.total:,} lanes in {now - self.started:.3g} s{self._rate(now)}{self._failures()}")
        elif now - self.shown_at >= _EVERY_SECONDS:
            self.shown_at = now
            self._say(f"{self.done:,} of {self.total:,} lanes{self._rate(now)}{self._left(now)}{self._failures()}")

    def _lanes_a_second(self, now: float) -> float | None:
        """None while it would be a guess: chunks overlap, and one launched before the first ended is no measure."""
        if self.compiled is None or self.done <= self.first:
            return None
        if now - self.compiled < _LEAST_OF_TIME * (now - self.started):
            return None
        return (self.done - self.first) / (now - self.compiled)

    def _rate(self, now: float) -> str:
        rate = self._lanes_a_second(now)
        return ", compiling included" if rate is None else f", {_figures(rate)} a second"

    def _left(self, now: float) -> str:
        rate = self._lanes_a_second(now)
        return "" if rate is None else f", {duration((self.total - self.done) / rate)} left"

    def _failures(self) -> str:
        return f"; {self.failed:,} failed" if self.failed else ""

    def _say(self, text: str) -> None:
        if self.shown:
            print(f"{self.name}: {text}", file=sys.stderr, flush=True)


def _figures(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, as a reader says them."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


Item = TypeVar("Item")
Result = TypeVar("Result")


def prefetch(results: Iterable[Result]) -> Iterator[Result]:
    """The results in order, each handed out when the next has been asked for: what JAX launches runs meanwhile."""
    under_way: list[Result] = []
    for result in results:
        yield from under_way
        under_way = [result]
    yield from under_way


def threaded_map(function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """function of every item, in order, `workers` of them at once; at most one more has been finished and not taken.

    On a CPU JAX runs what one thread launches one after the other, and what several launch at once.
    """
    with ThreadPoolExecutor(workers) as pool:
        under_way: collections.deque = collections.deque()
        for item in items:
            under_way.append(pool.submit(lambda item: jax.block_until_ready(function(item)), item))
            if len(under_way) > workers:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()


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
        """How the printed batch calls its engine."""
        devices = num_devices(self.mesh)
        return self.engine.name if devices == 1 else f"{self.engine.name}, on {devices} devices"

    @property
    def workers(self) -> int:
        """How many chunks run at once: XLA keeps all its threads busy with one, except for engines of one core."""
        alone = self.engine.one_core and self.mesh is None and jax.default_backend() == "cpu"
        return usable_cores() if alone else 1

    def outcomes(self, start: int, size: int) -> Iterator[tuple[int, int, Outcome]]:
        """(first lane, last + 1, outcome) of each chunk from start on; the next ones run while one is looked at."""
        shared = self._shared()

        def launched(varied: Inputs) -> Outcome:
            return run(self.engine, varied, *shared, self.mesh)

        starts = range(start, self.lanes.count, size)
        chunks = (self._varied(first, size) for first in starts)
        run = compiled_chunk(self.engine, self.lanes.like_one)
        if self.workers == 1 or len(starts) <= 1:
            outcomes = prefetch(map(launched, chunks))
        else:
            # Compiled and put on the device here: a thread has a JAX context of its own, with another precision maybe.
            given = next(chunks)
            run = run.lower(self.engine, given, *shared, self.mesh).compile()
            outcomes = threaded_map(launched, itertools.chain([given], chunks), self.workers)
        for first, outcome in zip(starts, outcomes, strict=True):
            yield first, min(first + size, self.lanes.count), outcome

    def configuration(self, size: int) -> dict[str, str]:
        """What decides the bits of chunks of so many lanes, by name: fingerprints of program and inputs, and where."""
        given = (self.engine, self._varied(0, size), *self._shared(), self.mesh)
        text = compiled_chunk(self.engine, self.lanes.like_one).lower(*given).as_text()
        inputs = eqx.combine(*self.lanes)._asdict()
        return {
            "program": fingerprint_of_program(text, lambda: traced(run_chunk, *given), "law, args or save"),
            **{name: fingerprint_of_arrays(part) for name, part in inputs.items()},
            "ts": fingerprint_of_arrays(self.times),
            "tolerances": fingerprint_of_arrays(self.tolerances),
            "settings": fingerprint_of_arrays(self.plan),
            "engine": self.description,
            "lanes": str(self.lanes.count),
            "compiler options": str(compiler_options(self.engine, self.lanes.like_one)),
            **environment(),
        }

    def like(self, lanes: int = 1) -> Outcome:
        """Shapes of the outcome of a chunk of so many lanes."""
        given = (self.engine, self._varied(0, lanes), self.lanes.shared, self.times, self.tolerances, self.plan)
        return eqx.filter_eval_shape(run_chunk, *given, self.mesh)

    def _shared(self) -> Any:
        return on_all(self.mesh, (self.lanes.shared, self.times, self.tolerances, self.plan))

    def _varied(self, first: int, size: int) -> Inputs:
        """The lanes of a chunk on their devices, padded to what is computed."""
        computed = padded(size, num_devices(self.mesh), self.lanes.like_one)
        return over_devices(self.mesh, self.lanes.chunk(first, computed))


def carry_out(
    run: BatchRun, size: int, collector: AbstractCollector, kept: Checkpoint | None, meter: Meter, *, throw: bool
) -> None:
    """Runs what the checkpoint does not hold, into the collector; `throw`: stops at the first lane that fails."""
    done = 0 if kept is None else _restore(run, kept, collector, meter, throw=throw)
    for start, stop, outcome in run.outcomes(done, size):
        part = collector.take(start, stop, outcome)
        if kept is not None:
            kept.write(start, stop, part, collector.value)
        meter.advance(stop - start, int(np.sum(part.failed)))
        _raise_if_failed(part, start, throw=throw)


def _restore(run: BatchRun, kept: Checkpoint, collector: AbstractCollector, meter: Meter, *, throw: bool) -> int:
    """Takes what an earlier run has finished; returns the first lane that it has not."""
    spans = kept.spans()
    if not spans:
        return 0
    like = collector.part_of(run.like())
    for start, stop in spans:
        part = kept.read(start, stop, like)
        collector.restore(start, part)
        meter.restored(stop - start, int(np.sum(part.failed)))
        _raise_if_failed(part, start, throw=throw)
    if collector.value is not None:
        collector.value = kept.read_value(spans[-1][1], collector.value)
    return spans[-1][1]


def _raise_if_failed(part: Any, start: int, *, throw: bool) -> None:
    failed = np.flatnonzero(part.failed)
    if throw and failed.size:
        raise RuntimeError(f"run {start + failed[0]} of the batch failed: {message_of(part.result, failed[0])}")
