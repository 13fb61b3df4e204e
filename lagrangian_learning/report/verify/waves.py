"""(1)–(3) and Figures 1 to 3: forward and backward waves, where they meet, and how fast an input may be."""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from lagrangian_learning.learning import (
    SquaredError,
    backprop_waves,
    causing_input_mismatch,
    largest_time_step,
    synchronisation_time,
    synchronised_layer,
    target_mismatch,
)
from lagrangian_learning.learning.delta_errors import loss
from lagrangian_learning.networks import Layered
from lagrangian_learning.report.wave_fidelity import wave_fidelity
from lagrangian_learning.report.wave_scenes import SIZES

from .check import Check, Measured, Shared
from .problems import layers, relative, worst

SHAPE, FRAMES, SEEDS, MEASURED = (3, 4, 5, 4, 2), 24, 3, 600
SLOW, RAPID, SLOWER = 1000.0, 7.0, (16000.0, 8000.0, 4000.0)
TEN_LEVELS = len(SIZES) - 1
POTENTIAL = SquaredError()


class Run(NamedTuple):
    """Waves of the package under random frames, with frozen random weights, one seed: NumPy arrays by time."""

    W: tuple[np.ndarray, ...]
    x: tuple[np.ndarray, ...]
    delta: tuple[np.ndarray, ...]
    gradient: tuple[np.ndarray, ...]
    target: np.ndarray


def runs(shared: Shared) -> tuple[Run, ...]:
    """SEEDS runs of a network of four layers."""
    del shared
    network, rng = Layered(SHAPE), np.random.default_rng(12)
    u, y = (jnp.asarray(rng.normal(size=(SEEDS, FRAMES, size))) for size in (SHAPE[0], SHAPE[-1]))

    def run(W: PyTree, u: Array, y: Array) -> PyTree:
        waves = backprop_waves(network, W, u, y, POTENTIAL)
        return W, waves.x, waves.delta, waves.gradient, y

    found = jax.tree.map(np.asarray, jax.jit(jax.vmap(run))(layers(SHAPE, 12, SEEDS), u, y))
    return tuple(Run(*jax.tree.map(lambda leaf, k=seed: leaf[k], found)) for seed in range(SEEDS))


def _time_delay(shared: Shared) -> Measured:
    off = []
    for run in shared(runs):
        for W, below, above in zip(run.W, run.x[:-1], run.x[1:], strict=True):
            expected = np.tanh(below[:-1] @ W.T)
            off.append(relative(above[1:] - expected, [expected]))
    return Measured(worst(off), {}, {})


def _forward_wave(shared: Shared) -> Measured:
    off = []
    for run in shared(runs):
        carried = run.x[0]
        for level, W in enumerate(run.W, start=1):
            carried = np.tanh(carried @ W.T)
            # κ = level: the frame of time t is in x_{t+κ,κ}
            off.append(relative(run.x[level][level:] - carried[:-level], [carried]))
    return Measured(worst(off), {}, {})


def _both_waves(shared: Shared) -> Measured:
    """g_{t,l} as (3) composes it: the forward operator on u_{t−l+1}, the backward operator on δ_{t−L+l,L}."""
    off = []
    for run in shared(runs):
        L = len(run.W)
        for l, t in itertools.product(range(1, L + 1), range(2 * L, FRAMES)):
            forward = _forward(run, run.x[0][t - l + 1], l - 1)
            backward = _backward(run, t - L + l, L - l)
            composed = np.outer(backward, forward)
            off.append(relative(run.gradient[l - 1][t] - composed, [composed]))
    return Measured(worst(off), {}, {})


def _forward(run: Run, u: np.ndarray, steps: int) -> np.ndarray:
    for W in run.W[:steps]:
        u = np.tanh(W @ u)
    return u


def _backward(run: Run, start: int, steps: int) -> np.ndarray:
    """∏ σ′_κ W_κᵀ δ_{start,L}, every slope read when and where the wave passes; δ_{t,L} = σ′ ⊙ (x − y)."""
    L = len(run.W)
    delta = (1 - run.x[L][start] ** 2) * (run.x[L][start] - run.target[start])
    for step in range(1, steps + 1):
        delta = (1 - run.x[L - step][start + step] ** 2) * (run.W[L - step].T @ delta)
    return delta


# -- the figures -------------------------------------------------------------------------------------------------------


