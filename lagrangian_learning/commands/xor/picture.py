"""The picture of `simulate xor`: the output before and after, the weights, and the energy with its balance."""

from pathlib import Path

import jax
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from .motion import INPUTS, Motion

BLUE, ORANGE, GREY, LIGHT = "#1f5fa8", "#d9730d", "#6b6b6b", "#d7dbe0"
COLOURS = ("#1f5fa8", "#5b9bd5", "#2a7f62", "#7fbf9f", "#d9730d", "#f0b27a")
NAMES = ("w31", "w32", "w41", "w42", "w53", "w54")
SHOWN = 12


def draw(motion: Motion, path: Path) -> None:
    """Writes the picture of one motion."""
    spacing = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12, wspace=0.03, hspace=0.03)
    figure = Figure(figsize=(12, 7.6), layout=spacing, facecolor="white")
    FigureCanvasAgg(figure)
    learned = (
        "XOR, learned by the motion of five neurons" if motion.learned else "Five neurons in motion (XOR not learned)"
    )
    figure.suptitle(learned, fontsize=16, fontweight="bold", x=0.02, ha="left")
    axes = figure.subplots(2, 2)
    shown = min(SHOWN, int(float(motion.path.ts[-1])))
    late = max(int(float(motion.path.ts[-1])) // 4 * 4 - shown, 0)
    _output(axes[0, 0], motion, 0, shown, "At the start")
    _output(axes[0, 1], motion, late, shown, "At the end")
    _weights(axes[1, 0], motion)
    _energy(axes[1, 1], motion, late, shown)
    figure.savefig(path, dpi=110)


def _output(ax: Axes, motion: Motion, first: int, shown: int, title: str) -> None:
    ts = np.asarray(motion.path.ts)
    inside = (ts >= first) & (ts <= first + shown)
    fine = np.linspace(first, first + shown, 40 * shown + 1)
    target = np.asarray(jax.vmap(motion.stimulus.target)(fine))[:, 0]
    # Weights move slowly, inputs do not: between records the output is that of the weights, interpolated.
    W = np.stack([np.interp(fine, ts[inside], w) for w in np.asarray(motion.path.W)[inside].T], axis=1)
    network, stimulus = motion.law.network, motion.stimulus
    outputs = np.asarray(jax.vmap(lambda t, w: network.output(network.forward(w, stimulus.input(t)))[0])(fine, W))
    ax.plot(fine, target, color=ORANGE, lw=1.5, ls="--", label="target")
    ax.plot(fine, outputs, color=BLUE, lw=2, label="output")
    for k in range(first, first + shown):
        pattern = INPUTS[k % 4]
        ax.text(k + 0.25, 1.22, f"{pattern[0]:.0f} {pattern[1]:.0f}", ha="center", fontsize=8.5, color=GREY)
    ax.set_ylim(min(-0.3, outputs.min() - 0.1), 1.35)
    ax.set_xlim(first, first + shown)
    ax.set_xlabel("time")
    ax.legend(loc="lower right", bbox_to_anchor=(1.01, 1.0), ncols=2, fontsize=9, frameon=False)
    _finish(ax, title)


def _weights(ax: Axes, motion: Motion) -> None:
    ts, W = np.asarray(motion.path.ts), np.asarray(motion.path.W)
    for name, colour, w in zip(NAMES, COLOURS, W.T, strict=True):
        ax.plot(ts, w, color=colour, lw=1.6, label=name)
    ax.set_xlim(ts[0], ts[-1] * 1.02)
    ax.set_xlabel("time")
    ax.legend(
        loc="lower right",
        bbox_to_anchor=(1.01, 1.0),
        ncols=6,
        fontsize=9,
        frameon=False,
        columnspacing=1,
        handlelength=1.2,
    )
    _finish(ax, "Weights")


def _energy(ax: Axes, motion: Motion, first: int, shown: int) -> None:
    ts = np.asarray(motion.path.ts)
    inside = (ts >= first) & (ts <= first + shown)
    energy, off = (np.asarray(values)[inside] for values in (motion.path.energy, motion.path.energy_balance))
    ax.plot(ts[inside], energy, color=LIGHT, lw=5, label="energy E")
    ax.plot(ts[inside], energy - off, ".-", color=BLUE, lw=1, ms=5, label="E(0) + work done and lost")
    ax.set_xlim(first, first + shown)
    ax.set_ylim(bottom=0)
    ax.set_xlabel("time")
    ax.legend(loc="lower right", bbox_to_anchor=(1.01, 1.0), ncols=2, fontsize=9, frameon=False)
    _finish(ax, "Energy, at the end")


def _finish(ax: Axes, title: str) -> None:
    ax.set_title(title, loc="left", fontsize=12, fontweight="bold")
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color("#b0b5bb")
