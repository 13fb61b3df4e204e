"""`Meter`: progress of a batch, lanes done, rate and time left; one line every few seconds."""

import sys
import time

_EVERY_SECONDS = 5.0


class Meter:
    """Counts lanes as chunks end, and prints to standard error. The rate leaves the first chunk out, which compiles."""

    def __init__(self, total: int, *, shown: bool) -> None:
        self.total, self.shown = total, shown
        self.done = self.failed = self.first = 0
        self.started = self.shown_at = time.perf_counter()
        self.compiled: float | None = None

    def restored(self, lanes: int, failed: int) -> None:
        """Lanes that an earlier run has finished."""
        self.done += lanes
        self.failed += failed
        if self.done >= self.total:
            self._say(f"{self.total:,} lanes, all read from the checkpoint{self._failures()}")

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
        if self.compiled is None or self.done <= self.first or now <= self.compiled:
            return None
        return (self.done - self.first) / (now - self.compiled)

    def _rate(self, now: float) -> str:
        rate = self._lanes_a_second(now)
        return ", compiling included" if rate is None else f", {_figures(rate)} a second"

    def _left(self, now: float) -> str:
        rate = self._lanes_a_second(now)
        return "" if rate is None else f", {_duration((self.total - self.done) / rate)} left"

    def _failures(self) -> str:
        return f"; {self.failed:,} failed" if self.failed else ""

    def _say(self, text: str) -> None:
        if self.shown:
            print(f"simulate_batch: {text}", file=sys.stderr, flush=True)


def _figures(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
