"""A plane of two constants, and what was measured at each of its points."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm
from matplotlib.patheffects import withStroke

from lagrangian_learning._palette import COLOURS

from .canvas import canvas
from .style import colour


def phase_diagram(
    across: Any,
    up: Any,
    values: Any,
    ax: Axes | None = None,
    *,
    levels: Sequence[float] | None = None,
    limits: tuple[float, float] | None = None,
    cmap: str | None = None,
    label: str = "",
    border: float | None = None,
    over: tuple[int, int] = (1, 1),
    border_label: str | None = None,
) -> Axes:
    """Draws values over a plane with logarithmic axes, and the line on which they cross a given one.

    Arguments:
        across, up: the axes of the plane [A], [U], positive and increasing.
        values: what was measured [U, A]; cells that are not finite are left grey.
        ax: where to draw; None: a new figure.
        levels: bounds of classes, each of one colour; None: a continuous scale.
        limits: (low, high) of the continuous scale; None: those of the values.
        cmap: the colours by their name in matplotlib; None: those of the style.
        label: of the scale.
        border: the value whose line is drawn; None: no line.
        over: (rows, columns), odd; the line is that of the median over so many neighbouring cells, so that noise of
            single cells draws none.
        border_label: of the line in the legend.

    Returns the axes. Raises ValueError for shapes that do not fit.
    """
    across, up, values = (np.asarray(part, float) for part in (across, up, values))
    if values.shape != (len(up), len(across)):
        raise ValueError(f"values must be [up, across] = {[len(up), len(across)]}, and are {list(values.shape)}.")
    with canvas(ax) as drawn:
        drawn.set(xscale="log", yscale="log")
        drawn.set_facecolor(colour("muted"))
        norm = None if levels is None else BoundaryNorm(levels, 256, extend="both")
        low, high = (None, None) if limits is None or norm is not None else limits
        shown = np.ma.masked_invalid(values)
        mesh = drawn.pcolormesh(across, up, shown, cmap=cmap, norm=norm, vmin=low, vmax=high, shading="nearest")
        drawn.figure.colorbar(mesh, ax=drawn, label=label, ticks=levels)
        if border is not None:
            border_line(drawn, across, up, values, border, over=over, label=border_label)
    return drawn


def border_line(
    ax: Axes, across: Any, up: Any, values: Any, at: float, *, over: tuple[int, int] = (1, 1), label: str | None = None
) -> None:
    """Draws the line alone, on which the median of values [U, A] over (rows, columns) of neighbouring cells is `at`."""
    # On a map of all shades, whatever is around it: dark, with a light edge.
    ink, edge = COLOURS["ink"], withStroke(linewidth=3.2, foreground=COLOURS["paper"])
    lines = ax.contour(across, up, median_of_neighbours(values, over), levels=[at], colors=ink, linewidths=1.6)
    lines.set_path_effects([edge])
    if label:
        ax.plot([], [], color=ink, lw=1.6, label=label, path_effects=[edge])
        ax.legend()


def median_of_neighbours(values: np.ndarray, over: tuple[int, int]) -> np.ndarray:
    """The median over the neighbourhood (rows, columns) of each cell; at the edges over what lies inside."""
    if any(size < 1 or size % 2 == 0 for size in over):
        raise ValueError(f"over counts rows and columns about a cell, both odd and positive; got {over}.")
    rows, columns = (size // 2 for size in over)
    padded = np.pad(np.asarray(values, float), ((rows, rows), (columns, columns)), constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, over)
    return np.nanmedian(windows, axis=(-2, -1))
