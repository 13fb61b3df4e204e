"""The picture of the study `mechanics_by_gradient`."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from lagrangian_learning.plot import colour, heading

from .identification import QUANTILE
from .mechanics_arm import BOUNDS, LENGTHS
from .study import picture

SHADES = ("weights", "neurons", "ink", "reference", "accent", "multipliers", "muted")


def draw(path: Path, constants: dict[str, Any], regression: dict[str, Any], swing: dict[str, Any]) -> None:
    """Intervals of the constants, errors over noise; the swing-up, its torques, and how it was found."""

    def drawn(figure: Any, axes: np.ndarray) -> None:
        heading(figure, "Mechanics by derivatives through constrained motion")
        _intervals(axes[0, 0], constants)
        _errors(axes[0, 1], regression)
        _strobe(axes[0, 2], swing)
        _torques(axes[1, 0], swing)
        _course(axes[1, 1], swing)
        _ends(axes[1, 2], swing)

    picture(path, 3, 2, drawn)


def _intervals(ax: Axes, one: dict[str, Any]) -> None:
    errors, deviations = 100 * one["errors"][:, :4], 100 * QUANTILE * one["deviations"][:, :4]
    count = len(errors)
    for k, name in enumerate(one["constants"][:4]):
        order = np.argsort(errors[:, k])
        at, middle, half = k * 1.15 * count + np.arange(count), errors[order, k], deviations[order, k]
        colours = [colour("alarm" if wrong else "weights") for wrong in np.abs(middle) > half]
        ax.vlines(at, middle - half, middle + half, colors=colours, lw=0.8)
        ax.text(at.mean(), 1.0, name, transform=ax.get_xaxis_transform(), ha="center", va="top")
    ax.axhline(0, color=colour("ink"), lw=1)
    ax.margins(y=0.12)
    ax.set_xticks([])
    ax.set(title=f"linkage: {count} fits, 90 % intervals at 1 mm\nred: does not hold the truth", ylabel="error, %")


def _errors(ax: Axes, regression: dict[str, Any]) -> None:
    noise = 1e3 * np.asarray(regression["noise"])
    for which, meaning, words in (
        ("fitted", "weights", "fit of whole runs"),
        ("smoothed", "reference", "regression, best smoothing"),
        ("differences", "muted", "regression, central differences"),
    ):
        errors = 100 * np.asarray(regression[which])
        ax.fill_between(noise, errors.min(axis=1), errors.max(axis=1), color=colour(meaning), alpha=0.2, lw=0)
        ax.loglog(noise, np.exp(np.mean(np.log(errors), axis=1)), "o-", color=colour(meaning), label=words)
    ax.set(
        title="linkage: errors of m_A, m_B, k, c\ngeometric mean and range of the four",
        xlabel="noise, mm",
        ylabel="error, %",
    )
    ax.grid(visible=True)
    ax.margins(y=0.2)
    ax.legend(loc="lower right")


def _strobe(ax: Axes, swing: dict[str, Any]) -> None:
    joints = np.pad(swing["strobe"], ((0, 0), (1, 0), (0, 0)))
    for k, (share, places) in enumerate(zip(np.linspace(0.15, 1, len(joints)), joints, strict=True)):
        last = k == len(joints) - 1
        ax.plot(
            *places.T,
            "o-",
            color=colour("multipliers" if last else "weights"),
            alpha=share,
            ms=4,
            lw=2.2 if last else 1.4,
        )
    ax.plot(*joints[:, 2].T, color=colour("faint"), lw=1, zorder=0)
    ax.plot(0, 0, "s", color=colour("ink"), ms=6)
    reach = 1.1 * LENGTHS.sum()
    ax.set(aspect="equal", xlim=(-reach, reach), ylim=(-reach, reach), xlabel="m", ylabel="m")
    ax.set_title("arm: swing-up, every 0.1 s\npale at the start, orange at the end")


def _torques(ax: Axes, swing: dict[str, Any]) -> None:
    for k, (name, meaning) in enumerate((("shoulder", "weights"), ("elbow", "multipliers"))):
        ax.plot(swing["times"], swing["best"][:, k], "o-", ms=3.5, color=colour(meaning), label=name)
        for side in (-1, 1):
            ax.axhline(side * BOUNDS[k], color=colour(meaning), lw=0.8, ls=":")
    ax.set(title="arm: torques found, dotted: their bounds", xlabel="time, s", ylabel="torque, N m")
    ax.set_ylim(-1.1 * BOUNDS[0], 1.5 * BOUNDS[0])
    ax.legend(loc="upper right", ncols=2)


def _course(ax: Axes, swing: dict[str, Any]) -> None:
    for meaning, (name, one) in zip(SHADES, swing["searches"].items(), strict=True):
        for k, (runs, least) in enumerate(zip(one["runs"], one["least"], strict=True)):
            ax.loglog(runs, least, color=colour(meaning), lw=1.2, alpha=0.8, label=None if k else name)
    ax.set(title="arm: loss over cost, each from the same torques", xlabel="runs (a gradient counts as its cost)",
           ylabel="least loss so far")  # fmt: skip
    ax.grid(visible=True)
    ax.legend(loc="lower left")


def _ends(ax: Axes, swing: dict[str, Any]) -> None:
    for k, (meaning, one) in enumerate(zip(SHADES, swing["searches"].values(), strict=True)):
        far = [np.hypot(end["distance"], end["speed"]) for end in one["ends"]]
        ax.semilogy(np.full(len(far), k), far, "o", color=colour(meaning))
    names = [name.replace(" ", "\n") for name in swing["searches"]]
    ax.set_xticks(range(len(names)), names, rotation=30, ha="right", rotation_mode="anchor")
    ax.set(title="arm: how far from upright at rest it ends", ylabel="√(m² + (m/s)²)")
    ax.grid(visible=True, axis="y")
