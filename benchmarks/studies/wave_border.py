"""The cosine that waves keep with backpropagation's gradient, through a run, and where it is 0.99; of `wave_limits`."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

import lagrangian_learning as ll

from . import phase_diagram
from .phase_diagram import FAITHFUL, FROZEN, NETWORK, SPAN, STEP, WIDTH

PERIODS, SAMPLES = 3, 48  # of the faster input, and instants in them; one period more is waited
STEPS = 16  # of Heun from instant to instant, for each layer
BEGIN = 0.06  # ω L/c where Newton begins
AIM, CLOSE, MOST, FACTOR = 0.5 * np.log(1 - FAITHFUL), 1e-10, 20, 3.0  # Newton's steps go no further than this factor


class Run(NamedTuple):
    """How a cosine is measured; static in `jit`.

    interval: from instant to instant;  waited: intervals before the first;  samples: intervals after it;
    steps: of Heun in each;  by_omega: whether time is counted by ω t, otherwise by (c + ϑ) t.
    """

    network: ll.Layered
    interval: float
    waited: int
    samples: int
    steps: int
    by_omega: bool


class Lanes(NamedTuple):
    """Networks and the phases of their signals, lanes first, and their ϑ."""

    W: PyTree
    phase: Float[Array, "lanes 3"]
    theta: Float[Array, " lanes"]


class Border(NamedTuple):
    """Where lanes are just faithful.

    at: log ω and log c [K, 2];  exponent: d log ω/d log c along the border [K];  runs: linearised runs of each [K];
    slope: of log √(1 − cosine) by log ω [K];  error: of log ω, what is left to the aim over the slope [K];
    path: (log ω, log c) of all iterations [I, K, 2].
    """

    at: np.ndarray
    exponent: np.ndarray
    runs: np.ndarray
    slope: np.ndarray
    error: np.ndarray
    path: np.ndarray

    @property
    def ratio(self) -> np.ndarray:
        """ω/c."""
        return np.exp(self.at[:, 0] - self.at[:, 1])


# -- the cosine through a run ------------------------------------------------------------------------------------------


def diagram_run() -> Run:
    """That of `phase_diagram`."""
    number = phase_diagram.RECORDS
    return Run(NETWORK, SPAN / number, number, number, round(SPAN / number / STEP), by_omega=False)


def depth_run(depth: int) -> Run:
    """A network of so many layers, after one period of the faster input over `PERIODS`."""
    network = ll.Layered((2, *(WIDTH,) * (depth - 1), 1))
    return Run(network, 2 * np.pi * PERIODS / SAMPLES, SAMPLES // PERIODS, SAMPLES, STEPS * depth, by_omega=True)


def drawn(network: ll.Layered, count: int, seed: int, theta: float = 0.0) -> Lanes:
    """Networks and phases as `phase_diagram` draws them, in float32, to be computed with in float64."""
    with jax.enable_x64(False):
        W, phase = phase_diagram._drawn(network, count, seed)  # noqa: SLF001  # a study's
    W, phase = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf, float)), (W, phase))
    return Lanes(W, phase, jnp.full(count, theta))


def distance(run: Run, logs: Float[Array, "2"], lane: Lanes) -> Array:
    """log √(1 − cosine) of one lane, the least cosine of a layer, at (log ω, log c)."""
    omega, c = jnp.exp(logs)
    unit = omega if run.by_omega else c + lane.theta
    stimulus = phase_diagram._stimulus(omega / unit, lane.phase)  # noqa: SLF001  # a study's
    law = ll.BackpropDiffusion(run.network, ll.SquaredError(), FROZEN, c / unit, lane.theta / unit)
    start = law.initial_state(0.0, lane.W, args=stimulus)
    times = run.interval * jnp.arange(run.waited + run.samples, dtype=omega.dtype)

    def interval(state: ll.State, t: Array) -> tuple[ll.State, ll.State]:
        later = _over(law, run, t, state, stimulus)
        return later, later

    _, states = jax.lax.scan(interval, start, times)

    def at(t: Array, x: PyTree, delta: PyTree) -> tuple[PyTree, PyTree]:
        here = run.network.forward(lane.W, stimulus.input(t))
        true = ll.delta_errors(run.network, ll.SquaredError(), here, lane.W, stimulus.target(t))
        force = functools.partial(ll.learning.descent_force, run.network)
        return force(x, lane.W, delta), force(here, lane.W, true)

    kept = jax.tree.map(lambda leaf: leaf[run.waited - 1 :], states)
    formed, true = jax.vmap(at)(times[run.waited - 1 :] + run.interval, kept.q[0], kept.multipliers)
    return jnp.log1p(-jnp.min(ll.learning.fidelity(formed, true).cosine)) / 2


def _over(law: ll.BackpropDiffusion, run: Run, t: Array, state: ll.State, stimulus: ll.Stimulus) -> ll.State:
    """The state an interval later, by Heun's method; the steps of `ll.simulate` in a program that compiles sooner."""
    h = run.interval / run.steps

    def step(state: ll.State, k: Array) -> tuple[ll.State, None]:
        at = t + h * k
        first = law.rates(at, state, stimulus).state
        ahead = jax.tree.map(lambda y, f: y + h * f, state, first)
        second = law.rates(at + h, ahead, stimulus).state
        return jax.tree.map(lambda y, f, g: y + h / 2 * (f + g), state, first, second), None

    return jax.lax.scan(step, state, jnp.arange(run.steps, dtype=t.dtype))[0]


