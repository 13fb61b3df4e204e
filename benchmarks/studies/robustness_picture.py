"""The picture of `robustness`."""

from typing import Any

import numpy as np

from lagrangian_learning.plot import colour, heading

MEANINGS = ("weights", "multipliers")


def draw(figure: Any, grid: Any, *, outcomes: dict[str, Any], learned: float) -> None:
    """How far the loss fell, both laws lane by lane, and how well the constraints were kept."""
    lanes = len(next(iter(outcomes.values())).loss)
    title = f"{lanes:,} random signals, weights and teachers: the paper's five neurons"
    heading(figure, title)
    _losses(grid[0, 0], outcomes, learned)
    _against_each_other(grid[0, 1], outcomes, learned)
    _residuals(grid[0, 2], next(iter(outcomes.values())))


def _losses(axes: Any, outcomes: dict[str, Any], learned: float) -> None:
    for meaning, (name, one) in zip(MEANINGS, outcomes.items(), strict=True):
        loss = np.sort(one.loss[one.successful])
        label = f"{name}: {np.mean(one.learned):.1%} learned"
        axes.plot(loss, np.arange(1, len(loss) + 1) / len(one.loss), color=colour(meaning), label=label)
    axes.axvline(learned, color=colour("ink"), lw=0.8, ls=":", label=f"learned: under {learned:g}")
    axes.set(xscale="log", xlim=(1e-6, 10), xlabel="held-out loss / loss at the start", ylabel="share of signals below")
    axes.set_title("how far the loss fell")
    axes.legend(loc="upper left")
    axes.grid(visible=True)


def _against_each_other(axes: Any, outcomes: dict[str, Any], learned: float) -> None:
    names, (ours, theirs) = list(outcomes), outcomes.values()
    ends = 1e-6, 10.0
    x, y = (np.clip(one.loss, *ends) for one in (theirs, ours))
    shown = axes.hexbin(x, y, xscale="log", yscale="log", bins="log", gridsize=60, mincnt=1)
    axes.figure.colorbar(shown, ax=axes, label="signals in a cell")
    axes.plot(ends, ends, color=colour("alarm"), lw=1, label="equal")
    axes.axvline(learned, color=colour("ink"), lw=0.8, ls=":")
    axes.axhline(learned, color=colour("ink"), lw=0.8, ls=":")
    axes.set(xlim=ends, ylim=ends, xlabel=f"loss / start, {names[1]}", ylabel=f"loss / start, {names[0]}")
    axes.set_title("signal by signal")
    axes.legend(loc="upper left")


def _residuals(axes: Any, ours: Any) -> None:
    bins = np.geomspace(1e-9, 1.0, 60)
    for meaning, residual, name in (
        ("multipliers", ours.before_projection, "before projection"),
        ("weights", ours.residual, "after projection"),
    ):
        axes.hist(
            np.clip(residual[ours.successful], *bins[[0, -1]]), bins=bins, color=colour(meaning), alpha=0.75, label=name
        )
    axes.set(xscale="log", yscale="log", xlabel="max|G| over all steps of a signal, float32", ylabel="signals")
    axes.set_title(f"constraints (4); {np.mean(ours.successful):.2%} ended successfully")
    axes.legend()
    axes.grid(visible=True)
