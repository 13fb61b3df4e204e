"""Many runs at once: the median over them, and bands that half and nine tenths of them stay in."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import PyTree
from matplotlib.axes import Axes

from .canvas import canvas, finish, shared_times, times_of
from .entries import INNER, NAMED, OUTER, Leaf, bands, leaves_of
from .style import line_colour

Levels = Sequence[tuple[float, float]]


def quantiles(
    path: Any,
    what: str | Callable[[Any], PyTree] = "W",
    ax: Axes | None = None,
    *,
    levels: Levels = (OUTER, INNER),
    most: int = 4,
) -> Axes:
    """Draws the median over the runs of a batch at each time, and bands between pairs of quantiles.

    Runs count at the times that they reached: the records of one that failed are left out after its end.

    Arguments:
        path: a batch of trajectories, with times that its runs share.
        what: the name of a record, or fn(path) -> arrays [runs, T, ...], in any pytree; "energy" is one, too.
        ax: where to draw; None: a new figure.
        levels: pairs of shares between 0 and 1, by default 5 to 95 % and 25 to 75 %.
        most: the most entries to draw one by one; of more, the root mean square over each leaf in each run.

    Returns the axes. Raises ValueError where path is one run, and `ll.NotSavedError` where the record was not saved.
    """
    ts = times_of(path)
    if ts.ndim < 2:
        raise ValueError("this is one run, and quantiles are over many: draw it by path.plot().")
    for low, high in levels:
        if not 0 <= low < high <= 1:
            raise ValueError(f"levels are pairs low < high in [0, 1], such as (0.05, 0.95); got {(low, high)}.")
    name, tree = (what, getattr(path, what)) if isinstance(what, str) else ("", what(path))
    leaves, times = leaves_of(tree, name, ts.shape), shared_times(path)
    with canvas(ax) as drawn:
        shown = draw_quantiles(drawn, times, leaves, levels, most, runs=count(ts))
        finish(drawn, f"{name or 'Quantiles'}{shown}", times)
    return drawn


def draw_quantiles(
    ax: Axes, ts: np.ndarray, leaves: Sequence[Leaf], levels: Levels = (OUTER, INNER), most: int = 4, *, runs: int
) -> str:
    """The same into axes; returns what a title should say of it."""
    single = sum(leaf.entries for leaf in leaves) <= most
    series = [one for leaf in leaves for one in (_entries(leaf) if single else [_size(leaf)])]
    for k, (label, values) in enumerate(series):
        named = len(series) > 1 and (k < NAMED - 1 or k == len(series) - 1)
        shown = label if label and named else None
        bands(ax, ts, values.reshape(-1, len(ts)), levels, shown, line_colour(k), axis=0)
    spans = ", ".join(f"{100 * low:g}–{100 * high:g} %" for low, high in levels)
    size = "" if single else ", root mean square"
    return f"{size}, {runs:,} runs:\nmedian{', ' if spans else ''}{spans}"


def _entries(leaf: Leaf) -> list[tuple[str, np.ndarray]]:
    return [(leaf.entry_name(k), leaf.values[..., k]) for k in range(leaf.entries)]


def _size(leaf: Leaf) -> tuple[str, np.ndarray]:
    return f"{leaf.name}, {leaf.entries:,} entries", leaf.size()


def count(ts: np.ndarray) -> int:
    """How many runs have these times [..., T]."""
    return int(np.prod(ts.shape[:-1]))
