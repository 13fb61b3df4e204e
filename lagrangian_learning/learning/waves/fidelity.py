"""How closely the gradients of discrete waves follow those of backpropagation, frame by frame."""

from collections.abc import Callable
from typing import Literal, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int, PyTree

from lagrangian_learning._arrays import is_concrete
from lagrangian_learning.learning.delta_errors import fidelity, loss
from lagrangian_learning.learning.potential import AbstractPotential, as_potential
from lagrangian_learning.networks import Layered

from .discrete import WaveRecord, backprop_waves


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


Reference = Literal["cause", "input", "target", "current"]


class WaveFidelity(eqx.Module):
    """Of g_{t,l} against reference gradients, over all frames with full waves, layers l = 1, …, L; prints as a table.

    relative_error: |g − g*|/|g*| [L].
    cosine: [L].
    norm_ratio: |g|/|g*| [L].
    """

    relative_error: Float[Array, " layers"]
    cosine: Float[Array, " layers"]
    norm_ratio: Float[Array, " layers"]

    def __str__(self) -> str:
        if not is_concrete(self.cosine) or self.cosine.ndim != 1:
            return (
                f"WaveFidelity(relative_error={self.relative_error}, cosine={self.cosine}, "
                f"norm_ratio={self.norm_ratio})"
            )
        columns = [np.asarray(values) for values in (self.relative_error, self.cosine, self.norm_ratio)]
        rows = [
            f"{l:>5}  {e:>14.6f}  {c:>10.6f}  {n:>10.6f}" for l, (e, c, n) in enumerate(zip(*columns, strict=True), 1)
        ]
        return "\n".join(["layer  relative error      cosine  norm ratio", *rows])


def wave_fidelity(
    network: Layered,
    W: PyTree,
    inputs: Float[ArrayLike, "T num_inputs"],
    targets: PyTree,
    potential: Callable[..., Array],
    reference: Reference = "cause",
) -> WaveFidelity:
    """g_{t,l} of `backprop_waves` with frozen weights against g* = ∂V(f(W, u_s), y_r)/∂W_{l−1} by `jax.grad`.

    Which gradient is meant is a choice, since the waves that meet come from different frames:
        "cause": the frame that made the error, s = t − 2L + l with the target it met, r = t − L + l;
        "target": the frame of that target, s = r = t − L + l;
        "input": the frame of the input that the error meets, s = r = t − l + 1;
        "current": s = r = t.

    Arguments as of `backprop_waves`, T ≥ 2L: frames from 2L − 1 on are compared, where all waves are full.

    Raises ValueError for fewer frames or another reference.
    """
    L, T = len(network.sizes) - 1, jnp.shape(inputs)[0]
    if reference not in get_args(Reference):
        raise ValueError(f"reference must be one of {', '.join(get_args(Reference))}, got {reference!r}.")
    waves = backprop_waves(network, W, inputs, targets, potential)  # checks all others
    if 2 * L > T:
        raise ValueError(f"{T} frames do not fill {L} layers: fidelity needs T ≥ 2L = {2 * L} frames.")
    return _compare(network, W, waves, targets, as_potential(potential), reference)


@eqx.filter_jit
def _compare(
    network: Layered, W: PyTree, waves: WaveRecord, targets: PyTree, potential: AbstractPotential, reference: Reference
) -> WaveFidelity:
    first = 2 * (len(network.sizes) - 1) - 1
    full = [g[first:] for g in _by_layer(waves.gradient)]
    references = _references(network, W, waves.x[0], targets, potential, reference)
    likeness = fidelity(full, references)
    errors = [jnp.linalg.norm(g - r) / jnp.linalg.norm(r) for g, r in zip(full, references, strict=True)]
    return WaveFidelity(jnp.stack(errors), likeness.cosine, likeness.norm_ratio)


def _references(
    network: Layered, W: PyTree, inputs: Array, targets: PyTree, potential: AbstractPotential, reference: Reference
) -> list[Array]:
    """g*, [T − 2L + 1, n_out, n_in] for each layer, at frames 2L − 1, …, T − 1."""
    L, T = len(network.sizes) - 1, inputs.shape[0]
    # The pairs (u_s, y_r) are those of all layers, only at other times: one gradient a frame is enough.
    lag = L if reference == "cause" else 0
    y = jax.tree.map(lambda leaf: jnp.asarray(leaf)[lag:], targets)
    frame_gradient = jax.vmap(jax.grad(lambda W, u, y: loss(network, potential, W, u, y)), (None, 0, 0))
    gradient = _by_layer(frame_gradient(W, inputs[: T - lag], y))
    starts = [2 * L - 1 - _delay(reference, l, L) for l in range(1, L + 1)]
    return [g[start : start + T - 2 * L + 1] for g, start in zip(gradient, starts, strict=True)]


def _delay(reference: Reference, l: int, L: int) -> int:
    """t − s for the frame s whose input the reference gradient has."""
    return {"cause": 2 * L - l, "target": L - l, "input": l - 1, "current": 0}[reference]


def _by_layer(gradient: PyTree) -> list[Array]:
    """[T, n_out, n_in (+ 1)] for each layer: the bias as one more column."""
    return [g if not isinstance(g, tuple) else jnp.concatenate([g[0], g[1][..., None]], -1) for g in gradient]
