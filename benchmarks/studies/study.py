"""What the studies share: how they begin and end, where they were measured, results as JSON, pictures."""

from collections.abc import Callable, Iterable, Sequence
from json import loads
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import environment, plain
from lagrangian_learning.commands.files import Files
from lagrangian_learning.commands.output import (
    Line,
    check_files,
    check_seed,
    console_beside,
    line_printer,
    save,
)
from lagrangian_learning.plot import style

DOTS, COLOURS = 120, 255


def recorded(name: str, path: Path) -> dict[str, Any]:
    """The numbers in a file that the study wrote, null being NaN; lists of numbers as arrays."""
    if not path.is_file():
        raise SystemExit(f"study {name}: --redraw: there is no file {path}; name one that --json wrote.")
    return loads(path.read_text(encoding="utf-8"), object_hook=_with_arrays)


def _with_arrays(found: dict[str, Any]) -> dict[str, Any]:
    return {name: _array(value) for name, value in found.items()}


def _array(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    try:
        return np.array(value, float)
    except (TypeError, ValueError):
        return value


def begun(name: str, seed: int, files: Files | None, json: Path | None = None) -> Line:
    """Ends the study now if its options cannot be met; returns what prints its lines.

    json: of a study that draws nothing, and has no `files`.
    """
    numbers = json if files is None else files.json
    check_seed(f"study {name}", seed)
    check_files(f"study {name}", None if files is None else files.picture, numbers)
    return line_printer(console_beside(numbers))


def record(question: str, **findings: Any) -> dict[str, Any]:
    """The numbers: the question, device and versions, and what was found, floats to four digits."""
    return plain({"question": question, "environment": environment(), **findings})


def ended(line: Line, files: Files, draw: Callable[[Path], Any], question: str, **findings: Any) -> None:
    """Draws the picture and writes the numbers where they are asked for."""
    save(line, files.picture, draw, files.json, record(question, **findings))


def ended_undrawn(line: Line, json: Path | None, question: str, **findings: Any) -> None:
    """The same of a study that draws nothing."""
    save(line, None, lambda path: None, json, record(question, **findings))


def print_table(line: Line, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A row a line, under heads of one or more lines; the first column to the left, the others to the right."""
    split = [head.split("\n") for head in heads]
    tall = max(map(len, split))
    above = [[""] * (tall - len(head)) + head for head in split]
    cells = [*map(list, zip(*above, strict=True)), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for first, *others in cells:
        padded = [f"{cell:>{width}}" for cell, width in zip(others, widths[1:], strict=True)]
        line("  ".join(["", f"{first:<{widths[0]}}", *padded]).rstrip())


def picture(path: Path, columns: int, rows: int, draw: Callable[[Any, Any], None]) -> None:
    """Drawn by draw(figure, axes [rows, columns]); a PNG has a palette, a third of the size to the same eye."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    with style():
        made = Figure(figsize=(5.2 * columns + 0.4, 4.2 * rows + 0.6), dpi=DOTS)
        canvas = FigureCanvasAgg(made)
        draw(made, made.subplots(rows, columns, squeeze=False))
        if path.suffix.lower() != ".png":
            made.savefig(path)
            return
        canvas.draw()
    shown = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    shown.quantize(COLOURS, kmeans=2, dither=Image.Dither.NONE).save(path, optimize=True)
