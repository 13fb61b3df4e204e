"""Axes to draw on, given or new, and the values to draw."""

import contextlib
from collections.abc import Iterator
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lagrangian_learning._arrays import is_concrete

from .style import is_dark, style


@contextlib.contextmanager
def canvas(ax: Axes | None) -> Iterator[Axes]:
    """The axes given, as they are, or those of a new figure in the project's style, light or dark as matplotlib is."""
    if ax is not None:
        yield ax
        return
    with new_figure() as figure:
        yield figure.subplots()


@contextlib.contextmanager
def new_figure(size: tuple[float, float] | None = None) -> Iterator[Figure]:
    """A figure in the project's style that pyplot knows of; forgotten if drawing fails. size: in inches."""
    with style(dark=is_dark()):
        figure = plt.figure(figsize=size)
        try:
            yield figure
        except BaseException:
            plt.close(figure)
            raise


def times_of(path: Any) -> np.ndarray:
    """The saved times of a solution, [T] or [lanes, T]; an error inside `jit`, where there are no values."""
    if not is_concrete(path):
        raise ValueError("a picture needs values: draw outside jit, vmap and grad, from what they return.")
    return np.asarray(path.ts)


def shared_times(path: Any) -> np.ndarray:
    """The saved times [T] that all runs of a batch have in common."""
    ts = times_of(path)
    rows = ts.reshape(-1, ts.shape[-1])
    if not np.array_equal(rows, np.broadcast_to(rows[:1], rows.shape), equal_nan=True):
        raise ValueError(
            "these runs were saved at times of their own, which share no axis: draw them one by one, "
            "jax.tree.map(lambda leaf: leaf[k], path) being run k."
        )
    return rows[0]


def finish(ax: Axes, title: str, ts: np.ndarray) -> None:
    """Title, time as far as something is drawn, a light grid, and a legend where something has a name."""
    ax.set_title(title)
    ax.set_xlabel("time")
    reached = np.concatenate([_reached(line) for line in ax.lines] or [np.empty(0)])
    shown = reached if reached.size else ts
    ends = float(np.nanmin(shown)), float(np.nanmax(shown))
    if ends[0] < ends[1]:
        room = 0.01 * (ends[1] - ends[0])
        ax.set_xlim(ends[0] - room, ends[1] + room)
    ax.grid(visible=True)
    if ax.get_legend_handles_labels()[1]:
        legend(ax)


def _reached(line: Line2D) -> np.ndarray:
    """The times at which a line has values; none of a line that marks a level across the axes."""
    times, values = (np.asarray(data, float) for data in (line.get_xdata(), line.get_ydata()))
    across = line.get_transform() != line.axes.transData if line.axes is not None else True
    return np.empty(0) if across or times.shape != values.shape else times[np.isfinite(times) & np.isfinite(values)]


def legend(ax: Axes) -> None:
    """Beside the axes, where it hides nothing; inside, where no layout makes room for it."""
    if ax.figure.get_layout_engine() is None:
        ax.legend(loc="best")
    else:
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.02), borderaxespad=0.3, handlelength=1.4)
