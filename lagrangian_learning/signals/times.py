"""Times as data have them: kept to the last digit given, and refused where a dtype cannot distinguish them."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Inexact

from lagrangian_learning._arrays import is_concrete
from lagrangian_learning._checks import real_array, require

FINEST = 64
"""Numbers of a dtype that the shortest time of a signal must span: with fewer, stages of a step see a jagged signal."""

_SECONDS = {"M": "(ts - ts[0]) / np.timedelta64(1, 's')", "m": "ts / np.timedelta64(1, 's')"}
_REMEDY = "subtract the first time, from the times of the run too, or use float64."


def as_times(value: Any) -> tuple[Inexact[Array, "..."], Inexact[Array, "..."]]:
    """(ts, rest): times in JAX's dtype and what rounding to it took from them, so that ts + rest are those given.

    Raises ValueError for what is not real numbers, dates among it.
    """
    given = _on_the_host(value)
    if given is None:
        ts = real_array(value, "ts")
        return ts, jnp.zeros_like(ts)
    if given.dtype.kind in _SECONDS:
        raise ValueError(f"ts is {given.dtype}: give seconds, {_SECONDS[given.dtype.kind]}.")
    dtype = real_array(given, "ts").dtype
    floating = jnp.issubdtype(given.dtype, jnp.floating)
    exact = given.astype(np.result_type(given.dtype, np.float64) if floating else np.int64)
    with np.errstate(over="ignore", invalid="ignore"):  # NaN and inf have their own check
        rounded = given.astype(dtype)
        rest = (exact - rounded.astype(exact.dtype)).astype(dtype)
    return jnp.asarray(rounded), jnp.asarray(rest)


def _on_the_host(value: Any) -> np.ndarray | None:
    """An array of NumPy's, where it has digits that JAX would drop, or is no number at all."""
    if not is_concrete(value) or hasattr(value, "aval"):
        return None
    try:
        given = np.asarray(value)
    except ValueError:  # rows of several lengths
        return None
    return None if given.dtype == object else given


def checked_times(
    ts: Inexact[Array, " times"], rest: Inexact[Array, " times"]
) -> tuple[Inexact[Array, " times"], Inexact[Array, " times"]]:
    """The times, which must increase strictly, and by steps that numbers of their dtype resolve."""
    steps, largest = steps_of(ts, rest)
    pair = require((ts, rest), steps >= 0, "ts must increase strictly: sort the samples by time.")
    message = (
        f"ts must increase strictly, and in {ts.dtype} some coincide: keep one sample at each time; if "
        f"they differ before they are rounded, {_REMEDY}"
    )
    pair = require(pair, steps > 0, message)
    return require(pair, resolved(steps, largest, ts.dtype), _too_coarse(ts.dtype, largest, steps))


def steps_of(ts: Inexact[Array, " times"], rest: Inexact[Array, " times"]) -> tuple[Any, Any]:
    """The steps from each time to the next, and the larger |t| of the two; NumPy's where they are known."""
    xp = np if is_concrete(ts, rest) else jnp
    times = xp.asarray(ts)
    return xp.diff(times) + xp.diff(xp.asarray(rest)), xp.maximum(xp.abs(times[:-1]), xp.abs(times[1:]))


def resolved(steps: Any, times: Any, dtype: DTypeLike) -> Bool[Array | np.ndarray | np.bool_, "..."]:
    """Whether at least `FINEST` numbers of the dtype lie within steps, each beside a time ≥ 0."""
    return steps >= FINEST * float(jnp.finfo(dtype).eps) * times


def _too_coarse(dtype: Any, times: Any, steps: Any) -> str:
    if not is_concrete(times, steps) or not steps.size:
        return f"ts differ by less than {FINEST} units in the last place of {dtype}: {_REMEDY}"
    worst = int(np.argmax(times / np.maximum(steps, np.finfo(dtype).tiny)))
    between = f"near {times[worst]:.6g} lie {np.spacing(times[worst]):.3g} apart, the samples {steps[worst]:.3g}"
    return f"ts is too fine: {dtype} numbers {between}: {_REMEDY}"
