"""What commands print: lines, progress, and where their files are."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from .files import write_json

Line = Callable[..., None]
Report = Callable[[int, int, float], None]  # how many are done, how many there are, seconds spent on them
SECONDS_A_LINE = 3


def line_printer(console: Console) -> Line:
    """line(text): prints it as it is, with rich's markup, without wrapping or highlighting."""

    def line(text: str = "") -> None:
        console.print(text, highlight=False, soft_wrap=True)

    return line


def print_rows(line: Line, title: str, rows: dict[str, str]) -> None:
    """A bold title and a few named rows."""
    line(f"[bold]{title}[/]")
    for name, text in rows.items():
        line(f"  {name:<9}{text}")


def save(line: Line, output: Path | None, draw: Callable[[Path], Any], numbers: Path | None, found: Any) -> None:
    """Draws the picture and writes the numbers where they are asked for, and prints where they are."""
    if output is not None:
        draw(output)
        line(f"picture: {output}")
    if numbers is not None:
        write_json(found, numbers)
        line(f"numbers: {numbers}")


@contextlib.contextmanager
def progress(console: Console, title: str, unit: str = "frames") -> Iterator[Report]:
    """A function that takes reports of progress: a bar in a terminal, a few lines elsewhere."""
    if not console.is_terminal:
        yield _lines(console, title, unit)
        return
    columns = (
        TextColumn("  {task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(f"{unit}  {{task.fields[rate]}}"),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(f"training, {title}", total=None, rate="compiling")

        def report(done: int, total: int, seconds: float) -> None:
            bar.update(task, completed=done, total=total, rate=f"{done / seconds:,.0f}/s" if done else "")

        yield report


def _lines(console: Console, title: str, unit: str) -> Report:
    line, printed = line_printer(console), 0.0

    def report(done: int, total: int, seconds: float) -> None:
        nonlocal printed
        if done == 0 or (seconds - printed < SECONDS_A_LINE and done < total):
            return
        printed, rate = seconds, done / seconds
        left = (total - done) / rate
        line(f"  training, {title}: {done:,} of {total:,} {unit}, {rate:,.0f} a second, {left:.0f} s left")

    return report


def nothing_reported(done: int, total: int, seconds: float) -> None:
    """A `Report` for runs that nobody watches."""
