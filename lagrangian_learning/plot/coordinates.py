"""Coordinates over time: weights, neurons, and any record by its name."""

from typing import Any

from matplotlib.axes import Axes

from .canvas import canvas, finish, shared_times, times_of
from .entries import MOST, draw_entries, leaves_of
from .quantiles import count, draw_quantiles

TITLES = {
    "x": "Neurons x",
    "W": "Weights W",
    "q": "Coordinates q",
    "v": "Velocities v",
    "multipliers": "Multipliers δ = λ/ϖ",
}


def weights(path: Any, ax: Axes | None = None, *, most: int = MOST) -> Axes:
    """Draws W over time.

    Arguments:
        path: a trajectory or boundary solution; of a batch the quantiles over its runs are drawn.
        ax: where to draw; None: a new figure.
        most: the most lines; of more entries the median and 5 to 95 % a leaf are drawn, and of more than seven leaves
            their root mean squares.

    Returns the axes. Raises `ll.NotSavedError` where W was not saved.
    """
    return record(path, "W", ax, most=most)


def neurons(path: Any, ax: Axes | None = None, *, most: int = MOST) -> Axes:
    """Draws the outputs x of the neurons over time; arguments, return and errors as for `weights`."""
    return record(path, "x", ax, most=most)


def record(path: Any, name: str, ax: Axes | None = None, *, most: int = MOST) -> Axes:
    """Any record by its name, the same way."""
    ts, tree = times_of(path), getattr(path, name)
    leaves = leaves_of(tree, "δ" if name == "multipliers" else name, ts.shape)
    times = shared_times(path)
    with canvas(ax) as drawn:
        if ts.ndim > 1:
            shown = draw_quantiles(drawn, times, leaves, runs=count(ts))
        else:
            shown = draw_entries(drawn, times, leaves, most)
        finish(drawn, TITLES.get(name, name) + shown, times)
    return drawn
