"""The runs behind Figures 1, 2 and 3, and the lattice that they are drawn on."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.patches import Wedge

from lagrangian_learning._palette import COLOURS
from lagrangian_learning.learning.delta_errors import loss
from lagrangian_learning.learning.potential import SquaredError
from lagrangian_learning.learning.waves.discrete import backprop_waves
from lagrangian_learning.learning.waves.fidelity import Reference, WaveFrames, wave_fidelity, wave_frames
from lagrangian_learning.learning.waves.timing import synchronised_layer
from lagrangian_learning.networks import Layered
from lagrangian_learning.networks.examples import SIZES

SHOWN = 36  # frames of a run that pictures may show
SLOW, RAPID = 600.0, 7.0  # periods in frames
MEASURED = 1500  # frames over which errors are measured
REFERENCES: dict[Reference, str] = {"cause": "the frame that made the error", "target": "the frame of the target"}
PERIODS = (1000.0, 300.0, 100.0, 30.0, 7.0)


class Scene(NamedTuple):
    """One run, as pictures need it; arrays of frames by levels 0 … L or by layers 1 … L.

    signal: [SHOWN], the first input of each frame.
    frames: which frame is where, measured.
    exact: [SHOWN, L], whether g_{t,l} is the gradient of the constant frame; None unless the stimulus is constant.
    error: a reference of `wave_fidelity` -> [L], relative error of the gradient; empty for a constant stimulus.
    """

    period: float | None
    signal: np.ndarray
    frames: WaveFrames
    exact: np.ndarray | None
    error: dict[Reference, np.ndarray]


def scenes(seed: int = 0) -> tuple[Scene, Scene, Scene]:
    """The runs of Figures 1, 2 and 3: constant, slow and rapid."""
    return scene(None, seed), scene(SLOW, seed), scene(RAPID, seed)


def stimulus(num_frames: int, period: float | None) -> tuple[Array, Array]:
    """u_t [T, 3] and y_t [T, 2]: sinusoids, the first of this period in frames; constant when period is None."""
    t = jnp.arange(num_frames).astype(float)
    phase = jnp.zeros_like(t) if period is None else 2 * jnp.pi * t / period
    # Frequencies with no common period: else frames that are one period apart would be taken for equal.
    u = jnp.sin(phase[:, None] * jnp.array([1.0, 0.77, 1.31]) + jnp.array([0.3, 1.3, 2.3]))
    return u, 0.5 * jnp.cos(phase[:, None] * jnp.array([1.0, 1.19]) + jnp.array([0.0, 1.0]))


def scene(period: float | None, seed: int = 0) -> Scene:
    """Runs the waves under a stimulus of this period (None: constant) and measures what pictures show."""
    network = Layered(SIZES)
    W = network.init(jax.random.key(seed))
    u, y = stimulus(SHOWN, period)
    return Scene(
        period=period,
        signal=np.asarray(u[:, 0]),
        frames=wave_frames(network, W, u, y, SquaredError()),
        exact=_exact(network, W, u, y, SquaredError()) if period is None else None,
        error={} if period is None else _errors(network, W, period),
    )


def fidelity_by_speed(
    reference: Reference = "cause",
    periods: Sequence[float] = PERIODS,
    num_networks: int = 8,
    sizes: Sequence[int] = SIZES,
    seed: int = 0,
) -> np.ndarray:
    """Relative error of g_{t,l} [periods, L] for each period of the stimulus, the mean over randomly drawn networks.

    reference: which gradient is meant, as of `wave_fidelity`. sizes: 3 inputs and 2 outputs, any layers between.
    """
    network = Layered(sizes)
    Ws = jax.vmap(network.init)(jax.random.split(jax.random.key(seed), num_networks))

    def errors(W: PyTree, u: Array, y: Array) -> Array:
        return wave_fidelity(network, W, u, y, SquaredError(), reference).relative_error

    over_networks = jax.jit(lambda u, y: jnp.mean(jax.vmap(errors, (0, None, None))(Ws, u, y), axis=0))
    return np.stack([np.asarray(over_networks(*stimulus(MEASURED, period))) for period in periods])


def _exact(network: Layered, W: PyTree, u: Array, y: Array, potential: Callable) -> np.ndarray:
    """Whether |g_{t,l} − ∂V/∂W_{l−1}| is rounding error, at every frame and layer."""
    reference = jax.grad(lambda W: loss(network, SquaredError(), W, u[0], y[0]))(W)
    gradient = backprop_waves(network, W, u, y, potential).gradient
    pairs = zip(gradient, reference, strict=True)
    errors = [jnp.max(jnp.abs(g - r), axis=(1, 2)) / jnp.max(jnp.abs(r)) for g, r in pairs]
    return np.stack(errors, axis=1) < 100 * float(jnp.finfo(u.dtype).eps)


def _errors(network: Layered, W: PyTree, period: float) -> dict[Reference, np.ndarray]:
    u, y = stimulus(MEASURED, period)
    return {
        reference: np.asarray(wave_fidelity(network, W, u, y, SquaredError(), reference).relative_error)
        for reference in REFERENCES
    }


FORWARD, BACKWARD = COLOURS["multipliers"], COLOURS["weights"]
MEETING, GREY, EMPTY = COLOURS["neurons"], COLOURS["muted"], "#e9ecef"
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
