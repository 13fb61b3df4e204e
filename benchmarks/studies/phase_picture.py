"""The picture of `phase_diagram`."""

from typing import Any

import numpy as np

from lagrangian_learning.plot import border_line, colour, heading, phase_diagram
from lagrangian_learning.plot.phase_diagram import median_of_neighbours

COSINES = (-0.5, 0.0, 0.5, 0.8, 0.9, 0.95, 0.99)
FACTORS = (0.1, 0.5, 0.8, 0.95, 1.05, 1.25, 2.0, 10.0)
# A median of three networks is noisy from cell to cell: ratios are medians over neighbouring cells, too.
TOGETHER = {"flow": (5, 5), "frames": (1, 7)}


def draw(figure: Any, grid: Any, *, flow: Any, frames: Any, borders: tuple[Any, Any], alone: Any, layers: int) -> None:
    """Cosines on the left, norm ratios on the right; continuous waves above, discrete ones below."""
    heading(figure, "Where waves carry backpropagation's gradient")
    labels = ("input frequency ω, with ϑ = 1", "speed of information c"), ("period of the input, frames", "layers L")
    laws = f"fit, slope {borders[0].slope:.2f} in c", f"fit, slope {borders[1].slope:.2f} in L − 1"
    names = f"(18)–(20), L = {layers}", "(1)–(3), a layer a frame"
    kinds = "flow", "frames"
    rows = zip(grid, (flow, frames), borders, names, laws, labels, kinds, strict=True)
    for row, diagram, border, name, law, label, kind in rows:
        _cosine(row[0], diagram, border, law)
        _ratio(row[1], diagram, TOGETHER[kind])
        row[0].set_title(f"{name}: least cosine of a layer")
        row[1].set_title(f"{name}: |g| / |g*| of the first layer")
        for axes in row:
            axes.set(xlabel=label[0], ylabel=label[1], ylim=(diagram.up[0], diagram.up[-1]))
    label = f"by delays alone, slope {alone.slope:.2f}"
    grid[1, 0].plot(alone.at, frames.up, color=colour("ink"), ls=":", lw=1.8, label=label)
    for axes in grid[1]:
        axes.set_yticks(frames.up, [f"{depth:g}" for depth in frames.up])
        axes.minorticks_off()
    for axes, place in zip(grid.flat, ("upper left", "upper left", "upper left", "lower right"), strict=True):
        axes.legend(loc=place, facecolor=colour("faint"), framealpha=0.9, frameon=True, edgecolor="none")


def _cosine(axes: Any, diagram: Any, border: Any, law: str) -> None:
    phase_diagram(diagram.across, diagram.up, diagram.cosine, axes, levels=COSINES, cmap="cividis")
    axes.plot(border.at, diagram.up, color=colour("paper"), lw=2.6, label="cosine 0.99")
    inside = (border.fitted > diagram.across[0]) & (border.fitted < diagram.across[-1])
    axes.plot(border.fitted[inside], diagram.up[inside], color=colour("alarm"), ls="--", label=law)


def _ratio(axes: Any, diagram: Any, over: tuple[int, int]) -> None:
    ratio = median_of_neighbours(diagram.ratio, over)
    phase_diagram(diagram.across, diagram.up, ratio, axes, levels=FACTORS, cmap="PuOr")
    label = f"5 % off; medians of {over[0]} × {over[1]} cells"
    border_line(axes, diagram.across, diagram.up, np.abs(ratio - 1), 0.05, label=label)
