"""The picture of `learning_curves`."""

from typing import Any

import numpy as np

from lagrangian_learning.plot import colour, heading

MEANINGS = ("weights", "multipliers")


def draw(figure: Any, grid: Any, *, curves: dict[str, Any]) -> None:
    """The curves with their spread, and the difference of both losses, seed by seed."""
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
    """Of the held-out losses, relative to backpropagation's: 27 recordings know only 28 accuracies."""
    ours, theirs = (each.loss for each in curves.values())
    difference = 100 * (ours / theirs - 1)
    passes = np.arange(difference.shape[1])
    for k, seed in enumerate(difference):
        axes.plot(passes, seed, color=colour("muted"), lw=0.8, alpha=0.7, label="one seed" if k == 0 else None)
    axes.plot(passes, difference.mean(0), color=colour("weights"), lw=2, label="mean")
    axes.axhline(0, color=colour("ink"), lw=0.6)
    axes.set_ylabel("difference of the losses, same stream, %")
    axes.set_title("held-out loss, action against backpropagation")
    axes.legend()
