"""The whole of a run in one figure: a panel for each thing that it has kept."""

import textwrap
from collections.abc import Callable
from typing import Any

import jax
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lagrangian_learning.simulate.table import result_row

from .canvas import new_figure, shared_times, times_of
from .coordinates import record
from .energy import balance, balance_of, level
from .entries import MOST
from .residuals import has_residuals, residuals
from .style import heading

Panel = Callable[[Axes], Any]
_RATES = frozenset(("v", "a", "j", "s", "x_dot", "x_ddot", "W_dot", "W_ddot", "q"))
_MOST_PANELS = 12


def trajectory(path: Any, *, most: int = MOST) -> Figure:
    """Draws what a run has kept, a panel each: neurons, weights or coordinates, multipliers, energy with its balance,
    residuals, and records of one's own.

    What was not kept has no panel. A run that failed is drawn as far as it came. A batch is drawn as quantiles over its
    runs.

    Arguments:
        path: a trajectory, a batch of them, or a boundary solution.
        most: the most lines in a panel, as for `ll.plot.weights`.

    Returns the figure. Raises ValueError inside `jit`, where there are no values, and where nothing was kept.
    """
    times_of(path)
    panels = panels_of(path, most)
    if not panels:
        raise ValueError("this run has kept nothing that could be drawn: leave out save=, or return records from it.")
    columns = 1 if len(panels) == 1 else 2
    rows = -(-len(panels) // columns)
    with new_figure((6.2 * columns, 2.9 * rows + 0.5)) as figure:
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for ax, draw in zip(grid, panels.values(), strict=False):
            draw(ax)
        for ax in grid[len(panels) :]:
            ax.remove()
        heading(figure, _title(path))
    # A notebook shows both what pyplot knows of and what a cell returns: this one would be seen twice.
    if "inline" in mpl.get_backend():
        plt.close(figure)
    return figure


def panels_of(path: Any, most: int) -> dict[str, Panel]:
    """The panels by name, in their order."""
    named = {name: _record_panel(path, name, most) for name in record_names(path)}
    return named | _energy_panels(path) | _residual_panel(path)


def record_names(path: Any) -> list[str]:
    """Of the records, which are drawn: x and W, or q and v, then multipliers; or those of a save function."""
    saved = path.saved
    if not isinstance(saved, dict):
        return ["saved"] if jax.tree.leaves(saved) else []
    known = path.names.known(saved)
    main = [name for name in ("x", "W") if name in known] or [name for name in ("q", "v") if name in known]
    others = [name for name in known if name not in _RATES and name not in ("x", "W", "multipliers")]
    names = [*main, *(["multipliers"] if "multipliers" in known else []), *others] or known
    return [name for name in names if _drawable(path, name)][:_MOST_PANELS]


def _drawable(path: Any, name: str) -> bool:
    """Whether it has entries over time: an alias may be one entry of an array, the first axis of which is time."""
    leading = np.shape(path.ts)
    sizes = [
        np.size(leaf) for leaf in jax.tree.leaves(getattr(path, name)) if np.shape(leaf)[: len(leading)] == leading
    ]
    return any(sizes)


def _record_panel(path: Any, name: str, most: int) -> Panel:
    return lambda ax: record(path, name, ax, most=most)


def _energy_panels(path: Any) -> dict[str, Panel]:
    if path.record.energy is None:
        return {}
    values = np.asarray(path.energy)
    times, many = shared_times(path), np.ndim(path.ts) > 1
    found: dict[str, Panel] = {"energy": lambda ax: level(ax, times, values, many)}
    missing = balance_of(path)
    if missing is not None:
        found["balance"] = lambda ax: balance(ax, times, missing, many)
    return found


def _residual_panel(path: Any) -> dict[str, Panel]:
    return {"residuals": lambda ax: residuals(path, ax)} if has_residuals(path) else {}


def _title(path: Any) -> str:
    """The law, and how the run ended."""
    law = dict(path.names.description).get("equation", type(path).__name__)
    outcome = result_row(path.result)[1].split("\n")[0]
    return f"{law}: {textwrap.shorten(outcome, 60, placeholder=' …')}"
