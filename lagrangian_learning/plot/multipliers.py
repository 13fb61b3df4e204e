"""Multipliers over time, beside the delta errors of backpropagation."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import PyTree
from matplotlib.axes import Axes

from .canvas import canvas, finish, times_of
from .coordinates import TITLES, record
from .entries import MOST, NAMED, Leaf, leaves_of
from .style import line_colour


def multipliers(path: Any, deltas: PyTree = None, ax: Axes | None = None, *, most: int | None = None) -> Axes:
    """Draws the normalised multipliers δ = λ/ϖ over time; beside them, as dots, the deltas of backprop if given.

    Arguments:
        path: a trajectory or boundary solution, or, without deltas, a batch.
        deltas: delta errors at the saved times, a pytree like `path.multipliers`; from `jax.vmap` of `ll.delta_errors`.
        ax: where to draw; None: a new figure.
        most: the most lines, as for `ll.plot.weights`; with deltas the most neurons, those of the largest deltas, by
            default seven.

    Returns the axes. Raises `ll.NotSavedError` where multipliers were not saved, ValueError where deltas do not fit.
    """
    if deltas is None:
        return record(path, "multipliers", ax, most=MOST if most is None else most)
    ts = times_of(path)
    if ts.ndim > 1:
        raise ValueError(
            "deltas are drawn beside the multipliers of one run: jax.tree.map(lambda leaf: leaf[k], path) is run k."
        )
    ours, theirs = leaves_of(path.multipliers, "δ", ts.shape), leaves_of(deltas, "deltas", ts.shape)
    if [leaf.shape for leaf in ours] != [leaf.shape for leaf in theirs]:
        raise ValueError(
            f"deltas must be like path.multipliers, leaves of {_shapes(ours)} at a time, and are {_shapes(theirs)}."
        )
    with canvas(ax) as drawn:
        _pairs(drawn, ts, ours, theirs, NAMED if most is None else most)
        finish(drawn, TITLES["multipliers"] + ", and deltas", ts)
    return drawn


def _pairs(ax: Axes, ts: np.ndarray, ours: Sequence[Leaf], theirs: Sequence[Leaf], most: int) -> None:
    """Lines and dots of the neurons whose deltas are largest over time."""
    sizes = np.concatenate([np.nan_to_num(np.abs(leaf.values)).max(axis=0) for leaf in theirs])
    apart = max(1, len(ts) // 50)  # dots that touch would hide the lines
    where = [(leaf, k) for leaf in range(len(ours)) for k in range(ours[leaf].entries)]
    for line, chosen in enumerate(sorted(np.argsort(-sizes, kind="stable")[:most])):
        leaf, k = where[chosen]
        ax.plot(ts, ours[leaf].values[:, k], color=line_colour(line), label=ours[leaf].entry_name(k))
        ax.plot(ts, theirs[leaf].values[:, k], ".", color=line_colour(line), ms=6, markevery=apart)
    left = len(where) - most
    ax.plot([], [], ".", ms=5, color=ax.xaxis.label.get_color(), label="deltas of backprop" + _others(left))


def _others(left: int) -> str:
    return f" ({left:,} smaller ones not drawn)" if left > 0 else ""


def _shapes(leaves: Sequence[Leaf]) -> str:
    return ", ".join(str(list(leaf.shape)) for leaf in leaves)
