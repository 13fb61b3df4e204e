"""Where is the gradient of travelling waves backpropagation's? Input frequency against the speed of information.

Figures 2 and 3 of the paper, slow and rapid input, as a continuum: the waves of (18)–(20) over frequency and speed c,
and the waves in discrete time (1)–(3) over the period in frames and the number of layers. Weights stand still; the
reference is the gradient of the present frame.

A gradient goes wrong by its delays times the input's rate, its cosine by the square of that. In c all delays scale
alike, as 1/c at c ≫ ϑ, so that the frequency of a given cosine is proportional to c. In L they do not: at layer 1 the
target is L − 1 frames old, the output 2L − 1, and at each L stands another network. `wave_delays` computes from these
delays where the cosine falls, and is measured to be right within 3 %: the period grows as (L − 1)^0.9, by less than
L − 1 since the output's share of the error falls with depth.

    lagrangian-learning study phase_diagram [--quick] [--seed SEED] [--output PICTURE] [--json NUMBERS]
        [--redraw NUMBERS]
"""

if __name__ == "__main__":  # a file does not know its checkout: it is run as a command of the package
    from lagrangian_learning.commands.study import run_file

    run_file(__file__)

import functools
from pathlib import Path
from typing import Any, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

import lagrangian_learning as ll
from lagrangian_learning.commands.files import Files
from lagrangian_learning.commands.output import Line
from lagrangian_learning.commands.progress import progress

from .phase_picture import draw
from .study import begun, ended, picture, print_table, recorded
from .wave_delays import period_of, sensitivities

FILES = Files(Path("phase_diagram.png"))
QUESTION = "Over which input speeds and information speeds is the gradient of travelling waves backpropagation's?"
NETWORK = ll.Layered((2, 3, 3, 1))
THETA = 1.0
FROZEN = 1e12  # a friction at which the weights stand still
STEP, SPAN, RECORDS = 0.25, 256.0, 64
FAITHFUL = 0.99
NUM_NETWORKS, NUM_WAVE_NETWORKS = 3, 16
WIDTH, FRAMES = 4, 4000
DEPTHS = (2, 3, 4, 6, 8, 12, 16, 24)
STRIDE = 100  # of the keys of two seeds: more than the largest depth
# The beats of the signals' frequencies are resolved over so many of their periods.
BEATS, PHASES = 64, 1024


class Diagram(NamedTuple):
    """Fidelity over a plane; the median over random networks, some of which hardly answer to their input.

    across, up: the axes of the plane [A], [U];  cosine: least over layers [U, A];  ratio: |g|/|g*| of the first layer
    of weights, where both waves have travelled longest [U, A].
    """

    across: np.ndarray
    up: np.ndarray
    cosine: np.ndarray
    ratio: np.ndarray


class Boundary(NamedTuple):
    """Where a diagram's fidelity falls below `FAITHFUL`: at = place · up^slope, by least squares of logarithms.

    at: the place in each row [U], NaN where a row has none;  fitted: what the power law has there [U].
    """

    at: np.ndarray
    fitted: np.ndarray
    slope: float
    place: float


# -- waves in continuous time ------------------------------------------------------------------------------------------


def continuous(frequencies: np.ndarray, speeds: np.ndarray, num_networks: int = NUM_NETWORKS, seed: int = 0) -> Diagram:
    """(18)–(20) with ϑ = 1 and the sign-flipped costate, every pair of frequency and speed a lane of one batch."""
    lanes = [np.ravel(grid) for grid in np.meshgrid(speeds, frequencies, range(num_networks), indexing="ij")]
    speed, frequency = (jnp.asarray(grid, jnp.float32) for grid in lanes[:2])
    W, phase = _drawn(NETWORK, num_networks, seed)
    W, phase = jax.tree.map(lambda leaf: leaf[lanes[2]], (W, phase))
    # One grid of times serves all lanes when each counts time in units of its own: of its fastest rate.
    unit = jnp.maximum(speed + THETA, frequency)
    laws = jax.vmap(_law)(speed / unit, THETA / unit)
    stimuli = jax.vmap(_stimulus)(frequency / unit, phase)
    states = jax.vmap(lambda law, W, stimulus: law.initial_state(0.0, W, args=stimulus))(laws, W, stimuli)
    times = np.concatenate([[0.0], np.linspace(SPAN, 2 * SPAN, RECORDS + 1)])
    path: Any = ll.simulate_batch(
        laws, states, times, stimuli, in_axes=(0, 0, 0), engine=ll.fused.FusedEngine(), solver=diffrax.Heun(), dt0=STEP,
        save=_waves, progress=False,
    )  # fmt: skip
    if not np.all(path.result == ll.RESULTS.successful):
        raise RuntimeError(f"lanes failed: {path.result}")
    cosine, ratio = _likeness(W, stimuli, path.ts[0, 1:], jax.tree.map(lambda leaf: leaf[:, 1:], path.saved))
    return _averaged(frequencies, speeds, cosine, ratio)


