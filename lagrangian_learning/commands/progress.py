"""How far a command is and how long it will take: a bar in a terminal, lines elsewhere; on standard error, so that
standard output holds results alone.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from lagrangian_learning.batch.batch_run import duration

# report(done, total, seconds=None, now=""): seconds spent on what is done, those since the start by default; now: what
# is under way.
Report = Callable[..., None]
# A line is due after so many seconds if there is news, and after the longer time in any case.
SECONDS_A_LINE, SECONDS_OF_SILENCE = 3.0, 30.0


class Standing(NamedTuple):
    """What was reported last, and when by the clock."""

    done: int
    total: int
    seconds: float
    now: str
    at: float

    @property
    def left(self) -> str:
        """The time left at the mean pace until now, and what is under way."""
        known = 0 < self.done < self.total
        left = f", {duration((self.total - self.done) * self.seconds / self.done)} left" if known else ""
        return left + (f"; now {self.now}" if self.now else "")


class Lines:
    """Progress in lines: the first report and the last at once, the others at a pace, with the beat of a clock.

    line: prints a line;  clock: seconds.
    """

    def __init__(self, line: Callable[[str], None], title: str, unit: str, clock: Callable[[], float]) -> None:
        self.line, self.title, self.unit, self.clock = line, title, unit, clock
        self.started = clock()
        self.standing: Standing | None = None
        self.shown: Standing | None = None
        self.lock = threading.Lock()

    def report(self, done: int, total: int, seconds: float | None = None, now: str = "") -> None:
        """A `Report`."""
        at = self.clock()
        with self.lock:
            self.standing = Standing(done, total, at - self.started if seconds is None else seconds, now, at)
            if self.shown is None or done >= total:
                self._print(self.standing, at)

    def beat(self) -> None:
        """Prints a line if one is due: after another tenth, of another thing under way, or after a long silence."""
        at = self.clock()
        with self.lock:
            standing, shown = self.standing, self.shown
            if standing is None or shown is None or standing.done >= standing.total:
                return
            news = standing.now != shown.now or 10 * (standing.done - shown.done) >= standing.total
            if at - shown.at >= (SECONDS_A_LINE if news else SECONDS_OF_SILENCE):
                self._print(standing, at)

    def _print(self, standing: Standing, at: float) -> None:
        self.shown = standing._replace(at=at)
        seconds = standing.seconds + at - standing.at
        spent = f", {duration(seconds)}" if round(seconds) else ""
        self.line(f"{self.title}: {standing.done:,} of {standing.total:,} {self.unit}{spent}{standing.left}")


@contextlib.contextmanager
def progress(title: str, unit: str = "frames") -> Iterator[Report]:
    """A function that takes reports of progress."""
    console = Console(stderr=True)
    with _bar(console, title, unit) if console.is_terminal else _lines(console, title, unit) as report:
        yield report


@contextlib.contextmanager
def _bar(console: Console, title: str, unit: str) -> Iterator[Report]:
    texts = (TextColumn(f"{{task.{name}}}") for name in ("description", "fields[unit]", "fields[left]"))
    description, units, left = texts
    columns = (description, BarColumn(), MofNCompleteColumn(), units, TimeElapsedColumn(), left)
    started = time.monotonic()
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(title, total=None, unit=unit, left="")

        def report(done: int, total: int, seconds: float | None = None, now: str = "") -> None:
            spent = time.monotonic() - started if seconds is None else seconds
            bar.update(
                task, completed=done, total=total, left=Standing(done, total, spent, now, 0.0).left.lstrip(",; ")
            )

        yield report


@contextlib.contextmanager
def _lines(console: Console, title: str, unit: str) -> Iterator[Report]:
    def line(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True, markup=False)

    lines, ended = Lines(line, title, unit, time.monotonic), threading.Event()

    def beats() -> None:
        while not ended.wait(1.0):
            lines.beat()

    thread = threading.Thread(target=beats, daemon=True)
    thread.start()
    try:
        yield lines.report
    finally:
        ended.set()
        thread.join()


def nothing_reported(done: int, total: int, seconds: float | None = None, now: str = "") -> Any:
    """A `Report` for runs that nobody watches."""
