"""The picture of `learn digits`: how it learns, and what it takes for what."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

import lagrangian_learning as ll

from .run import Run
from .task import Images

BLUE, ORANGE, GREY, RED = "#1f5fa8", "#d9730d", "#6b6b6b", "#b3261e"
ROWS, COLUMNS = 5, 10


def draw(runs: list[Run], test: Images, network: ll.Chain, path: Path) -> None:
    """Writes the picture: the accuracies of all runs, the images that the last one mistakes first."""
    figure = Figure(figsize=(12.5, 5.4), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    title = "A convolutional network of a million weights learns digits by the motion of a cognitive action"
    figure.suptitle(title, fontsize=14, fontweight="bold", x=0.02, ha="left")
    parts: Any = figure.subfigures(1, 2, width_ratios=(1, 1.25))
    left, right = parts
    _learning(left.subplots(), runs)
    _images(right.subplots(ROWS, COLUMNS), runs[-1], test, network)
    right.suptitle("What it recognises (mistakes first, in red, with the truth)", fontsize=11, x=0.02, ha="left")
    figure.savefig(path, dpi=110)


def _learning(ax: Axes, runs: list[Run]) -> None:
    for name, colour, style, label in (
        ("accuracies", BLUE, "o-", "the action"),
        ("accuracies_sgd", ORANGE, "s--", "SGD with the same momentum"),
    ):
        errors = 100 * (1 - np.array([getattr(run, name) for run in runs]))
        passes = np.arange(1, errors.shape[1] + 1)
        mean = errors.mean(axis=0)
        ax.plot(passes, mean, style, color=colour, ms=4, lw=1.6, label=label)
        if len(runs) > 1:
            spread = errors.std(axis=0, ddof=1)
            ax.fill_between(passes, mean - spread, mean + spread, color=colour, alpha=0.15, lw=0)
    over = f", mean and spread of {len(runs)} seeds" if len(runs) > 1 else ""
    ax.set_title(f"Test images mistaken{over}", fontsize=11, loc="left")
    ax.set_xlabel("passes over the training images")
    ax.set_ylabel("mistaken, %")
    ax.set_ylim(bottom=0)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(fontsize=9, frameon=False)


def _images(axes: np.ndarray, run: Run, test: Images, network: ll.Chain) -> None:
    outputs = jax.jit(jax.vmap(lambda u: network.output(network.forward(run.W, u))))(test.images)
    predicted = np.argmax(np.asarray(outputs), axis=1)
    wrong = predicted != test.labels
    order = np.argsort(~wrong, kind="stable")
    for ax, k in zip(axes.flat, order, strict=False):
        ax.imshow(test.images[k, 0], cmap="gray_r")
        title, colour = (f"{predicted[k]} ({test.labels[k]})", RED) if wrong[k] else (str(predicted[k]), GREY)
        ax.set_title(title, fontsize=9, color=colour)
        ax.set_axis_off()
