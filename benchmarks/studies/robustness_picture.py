"""The picture of `robustness`."""

from typing import Any

import numpy as np

COLOURS = ("#1f5fa8", "#d9730d")


def draw(figure: Any, grid: Any, *, outcomes: dict[str, Any], learned: float) -> None:
    """How far the loss fell, both laws lane by lane, and how well the constraints were kept."""
    lanes = len(next(iter(outcomes.values())).loss)
    title = f"{lanes:,} random signals, weights and teachers: the paper's five neurons"
    figure.suptitle(title, fontsize=14, fontweight="bold", x=0.02, ha="left")
    _losses(grid[0, 0], outcomes, learned)
    _against_each_other(grid[0, 1], outcomes, learned)
    _residuals(grid[0, 2], next(iter(outcomes.values())))
    for axes in grid[0]:
        axes.spines[["top", "right"]].set_visible(False)


def _losses(axes: Any, outcomes: dict[str, Any], learned: float) -> None:
    for colour, (name, one) in zip(COLOURS, outcomes.items(), strict=True):
        loss = np.sort(one.loss[one.successful])
        label = f"{name}: {np.mean(one.learned):.1%} learned"
        axes.plot(loss, np.arange(1, len(loss) + 1) / len(one.loss), color=colour, label=label)
    axes.axvline(learned, color="k", lw=0.8, ls=":", label=f"learned: under {learned:g}")
    axes.set(xscale="log", xlim=(1e-6, 10), xlabel="held-out loss / loss at the start", ylabel="share of signals below")
    axes.set_title("how far the loss fell", fontsize=11, loc="left")
    axes.legend(fontsize=8, frameon=False, loc="upper left")
    axes.grid(alpha=0.3)


def _against_each_other(axes: Any, outcomes: dict[str, Any], learned: float) -> None:
    names, (ours, theirs) = list(outcomes), outcomes.values()
    ends = 1e-6, 10.0
    x, y = (np.clip(one.loss, *ends) for one in (theirs, ours))
    shown = axes.hexbin(x, y, xscale="log", yscale="log", bins="log", gridsize=60, mincnt=1, cmap="viridis")
    axes.figure.colorbar(shown, ax=axes, label="signals in a cell")
    axes.plot(ends, ends, color="tab:red", lw=1, label="equal")
    axes.axvline(learned, color="k", lw=0.8, ls=":")
    axes.axhline(learned, color="k", lw=0.8, ls=":")
    axes.set(xlim=ends, ylim=ends, xlabel=f"loss / start, {names[1]}", ylabel=f"loss / start, {names[0]}")
    axes.set_title("signal by signal", fontsize=11, loc="left")
    axes.legend(fontsize=8, frameon=False, loc="upper left")


def _residuals(axes: Any, ours: Any) -> None:
    bins = np.geomspace(1e-9, 1.0, 60)
    for colour, residual, name in (
        (COLOURS[1], ours.before_projection, "before projection"),
        (COLOURS[0], ours.residual, "after projection"),
    ):
        axes.hist(np.clip(residual[ours.successful], *bins[[0, -1]]), bins=bins, color=colour, alpha=0.75, label=name)
    axes.set(xscale="log", yscale="log", xlabel="max|G| over all steps of a signal, float32", ylabel="signals")
    axes.set_title(f"constraints (4); {np.mean(ours.successful):.2%} ended successfully", fontsize=11, loc="left")
    axes.legend(fontsize=8, frameon=False)
    axes.grid(alpha=0.3)
