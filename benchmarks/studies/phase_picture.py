"""The picture of `phase_diagram`."""

from typing import Any

import numpy as np

DIVERGING, SEQUENTIAL = "RdBu", "viridis"


def draw(figure: Any, grid: Any, *, flow: Any, frames: Any, borders: tuple[Any, Any], alone: Any, layers: int) -> None:
    """Cosines on the left, norm ratios on the right; continuous waves above, discrete ones below."""
    figure.suptitle("Where waves carry backpropagation's gradient", fontsize=14, fontweight="bold", x=0.02, ha="left")
    labels = ("input frequency ω, with ϑ = 1", "speed of information c"), ("period of the input, frames", "layers L")
    laws = f"slope {borders[0].slope:.2f} in c", f"slope {borders[1].slope:.2f} in L − 1"
    names = f"(18)–(20), L = {layers}: ", "(1)–(3), one layer a frame: "
    for row, diagram, border, name, law, label in zip(grid, (flow, frames), borders, names, laws, labels, strict=True):
        _cosine(figure, row[0], diagram, border, law)
        _ratio(figure, row[1], diagram)
        row[0].set_title(f"{name}least cosine of a layer", fontsize=11, loc="left")
        row[1].set_title("norm ratio |g| / |g*| of the first layer", fontsize=11, loc="left")
        for axes in row:
            axes.set(xscale="log", yscale="log", xlabel=label[0], ylabel=label[1])
    label = f"by delays alone, slope {alone.slope:.2f}"
    grid[1, 0].plot(alone.at, frames.up, color="k", ls=":", lw=1.8, label=label)
    for axes in grid[:, 0]:
        _legend(axes)
    for axes in grid[1]:
        axes.set_yticks(frames.up, [str(depth) for depth in frames.up])
        axes.minorticks_off()
        axes.set_ylim(frames.up[0], frames.up[-1])
    for axes in grid[0]:
        axes.set_ylim(flow.up[0], flow.up[-1])


def _cosine(figure: Any, axes: Any, diagram: Any, border: Any, law: str) -> None:
    shown = axes.pcolormesh(
        diagram.across, diagram.up, diagram.cosine, cmap=SEQUENTIAL, vmin=-1, vmax=1, shading="gouraud"
    )
    figure.colorbar(shown, ax=axes, label="cosine with the gradient")
    axes.plot(border.at, diagram.up, color="w", lw=2.2, label="cosine 0.99")
    inside = (border.fitted > diagram.across[0]) & (border.fitted < diagram.across[-1])
    fitted = border.fitted[inside], diagram.up[inside]
    axes.plot(*fitted, color="tab:red", ls="--", lw=1.4, label=f"fit, {law}")


def _ratio(figure: Any, axes: Any, diagram: Any) -> None:
    decades = np.log10(diagram.ratio)
    most = min(float(np.max(np.abs(decades))), 2.0)
    shown = axes.pcolormesh(
        diagram.across, diagram.up, decades, cmap=DIVERGING, vmin=-most, vmax=most, shading="gouraud"
    )
    figure.colorbar(shown, ax=axes, label="log₁₀ of the ratio (0: faithful)")
    axes.contour(diagram.across, diagram.up, np.abs(diagram.ratio - 1), levels=[0.05], colors="k", linewidths=1.4)
    axes.plot([], [], color="k", lw=1.4, label="5 % off")
    _legend(axes)


def _legend(axes: Any) -> None:
    axes.legend(fontsize=8, loc="upper left", facecolor="#8fa1b8", labelcolor="k", framealpha=0.9, edgecolor="none")
