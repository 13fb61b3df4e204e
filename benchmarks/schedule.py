"""Measurements within a time: the most important first, what no longer fits left out, all written as it comes."""

import dataclasses
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

STARTED = time.perf_counter()  # of the process, near enough: importing JAX comes out of the budget too

Row = dict[str, Any]


def elapsed() -> float:
    """Seconds since the start."""
    return time.perf_counter() - STARTED


class Measurement(NamedTuple):
    """What is measured, the seconds it is expected to take with compiling, and the call that returns its findings.

    kind: which rows of the record belong together.
    """

    kind: str
    name: str
    expected: float
    measure: Callable[[], Row]


@dataclasses.dataclass
class Schedule:
    """Runs measurements in order until `budget` seconds after the start, by the clock.

    `record` is called with all rows before and after each measurement, so that a run that is killed loses the one under
    way alone, and `close` once at the end. Each row has a kind, a name and a status: "measured" (with findings),
    "failed", "skipped", "stopped", "under way" or "waiting", and `why` where it was not measured. What is still under
    way at the end of the budget is stopped, and the process with it.
    """

    budget: float
    record: Callable[[list[Row]], object]
    clock: Callable[[], float] = elapsed
    close: Callable[[list[Row]], object] = lambda _: None

    _lock: Any = dataclasses.field(default_factory=threading.Lock, repr=False)

    def run(self, measurements: Sequence[Measurement]) -> list[Row]:
        """The rows of all measurements."""
        rows: list[Row] = [{"kind": one.kind, "name": one.name, "status": "waiting"} for one in measurements]
        alarm = threading.Timer(max(self.budget - self.clock(), 0.0), lambda: self._stop(rows))
        alarm.daemon = True
        alarm.start()
        expected = taken = 0.0
        for one, row in zip(measurements, rows, strict=True):
            needed = one.expected * (taken / expected if expected else 1.0)  # at the pace of this machine so far
            if self.clock() + needed > self.budget:
                row.update(status="skipped", why=f"takes about {needed:.0f} s, which are not left")
            else:
                self._measure(one, row, rows)
                expected, taken = expected + one.expected, taken + row["seconds"]
            _show(row)
            self._write(rows)
        alarm.cancel()
        self.close(rows)
        return rows

    def _measure(self, one: Measurement, row: Row, rows: list[Row]) -> None:
        row["status"] = "under way"
        self._write(rows)
        before = self.clock()
        found = _found(one)
        row.update(found, seconds=self.clock() - before)

    def _write(self, rows: list[Row]) -> None:
        with self._lock:
            self.record(rows)

    def _stop(self, rows: list[Row]) -> None:
        """Ends the process from a thread of its own: a compilation cannot be interrupted."""
        with self._lock:
            for row in rows:
                if row["status"] in {"under way", "waiting"}:
                    status = "stopped" if row["status"] == "under way" else "skipped"
                    row.update(status=status, why="the time is over")
                    _show(row)
            self.record(rows)
            self.close(rows)
            print(f"ended by the budget of {self.budget:.0f} s", flush=True)
            os._exit(0)


def _found(one: Measurement) -> Row:
    """Its findings, or why there are none: what a device cannot do must not end what it can."""
    try:
        return {"status": "measured", **one.measure()}
    except Exception as error:  # noqa: BLE001  # of XLA, of the library, of memory: all are findings
        first = (str(error).strip().splitlines() or [""])[0]
        return {"status": "failed", "why": f"{type(error).__name__}: {first[:300]}"}


def _show(row: Row) -> None:
    said = row["summary"] if row["status"] == "measured" else f"{row['status']}: {row['why']}"
    print(f"{row['kind']:<12} {row['name']:<42} {said}", flush=True)
