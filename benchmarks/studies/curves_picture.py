"""The picture of `learning_curves`."""

from typing import Any

import numpy as np

COLOURS = ("#1f5fa8", "#d9730d")


def draw(figure: Any, grid: Any, *, curves: dict[str, Any]) -> None:
    """The curves with their spread, and the difference of both learners seed by seed."""
    seeds = len(next(iter(curves.values())).test)
    title = f"Speech over the passes of its stream: {seeds} seeds"
    figure.suptitle(title, fontsize=14, fontweight="bold", x=0.02, ha="left")
    _curves(grid[0, 0], curves)
    _differences(grid[0, 1], curves)
    for axes in grid[0]:
        axes.set_xlabel("passes over the training recordings")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)


def _curves(axes: Any, curves: dict[str, Any]) -> None:
    for colour, (name, each) in zip(COLOURS, curves.items(), strict=True):
        passes, mean, spread = np.arange(each.held_out.shape[1]), each.held_out.mean(0), each.held_out.std(0, ddof=1)
        test = f"{each.test.mean():.1%} ± {each.test.std(ddof=1):.1%}"
        axes.plot(passes, 100 * mean, "o-", ms=3, color=colour, label=f"{name}; test at the end {test}")
        axes.fill_between(passes, 100 * (mean - spread), 100 * (mean + spread), color=colour, alpha=0.15, lw=0)
    axes.set(ylim=(70, 100.5), ylabel="held-out training recordings recognised, %")
    axes.set_title("mean and standard deviation over seeds", fontsize=11, loc="left")
    axes.legend(fontsize=8, frameon=False, loc="lower right")


def _differences(axes: Any, curves: dict[str, Any]) -> None:
    ours, theirs = (each.held_out for each in curves.values())
    passes = np.arange(ours.shape[1])
    for k, difference in enumerate(100 * (ours - theirs)):
        axes.plot(passes, difference, color="0.6", lw=0.8, label="one seed" if k == 0 else None)
    axes.plot(passes, 100 * (ours - theirs).mean(0), color="k", lw=1.8, label="mean")
    axes.axhline(0, color="k", lw=0.6, ls=":")
    axes.set_ylabel("percentage points")
    axes.set_title("cognitive action minus backpropagation, same stream", fontsize=11, loc="left")
    axes.legend(fontsize=8, frameon=False)
