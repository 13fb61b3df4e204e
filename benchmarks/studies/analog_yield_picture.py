"""The picture of the study `analog_yield`."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from lagrangian_learning.plot import colour, heading, phase_diagram

from .study import picture

MEANINGS = {
    "nominal": "muted",
    "rate by hand": "neurons",
    "random search": "reference",
    "centred by gradient": "weights",
}


def draw(
    path: Path, found: dict[str, Any], curves: dict[str, Any], plane: dict[str, Any], searches: dict[str, Any],
    learned: float,
) -> None:  # fmt: skip
    """Losses before and after, the yield over the runs of both searches, and the way over both learning rates."""

    def drawn(figure: Any, axes: np.ndarray) -> None:
        count = len(found["nominal"]["losses"])
        heading(figure, f"Which of {count:,} analog networks learn")
        _losses(axes[0, 0], found, learned)
        _curves(axes[0, 1], found, curves)
        _plane(axes[0, 2], plane, searches["centred by gradient"])

    picture(path, 3, 1, drawn)


def _losses(ax: Axes, found: dict[str, Any], learned: float) -> None:
    bins = np.geomspace(1e-4, 10, 61).tolist()
    for name in ("nominal", "centred by gradient"):
        one = found[name]
        ax.hist(np.clip(one["losses"], bins[0], bins[-1]), bins, color=colour(MEANINGS[name]), alpha=0.7,
                label=f"{name}: {one['yield']:.1%} learn")  # fmt: skip
    ax.axvline(learned, ymax=0.74, color=colour("ink"), lw=1, ls=":", label=f"learned: under {learned:g}")
    ax.set(xscale="log", xlabel="held-out loss over the target's power", ylabel="devices", title="after learning")
    ax.set_ylim(0, 1.35 * ax.get_ylim()[1])
    ax.legend(loc="upper left")


def _curves(ax: Axes, found: dict[str, Any], curves: dict[str, Any]) -> None:
    for name, one in curves.items():
        ax.plot(one["runs"], 100 * one["yield"], "o-", ms=4, color=colour(MEANINGS[name]), label=name)
    for name in ("nominal", "rate by hand"):
        ax.axhline(100 * found[name]["yield"], color=colour(MEANINGS[name]), lw=1, ls="--", label=name)
    ax.set(
        xlabel="runs of devices", ylabel="yield, %", title="yield of the design so far, other devices", ylim=(0, 100)
    )
    ax.grid(visible=True)
    ax.legend(loc="lower right")


def _plane(ax: Axes, plane: dict[str, Any], search: Any) -> None:
    phase_diagram(plane["rates"], plane["rates"], 100 * plane["yield"], ax, limits=(0, 100), cmap="cividis")
    way = np.exp(search.path[:, :2])
    ax.plot(*way.T, ".-", ms=4, lw=1, color=colour("alarm"), label="centring")
    ax.plot(*way[0], "o", mfc="none", color=colour("alarm"), label="nominal")
    ax.plot(*np.exp(search.design[:2]), "*", ms=11, color=colour("alarm"), label="centre")
    ax.set(title="yield, %, with the speeds of the centre", xlabel="learning rate of layer 1", ylabel="of layer 2")
    ax.legend(loc="lower left", facecolor=colour("faint"), framealpha=0.9, frameon=True, edgecolor="none")
