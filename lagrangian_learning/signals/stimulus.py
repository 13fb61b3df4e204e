"""The stimulus of a network: an input and a target."""

import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike

from lagrangian_learning._arrays import all_finite, as_constant, is_concrete, nothing_traced
from lagrangian_learning._checks import about, real, require
from lagrangian_learning._types import Number

from .patterns import Patterns
from .sampled import Sampled
from .signal import AbstractSignal, Function, wider
from .smooth import Constant, Sinusoids
from .stream import Stream
from .times import resolved, steps_of


def as_signal(value: Any) -> AbstractSignal:
    """A signal as it is, a callable as a `Function`, an array or a number as a `Constant`.

    Arguments:
        value: what is meant as a signal.

    Raises ValueError for anything else.
    """
    if isinstance(value, AbstractSignal):
        return value
    if callable(value):
        return Function(value)
    return Constant(_as_array(value))


class Stimulus(eqx.Module):
    """(e(t), y(t)): the input and the target, the `args` of every learning law.

    One module with array leaves only, so that `jax.vmap` over stimuli is vmap over one argument.

    Arguments:
        input: e, of the network's input_shape, as [num_inputs]: a signal, a callable of t, or an array or a number
            that stays as it is.
        target: y, in the same way; its shape is the potential's business.

    Raises ValueError when one of them is neither a signal, a callable nor numbers.
    """

    input: AbstractSignal = eqx.field(converter=lambda value: _signal_named("input", value))
    target: AbstractSignal = eqx.field(converter=lambda value: _signal_named("target", value))

    @property
    def smoothness(self) -> int | float:
        """The lesser of the two. Only the input's counts for the constraints: `stimulus.input.smoothness`."""
        return min(self.input.smoothness, self.target.smoothness)

    @property
    def domain(self) -> tuple[Array, Array] | None:
        """The first and the last time at which both signals are defined; None: always."""
        domains = [signal.domain for signal in (self.input, self.target) if signal.domain is not None]
        if len(domains) < 2:
            return domains[0] if domains else None
        (start, end), (other_start, other_end) = domains
        wide = wider(start.dtype, other_start.dtype)
        start, end, other_start, other_end = (t.astype(wide) for t in (start, end, other_start, other_end))
        return jnp.maximum(start, other_start), jnp.minimum(end, other_end)

    def shift(self, frames: ArrayLike) -> "Stimulus":
        """Both streams with local time 0 moved on by a whole number of frames; what is constant stays as it is.

        Raises ValueError when a signal is neither a `Stream` nor a `Constant`.
        """
        return Stimulus(_shift("input", self.input, frames), _shift("target", self.target, frames))

    def check(
        self, inputs: int | tuple[int, ...], smoothness: Number, t0: ArrayLike, t1: ArrayLike | None = None
    ) -> "Stimulus":
        """The stimulus itself, once it is known to fit.

        Arguments:
            inputs: how many input neurons there are, or their shape.
            smoothness: how often the law differentiates the input, 2 for first-order actions, 4 for second-order ones.
            t0, t1: first and last time of the run.

        Raises ValueError for a wrong shape or too little smoothness, and (`eqx.error_if` when traced) for times outside
        the domain, times that their dtype does not resolve finely enough for the signals, and values that are NaN or
        inf at t0.
        """
        t0 = as_constant(t0)
        t1 = t0 if t1 is None else as_constant(t1)
        found = (_read if nothing_traced() else _reading)(self, t0, t1)
        _check_shape(found.input.shape, (inputs,) if isinstance(inputs, int) else inputs)
        _check_smoothness(self.input, smoothness)
        checked = self if found.inside is None else _check_inside(self, found.inside)
        for name, fine in found.resolved.items():
            message = (
                f"{t0.dtype} times of this run lie too far apart for the {name}, a "
                f"{type(getattr(self, name)).__name__}: run in local time (subtract the first time from ts and from "
                "the signal, or shift a stream), or in float64."
            )
            checked = require(checked, fine, message)
        message = "the input or the target is NaN or inf at the first time of the run: look at stimulus.input(t0)."
        return require(checked, found.finite, message)