def _law(speed: Array, theta: Array) -> ll.BackpropDiffusion:
    return ll.BackpropDiffusion(NETWORK, ll.SquaredError(), FROZEN, speed, theta)


def _stimulus(frequency: Array, phase: Array) -> ll.Stimulus:
    target = ll.Sinusoids(1.19 * frequency[None], 0.5, phase[2:])
    return ll.Stimulus(ll.Sinusoids(frequency * jnp.array([1.0, 0.77]), 1.0, phase[:2]), target)


def _signals(phase: Array, offsets: Array) -> tuple[Array, Array]:
    """Input and target at a phase of the faster input."""
    stimulus = _stimulus(jnp.ones_like(phase), offsets)
    return stimulus.input(phase), stimulus.target(phase)


def _waves(t: Array, observables: dict[str, PyTree]) -> dict[str, PyTree]:
    return {name: observables[name] for name in ("x", "multipliers")}


@jax.jit
@functools.partial(jax.vmap, in_axes=(0, 0, None, 0))
def _likeness(W: PyTree, stimulus: ll.Stimulus, ts: Array, waves: dict[str, PyTree]) -> tuple[Array, Array]:
    """Cosines and norm ratios [L] of −∂V/∂W as the waves form it, over all times."""

    def true(t: Array) -> PyTree:
        x = NETWORK.forward(W, stimulus.input(t))
        return force(x, ll.delta_errors(NETWORK, ll.SquaredError(), x, W, stimulus.target(t)))

    def force(x: PyTree, delta: PyTree) -> PyTree:
        return ll.learning.descent_force(NETWORK, x, W, delta)

    formed = jax.vmap(force)(waves["x"], waves["multipliers"])
    likeness = ll.learning.fidelity(formed, jax.vmap(true)(ts))
    return likeness.cosine, likeness.norm_ratio


# -- waves in discrete time --------------------------------------------------------------------------------------------


def discrete(periods: np.ndarray, depths: np.ndarray, num_networks: int = NUM_WAVE_NETWORKS, seed: int = 0) -> Diagram:
    """(1)–(3), one layer a frame, every period at every depth."""
    rows = [_depth(int(depth), jnp.asarray(periods, jnp.float32), num_networks, seed) for depth in depths]
    cosine, ratio = (np.stack(part) for part in zip(*rows, strict=True))
    return Diagram(periods, depths, cosine, ratio)


