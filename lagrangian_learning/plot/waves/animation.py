"""The waves in motion: one picture a frame, inputs moving up the network and errors coming back."""

from pathlib import Path

from matplotlib.animation import PillowWriter
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .scenes import (
    BACKWARD,
    COLD,
    EMPTY,
    FORWARD,
    GREY,
    MEETING,
    WARM,
    Scene,
    carried,
    half,
    ink,
    link,
    meeting,
    shades,
)

UP, DOWN = 1.5, 0.0  # heights of the two lanes


def write_animation(run: Scene, path: Path, frames_per_second: int = 2) -> Path:
    """A GIF of the run, one picture a frame: the network lies on its side, input left, output right."""
    figure = Figure(figsize=(11, 4.6), facecolor="white")
    FigureCanvasAgg(figure)
    ax = figure.add_axes((0.02, 0.02, 0.96, 0.96))
    writer = PillowWriter(fps=frames_per_second)
    with writer.saving(figure, path, dpi=80):
        for t in range(3 * run.frames.target.shape[1]):
            _picture(ax, run, t)
            writer.grab_frame()
    return path


def _picture(ax: Axes, run: Scene, t: int) -> None:
    L = run.frames.target.shape[1]
    ax.clear()
    ax.set_axis_off()
    ax.set_aspect("equal")
    ax.set_xlim(-2.1, L + 0.9)
    ax.set_ylim(-1.3, 3.1)
    states = [meeting(run, t, layer) for layer in range(1, L + 1)]
    for layer, state in enumerate(states, 1):
        link(ax, (layer - 1, UP), (layer, DOWN), state)
    for level in range(L + 1):
        _lanes(ax, run, t, level)
        ax.text(
            level, -0.75, f"level {level}" if level % L else ("input", "output")[level // L], ha="center", color=GREY
        )
    ax.text(-0.75, UP, "inputs\nmove up  →", ha="right", va="center", color=FORWARD, fontweight="bold")
    ax.text(-0.75, DOWN, "errors\n←  come back", ha="right", va="center", color=BACKWARD, fontweight="bold")
    ax.text(-2.0, 2.85, f"Frame {t}", fontsize=17, fontweight="bold", va="center")
    ax.text(-0.2, 2.85, _caption(run, t, states), fontsize=12, va="center", color=MEETING if "same" in states else GREY)
    ax.text(
        -2.0,
        -1.15,
        "Numbers: the frame an input, or the target of an error, came from. Lines: what weights join to a gradient.",
        color=GREY,
        fontsize=10,
    )


def _lanes(ax: Axes, run: Scene, t: int, level: int) -> None:
    shade = shades(run)
    for frame, height, colours in zip(carried(run, t, level), (UP, DOWN), (WARM, COLD), strict=True):
        if height == DOWN and level == 0:
            continue
        half(ax, (level, height), (0, 360), EMPTY if frame < 0 else colours(shade(frame)))
        if frame >= 0:
            ax.text(
                level,
                height - 0.02,
                str(frame),
                ha="center",
                va="center",
                color=ink(shade(frame)),
                fontsize=11,
                zorder=3,
            )


def _caption(run: Scene, t: int, states: list[str]) -> str:
    if "same" in states:
        layer = states.index("same") + 1
        return f"Input and target of frame {carried(run, t, layer)[1]} meet in the weights of layer {layer} (green)."
    if "other" in states:
        return "Errors are on their way back and meet inputs of other frames."
    return "The first input is on its way to the output; no error has come of it yet."
