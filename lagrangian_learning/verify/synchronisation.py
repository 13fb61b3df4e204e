"""Where forward and backward waves are of one frame, and how fast a video may be."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from lagrangian_learning.learning.waves import (
    backprop_waves,
    causing_input_mismatch,
    largest_time_step,
    synchronisation_time,
    synchronised_layer,
    target_mismatch,
)
from lagrangian_learning.learning.waves.fidelity import wave_fidelity
from lagrangian_learning.networks import Layered

from .claim import Measured, Shared, as_claim
from .problems import layers
from .wave_figures import TEN_LEVELS, errors


@as_claim(
    "synchronisation",
    "Figure 2",
    "Figure 3",
    "Erratum 4",
    claim="At l_s = (L + 1)/2 there is perfect synchronisation and the gradient is computed correctly.",
    method="errors against the gradients of two frames; exactness in a linear network with a loss linear in its output",
    verdict="erratum",
    tolerance=1e-12,
    remark="input and target are of one frame there, the output is older: exact only if the error ignores the output.",
)
def synchronised_gradient(shared: Shared) -> Measured:
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
    likeness = wave_fidelity(network, W, u, y, lambda x, y: jnp.sum(x * y), "target")
    off, l_s = np.asarray(likeness.relative_error), synchronised_layer(L)
    assert l_s is not None
    return float(off[l_s - 1]), float(np.min(np.delete(off, l_s - 1)))


@as_claim(
    "synchronisation",
    claim="Forward and backward steps differ by (l − 1) − (L − l): not at all at l_s, by L − 1 at most.",
    method="frames that carry their number through identities, for L = 1, 3, 4, 9, against the formulas",
    tolerance=0.0,
)
def mismatch_of_the_waves(shared: Shared) -> Measured:
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
    `hold` steps of the waves. ∂V/∂x = (y, x): errors carry their target's frame, and that of the output they met.
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


@as_claim(
    "video bound",
    "Erratum 7",
    claim="A video stream of f_v frames a second needs time intervals bounded by Δt = τ_s/(L − 1) = f_v/(L − 1).",
    method="frames of a video that carry their number, held for 1/(f_v Δt) steps: the largest mismatch, in frames",
    verdict="erratum",
    tolerance=1e-12,
    remark="τ_s ≤ 1/f_v gives Δt ≤ 1/(f_v (L − 1)).",
)
def video_bound(shared: Shared) -> Measured:
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
        "the printed one, taken for a time, is too long": synchronisation_time(L, printed) * frame_rate > 1,
    }
    return Measured(abs(mismatch - 1) + abs(synchronisation_time(L, dt) * frame_rate - 1), details, demands)
