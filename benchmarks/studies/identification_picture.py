"""The picture of the study `identification`."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from lagrangian_learning.plot import colour, heading

from .study import picture


def draw(path: Path, found: list[dict[str, Any]], cases: list[Any], regression: dict[str, Any]) -> None:
    """Intervals of all fits, the second half of the action's run, errors over noise beside those of a regression."""

    def drawn(figure: Any, axes: np.ndarray) -> None:
        heading(figure, "Constants of learning, found from its weights")
        _intervals(axes[0, 0], found[1])
        _halves(axes[0, 1], found[1], cases[1])
        _errors(axes[0, 2], found[0], regression)

    picture(path, 3, 1, drawn)


def _intervals(ax: Axes, one: dict[str, Any]) -> None:
    errors, deviations = one["noisy"]["errors"], one["noisy"]["deviations"]
    count, names = len(errors), list(one["constants"])
    for k, name in enumerate(names):
        order = np.argsort(errors[:, k])
        at = k * 1.15 * count + np.arange(count)
        wrong = np.abs(errors[order, k]) > 1.645 * deviations[order, k]
        colours = [colour("alarm" if one else "weights") for one in wrong]
        ax.vlines(at, 100 * (errors - 1.645 * deviations)[order, k], 100 * (errors + 1.645 * deviations)[order, k],
                  colors=colours, lw=0.8)  # fmt: skip
        ax.text(at.mean(), 1.0, name, transform=ax.get_xaxis_transform(), ha="center", va="top")
    ax.axhline(0, color=colour("ink"), lw=1)
    ax.set_xticks([])
    ax.set(title=f"{one['name']}: {count} fits, 90 % intervals\nred: does not hold the truth", ylabel="error, %")


def _halves(ax: Axes, one: dict[str, Any], case: Any) -> None:
    half, seen = one["second_half"]["half"], one["second_half"]["seen"]
    records = np.arange(1, len(seen) + 1)
    for weight in range(0, seen.shape[1], 3):
        ax.plot(records, one["second_half"]["predicted"][:, weight], color=colour("weights"), lw=1.4)
        ax.plot(records[:half], seen[:half, weight], "o", color=colour("ink"), ms=3.5)
        ax.plot(records[half:], case.weights[half:, weight], "o", mfc="none", color=colour("ink"), ms=3.5)
    ax.axvline(half + 0.5, color=colour("muted"), lw=1)
    ax.plot([], [], "o", color=colour("ink"), ms=3.5, label="seen, with noise")
    ax.plot([], [], "o", mfc="none", color=colour("ink"), ms=3.5, label="not seen")
    ax.plot([], [], color=colour("weights"), label="run with the constants found")
    ax.set(title=f"{one['name']}: the second half from the first", xlabel="record", ylabel="three of the weights")
    ax.legend()


def _errors(ax: Axes, one: dict[str, Any], regression: dict[str, Any]) -> None:
    for which, meaning, words in (
        ("fitted", "weights", "fit of checkpoints"), ("regressed", "reference", "regression of every step")
    ):  # fmt: skip
        for k, (name, line) in enumerate(zip(one["constants"], ("o-", "s--"), strict=True)):
            errors = [100 * row[k] for row in regression[which]]
            ax.loglog(
                100 * np.asarray(regression["noise"]), errors, line, color=colour(meaning), label=f"{words}: {name}"
            )
    ax.set(title=f"{one['name']}: error of the constants", xlabel="noise, % of the weights' way", ylabel="error, %")
    ax.grid(visible=True)
    ax.legend()
