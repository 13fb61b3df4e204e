"""Energy over time, and its balance on axes of its own."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from lagrangian_learning.simulate.trajectory import NotSavedError

from .canvas import finish, new_figure, shared_times, times_of
from .entries import INNER, OUTER, bands
from .style import colour

_LEAST_SPAN = 1e-6  # of the energy: what is drawn at least


def energy(path: Any, axes: Any = None) -> tuple[Axes, Axes]:
    """Draws E(t), and on axes of its own its balance E(t) − E(t0) − ∫ power dt, which is zero for the exact motion.

    Arguments:
        path: a trajectory; of a batch the median and bands of 5 to 95 and 25 to 75 % of its runs.
        axes: two, for the energy and its balance; None: a new figure.

    Returns both axes. Raises `ll.NotSavedError` where there is no energy; without a balance its axes say so.
    """
    ts, times, values = times_of(path), shared_times(path), np.asarray(path.energy)
    if axes is not None:
        return _pair(axes, path, times, values, ts.ndim > 1)
    with new_figure((6.4, 5.0)) as figure:
        made = figure.subplots(2, 1, sharex=True)
        drawn = _pair(made, path, times, values, ts.ndim > 1)
        made[0].set_xlabel("")
    return drawn


def _pair(axes: Any, path: Any, times: np.ndarray, values: np.ndarray, many: bool) -> tuple[Axes, Axes]:
    above, below = axes
    level(above, times, values, many)
    balance(below, times, balance_of(path), many)
    return above, below


def balance_of(path: Any) -> np.ndarray | None:
    """E(t) − E(t0) − ∫ power dt; None where the law gives no power, or none was integrated."""
    try:
        return np.asarray(path.energy_balance)
    except NotSavedError:
        return None


def level(ax: Axes, times: np.ndarray, values: np.ndarray, many: bool) -> None:
    """E(t)."""
    _over_time(ax, times, values, "energy", many)
    finish(ax, "Energy E", times)
    low, high = ax.get_ylim()
    middle = (low + high) / 2
    if high - low < _LEAST_SPAN * abs(middle):  # rounding of a constant is no motion
        ax.set_ylim(middle - _LEAST_SPAN * abs(middle), middle + _LEAST_SPAN * abs(middle))


def balance(ax: Axes, times: np.ndarray, values: np.ndarray | None, many: bool) -> None:
    """What is missing in the balance."""
    if values is None:
        ax.text(0.5, 0.5, "no balance was integrated", transform=ax.transAxes, ha="center", color=colour("muted"))
    else:
        ax.axhline(0, color=colour("muted"), lw=0.8)
        _over_time(ax, times, values, "residual", many)
    finish(ax, "Energy balance E − E(t₀) − ∫ power dt", times)


def _over_time(ax: Axes, times: np.ndarray, values: np.ndarray, meaning: str, many: bool) -> None:
    if many:
        bands(ax, times, values.reshape(-1, len(times)), (OUTER, INNER), None, colour(meaning), axis=0)
    else:
        ax.plot(times, values, color=colour(meaning))
