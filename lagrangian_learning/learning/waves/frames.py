"""Which frames a wave carries where, measured by perturbing one frame at a time."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

from lagrangian_learning.learning.potential import AbstractPotential, as_potential
from lagrangian_learning.networks import Layered

from .discrete import backprop_waves


class WaveFrames(eqx.Module):
    """The frame that each wave carries at frame t (row) and layer l (column); −1 where no frame has arrived.

    Fields:
        input: [T, L + 1], the input frame in x_{t,l}.
        target: [T, L], the target frame in δ_{t,l}, l = 1, …, L.
        cause: [T, L], the input frame that made the error in δ_{t,l}: the one in the output when it met that target.
            (Further input frames enter δ_{t,l} through the slopes σ′ that the wave met on its way.)
    """

    input: Int[np.ndarray, "T levels"]
    target: Int[np.ndarray, "T layers"]
    cause: Int[np.ndarray, "T layers"]


def wave_frames(
    network: Layered, W: PyTree, inputs: Float[Array, "T num_inputs"], targets: Array, potential: Callable[..., Array]
) -> WaveFrames:
    """Finds the frames by a run, not by the formulas: one derivative of all waves for each frame of each stimulus.

    Arguments as of `backprop_waves`; the activation must be smooth, as a slope that vanishes hides a frame.
    """
    by_input, by_target = _reactions(network, W, inputs, targets, as_potential(potential))
    carried, met = _frames(by_input), _frames(by_target)
    return WaveFrames(input=carried, target=met, cause=np.where(met < 0, -1, carried[met, -1]))


@eqx.filter_jit
def _reactions(
    network: Layered, W: PyTree, inputs: Array, targets: Array, potential: AbstractPotential
) -> tuple[tuple, tuple]:
    """Derivatives of x along a change of input frame s, and of δ along one of target frame s; s is the first axis."""

    def along(s: Array, given: Array, run: Callable[[Array], tuple]) -> tuple:
        return jax.jvp(run, (given,), (jnp.zeros_like(given).at[s].set(1),))[1]

    def of_inputs(s: Array) -> tuple:
        return along(s, inputs, lambda u: backprop_waves(network, W, u, targets, potential).x)

    def of_targets(s: Array) -> tuple:
        return along(s, targets, lambda y: backprop_waves(network, W, inputs, y, potential).delta)

    frames = jnp.arange(inputs.shape[0])
    return jax.vmap(of_inputs)(frames), jax.vmap(of_targets)(frames)


def _frames(waves: tuple[Array, ...]) -> Int[np.ndarray, "T layers"]:
    reacts: Bool[np.ndarray, "S T layers"] = np.stack([np.any(np.asarray(wave) != 0, axis=-1) for wave in waves], -1)
    return np.where(reacts.any(axis=0), reacts.argmax(axis=0), -1)
