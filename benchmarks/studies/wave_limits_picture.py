"""The picture and the tables of the study `wave_limits`."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from lagrangian_learning.commands.output import Line
from lagrangian_learning.plot import colour, heading, phase_diagram

from .study import picture, print_table

TICKS = (0.002, 0.005, 0.01, 0.02, 0.05)
COSINES = (-0.5, 0.0, 0.5, 0.8, 0.9, 0.95, 0.99)


def draw(
    path: Path, record: dict[str, Any], diagram: dict[str, Any], found: list[dict[str, Any]], law: dict[str, float]
) -> None:
    """Newton's iterations on the recorded diagram, and the border over the number of layers."""

    def drawn(figure: Any, axes: np.ndarray) -> None:
        heading(figure, "Where waves fail, by a derivative through the run")
        _paths(axes[0, 0], record, diagram)
        _depths(axes[0, 1], found, law)

    picture(path, 2, 1, drawn)


def _paths(ax: Axes, record: dict[str, Any], diagram: dict[str, Any]) -> None:
    phase_diagram(record["across"], record["up"], np.array(record["cosine"]), ax, levels=COSINES, cmap="cividis")
    ax.plot(record["at"], record["up"], color=colour("paper"), lw=2.6, label="0.99, from the grid")
    paths = np.exp(diagram["paths"])
    for row in range(paths.shape[1]):
        ax.plot(paths[:, row, 0], paths[:, row, 1], "o-", ms=3.5, lw=0.8, color=colour("alarm"),
                label="Newton's iterations" if row == 0 else None)  # fmt: skip
    ax.plot(diagram["omega"], diagram["c"], "D", ms=6, mfc="none", color=colour("alarm"), label="where they end")
    ax.set(title="least cosine of a layer, ϑ = 1, L = 3", xlabel="input frequency ω", ylabel="speed of information c")
    ax.set(xlim=(record["across"][0], record["across"][-1]), ylim=(record["up"][0], record["up"][-1]))
    ax.legend(loc="upper left", facecolor=colour("faint"), framealpha=0.9, frameon=True, edgecolor="none")


def _depths(ax: Axes, found: list[dict[str, Any]], law: dict[str, float]) -> None:
    for number, one in enumerate(found):
        ax.plot(np.full(len(one["ratio"]), one["layers"]), one["ratio"], "o", ms=4, color=colour("weights"), alpha=0.6,
                label="a network" if number == 0 else None)  # fmt: skip
    layers = np.array([one["layers"] for one in found])
    medians = [np.median(one["ratio"]) for one in found]
    ax.plot(layers, medians, "D", ms=6, mfc="none", color=colour("ink"), label="median")
    label = f"L^({law['exponent']:.2f} ± {law['error']:.2f})"
    ax.plot(layers, law["at_one_layer"] * layers ** law["exponent"], color=colour("multipliers"), label=label)
    ax.set(xscale="log", yscale="log", title="the border over depth, ϑ = 0", xlabel="layers L", ylabel="ω/c")
    ax.set_xticks(layers, [f"{number}" for number in layers])
    ax.set_yticks(TICKS, [f"{tick:g}" for tick in TICKS])
    ax.minorticks_off()
    ax.grid(visible=True)
    ax.legend(loc="lower left")


def tables(
    line: Line, diagram: dict[str, Any], found: list[dict[str, Any]], law: dict[str, float], others: dict[str, Any]
) -> None:
    """What was found, for readers."""
    line("[bold]Where the waves' cosine is 0.99: by Newton and in the recorded diagram[/]  three layers, ϑ = 1")
    rows = [
        (
            f"{c:.0f}",
            f"{omega:.4f}",
            f"{grid:.4f}",
            f"{100 * (grid / omega - 1):+.1f} %",
            f"{omega / c:.5f}",
            f"{by:.3f}",
        )
        for c, omega, grid, by in zip(*(diagram[name] for name in ("c", "omega", "recorded", "exponent")), strict=True)
    ]
    print_table(line, ("speed c", "ω by\nNewton", "ω of the\ndiagram", "differs", "ω/c", "d log ω/\nd log c"), rows)
    there = np.abs(diagram["cosine"] - 0.99)
    if np.all(np.isfinite(there)):
        line(f"  at Newton's border the diagram's own run, in float32, has a cosine of 0.99 within {np.max(there):.0e}")
    line()
    line(f"[bold]By depth[/]  ϑ = 0, {len(found[0]['ratio'])} networks each")
    rows = [
        (
            f"{one['layers']}", f"{np.median(one['ratio']):.5f}",
            "{:.4f}–{:.4f}".format(*np.quantile(one["ratio"], (0.25, 0.75))),
            f"{np.median(one['runs']):.0f}", f"{one['error']:.0e}", f"{one['off_by_c']:.0e}",
            f"{one['off_differences']:.0e}",
        )
        for one in found
    ]  # fmt: skip
    heads = (
        "layers L",
        "ω/c,\nmedian",
        "quartiles",
        "linearised\nruns",
        "relative\nerror",
        "by c:\ndiffers",
        "derivative:\ndiffers",
    )
    print_table(line, heads, rows)
    line(f"  ω/c falls as L^({law['exponent']:.2f} ± {law['error']:.2f}) (one standard error)")
    line()
    line("[bold]Other ways, three layers[/]  relative errors of ω/c, medians over the networks")
    runs = float(np.median(found[1]["runs"]))
    rows = [(f"sweep of {number}", f"{number}", f"{error:.1e}") for number, error in
            zip(others["grids"].astype(int), others["errors"], strict=True)]  # fmt: skip
    rows.append(("Brent, same interval", f"{others['brent_runs']:.0f}", f"{others['brent_error']:.0e}"))
    rows.append(("Newton, linearised runs", f"{runs:.0f}", f"{found[1]['error']:.0e}"))
    print_table(line, ("way", "runs", "error"), rows)
    line(f"  a linearised run takes {others['linearised_over_plain']:.1f} plain ones")
