"""Which frames meet at which layer when waves take one frame a layer, and how fast a stream may be."""

import math

from lagrangian_learning._checks import positive, positive_int


def target_mismatch(l: int, L: int) -> int:
    """(l − 1) − (L − l): forward steps less backward steps of the two waves that meet in g_{t,l}, (3).

    g_{t,l} joins input frame t − l + 1 to the target of frame t − L + l: the latter less the former, in frames. Zero
    at l_s = (L + 1)/2, the paper's perfect synchronisation. l = 1, …, L counts layers of weights; L is their number.
    """
    l, L = _layer(l, L)
    return (l - 1) - (L - l)


def causing_input_mismatch(l: int, L: int) -> int:
    """2(L − l) + 1: how many frames the input in g_{t,l} is younger than the input that made the error in it.

    The error of frame t − L + l is that of an output which input frame t − 2L + l has caused. Never zero, and least
    at the last layer: no layer joins an input to its own error, unless the input stands still.
    """
    l, L = _layer(l, L)
    return 2 * (L - l) + 1


def synchronised_layer(L: int) -> int | None:
    """l_s = (L + 1)/2 for odd L, where input and target of one frame meet; None for even L, which has no such layer."""
    L = positive_int(L, "L, the number of layers of weights,")
    return (L + 1) // 2 if L % 2 else None


def synchronisation_time(L: int, dt: float) -> float:
    """τ_s = (L − 1) Δt: the largest |target_mismatch| as a time. Inputs must be nearly constant over so long.

    dt is the time Δt that a wave takes for one layer. Raises ValueError unless it is positive.
    """
    return (positive_int(L, "L, the number of layers of weights,") - 1) * _positive(dt, "dt")


def largest_time_step(frame_rate: float, L: int) -> float:
    """Δt ≤ 1/(f_v (L − 1)): the longest time a layer may take if τ_s is to be within one frame of the stream.

    frame_rate f_v is in frames a unit of time. The paper prints f_v/(L − 1), which is not a time.
    Infinite for L = 1, where nothing propagates. Raises ValueError unless frame_rate is positive.
    """
    steps = positive_int(L, "L, the number of layers of weights,") - 1
    rate = _positive(frame_rate, "frame_rate")
    return 1 / (rate * steps) if steps else math.inf


def _layer(l: int, L: int) -> tuple[int, int]:
    l, L = positive_int(l, "the layer l"), positive_int(L, "L, the number of layers of weights,")
    if l > L:
        raise ValueError(f"layer {l} of a network of {L} layers of weights: layers are numbered 1, …, L.")
    return l, L


def _positive(value: float, name: str) -> float:
    """The Python number as it is: as an array it could lose digits."""
    positive(value, name)
    return value
