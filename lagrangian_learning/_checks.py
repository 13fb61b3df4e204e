"""Checks of values: one validator a kind. What is known now raises a ValueError, what is traced a run-time error."""

import contextlib
import operator
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact, PyTree

from ._arrays import as_constant, as_module, is_concrete


class Verdict(NamedTuple):
    """Outcome of a check of traced values, and its message where it is false."""

    ok: Array
    message: str


_verdicts: ContextVar[list[Verdict] | None] = ContextVar("verdicts", default=None)


def require(value: PyTree, ok: Any, message: str) -> PyTree:
    """`value`, if `ok`: else a ValueError when it is known now, and a run-time error of Equinox when it is traced."""
    if is_concrete(ok):
        if not np.all(np.asarray(ok)):  # NumPy: under jit even a constant would be traced
            raise ValueError(message)
        return value
    ok, verdicts = jnp.all(jnp.asarray(ok)), _verdicts.get()
    if verdicts is not None:
        verdicts.append(Verdict(ok, message))
        return value
    return eqx.error_if(value, jnp.logical_not(ok), message)


@contextlib.contextmanager
def collected_verdicts() -> Iterator[list[Verdict]]:
    """The verdicts of `require` on traced values inside the block, returned instead of raised.

    An error would end a batch for one lane, and would be lost with the value it hangs on where nothing uses that.
    """
    found: list[Verdict] = []
    token = _verdicts.set(found)
    try:
        yield found
    finally:
        _verdicts.reset(token)


def refused(verdicts: list[Verdict]) -> Array:
    """Whether any verdict is against it."""
    return jnp.logical_not(jnp.all(jnp.stack([jnp.asarray(True), *(verdict.ok for verdict in verdicts)])))


def raised(value: PyTree, verdicts: list[Verdict]) -> PyTree:
    """`value`, which must be used, with a run-time error with the message of the first verdict against it."""
    if not verdicts:
        return value
    wrong = jnp.logical_not(jnp.stack([verdict.ok for verdict in verdicts]))
    return eqx.branched_error_if(value, jnp.any(wrong), jnp.argmax(wrong), [verdict.message for verdict in verdicts])


def number(value: Any, name: str) -> Inexact[Array, ""]:
    """One finite real number as an array; otherwise an error that names the argument."""
    constant = _scalar(value, name)
    return require(constant, _isfinite(_known(value, constant)), f"{name} must be finite.")


def positive(value: Any, name: str, meaning: str = "", *, finite: bool = True) -> Inexact[Array, ""]:
    """One real number > 0; `meaning` ends the message: what the argument is, or what to use in its place."""
    constant = _scalar(value, name)
    known = _known(value, constant)
    allowed = (known > 0) & (_isfinite(known) if finite else True)
    return require(constant, allowed, _message(f"{name} must be {'finite and ' if finite else ''}> 0", meaning))


def nonnegative(value: Any, name: str, meaning: str = "") -> Inexact[Array, ""]:
    """One finite real number >= 0; `meaning` ends the message."""
    constant = _scalar(value, name)
    known = _known(value, constant)
    return require(constant, _isfinite(known) & (known >= 0), _message(f"{name} must be finite and >= 0", meaning))


def positive_int(value: Any, name: str) -> int:
    """A positive Python integer; ValueError otherwise, and for booleans."""
    try:
        integer = operator.index(value)
    except TypeError:
        integer = 0
    if integer < 1 or isinstance(value, bool):
        raise ValueError(f"{name} must be a positive integer, got {value!r}.")
    return integer


def optional_module(fn: Callable | None) -> Callable | None:
    """`as_module` of a callable; None stays None."""
    return None if fn is None else as_module(fn)


def _scalar(value: Any, name: str) -> Inexact[Array, ""]:
    try:
        constant = as_constant(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be one real number, got {type(value).__name__}.") from None
    if constant.ndim:
        raise ValueError(f"{name} must be one number, got shape {constant.shape}: for a batch use jax.vmap.")
    if jnp.issubdtype(constant.dtype, jnp.complexfloating):
        raise ValueError(f"{name} must be real, got {constant.dtype}.")
    return constant


def _known(value: Any, constant: Array) -> Any:
    """The value in NumPy where it is known: under jit even an operation on constants would be traced."""
    return np.asarray(value) if is_concrete(value) else constant


def _isfinite(known: Any) -> Any:
    return np.isfinite(known) if isinstance(known, np.ndarray) else jnp.isfinite(known)


def _message(requirement: str, meaning: str) -> str:
    return f"{requirement}: {meaning}" if meaning else f"{requirement}."
