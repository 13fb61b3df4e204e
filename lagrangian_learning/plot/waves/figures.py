"""Figures 1, 2 and 3 of the paper, drawn from runs of `backprop_waves`: where the two waves are, and what meets."""

from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lagrangian_learning.learning.waves.fidelity import Reference

from .animation import write_animation
from .scenes import (
    BACKWARD,
    COLD,
    FORWARD,
    GREY,
    MEETING,
    PERIODS,
    REFERENCES,
    Lattice,
    Scene,
    fidelity_by_speed,
    lattice,
    scenes,
)

WIDTH = 14.2  # inches
SAME = "weights where input and target of one and the same frame meet"
ERROR = """measured over 1500 frames

At $l_s$ input and target are of one frame, yet the
error also holds the output, and that was made by
an input L frames older: not zero there."""


def write_wave_figures(folder: str | Path) -> list[Path]:
    """Runs a ten-level network and writes waves_figure_1.png, …_2.png, …_3.png, waves_fidelity.png and waves.gif.

    Returns their paths in `folder`, which is made if it is missing. Figure 1: input and supervision constant; 2:
    slowly varying, while the waves fill the network (A) and after (B); 3: rapidly varying. waves_fidelity.png shows how
    wrong the gradient is by layer and speed of the input, and waves.gif the rapid run in motion.
    """
    return draw_wave_figures(folder, scenes(), {reference: fidelity_by_speed(reference) for reference in REFERENCES})


