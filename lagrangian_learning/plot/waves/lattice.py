"""Levels by frames: the drawing that Figures 1, 2 and 3 and the animation share."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.patches import Wedge

from lagrangian_learning.learning.waves.timing import synchronised_layer

from .scenes import Scene

FORWARD, BACKWARD, MEETING, GREY, EMPTY = "#c8481c", "#1f5fa8", "#1d8a4a", "#5c6166", "#e9ecef"
BAND = "#dff1e5"
WARM = LinearSegmentedColormap.from_list("forward", ["#fcd5ad", "#f08a3c", "#a82c0c"])
COLD = LinearSegmentedColormap.from_list("backward", ["#c6dcf3", "#5b9bd5", "#123f78"])
RADIUS = 0.36
Shade = Callable[[int], float]


class Lattice(NamedTuple):
    """Which frames are shown, how far apart, and whether each neuron shows the frame that it carries."""

    shown: range
    pitch: float = 1.0
    numbers: bool = False

    def place(self, t: int) -> float:
        """Where frame t is on the horizontal axis."""
        return (t - self.shown[0]) * self.pitch

    @property
    def limits(self) -> tuple[float, float]:
        """The horizontal extent."""
        return -0.6 * self.pitch, self.place(self.shown[-1]) + 0.6 * self.pitch


def lattice(ax: Axes, run: Scene, view: Lattice) -> None:
    """A circle a neuron and frame, left half x_{t,l}, right half δ_{t,l}, shaded by frame; a line where they meet."""
    L = run.frames.target.shape[1]
    band(ax, L, view.limits)
    shade = shades(run)
    for t in view.shown:
        for layer in range(1, L + 1):
            link(ax, (view.place(t), layer - 1), (view.place(t), layer), meeting(run, t, layer))
        for level in range(L + 1):
            _neuron(ax, (view.place(t), level), run, t, level, shade)
            if view.numbers:
                _numbers(ax, (view.place(t), level), run, t, level, view.shown[0])
    _signal(ax, run, view, L + 1.5)
    ax.set_xlim(*view.limits)
    ax.set_ylim(-0.6, L + 2.2)
    ax.set_aspect("equal")
    ax.set_xticks([view.place(t) for t in view.shown], _frame_names(view))
    ax.set_yticks(
        [*range(L + 1), L + 1.5], ["level 0 · input", *map(str, range(1, L)), f"{L} · output", "input signal"]
    )
    numbers = "\nnumbers: the frame, counted from t, that the input (left) or the target of the error (right) came from"
    ax.set_xlabel("time in frames  →" + numbers * view.numbers, color=GREY)
    ax.tick_params(length=0, colors=GREY)
    ax.spines[:].set_visible(False)


def shades(run: Scene) -> Shade:
    """From a frame to its shade between 0 and 1: by the value of its input, over the values of the run."""
    span = Normalize(run.signal.min(), run.signal.max())
    return lambda frame: 0.5 if run.period is None else float(span(run.signal[frame]))


def carried(run: Scene, t: int, level: int) -> tuple[int, int]:
    """The input frame in x_{t,l} and the target frame in δ_{t,l}; −1 before the input, or an error it made, arrives."""
    forward = int(run.frames.input[t, level])
    if level == 0 or run.frames.cause[t, level - 1] < 0:
        return forward, -1
    return forward, int(run.frames.target[t, level - 1])


def meeting(run: Scene, t: int, layer: int) -> str:
    """Of the waves that g_{t,l} joins: "none" unless both have arrived, "exact" or "same" if they fit, else "other"."""
    forward, backward = carried(run, t, layer - 1)[0], carried(run, t, layer)[1]
    if forward < 0 or backward < 0:
        return "none"
    if run.exact is not None:
        return "exact" if run.exact[t, layer - 1] else "other"
    return "same" if forward == backward else "other"


def link(ax: Axes, start: tuple[float, float], end: tuple[float, float], state: str) -> None:
    """The weights between two neurons: green where the waves that they join fit, grey where others meet."""
    fits = state in {"exact", "same"}
    if state != "none":
        ends = [start[0], end[0]], [start[1], end[1]]
        ax.plot(*ends, color=MEETING if fits else "#aab0b6", lw=7 if fits else 1.6, zorder=1, solid_capstyle="butt")


def half(ax: Axes, centre: tuple[float, float], angles: tuple[float, float], colour, radius: float = RADIUS) -> None:
    """A part of a disc."""
    ax.add_patch(Wedge(centre, radius, *angles, facecolor=colour, edgecolor="none", zorder=2))


def ink(shade: float) -> str:
    """A colour of text that can be read on a shade."""
    return "white" if shade > 0.45 else "#33200f"


def band(ax: Axes, L: int, limits: tuple[float, float]) -> None:
    """Marks the weights of the synchronised layer, which lie between levels l_s − 1 and l_s."""
    layer = synchronised_layer(L)
    if layer is not None:
        ax.fill_between(limits, layer - 1, layer, color=BAND, zorder=0, lw=0)
        text = f"synchronised layer\n$l_s$ = (L + 1)/2 = {layer}"
        ax.text(limits[1], layer - 0.5, "  " + text.replace("\n", "\n  "), color=MEETING, va="center", fontsize=11)


def _neuron(ax: Axes, centre: tuple[float, float], run: Scene, t: int, level: int, shade: Shade) -> None:
    forward, backward = carried(run, t, level)
    left = EMPTY if forward < 0 else WARM(shade(forward))
    right = EMPTY if backward < 0 else COLD(shade(backward))
    # One wave alone colours the whole neuron, so that the overlap is seen at a glance.
    if min(forward, backward) < 0:
        half(ax, centre, (0, 360), left if backward < 0 else right)
        return
    half(ax, centre, (90, 270), left)
    half(ax, centre, (-90, 90), right)


def _numbers(ax: Axes, centre: tuple[float, float], run: Scene, t: int, level: int, origin: int) -> None:
    frames, shade = carried(run, t, level), shades(run)
    both = min(frames) >= 0
    for frame, side in zip(frames, (-0.5, 0.5), strict=True):
        if frame >= 0:
            where = centre[0] + side * RADIUS * both, centre[1] - 0.02
            name = f"{frame - origin:+d}".replace("-", "−").replace("+0", "0")
            ax.text(*where, name, ha="center", va="center", fontsize=8, color=ink(shade(frame)), zorder=3)


def _signal(ax: Axes, run: Scene, view: Lattice, height: float) -> None:
    """The input above the lattice: a dot a frame, in the shade by which the frame is known below."""
    shade = shades(run)
    places, values = [view.place(t) for t in view.shown], [height + 0.5 * run.signal[t] for t in view.shown]
    ax.plot(places, values, color="#e3c4b0", lw=1.2, zorder=1)
    ax.scatter(places, values, c=[WARM(shade(t)) for t in view.shown], s=40, zorder=2)


def _frame_names(view: Lattice) -> Sequence[str]:
    if not view.numbers:
        return [str(t) for t in view.shown]
    return ["t", *(f"t+{t - view.shown[0]}" for t in view.shown[1:])]
