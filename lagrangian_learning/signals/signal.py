"""The interface of signals, and a signal of a plain function."""

import abc
import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, ArrayLike, Inexact

from lagrangian_learning._arrays import as_constant, as_module, is_concrete
from lagrangian_learning._checks import real_array, real_result


class AbstractSignal(eqx.Module):
    """e(t): a function of time that states how often it can be differentiated, and where it is defined.

    Times are in the unit of time of the run, values in the units of the neurons that they drive.

    Every leaf is an array, so that plain `jax.vmap` and `jax.grad` take a signal as an argument: a batch of signals is
    one signal whose leaves have a leading axis, as `jax.vmap(ll.Sampled)(ts, values)` returns it. The value has the
    dtype of t. Bad values are a ValueError where they are known, and a run-time error of Equinox where they are traced.
    """

    smoothness: eqx.AbstractVar[int | float]
    """k, an int, of a signal that is C^k; `math.inf` of an analytic one."""

    @property
    @abc.abstractmethod
    def domain(self) -> tuple[Array, Array] | None:
        """The first and the last time at which the signal is defined; None: always."""

    @abc.abstractmethod
    def __call__(self, t: ArrayLike) -> Inexact[Array, "..."]:
        """The value at the scalar time t, NaN outside the domain."""


class AbstractSmoothSignal(AbstractSignal):
    """A signal with all derivatives, at all times."""

    @property
    def smoothness(self) -> float:
        return math.inf

    @property
    def domain(self) -> None:
        return None


class Function(AbstractSmoothSignal):
    """e(t) = fn(t) for any function that JAX can trace. It is taken to be smooth, and to change slowly beside the
    rounding of t, neither of which can be checked: far from t = 0 give it local time, or run in float64.

    Arguments:
        fn: scalar time to array. A plain function is held statically; an Equinox module keeps its arrays as leaves.
        kinks: times at which fn jumps or has a kink, as numbers; between them it is smooth. `ll.simulate` steps to
            them, as if they were given to it.

    Raises ValueError when fn is non-callable or has leaves other than arrays, and for kinks that are not finite times.
    """

    fn: Callable
    kinks: tuple[float, ...] = eqx.field(static=True)

    def __init__(self, fn: Any, kinks: Any = ()):
        if not callable(fn):
            raise ValueError(
                f"fn is non-callable, a {type(fn).__name__}: give a function of t, or numbers to ll.Constant."
            )
        self.fn, self.kinks = as_module(fn), _times(kinks)

    def __check_init__(self) -> None:
        odd = [type(leaf).__name__ for leaf in jax.tree.leaves(self.fn) if not eqx.is_array(leaf)]
        if odd:
            raise ValueError(
                f"a signal has array leaves only, but this module has a leaf of type {odd[0]}: mark such fields with "
                "eqx.field(static=True), make numbers arrays, or pass a function that closes over the module."
            )

    def __call__(self, t: ArrayLike) -> Inexact[Array, "..."]:
        t = as_scalar_time(t)
        return real_result(self.fn(t), "the function of a signal", t.dtype)


def _times(kinks: Any) -> tuple[float, ...]:
    row = np.ravel(kinks) if is_concrete(kinks) else np.array([None])
    if row.size and (row.dtype.kind not in "fiu" or not np.isfinite(row).all()):
        raise ValueError("kinks must be finite times, known numbers, at which the signal jumps or has a kink.")
    return tuple(sorted(float(time) for time in row))


def as_scalar_time(t: ArrayLike) -> Inexact[Array, ""]:
    """A time as a floating scalar of its own dtype; ValueError when it has axes."""
    t = as_constant(t)
    if t.shape != ():
        raise ValueError(f"a signal takes one time, got an array of shape {t.shape}: use jax.vmap(signal)(ts).")
    return t


def as_leaf(name: str, value: Any) -> Inexact[Array, "..."]:
    """A constant as a leaf of a signal: real, finite and floating, of a definite dtype; else a ValueError.

    A weakly typed leaf would become definite at its first change, and everything would compile again.
    """
    return real_array(value, name)


def wider(dtype: DTypeLike, other: DTypeLike) -> DTypeLike:
    """The floating dtype of the two that holds more digits, also under strict promotion."""
    return dtype if jnp.finfo(dtype).bits >= jnp.finfo(other).bits else other
