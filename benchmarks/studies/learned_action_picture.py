"""The picture of the study `learned_action`."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from lagrangian_learning.plot import colour, heading

from .study import picture

MEANINGS = {
    "learned action": "weights",
    "two numbers": "reference",
    "neural ODE": "multipliers",
    "weights stay": "muted",
}


def draw(path: Path, found: dict[str, Any]) -> None:
    """The functions found beside the true ones; weights of a run that was not seen; errors over time."""

    def drawn(figure: Any, axes: np.ndarray) -> None:
        heading(figure, "An action, learned from the motion that it made")
        _functions(axes[0, 0], found["curves"])
        _weights(axes[0, 1], found["shown"])
        _errors(axes[0, 2], found)

    picture(path, 3, 1, drawn)


def _functions(ax: Axes, curves: dict[str, Any]) -> None:
    low, high = curves["errors_seen"]
    ax.axvspan(low, high, color=colour("faint"), alpha=0.6, lw=0)
    ax.plot(curves["errors"], curves["true"][0], color=colour("ink"), lw=3.2, alpha=0.35, label="truth")
    ax.plot(curves["errors"], curves["numbers"][0], color=colour("reference"), ls="--", label="two numbers")
    ax.plot(curves["errors"], curves["learned"][0], color=colour("weights"), label="learned")
    ax.plot(curves["errors"], curves["noisy"][0], color=colour("accent"), ls=":", lw=2, label="learned from noisy W")
    ax.set(title="slope of the loss; grey: errors that the runs saw", xlabel="error e = x − y", ylabel="dV/de",
           ylim=(-1.3, 1.6))  # fmt: skip
    ax.legend(loc="upper left")
    small = ax.inset_axes((0.62, 0.08, 0.36, 0.3))
    small.axvspan(*curves["weights_seen"], color=colour("faint"), alpha=0.6, lw=0)
    small.plot(curves["weights"], curves["true"][1], color=colour("ink"), lw=3.2, alpha=0.35)
    small.plot(curves["weights"], curves["learned"][1], color=colour("weights"))
    small.plot(curves["weights"], curves["noisy"][1], color=colour("accent"), ls=":", lw=2)
    small.set(ylim=(-0.3, 0.3))
    small.tick_params(labelsize=7)
    small.set_title("price of a weight, dφ/dw", fontsize=8)


def _weights(ax: Axes, shown: dict[str, Any]) -> None:
    ts = shown["times"]
    for k, weight in enumerate(shown["which"]):
        names = (lambda text: text) if k == 0 else (lambda text: None)
        ax.plot(ts[::2], shown["true"][::2, weight], "o", mfc="none", color=colour("ink"), ms=3.5, label=names("truth"))
        ax.plot(ts, shown["neural ODE"][:, weight], color=colour("multipliers"), ls="--", lw=1.2,
                label=names("neural ODE"))  # fmt: skip
        ax.plot(ts, shown["learned action"][:, weight], color=colour("weights"), label=names("learned action"))
    ax.axvline(shown["end"], ymax=0.8, color=colour("muted"), lw=1)
    ax.set(title="another start, another signal", xlabel="time", ylabel="three of the weights")
    low, high = ax.get_ylim()
    ax.set_ylim(low, high + 0.3 * (high - low))
    ax.legend(loc="upper left", ncols=2)


def _errors(ax: Axes, found: dict[str, Any]) -> None:
    ts = found["shown"]["times"]
    for name, meaning in MEANINGS.items():
        course = np.asarray(found["judged"][name][0]["course"])
        ax.semilogy(ts[1:], 100 * course[1:], color=colour(meaning), label=name)
    ax.axvline(found["shown"]["end"], ymax=0.82, color=colour("muted"), lw=1)
    ax.annotate("end of the runs\nlearned from", (found["shown"]["end"], 0.03), xycoords=("data", "axes fraction"),
                xytext=(5, 0), textcoords="offset points", color=colour("muted"), fontsize=8)  # fmt: skip
    ax.set(title="median error on runs not seen", xlabel="time", ylabel="error, % of the weights' way")
    ax.grid(visible=True)
    low, high = ax.get_ylim()
    ax.set_ylim(low, 12 * high)
    ax.legend(loc="upper left", ncols=2)
