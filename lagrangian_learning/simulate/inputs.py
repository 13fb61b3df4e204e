"""What a run is given beside its settings: law, state, times, and room for them. Each refusal names its remedy."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from lagrangian_learning._arrays import is_concrete
from lagrangian_learning._checks import require
from lagrangian_learning._memory import device_memory
from lagrangian_learning.mechanics.law import AbstractLaw
from lagrangian_learning.signals import AbstractSignal

_DTYPES = {jnp.dtype("float32"), jnp.dtype("float64")}
_FEWEST_STATES = 4  # that a step holds: the state, its rate, the next state and the error
_NEVER_TOO_MUCH = 2**28  # bytes, which every device has


def check_law(law: Any, save: Any) -> None:
    """ValueError for what is not a law, or not a save function."""
    if not isinstance(law, AbstractLaw):
        raise ValueError(f"law must be a law, such as action.law() or ll.EulerLagrange(...), got {type(law).__name__}.")
    if save is not None and not callable(save):
        raise ValueError("save must be a function save(t, observables) that returns what to record.")


def checked_state(state: PyTree) -> tuple[PyTree, Any]:
    """The state as strongly typed arrays, and its one dtype."""
    dtype = state_dtype(state)
    with np.errstate(over="ignore"):  # what becomes infinite is refused as such
        return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), state), dtype


def state_dtype(state: PyTree) -> Any:
    """The one dtype of a state; ValueError for what is not a state."""
    leaves = jax.tree.leaves(state)
    if not leaves:
        raise ValueError("the state has no arrays: make it by law.initial_state(t0, ..., args).")
    if not all(isinstance(leaf, jax.Array | np.ndarray | np.generic | float | int) for leaf in leaves):
        raise ValueError("the state must be a pytree of arrays: make it by law.initial_state(t0, ..., args).")
    dtypes = {jnp.result_type(leaf) for leaf in leaves}
    if len(dtypes) > 1 or not dtypes <= _DTYPES:
        raise ValueError(
            f"the state must be all float32 or all float64, got {sorted(map(str, dtypes))}: cast it, or make it by "
            "law.initial_state with floating-point data."
        )
    return dtypes.pop()


def checked_times(ts: Any, dtype: Any) -> Float[Array, " times"]:
    """ts in the dtype of the state: one-dimensional, at least two, finite, strictly increasing."""
    known = is_concrete(ts)
    xp = np if known else jnp
    times = xp.asarray(ts)
    if not (jnp.issubdtype(times.dtype, jnp.floating) or jnp.issubdtype(times.dtype, jnp.integer)):
        raise ValueError(f"ts must be real numbers, got dtype {times.dtype}.")
    if times.ndim != 1 or times.shape[0] < 2:
        raise ValueError(
            f"ts must be one-dimensional with at least two times, the first of them the start; got shape {times.shape}."
        )
    with np.errstate(over="ignore"):
        rounded = times.astype(dtype)
    message = "ts contains NaN or inf: give finite times."
    times = require(jnp.asarray(rounded), xp.isfinite(rounded), message)
    message = (
        f"ts must increase strictly, also after rounding to {dtype}: sort it, remove repeated times, and integrate "
        "long streams piece by piece in local time."
    )
    times = require(times, rounded[1:] > rounded[:-1], message)
    # Diffrax moves a step that ends within 100 units in the last place of the end on to the end.
    room = 128 * float(jnp.finfo(dtype).eps) * xp.abs(rounded[-1])
    message = (
        f"the last two times are closer than 128 eps of {dtype} times ts[-1], where steps drown in rounding: "
        "leave one out, integrate piece by piece in local time, or use float64."
    )
    return require(times, rounded[-1] - rounded[-2] > room, message)


def check_room(state: PyTree, count: int, save: Any, dense: int | None = 0) -> None:
    """ValueError where even the states are more than the memory: those of a step, and, without save, the saved ones.

    dense: how many steps are kept beside.
    """
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    needed = size * (_FEWEST_STATES + (count if save is None else 0) + 2 * (dense or 0))
    if needed < _NEVER_TOO_MUCH or needed <= (there := device_memory()):
        return
    raise ValueError(
        f"this run needs {needed / 1e9:.3g} GB at least, for states of {size / 1e6:.3g} MB at {count} times of ts, and "
        f"the device has {there / 1e9:.3g} GB: give fewer ts, keep less by save=, or ask ll.estimate."
    )


def kinks_known(kinks: Any, args: Any) -> Any:
    """The kinks that a user gave, and those that the signals in args state."""

    def signal(node: Any) -> bool:
        return isinstance(node, AbstractSignal)

    stated = [getattr(node, "kinks", ()) for node in jax.tree.leaves(args, is_leaf=signal) if signal(node)]
    if not any(stated) or (kinks is not None and not is_concrete(kinks)):
        return kinks
    return np.concatenate([np.ravel(row) for row in ([] if kinks is None else [kinks]) + stated])
