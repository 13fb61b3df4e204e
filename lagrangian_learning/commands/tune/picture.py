"""The picture of `tune`: the schedule that was found, what it cost, and the runs that were judged."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lagrangian_learning.plot import colour, heading, style

from .physics import Physics
from .report import WHOLE, WINDOWED
from .search import Found
from .task import Task


def draw(task: Task, found: list[Found], path: Path) -> None:
    """Writes the picture."""
    with style():
        figure = Figure(figsize=(15.5, 4.8), layout="constrained")
        FigureCanvasAgg(figure)
        heading(figure, f"Physics of learning, tuned by gradient: {task.name}")
        schedule, course, judged = figure.subplots(1, 3, width_ratios=(1, 1.1, 1.3))
        _schedule(schedule, task, found)
        _course(course, found)
        _judged(judged, found)
        figure.savefig(path)


def _schedule(ax: Axes, task: Task, found: list[Found]) -> None:
    for way in found:
        if not way.has_schedule:
            continue
        thetas = np.asarray(way.numbers.thetas)
        times = np.linspace(0, task.frames, len(thetas))
        line = {WHOLE: "o-", WINDOWED: "o--"}.get(way.name, "o:")
        ax.semilogy(times, thetas, line, ms=4, color=_shade(way), label=way.name.split(", ")[1])
    ax.set(title="friction ϑ that was found", xlabel="frame", ylabel="ϑ, per frame")
    ax.legend()


def _course(ax: Axes, found: list[Found]) -> None:
    for way in found:
        whole = way.name == WHOLE
        look: dict[str, Any] = {"color": _shade(way), "lw": 2.4 if whole else 1.2, "zorder": 3 if whole else 2}
        ax.semilogx(np.arange(1, len(way.course) + 1), way.course, drawstyle="steps-post", **look)
    for meaning, label in (
        ("weights", WHOLE),
        ("accent", "action, other ways"),
        ("muted", "SGD and Adam, by schedule"),
    ):
        ax.plot([], [], color=colour(meaning), label=label)
    lowest = min(way.course[-1] for way in found)
    ax.set_ylim(0.95 * lowest, 2 * lowest)
    ax.set(title="lowest score on the tuned runs", xlabel="runs spent", ylabel="loss")
    ax.legend()


def _shade(way: Found) -> str:
    if way.name == WHOLE:
        return colour("weights")
    return colour("accent" if isinstance(way.numbers, Physics) else "muted")


def _judged(ax: Axes, found: list[Found]) -> None:
    ordered = sorted(found, key=lambda way: -way.judged.mean())
    for row, way in enumerate(ordered):
        shade = _shade(way)
        ax.plot(way.judged, np.full(len(way.judged), row), "o", ms=4, alpha=0.5, color=shade)
        ax.plot(way.judged.mean(), row, "|", ms=16, mew=2.5, color=shade)
    ax.set_yticks(range(len(ordered)), labels=[way.name for way in ordered])
    ax.set(title="judged: ten seeds, and their mean", xlabel="loss")
    ax.grid(visible=True, axis="x")
