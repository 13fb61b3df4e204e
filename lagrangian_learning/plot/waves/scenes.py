"""The runs behind Figures 1, 2 and 3: a ten-level network under constant, slow and rapid input."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from lagrangian_learning.learning.delta_errors import loss
from lagrangian_learning.learning.potential import SquaredError
from lagrangian_learning.learning.waves.discrete import backprop_waves
from lagrangian_learning.learning.waves.fidelity import Reference, wave_fidelity
from lagrangian_learning.learning.waves.frames import WaveFrames, wave_frames
from lagrangian_learning.networks import Layered

SIZES = (3, 8, 8, 8, 8, 8, 8, 8, 8, 2)  # ten levels 0 … 9, nine layers of weights
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


def scenes(seed: int = 1) -> tuple[Scene, Scene, Scene]:
    """The runs of Figures 1, 2 and 3: constant, slow and rapid."""
    return scene(None, seed), scene(SLOW, seed), scene(RAPID, seed)


def stimulus(num_frames: int, period: float | None) -> tuple[Array, Array]:
    """u_t [T, 3] and y_t [T, 2]: sinusoids, the first of this period in frames; constant when period is None."""
    t = jnp.arange(num_frames).astype(float)
    phase = jnp.zeros_like(t) if period is None else 2 * jnp.pi * t / period
    # Frequencies with no common period: else frames that are one period apart would be taken for equal.
    u = jnp.sin(phase[:, None] * jnp.array([1.0, 0.77, 1.31]) + jnp.array([0.3, 1.3, 2.3]))
    return u, 0.5 * jnp.cos(phase[:, None] * jnp.array([1.0, 1.19]) + jnp.array([0.0, 1.0]))


def scene(period: float | None, seed: int = 1) -> Scene:
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
) -> np.ndarray:
    """Relative error of g_{t,l} [periods, L] for each period of the stimulus, the mean over randomly drawn networks.

    reference: which gradient is meant, as of `wave_fidelity`. sizes: 3 inputs and 2 outputs, any layers between.
    """
    network = Layered(sizes)
    Ws = jax.vmap(network.init)(jax.random.split(jax.random.key(0), num_networks))

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
