"""The picture of the study `predictive_coding`."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from lagrangian_learning.plot import colour, heading
from lagrangian_learning.plot.style import line_colour

from .study import picture


def draw(path: Path, found: dict[str, Any]) -> None:
    """Errors over κ at rest and of the soft action, steps over κ, and error over time of both libraries."""

    def drawn(figure: Any, axes: np.ndarray) -> None:
        heading(figure, "Soft constraints and predictive coding")
        _at_rest(axes[0, 0], found["rest"])
        _soft(axes[0, 1], found["soft"])
        _steps(axes[1, 0], found["relaxing"])
        _times(axes[1, 1], found["times"])

    picture(path, 2, 2, drawn)


def _at_rest(ax: Axes, rest: list[dict[str, Any]]) -> None:
    for k, one in enumerate(rest):
        ax.loglog(one["kappa"], one["error"], "o-", ms=3, color=line_colour(k), label=f"{one['layers']} layers")
    ax.set(title="neurons at rest: weight force", xlabel="stiffness κ", ylabel="relative error against backpropagation")
    ax.legend()


def _soft(ax: Axes, soft: list[dict[str, Any]]) -> None:
    for k, one in enumerate(soft):
        label = f"{one['sizes']}, {'in motion' if one['moving'] else 'at rest'}: {one['slope']:.3f}"
        ax.loglog(one["kappa"], one["error"], "o-", ms=3, color=line_colour(k), label=label)
    ax.set(title="inertial neurons: weights", xlabel="stiffness κ", ylabel="max |W − W of G = 0|")
    ax.legend(title="slope")


def _steps(ax: Axes, relaxing: list[dict[str, Any]]) -> None:
    for k, one in enumerate(relaxing):
        ax.loglog(one["kappa"], one["steps"], "o-", ms=3, color=line_colour(k), label=one["stepper"])
    ax.set(title="neurons that relax: implicit steps", xlabel="stiffness κ", ylabel="steps, rtol 1e-6")
    ax.legend()


def _times(ax: Axes, times: list[dict[str, Any]]) -> None:
    for k, one in enumerate(times):
        colours = line_colour(k)
        ax.loglog(
            1e3 * one["ours"], one["our_error"], "*", ms=11, color=colours, label=f"at rest, κ = {one['kappa']:g}"
        )
        if len(one["theirs"]):
            ax.loglog(1e3 * np.array(one["theirs"]), one["their_error"], "o-", ms=3, color=colours,
                      label=f"FabricPC, κ = {one['kappa']:g}")  # fmt: skip
    ax.axvline(1e3 * times[0]["backprop"], color=colour("ink"), lw=0.8, ls=":", label="backpropagation")
    ax.set(title="one weight force of a batch", xlabel="milliseconds", ylabel="relative error against backpropagation")
    ax.legend()
