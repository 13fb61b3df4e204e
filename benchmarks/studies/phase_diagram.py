"""Where is the gradient of travelling waves backpropagation's? Input frequency against the speed of information.

Figures 2 and 3 of the paper, slow and rapid input, as a continuum: the waves of (18)–(20) over frequency and speed c,
and the waves in discrete time (1)–(3) over the period in frames and the number of layers. Weights stand still; the
reference is the gradient of the present frame.

A gradient goes wrong by its delays times the input's rate, its cosine by the square of that. In c all delays scale
alike, as 1/c at c ≫ ϑ, so that the frequency of a given cosine is proportional to c. In L they do not: at layer 1 the
target is L − 1 frames old, the output 2L − 1, and at each L stands another network. `wave_delays` computes from these
delays where the cosine falls, and is measured to be right within 3 %: the period grows as (L − 1)^0.9, by less than
L − 1 since the output's share of the error falls with depth.

    python -m benchmarks.studies.phase_diagram [--quick] [--folder FOLDER] [--redraw]
"""

import functools
from pathlib import Path
from typing import Any, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

import lagrangian_learning as ll

from .phase_picture import draw
from .study import options, picture, recorded, write
from .wave_delays import period_of, sensitivities

NETWORK = ll.Layered((2, 3, 3, 1))
THETA = 1.0
FROZEN = 1e12  # a friction at which the weights stand still
STEP, SPAN, RECORDS = 0.25, 256.0, 64
FAITHFUL = 0.99
NUM_NETWORKS, NUM_WAVE_NETWORKS = 3, 16
WIDTH, FRAMES = 4, 4000
DEPTHS = (2, 3, 4, 6, 8, 12, 16, 24)
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


def continuous(frequencies: np.ndarray, speeds: np.ndarray, num_networks: int = NUM_NETWORKS) -> Diagram:
    """(18)–(20) with ϑ = 1 and the sign-flipped costate, every pair of frequency and speed a lane of one batch."""
    lanes = [np.ravel(grid) for grid in np.meshgrid(speeds, frequencies, range(num_networks), indexing="ij")]
    speed, frequency = (jnp.asarray(grid, jnp.float32) for grid in lanes[:2])
    W, phase = _drawn(NETWORK, num_networks)
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


def discrete(periods: np.ndarray, depths: np.ndarray, num_networks: int = NUM_WAVE_NETWORKS) -> Diagram:
    """(1)–(3), one layer a frame, every period at every depth."""
    rows = [_depth(int(depth), jnp.asarray(periods, jnp.float32), num_networks) for depth in depths]
    cosine, ratio = (np.stack(part) for part in zip(*rows, strict=True))
    return Diagram(periods, depths, cosine, ratio)


def _depth(depth: int, periods: Array, num_networks: int) -> tuple[np.ndarray, np.ndarray]:
    network = _deep(depth)

    def likeness(period: Array, W: PyTree, phase: Array) -> tuple[Array, Array]:
        stimulus, t = _stimulus(2 * jnp.pi / period, phase), jnp.arange(FRAMES, dtype=period.dtype)
        frames = jax.vmap(stimulus.input)(t), jax.vmap(stimulus.target)(t)
        found = ll.waves.wave_fidelity(network, W, *frames, ll.SquaredError(), "current")
        return jnp.min(found.cosine), found.norm_ratio[0]

    # Network by network: the gradients of all frames at all periods of one fill half a gigabyte.
    over_periods = jax.vmap(likeness, (0, None, None))
    found = jax.jit(lambda drawn: jax.lax.map(lambda one: over_periods(periods, *one), drawn))(
        _drawn(network, num_networks, depth)
    )
    return np.median(found[0], axis=0), np.median(found[1], axis=0)