def _constant(shared: Shared) -> Measured:
    del shared
    network, L = Layered(SIZES), TEN_LEVELS

    before, u, y = np.random.default_rng(3).normal(size=(7, SIZES[0])), jnp.full(SIZES[0], 0.3), jnp.array([0.2, 0.8])
    inputs = jnp.concatenate([jnp.asarray(before), jnp.tile(u, (2 * L, 1))])

    def run(W: PyTree) -> tuple[PyTree, PyTree, PyTree]:
        waves = backprop_waves(network, W, inputs, jnp.tile(y, (7 + 2 * L, 1)), POTENTIAL)
        true = jax.grad(lambda W: loss(network, POTENTIAL, W, u, y))(W)
        return waves.gradient_at(-1), waves.gradient_at(-2), true

    found = jax.tree.map(np.asarray, jax.jit(jax.vmap(run))(layers(SIZES, 3, SEEDS)))
    full, short = (_errors_by_layer(waves, found[2]) for waves in found[:2])
    details = {
        "held for 2L = 18 steps: error": float(np.max(full)),
        "held for 17 steps: error at layer 1": float(np.min(short[0])),
        "held for 17 steps: error at layers 2 to 9": float(np.max(short[1:])),
    }
    demands = {"2L − 1 steps are one too few for layer 1": np.min(short[0]) > 1e-6}
    return Measured(max(float(np.max(full)), float(np.max(short[1:]))), details, demands)


def _errors_by_layer(waves: tuple[np.ndarray, ...], true: tuple[np.ndarray, ...]) -> np.ndarray:
    """[layers, seeds]."""
    pairs = zip(waves, true, strict=True)
    return np.stack([np.max(np.abs(g - r), axis=(1, 2)) / np.max(np.abs(r), axis=(1, 2)) for g, r in pairs])


def errors(shared: Shared) -> tuple[np.ndarray, np.ndarray]:
    """Relative errors at a slow and at a rapid period, [2, L], against the gradients of two frames.

    Those of the frame that made the error, and those of the frame of the target; the mean over SEEDS networks.
    """
    del shared
    network = Layered(SIZES)

    def both(W: PyTree, period: Array) -> tuple[Array, Array]:
        u, y = _inputs(2 * jnp.pi * jnp.arange(float(MEASURED)) / period)
        cause, target = (wave_fidelity(network, W, u, y, POTENTIAL, name) for name in ("cause", "target"))
        return cause.relative_error, target.relative_error

    over_periods = jax.vmap(both, (None, 0))
    found = jax.jit(jax.vmap(over_periods, (0, None)))(layers(SIZES, 4, SEEDS), jnp.array([SLOW, RAPID]))
    cause, target = (np.mean(np.asarray(part), axis=0) for part in found)
    return cause, target


def _inputs(phase: Array) -> tuple[Array, Array]:
    """u [T, 3] and y [T, 2] on curves without a common period."""
    u = jnp.sin(phase[:, None] * jnp.array([1.0, 0.77, 1.31]) + jnp.array([0.3, 1.3, 2.3]))
    return u, 0.5 * jnp.cos(phase[:, None] * jnp.array([1.0, 1.19]) + jnp.array([0.0, 1.0]))


def _slow(shared: Shared) -> Measured:
    del shared
    network, windows, L = Layered(SIZES), 48, TEN_LEVELS
    W = jax.tree.map(lambda leaf: leaf[0], layers(SIZES, 5, 1))
    starts = jnp.asarray(np.random.default_rng(2).uniform(0.0, 500.0, windows))

    def error(period: Array, start: Array) -> Array:
        # The same places of the same curves at every speed: only the speed differs.
        u, y = _inputs(2 * jnp.pi * (start + jnp.arange(2.0 * L + 2) / period))
        return wave_fidelity(network, W, u, y, POTENTIAL).relative_error

    over_windows = jax.vmap(error, (None, 0))
    found = np.asarray(jax.jit(jax.vmap(over_windows, (0, None)))(jnp.array(SLOWER), starts))
    typical = np.median(found, axis=1)
    slopes = [float(np.polyfit(np.log(SLOWER), np.log(typical[:, l]), 1)[0]) for l in range(L)]
    details = {
        "rate in the speed of the input, least": -max(slopes),
        "largest": -min(slopes),
        "largest relative error at a period of 16000 frames": float(np.max(typical[0])),
    }
    return Measured(worst([abs(slope + 1) for slope in slopes]), details, {})


def _rapid(shared: Shared) -> Measured:
    found = shared(errors)[0][-1]
    wrong = found > 0.3
    details = {"least relative error of a layer": float(np.min(found)), "largest": float(np.max(found))}
    return Measured(float(np.mean(~wrong)), details, {})


