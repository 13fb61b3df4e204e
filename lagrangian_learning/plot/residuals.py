"""How well the constraints were kept, on a logarithmic scale."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from lagrangian_learning.simulate.trajectory import NotSavedError

from .canvas import canvas, finish, shared_times, times_of
from .entries import OUTER, bands
from .style import colour

_NONE = "there are no residuals: this law cannot drift off its constraints, or the run was made with watch='nothing'."


def residuals(path: Any, ax: Axes | None = None) -> Axes:
    """Draws max|G| and max|DG| at the saved times, on a logarithmic scale, which leaves exact zeros out.

    Arguments:
        path: a trajectory; of a batch the median over its runs, and 5 to 95 % of them.
        ax: where to draw; None: a new figure.

    Returns the axes. Raises `ll.NotSavedError` where no residuals were read.
    """
    ts = times_of(path)
    if path.record.residual is None:
        raise NotSavedError(_NONE)
    times = shared_times(path)
    pairs = ((path.constraint_residual, "max|G|", "neurons"), (path.velocity_residual, "max|DG|", "residual"))
    with canvas(ax) as drawn:
        drawn.set_yscale("log", nonpositive="mask")
        for values, label, meaning in pairs:
            shown = _positive(np.asarray(values))
            if ts.ndim > 1:
                bands(drawn, times, shown.reshape(-1, len(times)), (OUTER,), label, colour(meaning), axis=0)
            else:
                drawn.plot(times, shown, color=colour(meaning), label=label)
        finish(drawn, "Constraint residuals", times)
    return drawn


def has_residuals(path: Any) -> bool:
    """Whether any residual is there that a logarithm can show."""
    kept = path.record.residual
    return kept is not None and any(np.any(np.asarray(part) > 0) for part in (kept.position, kept.velocity))


def _positive(values: np.ndarray) -> np.ndarray:
    return np.where(values > 0, values, np.nan)