def by_delays(depths: np.ndarray, num_networks: int = NUM_WAVE_NETWORKS) -> np.ndarray:
    """The period in frames at which each depth has a cosine of `FAITHFUL` by its delays alone, to second order [U]."""
    return np.array([np.median(_by_delays(int(depth), num_networks)) for depth in depths])


def _by_delays(depth: int, num_networks: int) -> np.ndarray:
    network, phases = _deep(depth), jnp.linspace(0, 2 * jnp.pi * BEATS, PHASES)
    over_networks = jax.vmap(lambda W, offsets: sensitivities(network, W, _signals, offsets, phases))
    return period_of(np.asarray(over_networks(*_drawn(network, num_networks, depth))), FAITHFUL)


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


def main() -> None:
    """Computes both diagrams, fits their boundaries, and writes phase_diagram.json and phase_diagram.png."""
    asked = options("phase_diagram", __doc__, redraws=True)
    if asked.redraw:
        redraw(asked.folder)
        return
    points, networks = (8, (1, 1)) if asked.quick else (48, (NUM_NETWORKS, NUM_WAVE_NETWORKS))
    flow = continuous(np.geomspace(1e-2, 30, points), np.geomspace(1, 1e3, points), networks[0])
    depths = np.array(DEPTHS[:3] if asked.quick else DEPTHS)
    frames = discrete(np.geomspace(4, FRAMES, points), depths, networks[1])
    fast, lags = slice(int(np.searchsorted(flow.up, 10 * THETA)), None), depths - 1
    borders = boundary(flow, fast), boundary(frames, up=lags)
    alone = power_law(by_delays(depths, networks[1]), lags)
    layers = len(NETWORK.sizes) - 1
    product = float(np.nanmedian(borders[0].at[fast] * layers / flow.up[fast]))
    periods = float(np.nanmedian(borders[1].at / lags))
    print(f"continuous waves: cosine {FAITHFUL} at frequency · L/c = {product:.3f}, slope {borders[0].slope:.3f} in c")
    print(
        f"discrete waves: cosine {FAITHFUL} at a period of {periods:.1f} (L − 1) frames, slope "
        f"{borders[1].slope:.3f} in L − 1; by delays alone {alone.slope:.3f}, measured over computed "
        f"{_spread(borders[1].at / alone.at)}"
    )
    findings = {
        "continuous": {"frequency_times_L_over_c": product, **borders[0]._asdict(), **flow._asdict()},
        "discrete": {"period_over_L_less_1": periods, **borders[1]._asdict(), **frames._asdict()},
        "discrete_by_delays_alone": alone._asdict(),
    }
    question = "Over which input speeds and information speeds is the gradient of travelling waves backpropagation's?"
    path = write("phase_diagram", asked.folder, question=question, faithful=FAITHFUL, theta=THETA, **findings)
    print("numbers:", path)
    _drawn_to(asked.folder, flow, frames, borders, alone)


def redraw(folder: Path) -> None:
    """Writes phase_diagram.png again, of the phase_diagram.json in the folder."""
    found = recorded("phase_diagram", folder)
    names = "continuous", "discrete", "discrete_by_delays_alone"
    diagrams = [Diagram(*(found[name][field] for field in Diagram._fields)) for name in names[:2]]
    lines = [Boundary(*(found[name][field] for field in Boundary._fields)) for name in names]
    _drawn_to(folder, *diagrams, (lines[0], lines[1]), lines[2])


def _drawn_to(
    folder: Path, flow: Diagram, frames: Diagram, borders: tuple[Boundary, Boundary], alone: Boundary
) -> None:
    layers = len(NETWORK.sizes) - 1
    parts = functools.partial(draw, flow=flow, frames=frames, borders=borders, alone=alone, layers=layers)
    print("picture:", picture("phase_diagram", folder, 2, 2, parts))


def _spread(ratios: np.ndarray) -> str:
    return f"{np.nanmin(ratios):.2f} to {np.nanmax(ratios):.2f}"


if __name__ == "__main__":
    main()