def _depth(depth: int, periods: Array, num_networks: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    network = _deep(depth)

    def likeness(period: Array, W: PyTree, phase: Array) -> tuple[Array, Array]:
        stimulus, t = _stimulus(2 * jnp.pi / period, phase), jnp.arange(FRAMES, dtype=period.dtype)
        frames = jax.vmap(stimulus.input)(t), jax.vmap(stimulus.target)(t)
        found = ll.waves.wave_fidelity(network, W, *frames, ll.SquaredError(), "current")
        return jnp.min(found.cosine), found.norm_ratio[0]

    # Network by network: the gradients of all frames at all periods of one fill half a gigabyte.
    over_periods = jax.vmap(likeness, (0, None, None))
    found = jax.jit(lambda drawn: jax.lax.map(lambda one: over_periods(periods, *one), drawn))(
        _drawn(network, num_networks, depth + seed * STRIDE)
    )
    return np.median(found[0], axis=0), np.median(found[1], axis=0)


def by_delays(depths: np.ndarray, num_networks: int = NUM_WAVE_NETWORKS, seed: int = 0) -> np.ndarray:
    """The period in frames at which each depth has a cosine of `FAITHFUL` by its delays alone, to second order [U]."""
    return np.array([np.median(_by_delays(int(depth), num_networks, seed)) for depth in depths])


def _by_delays(depth: int, num_networks: int, seed: int) -> np.ndarray:
    network, phases = _deep(depth), jnp.linspace(0, 2 * jnp.pi * BEATS, PHASES)
    over_networks = jax.vmap(lambda W, offsets: sensitivities(network, W, _signals, offsets, phases))
    return period_of(np.asarray(over_networks(*_drawn(network, num_networks, depth + seed * STRIDE))), FAITHFUL)


def _deep(depth: int) -> ll.Layered:
    return ll.Layered((2, *(WIDTH,) * (depth - 1), 1))


# -- both --------------------------------------------------------------------------------------------------------------


def _drawn(network: ll.Layered, count: int, seed: int = 0) -> tuple[PyTree, Array]:
    """Random networks, their weights and the phases of their signals."""
    keys = jax.random.split(jax.random.key(seed), count)
    phase = jax.vmap(lambda key: jax.random.uniform(jax.random.fold_in(key, 1), (3,), maxval=2 * jnp.pi))(keys)
    return jax.vmap(network.init)(keys), phase


def _averaged(across: np.ndarray, up: np.ndarray, cosine: Array, ratio: Array) -> Diagram:
    shape = (len(up), len(across), -1)
    least, first = np.min(cosine, axis=-1).reshape(shape), np.asarray(ratio)[:, 0].reshape(shape)
    return Diagram(across, up, np.median(least, axis=-1), np.median(first, axis=-1))


def boundary(diagram: Diagram, rows: slice = slice(None), *, up: np.ndarray | None = None) -> Boundary:
    """Where the cosine of each row crosses `FAITHFUL`, between grid points, and the power law through these `rows`.

    up: of what the power law is; the diagram's own axis by default.
    """
    at = np.array([_crossing(diagram.across, cosine) for cosine in diagram.cosine])
    return power_law(at, diagram.up if up is None else up, rows)


def power_law(at: np.ndarray, up: np.ndarray, rows: slice = slice(None)) -> Boundary:
    """The power law through places, those that are not known left out."""
    known = np.isfinite(at[rows])
    slope, offset = np.polyfit(np.log(up[rows][known]), np.log(at[rows][known]), 1)
    return Boundary(at, np.exp(offset) * up**slope, float(slope), float(np.exp(offset)))


def _crossing(across: np.ndarray, cosine: np.ndarray) -> float:
    """The crossing nearest to the faithful side, which is where a row's cosine is largest."""
    faithful = cosine >= FAITHFUL
    if faithful[0] == faithful[-1]:
        return np.nan
    order = slice(None) if faithful[0] else slice(None, None, -1)
    x, y = np.log(across[order]), cosine[order]
    k = int(np.argmin(y >= FAITHFUL))
    return float(np.exp(np.interp(FAITHFUL, [y[k], y[k - 1]], [x[k], x[k - 1]])))


def study(seed: int = 0, quick: bool = False, redraw: Path | None = None, files: Files = FILES) -> None:
    """Over which speeds of input and of information is the gradient of travelling waves backpropagation's?

    Args:
        seed: Draws the networks and the phases of their signals.
        quick: Tiny sizes, to see that the study runs.
        redraw: Only draw the picture again, of the numbers in this file.
        files: Where the picture and the numbers go.
    """
    line = begun("phase_diagram", seed, files)
    if redraw is not None:
        _redraw(redraw, files)
        return
    depths = np.array(DEPTHS[:3] if quick else DEPTHS)
    flow, frames, delays = _computed(seed, quick, depths)
    alone = power_law(delays, depths - 1)
    fast = slice(int(np.searchsorted(flow.up, 10 * THETA)), None)
    borders = boundary(flow, fast), boundary(frames, up=depths - 1)
    layers = len(NETWORK.sizes) - 1
    product = float(np.nanmedian(borders[0].at[fast] * layers / flow.up[fast]))
    period = float(np.nanmedian(borders[1].at / (depths - 1)))
    _print(line, depths, borders, alone, product, period)
    findings = {
        "continuous": {"frequency_times_L_over_c": product, **borders[0]._asdict(), **flow._asdict()},
        "discrete": {"period_over_L_less_1": period, **borders[1]._asdict(), **frames._asdict()},
        "discrete_by_delays_alone": alone._asdict(),
    }
    ended(
        line, files, lambda path: _draw_to(path, flow, frames, borders, alone), QUESTION, seed=seed, faithful=FAITHFUL,
        theta=THETA, **findings,
    )  # fmt: skip


def _redraw(numbers: Path, files: Files) -> None:
    found = recorded("phase_diagram", numbers)
    names = "continuous", "discrete", "discrete_by_delays_alone"
    diagrams = [Diagram(*(found[name][field] for field in Diagram._fields)) for name in names[:2]]
    lines = [Boundary(*(found[name][field] for field in Boundary._fields)) for name in names]
    _draw_to(files.output, *diagrams, (lines[0], lines[1]), lines[2])


def _draw_to(path: Path, flow: Diagram, frames: Diagram, borders: tuple[Boundary, Boundary], alone: Boundary) -> None:
    layers = len(NETWORK.sizes) - 1
    picture(path, 2, 2, functools.partial(draw, flow=flow, frames=frames, borders=borders, alone=alone, layers=layers))


def _computed(seed: int, quick: bool, depths: np.ndarray) -> tuple[Diagram, Diagram, np.ndarray]:
    """Both diagrams, and the periods by delays alone."""
    points, networks = (8, (1, 1)) if quick else (48, (NUM_NETWORKS, NUM_WAVE_NETWORKS))
    periods, rows = np.geomspace(4, FRAMES, points), [depths[k : k + 1] for k in range(len(depths))]
    with progress("phase_diagram", "parts") as report:
        total = 1 + 2 * len(rows)
        report(0, total, now="waves in continuous time")
        flow = continuous(np.geomspace(1e-2, 30, points), np.geomspace(1, 1e3, points), networks[0], seed)
        frames, delays = [], []
        for done, row in enumerate(rows, start=1):
            report(done, total, now=f"waves in discrete time, {row[0]} layers")
            frames.append(discrete(periods, row, networks[1], seed))
        for done, row in enumerate(rows, start=1 + len(rows)):
            report(done, total, now=f"periods by delays alone, {row[0]} layers")
            delays.append(by_delays(row, networks[1], seed))
        report(total, total)
    cosine, ratio = (np.concatenate([getattr(one, name) for one in frames]) for name in ("cosine", "ratio"))
    return flow, Diagram(periods, depths, cosine, ratio), np.concatenate(delays)


def _print(
    line: Line, depths: np.ndarray, borders: tuple[Boundary, Boundary], alone: Boundary, product: float, period: float
) -> None:
    line(f"[bold]Where the cosine of the waves' gradient with backpropagation's is {FAITHFUL:g}[/]")
    line(f"  continuous time (18)–(20): up to an input frequency ω with ω L/c = {product:.3f}")
    line(f"    that frequency grows as c^{borders[0].slope:.2f}, c the speed of information (by its delays: c^1)")
    line(f"  discrete time (1)–(3): from an input period of {period:.1f} (L − 1) frames on (median)")
    line(f"    that period grows as (L − 1)^{borders[1].slope:.2f} (by its delays alone: {alone.slope:.2f})")
    line()
    rows = [
        (f"{depth}", f"{measured:.1f}", f"{computed:.1f}", f"{measured / computed:.2f}")
        for depth, measured, computed in zip(depths, borders[1].at, alone.at, strict=True)
    ]
    print_table(line, ("layers L", "period, frames,\nmeasured", "by delays\nalone", "ratio"), rows)
