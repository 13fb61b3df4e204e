"""The picture of `learning_curves`."""

from typing import Any

import numpy as np

from lagrangian_learning.plot import colour, heading

MEANINGS = ("weights", "multipliers")


def draw(figure: Any, grid: Any, *, curves: dict[str, Any]) -> None:
    """The curves with their spread, and the difference of both learners seed by seed."""
    seeds = len(next(iter(curves.values())).test)
    title = f"Speech over the passes of its stream: {seeds} seeds"
    heading(figure, title)
    _curves(grid[0, 0], curves)
    _differences(grid[0, 1], curves)
    for axes in grid[0]:
        axes.set_xlabel("passes over the training recordings")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(visible=True)


def _curves(axes: Any, curves: dict[str, Any]) -> None:
    for meaning, (name, each) in zip(MEANINGS, curves.items(), strict=True):
        passes, mean, spread = np.arange(each.held_out.shape[1]), each.held_out.mean(0), each.held_out.std(0, ddof=1)
        test = f"{each.test.mean():.1%} ± {each.test.std(ddof=1):.1%}"
        ends = 100 * (mean - spread), 100 * (mean + spread)
        axes.plot(passes, 100 * mean, "o-", ms=3, color=colour(meaning), label=f"{name}; test at the end {test}")
        axes.fill_between(passes, *ends, color=colour(meaning), alpha=0.15, lw=0)
    axes.set(ylim=(70, 100.5), ylabel="held-out training recordings recognised, %")
    axes.set_title("mean and standard deviation over seeds")
    axes.legend(loc="lower right")


def _differences(axes: Any, curves: dict[str, Any]) -> None:
    """The mean over seeds with its standard error, and each seed as a dot, moved aside where dots would coincide."""
    ours, theirs = (each.held_out for each in curves.values())
    difference = 100 * (ours - theirs)
    seeds, passes = len(difference), np.arange(difference.shape[1])
    mean, error = difference.mean(0), difference.std(0, ddof=1) / np.sqrt(seeds)
    aside = np.linspace(-0.3, 0.3, seeds)[:, None]
    axes.plot((passes + aside).T, difference.T, ".", color=colour("muted"), ms=3, alpha=0.7)
    axes.plot([], [], ".", color=colour("muted"), ms=5, label="one seed")
    axes.fill_between(passes, mean - error, mean + error, color=colour("weights"), alpha=0.2, lw=0)
    axes.plot(passes, mean, color=colour("weights"), label="mean of seeds, ± its standard error")
    axes.axhline(0, color=colour("ink"), lw=0.6)
    axes.set_ylabel("percentage points")
    axes.set_title("cognitive action minus backpropagation, same stream")
    axes.legend()