@functools.partial(jax.jit, static_argnums=0)
def distances(run: Run, logs: Float[Array, "lanes 2"], lanes: Lanes) -> Array:
    """log √(1 − cosine) of all lanes."""
    return jax.vmap(functools.partial(distance, run))(logs, lanes)


@functools.partial(jax.jit, static_argnums=0)
def linearised(
    run: Run, logs: Float[Array, "lanes 2"], direction: Float[Array, "2"], lanes: Lanes
) -> tuple[Array, Array]:
    """log √(1 − cosine) of all lanes, and its derivative in a direction of (log ω, log c)."""

    def one(logs: Array, lane: Lanes) -> tuple[Array, Array]:
        return jax.jvp(lambda logs: distance(run, logs, lane), (logs,), (direction,))

    return jax.vmap(one)(logs, lanes)


# -- the border --------------------------------------------------------------------------------------------------------


def border(run: Run, lanes: Lanes, begin: np.ndarray, moved: int = 0, together: int = 1) -> Border:
    """Newton's method from begin [K, 2] to a cosine of `FAITHFUL`, over log ω (moved: 0) or log c (moved: 1).

    A step that leaves what is known to hold the border, between a place that is faithful and one that is not, goes to
    the middle instead; one against the sense in which waves fail goes on by `FACTOR`.

    together: so many lanes in a row, an odd number, move as one: it is the median of their cosines that is 0.99.
    """
    logs, directions, left = np.array(begin), np.eye(2), np.full(len(begin), np.inf)
    ends, sense = np.full((2, len(begin)), np.nan), (1, -1)[moved]  # faithful, unfaithful; waves fail at high ω, low c
    runs, going, path = np.zeros(len(logs), int), np.ones(len(logs), bool), []
    for _ in range(MOST):
        value, slope = _medians(linearised(run, logs, directions[moved], lanes), together)
        path.append(logs.copy())
        runs += going
        left = AIM - value
        going = ~(np.abs(left) < CLOSE)
        if not going.any():
            break
        here = logs[:, moved].copy()
        ends = np.where([left > 0, left <= 0], here, ends)
        step = np.where(slope * sense > 0, left / slope, np.sign(left) * sense * np.log(FACTOR))
        ahead = here + np.clip(step, -np.log(FACTOR), np.log(FACTOR))
        outside = (ahead - ends[0]) * (ahead - ends[1]) >= 0  # never while an end is not known
        logs[:, moved] = np.where(going, np.where(outside, ends.mean(axis=0), ahead), here)
    by_omega, by_c = (_medians(linearised(run, logs, direction, lanes), together)[1] for direction in directions)
    return Border(logs, -by_c / by_omega, runs, by_omega, np.abs(left / by_omega), np.array(path))


def _medians(both: tuple[Array, Array], together: int) -> tuple[np.ndarray, np.ndarray]:
    """The middle value of each group of lanes and its slope, for all lanes of the group."""
    values, slopes = (np.asarray(part).reshape(-1, together) for part in both)
    middle = np.argsort(values, axis=1)[:, [together // 2]]
    value, slope = (np.repeat(np.take_along_axis(part, middle, axis=1), together) for part in (values, slopes))
    return value, slope


def begun_at(lanes: Lanes, layers: int, c: Any = 1.0) -> np.ndarray:
    """(log ω, log c) of all lanes at ω L/c = `BEGIN`."""
    log_c = np.broadcast_to(np.log(c), lanes.theta.shape)
    return np.column_stack([log_c + np.log(BEGIN / layers), log_c])
