"""Discrete waves (1)–(3): forward and backward propagation with one frame of delay a layer, local in space and time."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PyTree

from lagrangian_learning._arrays import all_finite, cast, dtype_of
from lagrangian_learning._checks import about, number, real, reals, require
from lagrangian_learning.learning.potential import AbstractPotential, as_potential
from lagrangian_learning.networks import Layered
from lagrangian_learning.networks.activations import resolve, slope
from lagrangian_learning.networks.layered import activity, matrix_of, transpose_times


class WaveRecord(eqx.Module):
    """What `backprop_waves` returns: T frames of an L-layer network, time axis first.

    Fields:
        x: L + 1 arrays [T, n_l], input layer first; x[l] is x_{t,l}, which carries input frame t − l.
        delta: L arrays [T, n_l] for l = 1, …, L; delta[l − 1] is δ_{t,l} = ∂V/∂a_l of the error of frame t − L + l.
        weights: those after the last frame: the ones given, unless the waves learned.
        bias: whether the weights come with biases.
    """

    x: tuple[Float[Array, "T _"], ...]
    delta: tuple[Float[Array, "T _"], ...]
    weights: PyTree
    bias: bool = eqx.field(static=True)

    @property
    def gradient(self) -> PyTree:
        """g_{t,l} = δ_{t,l} x_{t,l−1}ᵀ, (3), for every frame: L arrays [T, n_l, n_{l−1}], or pairs with [T, n_l].

        It is +∂V/∂W_{l−1}: the update is −η g. Formed when asked for, since it is T times as large as the weights;
        `gradient_at` and `gradient_sum` need no more than the weights do.
        """
        return _gradient(self.x, self.delta, self.bias)

    def gradient_at(self, t: int | Array) -> PyTree:
        """g_t of one frame, like the weights; t counts from the end when negative, as an index does."""
        x, delta = jax.tree.map(lambda leaf: leaf[..., t, :], (self.x, self.delta))
        return _gradient(x, delta, self.bias)

    @property
    def gradient_sum(self) -> PyTree:
        """Σ_t g_t, like the weights: what a batch update at the end takes."""
        matrices = _products("...ti,...tj->...ij", self.x, self.delta)
        return _with_bias(matrices, tuple(jnp.sum(error, axis=-2) for error in self.delta), self.bias)


def _gradient(x: tuple[Array, ...], delta: tuple[Array, ...], bias: bool) -> PyTree:
    return _with_bias(_products("...i,...j->...ij", x, delta), delta, bias)


def _products(form: str, x: tuple[Array, ...], delta: tuple[Array, ...]) -> tuple[Array, ...]:
    return tuple(
        jnp.einsum(form, error, below, precision="highest") for error, below in zip(delta, x[:-1], strict=True)
    )


def _with_bias(matrices: tuple[Array, ...], offsets: tuple[Array, ...], bias: bool) -> PyTree:
    return tuple(zip(matrices, offsets, strict=True)) if bias else matrices


class _Front(eqx.Module):
    """What the network holds between two frames; everything in it moves by one layer a frame."""

    a: tuple[Array, ...]  # activities of layers 1 … L
    x: tuple[Array, ...]  # their neurons
    delta: tuple[Array, ...]  # delta errors of layers 1 … L − 1; that of layer L is formed within the frame
    W: PyTree


def backprop_waves(
    network: Layered,
    W: PyTree,
    inputs: Float[ArrayLike, "T num_inputs"],
    targets: PyTree,
    potential: Callable[..., Array],
    rate: Float[ArrayLike, ""] | float | None = None,
) -> WaveRecord:
    """x_{t+1,l+1} = σ(W_l x_{t,l}) (1), (2);  δ_{t+1,l−1} = σ′(a_{t+1,l−1}) ⊙ W_{l−1}ᵀ δ_{t,l},
    δ_{t,L} = σ′(a_{t,L}) ⊙ ∂V/∂x_L;  g_{t,l} = δ_{t,l} x_{t,l−1}ᵀ (3).

    Forward and backward waves through a layered network, one layer a frame. Each factor is read where and when the
    wave passes, so that a neuron knows nothing but its neighbours at this frame and the one before; the gradient
    joins whichever waves meet, and is exact when the input and the target stand still for 2L frames.

    The waves start at zero: at frame 0 the activities and neurons of layers 1 … L and the deltas of layers below L
    vanish. The output layer compares itself with its target from frame 0 on, before any input has reached it.

    Arguments:
        network: a `Layered` network of L layers;  W: its weights.
        inputs: [T, num_inputs], the frames u_t = x_{t,0};  targets: [T, …], or a pytree of such arrays.
        potential: V(x_out, y).
        rate: None for frozen weights; else η, and W_l ← W_l − η g_{t,l+1} after each frame.

    Returns `WaveRecord`. Raises ValueError (a run-time error of Equinox when traced) for another network, shapes that
    do not fit, and NaN or infinity, in what is given or in the waves.
    """
    W, inputs, targets = _checked(network, W, inputs, targets)
    eta = None if rate is None else cast(_checked_rate(rate), W)
    record = _run(network, W, inputs, targets, as_potential(potential), eta)
    return require(record, all_finite(record), _LEFT)


_LEFT = "the waves became NaN or inf: lower rate, or look at what potential returns for these W, inputs and targets."


@eqx.filter_jit
def _run(
    network: Layered, W: PyTree, inputs: Array, targets: PyTree, potential: AbstractPotential, eta: Array | None
) -> WaveRecord:
    def step(front: _Front, frame: tuple[Array, PyTree]) -> tuple[_Front, tuple]:
        x, delta = _meet(network, potential, front, *frame)
        return _advance(network, front.W, x, delta, eta), (x, delta)

    last, (x, delta) = jax.lax.scan(step, _silence(network, W), (inputs, targets))
    return WaveRecord(x, delta, last.W, network.bias)


def _meet(network: Layered, potential: AbstractPotential, front: _Front, u: Array, y: PyTree) -> tuple[tuple, tuple]:
    error = jax.grad(potential)(front.x[-1], y)
    top = slope(network.activations[-1], front.a[-1]) * error
    return (u, *front.x), (*front.delta, top)


def _advance(network: Layered, W: PyTree, x: tuple, delta: tuple, eta: Array | None) -> _Front:
    sigmas = network.activations
    a = tuple(activity(weights, below) for weights, below in zip(W, x[:-1], strict=True))
    backward = zip(sigmas[:-1], a[:-1], W[1:], delta[1:], strict=True)
    return _Front(
        a=a,
        x=tuple(resolve(sigma)(a_l) for sigma, a_l in zip(sigmas, a, strict=True)),
        delta=tuple(slope(f, a_l) * transpose_times(matrix_of(above), d) for f, a_l, above, d in backward),
        W=W if eta is None else _learn(network, W, x, delta, eta),
    )


def _learn(network: Layered, W: PyTree, x: tuple, delta: tuple, eta: Array) -> PyTree:
    return jax.tree.map(lambda weight, g: weight - eta * g, W, _gradient(x, delta, network.bias))


def _silence(network: Layered, W: PyTree) -> _Front:
    zeros = tuple(jnp.zeros(size, dtype_of(W)) for size in network.sizes[1:])
    return _Front(a=zeros, x=zeros, delta=zeros[:-1], W=W)


def _checked(network: Any, W: PyTree, inputs: Any, targets: PyTree) -> tuple[PyTree, Array, PyTree]:
    if not isinstance(network, Layered):
        raise ValueError(
            f"backprop_waves needs an ll.Layered network, in which a wave is in one layer at a time, got "
            f"{type(network).__name__}: for other graphs use ll.BackpropDiffusion, the same law in continuous time."
        )
    with about("W"):
        W = network.check_weights(W)
    inputs = real(inputs, "inputs", "real numbers [T, num_inputs]")
    if inputs.ndim != 2 or inputs.shape[1] != network.num_inputs:
        raise ValueError(
            f"inputs have shape {inputs.shape}, expected (T, {network.num_inputs}), one frame a row: "
            "for a batch of recordings use jax.vmap, for one frame held still use jnp.tile(u, (T, 1))."
        )
    targets = jax.tree.map(_target, targets)
    _check_times(inputs.shape[0], targets)
    frames = jax.tree.map(lambda leaf: _as_dtype(leaf, dtype_of(W)), (inputs.astype(dtype_of(W)), targets))
    return W, *require(frames, all_finite(frames), "inputs or targets: NaN or infinity; give finite frames.")


def _target(leaf: Any) -> Array:
    """An array of real numbers, or of integers as it is: labels are the potential's business."""
    whole = isinstance(leaf, jax.Array | np.ndarray) and jnp.issubdtype(leaf.dtype, jnp.integer)
    return jnp.asarray(leaf) if whole else reals(leaf, "targets")


def _as_dtype(leaf: Array, dtype: Any) -> Array:
    return leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.inexact) else leaf


def _check_times(num_frames: int, targets: PyTree) -> None:
    if num_frames < 1:
        raise ValueError("inputs have no frames: T must be at least 1, and at least 2L for gradients at every layer.")
    shapes = [leaf.shape for leaf in jax.tree.leaves(targets)]
    if not shapes or any(shape[:1] != (num_frames,) for shape in shapes):
        raise ValueError(
            f"targets have shapes {shapes}, expected ({num_frames}, …), one target a frame of the inputs: "
            "for a target held still use jnp.tile(y, (T, 1))."
        )


def _checked_rate(rate: Any) -> Array:
    return number(rate, "rate")