def _synchronised_gradient(shared: Shared) -> Measured:
    cause, target = shared(errors)
    l_s = synchronised_layer(TEN_LEVELS)
    assert l_s is not None
    exact, others = _without_output()
    details = {
        "period 1000, frame that made the error: at l_s": float(cause[0, l_s - 1]),
        "at the last layer": float(cause[0, -1]),
        "frame of the target: at l_s": float(target[0, l_s - 1]),
        "period 7, frame of the target: at l_s": float(target[-1, l_s - 1]),
        "error independent of the output, constant slopes: at l_s": exact,
        "at other layers, at least": others,
    }
    demands = {
        "against its own frame the least error is at the last layer": int(np.argmin(cause[0])) == TEN_LEVELS - 1,
        "against the target's frame the least error is at l_s": int(np.argmin(target[-1])) == l_s - 1,
        "but it does not vanish there": float(np.min(target[:, l_s - 1])) > 1e-3,
    }
    return Measured(exact, details, demands)


def _without_output() -> tuple[float, float]:
    """Errors at l_s and at other layers of a linear network whose loss is linear in its output, random frames."""
    network, L = Layered((3, 4, 4, 4, 4, 2), "identity"), 5
    W, rng = jax.tree.map(lambda leaf: leaf[0], layers(network.sizes, 6, 1)), np.random.default_rng(7)
    u, y = jnp.asarray(rng.normal(size=(30, 3))), jnp.asarray(rng.normal(size=(30, 2)))
    told = wave_fidelity(network, W, u, y, lambda x, y: jnp.sum(x * y), "target")
    off, l_s = np.asarray(told.relative_error), synchronised_layer(L)
    assert l_s is not None
    return float(off[l_s - 1]), float(np.min(np.delete(off, l_s - 1)))


# -- synchronisation ---------------------------------------------------------------------------------------------------


def _mismatches(shared: Shared) -> Measured:
    del shared
    off, sizes = [], []
    for L in (1, 3, 4, 9):
        target, cause = _carried_mismatches(L)
        off += [abs(target[l - 1] - target_mismatch(l, L)) for l in range(1, L + 1)]
        off += [abs(cause[l - 1] - causing_input_mismatch(l, L)) for l in range(1, L + 1)]
        sizes.append(int(max(np.abs(target))) == L - 1)
        fitting = [l for l in range(1, L + 1) if target[l - 1] == 0]
        sizes.append(fitting == ([synchronised_layer(L)] if L % 2 else []))
    demands = {
        "the largest mismatch is L − 1, and l_s = (L + 1)/2 alone has none": all(sizes),
        "the input that made the error never meets it": min(causing_input_mismatch(l, 9) for l in range(1, 10)) == 1,
    }
    return Measured(float(max(off)), {"off by frames": float(max(off))}, demands)


