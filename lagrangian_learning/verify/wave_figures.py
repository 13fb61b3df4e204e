"""Figures 1 to 3: the gradient of the waves under constant, slow and rapid inputs."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from lagrangian_learning.learning import SquaredError
from lagrangian_learning.learning.delta_errors import loss
from lagrangian_learning.learning.waves import backprop_waves
from lagrangian_learning.learning.waves.fidelity import wave_fidelity
from lagrangian_learning.networks import Layered
from lagrangian_learning.networks.examples import SIZES

from .claim import Measured, Shared, as_claim
from .problems import layers, worst

SEEDS, MEASURED = 3, 600
SLOW, RAPID, SLOWER = 1000.0, 7.0, (16000.0, 8000.0, 4000.0)
TEN_LEVELS = len(SIZES) - 1
POTENTIAL = SquaredError()


@as_claim(
    "Figure 1",
    claim="With input and supervision constant, the gradient is that of backpropagation where both waves have passed.",
    method="gradients of the waves in ten levels against jax.grad, after a frame has been held for 2L and 2L − 1 steps",
    verdict="holds with a condition",
    tolerance=1e-10,
    remark="held for 2L steps; layer l needs 2L − l + 1.",
)
def constant_input(shared: Shared) -> Measured:
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


@as_claim(
    "Figure 2",
    claim="With slowly varying input the diffusion approximates the gradient very well.",
    method="relative error of every layer against jax.grad of the frame that made the error; fit against the speed",
    tolerance=0.05,
)
def slow_input(shared: Shared) -> Measured:
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


@as_claim(
    "Figure 3",
    claim="With rapidly changing input the diffusion does not properly approximate the gradient.",
    method="the share of layers within 30 % of jax.grad of the frame that made the error, at a period of 7 frames",
    tolerance=0.0,
)
def rapid_input(shared: Shared) -> Measured:
    found = shared(errors)[0][-1]
    wrong = found > 0.3
    details = {"least relative error of a layer": float(np.min(found)), "largest": float(np.max(found))}
    return Measured(float(np.mean(~wrong)), details, {})
