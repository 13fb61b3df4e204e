"""What the studies share: their command line, where they were measured, results as JSON, pictures."""

import argparse
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.common import environment, plain
from lagrangian_learning.commands.output import check_files
from lagrangian_learning.plot import style

DOTS, COLOURS = 120, 255


class Options(NamedTuple):
    """quick: tiny sizes, to see that the study runs; folder: where NAME.json and NAME.png go; redraw: the picture, of
    the NAME.json that is there.
    """

    quick: bool
    folder: Path
    redraw: bool = False


def options(name: str, description: str | None, *, redraws: bool = False) -> Options:
    """What the command line asks for: --quick, --folder, and --redraw of a study whose numbers make its picture."""
    parser = argparse.ArgumentParser(prog=name, description=(description or name).splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that the study runs")
    parser.add_argument("--folder", type=Path, default=Path(), help="where the numbers and the picture go")
    if redraws:
        parser.add_argument("--redraw", action="store_true", help="draw the picture again from the numbers on record")
    given = parser.parse_args()
    check_files(name, None, given.folder / f"{name}.json")
    return Options(given.quick, given.folder, redraws and given.redraw)


def recorded(name: str, folder: Path) -> dict[str, Any]:
    """What NAME.json says, null being NaN; lists of numbers as arrays."""
    path = folder / f"{name}.json"
    if not path.exists():
        raise SystemExit(f"{name}: there is no {path} to redraw; give its --folder, or run without --redraw.")
    return json.loads(path.read_text(encoding="utf-8"), object_hook=_with_arrays)


def _with_arrays(found: dict[str, Any]) -> dict[str, Any]:
    return {name: _array(value) for name, value in found.items()}


def _array(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    try:
        return np.array(value, float)
    except (TypeError, ValueError):
        return value


def write(name: str, folder: Path, *, question: str, **findings: Any) -> Path:
    """NAME.json: the question, device and versions, and what was found: floats to four digits, a line a row."""
    path = folder / f"{name}.json"
    record = {"question": question, "environment": environment(), **findings}
    path.write_text(_rows_on_lines(json.dumps(plain(record), indent=1, ensure_ascii=False)) + "\n", encoding="utf-8")
    return path


def _rows_on_lines(text: str) -> str:
    """JSON with each list that holds no other on one line. No string is touched: in JSON they hold no line breaks."""
    row = re.compile(r"\[\n([^\[\]{}]*)\n\s*\]")
    return row.sub(lambda found: "[" + re.sub(r"\s*\n\s*", " ", found[1].strip()) + "]", text)


def picture(name: str, folder: Path, columns: int, rows: int, draw: Callable[[Any, Any], None]) -> Path:
    """NAME.png in the package's style, drawn by draw(figure, axes [rows, columns]); with a palette, a third of the size
    to the same eye.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    with style():
        made = Figure(figsize=(5.2 * columns + 0.4, 4.2 * rows + 0.6), dpi=DOTS)
        canvas = FigureCanvasAgg(made)
        draw(made, made.subplots(rows, columns, squeeze=False))
        canvas.draw()
    path = folder / f"{name}.png"
    shown = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    shown.quantize(COLOURS, kmeans=2, dither=Image.Dither.NONE).save(path, optimize=True)
    return path