def draw_wave_figures(
    folder: str | Path, runs: tuple[Scene, Scene, Scene], errors: dict[Reference, np.ndarray]
) -> list[Path]:
    """The pictures of `write_wave_figures`, of the runs of `scenes` and the errors of `fidelity_by_speed`."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    constant, slow, rapid = runs
    return [
        figure_1(constant, folder / "waves_figure_1.png"),
        figure_2(slow, folder / "waves_figure_2.png"),
        figure_3(rapid, folder / "waves_figure_3.png"),
        fidelity_figure(errors, folder / "waves_fidelity.png"),
        write_animation(rapid, folder / "waves.gif"),
    ]


def fidelity_figure(errors: dict[Reference, np.ndarray], path: Path) -> Path:
    """Relative error of the gradient by layer, a line for each speed of the input, a panel for each reference."""
    figure = _figure(6.2, "How wrong is the gradient that two waves form? By layer, and by how fast the input is")
    for place, (reference, error) in zip((0.75, 7.1), errors.items(), strict=True):
        ax = figure.add_axes((place / WIDTH, 0.8 / 6.2, 5.5 / WIDTH, 4.1 / 6.2))
        layers = np.arange(1, error.shape[1] + 1)
        for line, period, shade in zip(error, PERIODS, np.linspace(0.15, 1, len(PERIODS)), strict=True):
            ax.plot(layers, line, "o-", color=COLD(shade), ms=5, label=f"{period:g}")
        _heading(ax, f"against the gradient of {REFERENCES[reference]}")
        ax.axvline(len(layers) / 2 + 0.5, color=MEETING, lw=1, ls=":")
        ax.set(ylim=(0, 2), xticks=layers, xlabel="layer of weights (dotted: the synchronised layer)")
        ax.tick_params(length=0, colors=GREY)
        ax.grid(axis="y", color="#e3e6e9")
        ax.spines[["top", "right", "left"]].set_visible(False)
    figure.axes[0].set_ylabel("relative error, mean over networks", color=GREY)
    lines = figure.axes[-1].get_legend_handles_labels()
    figure.legend(*lines, title="period in frames", loc="center right", frameon=False)
    return _save(figure, path)


def figure_1(run: Scene, path: Path) -> Path:
    """Figure 1: a constant stimulus; the gradient is exact wherever both waves have met."""
    figure = _figure(8.5, "Figure 1 · Input and target stand still: where the waves have met, the gradient is exact")
    _fronts(_lattice(figure, run, _filling(run), 1.25), run)
    _legend(figure, "weights whose gradient is exact, to rounding error")
    return _save(figure, path)


def figure_2(run: Scene, path: Path) -> Path:
    """Figure 2: a slow stimulus, (A) while the waves fill the network and (B) in stationary conditions."""
    title = f"Figure 2 · Slow input and target (a period of {run.period:g} frames): neighbouring frames hardly differ"
    figure = _figure(17.6, title)
    ax = _lattice(figure, run, _filling(run), 10.1)
    _heading(ax, "A · The waves fill the network")
    _fronts(ax, run)
    _stationary(figure, run, "B · Later, when all levels are filled")
    _legend(figure, SAME)
    return _save(figure, path)


def figure_3(run: Scene, path: Path) -> Path:
    """Figure 3: a rapid stimulus in stationary conditions."""
    title = (
        f"Figure 3 · Rapid input and target (a period of {run.period:g} frames): most layers join frames that differ"
    )
    figure = _figure(10, title)
    _stationary(figure, run, "All levels are filled")
    _legend(figure, SAME)
    return _save(figure, path)


def _filling(run: Scene) -> Lattice:
    return Lattice(range(2 * run.frames.target.shape[1] + 2))


def _stationary(figure: Figure, run: Scene, title: str) -> None:
    L = run.frames.target.shape[1]
    ax = _lattice(figure, run, Lattice(range(2 * L + 1, 3 * L + 1), pitch=1.2, numbers=True), 1.75)
    _heading(ax, title)
    box = ax.get_position()
    _errors(figure.add_axes((10.6 / WIDTH, box.y0, 3.1 / WIDTH, box.height)), run, ax.get_ylim())


def _lattice(figure: Figure, run: Scene, view: Lattice, bottom: float) -> Axes:
    """Axes in which a step of time and a step of level are of one length; `bottom` in inches."""
    unit = 0.62 if view.numbers else 0.55
    ax = figure.add_axes((0, 0, 1, 1))
    lattice(ax, run, view)
    (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
    height = figure.get_size_inches()[1]
    ax.set_position((1.35 / WIDTH, bottom / height, (right - left) * unit / WIDTH, (high - low) * unit / height))
    return ax


def _heading(ax: Axes, title: str) -> None:
    ax.set_title(title, loc="left", fontsize=13, fontweight="bold")


def _errors(ax: Axes, run: Scene, levels: tuple[float, float]) -> None:
    layers = np.arange(1, run.frames.target.shape[1] + 1)
    for (reference, error), colour, marker in zip(run.error.items(), ("#3a3f44", "#9a6fb0"), "os", strict=True):
        ax.plot(error, layers - 0.5, color=colour, marker=marker, ms=5, lw=1.5, label=REFERENCES[reference])
    ax.set_xlim(0, 1.1 * max(error.max() for error in run.error.values()))
    ax.set_ylim(levels)
    ax.set_yticks(layers - 0.5, [f"layer {layer}" for layer in layers])
    ax.set_title("How wrong is the gradient?", loc="left", fontsize=13, fontweight="bold")
    ax.set_xlabel(ERROR, color=GREY)
    ax.legend(title="relative error against the gradient of", loc="upper left", frameon=False, alignment="left")
    ax.tick_params(length=0, colors=GREY)
    ax.grid(axis="x", color="#e3e6e9")
    ax.spines[["top", "right", "left"]].set_visible(False)


def _fronts(ax: Axes, run: Scene) -> None:
    """The wavefronts: the first frame at which each level has the input, and an error that the input made."""
    forward = np.argmax(run.frames.input >= 0, axis=0)
    backward = np.argmax(run.frames.cause >= 0, axis=0)
    levels = np.arange(len(forward))
    ax.plot(forward, levels, color=FORWARD, lw=2.5, ls=(0, (2, 1)), zorder=4)
    ax.plot(backward, levels[1:], color=BACKWARD, lw=2.5, ls=(0, (2, 1)), zorder=4)
    where = forward[-1], levels[-1] + 0.72
    style = {"va": "center", "fontsize": 12, "fontweight": "bold"}
    ax.text(where[0] - 0.5, where[1], "forward wavefront ↗", ha="right", color=FORWARD, **style)
    ax.text(where[0] + 0.5, where[1], "↘ backward wavefront", ha="left", color=BACKWARD, **style)


def _legend(figure: Figure, meeting: str) -> None:
    def disc(colour: str, fill: Literal["full", "left"] = "full", other: str = "none") -> Line2D:
        return Line2D([], [], marker="o", ls="", ms=15, mfc=colour, mfcalt=other, mec="none", fillstyle=fill)

    handles = [
        disc("#f08a3c"),
        disc("#5b9bd5"),
        disc("#f08a3c", "left", "#5b9bd5"),
        Line2D([], [], color=MEETING, lw=7),
    ]
    names = ["input on its way up", "error on its way down", "both", meeting]
    figure.legend(handles, names, loc="lower center", ncols=4, frameon=False, fontsize=11.5, handlelength=1.4)


def _figure(height: float, title: str) -> Figure:
    figure = Figure(figsize=(WIDTH, height), facecolor="white")
    FigureCanvasAgg(figure)
    figure.text(0.3 / WIDTH, 1 - 0.4 / height, title, fontsize=16, fontweight="bold", va="center")
    return figure


def _save(figure: Figure, path: Path) -> Path:
    figure.savefig(path, dpi=100)
    return path