class _Reading(NamedTuple):
    """What a check reads of a stimulus at times t0 to t1.

    input: at t0.  finite: whether input and target are, there.  inside: whether both times lie in the domain; None:
    there is none.  resolved: by name, whether the dtype of the times resolves the signal, where that is in question.
    """

    input: Array
    finite: Array
    inside: Any
    resolved: dict[str, Any]


def _reading(stimulus: Stimulus, t0: Array, t1: Array) -> _Reading:
    xp = np if is_concrete(t0, t1) else jnp
    latest = xp.maximum(xp.abs(xp.asarray(t0)), xp.abs(xp.asarray(t1)))
    signals = {"input": stimulus.input, "target": stimulus.target}
    finest = {name: _finest(signal, latest, t0.dtype) for name, signal in signals.items()}
    fine = {name: resolved(*found, t0.dtype) for name, found in finest.items() if found is not None}
    values = [signal(t0) for signal in signals.values()]
    return _Reading(values[0], all_finite(values), _is_inside(stimulus.domain, t0, t1), fine)


# Compiled, since signals are long rows of small operations: 15 ms a call otherwise.
_read = eqx.filter_jit(_reading)


def _signal_named(name: str, value: Any) -> AbstractSignal:
    with about(name):
        return as_signal(value)


def _as_array(value: Any) -> Array:
    try:
        return real(value, "a signal", "real numbers")
    except ValueError as error:
        raise ValueError(f"{error} Give one such as ll.Sampled, a callable of t, or numbers.") from None


def _shift(name: str, signal: AbstractSignal, frames: ArrayLike) -> AbstractSignal:
    if isinstance(signal, Stream):
        return signal.shift(frames)
    if isinstance(signal, Constant):
        return signal
    raise ValueError(
        f"the {name} is a {type(signal).__name__}, which has no frames to shift by, as only streams have: "
        "run it in one piece, or sample it into an ll.Stream."
    )


def _check_shape(shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if shape != expected:
        raise ValueError(
            f"the network has {math.prod(expected)} input neurons, so that the input must have shape {expected}, "
            f"but it has shape {shape}: give one channel an input neuron; for a batch use jax.vmap, or "
            "ll.Batched where one W learns from all signals."
        )


def _check_smoothness(signal: AbstractSignal, needed: Number) -> None:
    if signal.smoothness < needed:
        raise ValueError(
            f"this law differentiates the input {needed} times in t, but the {type(signal).__name__} is only "
            f"C{signal.smoothness}: build it with smoothness={needed}."
        )


def _check_inside(stimulus: Stimulus, inside: Any) -> Stimulus:
    if is_concrete(inside) and inside:
        return stimulus
    assert stimulus.domain is not None
    known = _in_words(*stimulus.domain)
    remedy = "begin and end ts inside, or give a signal that lasts longer."
    return require(stimulus, inside, f"the run leaves the times at which the stimulus is defined{known}: {remedy}")


def _is_inside(domain: tuple[Array, Array] | None, t0: Array, t1: Array) -> Any:
    if domain is None:
        return None
    start, end = (t.astype(t0.dtype) for t in domain)
    room = 8 * jnp.finfo(t0.dtype).eps * jnp.maximum(jnp.abs(start), jnp.abs(end))
    return (t0 >= start - room) & (t1.astype(t0.dtype) <= end + room)


def _finest(signal: AbstractSignal, latest: Any, dtype: Any) -> tuple[Any, Any] | None:
    """(steps, times): the shortest times that matter, and where; None: it is not known, or known to be resolved."""
    match signal:
        case Sampled():
            return None if signal.ts.dtype == dtype else steps_of(signal.ts, signal.ts_rest)
        case Stream():
            return jnp.asarray(signal.spacing, dtype), latest
        case Patterns():
            return jnp.asarray(signal.rise, dtype), latest
        case Sinusoids():
            return 2 * math.pi, jnp.max(jnp.abs(signal.frequency)).astype(dtype) * latest
        case _:
            return None


def _in_words(start: Array, end: Array) -> str:
    try:
        return f" ({float(start):g} to {float(end):g})"
    except (jax.errors.ConcretizationTypeError, TypeError):
        return ""