def _carried_mismatches(L: int, hold: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """What meets at each layer, read off frames that carry their own number through a network of identities.

    target frame less input frame, and input frame less the input frame that made the error; a frame is held for
    `hold` steps of the waves. ∂V/∂x = (y, x): errors tell their target's frame, and that of the output they met.
    """
    steps = 4 * hold * (L + 1)
    numbers = jnp.repeat(jnp.arange(float(steps // hold)), hold)
    identities = (jnp.eye(2),) * L

    def tags(x: Array, y: Array) -> Array:
        return x[0] * y + x[1] ** 2 / 2

    inputs = jnp.stack([numbers, numbers], axis=1)
    waves = backprop_waves(Layered((2,) * (L + 1), "identity"), identities, inputs, numbers, tags)
    met = [np.asarray(below)[2 * L :, 0] for below in waves.x[:-1]]
    made = [np.asarray(delta)[2 * L :] for delta in waves.delta]
    target = [_largest(tag[:, 0] - below) for tag, below in zip(made, met, strict=True)]
    return np.array(target), np.array([_largest(below - tag[:, 1]) for tag, below in zip(made, met, strict=True)])


def _largest(values: np.ndarray) -> float:
    """The entry of largest size."""
    return float(values[np.argmax(np.abs(values))])


def _video(shared: Shared) -> Measured:
    del shared
    L, frame_rate = TEN_LEVELS, 25.0
    dt = largest_time_step(frame_rate, L)
    hold = round(1 / (frame_rate * dt))  # steps of the waves for which a frame of the video stays
    mismatch = float(np.max(np.abs(_carried_mismatches(L, hold)[0])))
    slower = float(np.max(np.abs(_carried_mismatches(L, hold // 2)[0])))
    printed = frame_rate / (L - 1)
    details = {
        "Δt = 1/(f_v (L − 1)) at 25 frames a second and L = 9, in seconds": dt,
        "largest mismatch at it, in frames of the video": mismatch,
        "at twice that Δt": slower,
        "Δt = f_v/(L − 1) as printed": printed,
        "mismatch at the printed one": synchronisation_time(L, printed) * frame_rate,
    }
    demands = {
        "twice the time step is too slow": slower > 1,
        "the printed one is a number of frames a second, not a time": printed * frame_rate * (L - 1) > 100,
    }
    return Measured(abs(mismatch - 1) + abs(synchronisation_time(L, dt) * frame_rate - 1), details, demands)


TIME_DELAY = Check(
    name="time-delay-model",
    equations=("1",),
    claim="x_{t+1,l+1} = σ(W_l x_{t,l}).",
    method="waves of the package under random frames, put into (1) in NumPy",
    verdict="holds",
    tolerance=1e-12,
    measured_by=_time_delay,
)
FORWARD_WAVE = Check(
    name="forward-wave",
    equations=("2",),
    claim="The input of frame t is forwarded to layer κ at t + κ: x_{t+κ,κ} = σ(W … σ(W₀ x_{t,0}) …).",
    method="waves of the package against the composition of layers in NumPy, for every frame and layer",
    verdict="holds",
    tolerance=1e-12,
    measured_by=_forward_wave,
)
BOTH_WAVES = Check(
    name="gradient-of-the-waves",
    equations=("3",),
    claim="g_{t,l} = δ_{t,l} · x_{t,l−1} joins the forward wave of u_{t−l+1} to the backward wave of δ_{t−L+l,L}.",
    method="gradients of the package against both operators composed in NumPy, slopes read where the wave passes",
    verdict="holds",
    tolerance=1e-12,
    measured_by=_both_waves,
)
CONSTANT = Check(
    name="constant-input",
    equations=("Figure 1",),
    claim="With input and supervision constant, the gradient is that of backpropagation where both waves have passed.",
    method="gradients of the waves in ten levels against jax.grad, after a frame has been held for 2L and 2L − 1 steps",
    verdict="holds with a condition",
    tolerance=1e-10,
    measured_by=_constant,
    remark="held for 2L steps; layer l needs 2L − l + 1.",
)
SLOW_INPUT = Check(
    name="slow-input",
    equations=("Figure 2",),
    claim="With slowly varying input the diffusion approximates the gradient very well.",
    method="relative error of every layer against jax.grad of the frame that made the error; fit against the speed",
    verdict="holds",
    tolerance=0.05,
    measured_by=_slow,
)
RAPID_INPUT = Check(
    name="rapid-input",
    equations=("Figure 3",),
    claim="With rapidly changing input the diffusion does not properly approximate the gradient.",
    method="the share of layers within 30 % of jax.grad of the frame that made the error, at a period of 7 frames",
    verdict="holds",
    tolerance=0.0,
    measured_by=_rapid,
)
SYNCHRONISED = Check(
    name="synchronised-gradient",
    equations=("synchronisation", "Figure 2", "Figure 3", "Erratum 4"),
    claim="At l_s = (L + 1)/2 there is perfect synchronisation and the gradient is computed correctly.",
    method="errors against the gradients of two frames; exactness in a linear network with a loss linear in its output",
    verdict="erratum",
    tolerance=1e-12,
    measured_by=_synchronised_gradient,
    remark="input and target are of one frame there, the output is older: exact only if the error ignores the output.",
)
MISMATCHES = Check(
    name="mismatch-of-the-waves",
    equations=("synchronisation",),
    claim="Forward and backward steps differ by (l − 1) − (L − l): not at all at l_s, by L − 1 at most.",
    method="frames that carry their number through identities, for L = 1, 3, 4, 9, against the formulas",
    verdict="holds",
    tolerance=0.0,
    measured_by=_mismatches,
)
VIDEO = Check(
    name="video-bound",
    equations=("video bound", "Erratum 7"),
    claim="A video stream of f_v frames a second needs time intervals bounded by Δt = τ_s/(L − 1) = f_v/(L − 1).",
    method="frames of a video that carry their number, held for 1/(f_v Δt) steps: the largest mismatch, in frames",
    verdict="erratum",
    tolerance=1e-12,
    measured_by=_video,
    remark="τ_s ≤ 1/f_v gives Δt ≤ 1/(f_v (L − 1)).",
)
CHECKS = (
    TIME_DELAY,
    FORWARD_WAVE,
    BOTH_WAVES,
    CONSTANT,
    SLOW_INPUT,
    RAPID_INPUT,
    SYNCHRONISED,
    MISMATCHES,
    VIDEO,
)
