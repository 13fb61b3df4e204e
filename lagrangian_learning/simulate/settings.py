"""The settings of a run, checked: times, tolerances, steps, stepper. Each refusal names its remedy."""

from typing import Any, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from lagrangian_learning._arrays import is_concrete
from lagrangian_learning._checks import require

# rtol = atol when neither is given: four digits above rounding in float32, six in float64.
DEFAULT_TOLERANCE = {jnp.dtype("float32"): 1e-5, jnp.dtype("float64"): 1e-10}


class Tolerances(NamedTuple):
    """rtol and atol, or the constant step dt0; what is not used is None. dt0 beside tolerances is the first step."""

    rtol: Float[Array, ""] | None
    atol: Float[Array, ""] | None
    dt0: Float[Array, ""] | None


def checked_state(state: PyTree) -> tuple[PyTree, Any]:
    """The state as strongly typed arrays, and its one dtype."""
    dtype = state_dtype(state)
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), state), dtype


def state_dtype(state: PyTree) -> Any:
    """The one dtype of a state; ValueError for what is no state."""
    leaves = jax.tree.leaves(state)
    if not leaves:
        raise ValueError("the state has no arrays: make it by law.initial_state(t0, ..., args).")
    if not all(isinstance(leaf, jax.Array | np.ndarray | np.generic | float | int) for leaf in leaves):
        raise ValueError("the state must be a pytree of arrays: make it by law.initial_state(t0, ..., args).")
    dtypes = {jnp.result_type(leaf) for leaf in leaves}
    if len(dtypes) > 1 or not dtypes <= DEFAULT_TOLERANCE.keys():
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


def checked_tolerances(rtol: Any, atol: Any, dt0: Any, controller: Any, dtype: Any) -> Tolerances:
    """Tolerances and step in the dtype of the state; no tolerances where dt0 alone or a controller sets the steps."""
    if controller is not None and (rtol is not None or atol is not None):
        raise ValueError("give tolerances to the stepsize_controller, or give rtol and atol without one, not both.")
    step = None if dt0 is None else _positive(dt0, "dt0", dtype)
    if controller is not None or (dt0 is not None and rtol is None and atol is None):
        return Tolerances(None, None, step)
    if rtol is None and atol is None:
        rtol = DEFAULT_TOLERANCE[dtype]
    relative = None if rtol is None else _positive(rtol, "rtol", dtype)
    absolute = None if atol is None else _positive(atol, "atol", dtype)
    if relative is None:  # atol may be finer than any rtol can be
        return Tolerances(jnp.maximum(absolute, _finest(dtype)), absolute, step)
    fine = (
        f"rtol below 10 eps ({_finest(dtype):.1e} in {dtype}) is finer than it resolves: use float64 or a larger rtol."
    )
    relative = require(relative, _values(rtol) >= _finest(dtype), fine)
    return Tolerances(relative, relative if absolute is None else absolute, step)


def checked_solver(solver: Any, dtype: Any, *, adaptive: bool) -> diffrax.AbstractSolver:
    """The stepper: Dopri8 in float64 and Tsit5 in float32 when None."""
    if solver is None:
        return diffrax.Dopri8() if dtype == jnp.dtype("float64") else diffrax.Tsit5()
    if not isinstance(solver, diffrax.AbstractSolver):
        raise ValueError(f"solver must be a Diffrax solver such as diffrax.Tsit5(), got {solver!r}.")
    if solver.term_structure is not diffrax.AbstractTerm and not isinstance(solver.term_structure, type):
        raise ValueError(f"{type(solver).__name__} integrates several terms, and a law is one: use another solver.")
    if adaptive and not isinstance(solver, diffrax.AbstractAdaptiveSolver):
        raise ValueError(
            f"{type(solver).__name__} has no error estimate: give dt0 without tolerances for constant steps, or wrap "
            "it as diffrax.HalfSolver(...)."
        )
    return solver


def checked_max_steps(max_steps: Any) -> int | None:
    """A positive Python integer, or None for no limit."""
    if max_steps is None:
        return None
    if isinstance(max_steps, bool) or not isinstance(max_steps, int | np.integer) or max_steps < 1:
        raise ValueError(f"max_steps must be a positive integer or None, got {max_steps!r}.")
    return int(max_steps)


def _finest(dtype: Any) -> float:
    return 10 * float(jnp.finfo(dtype).eps)


def _values(value: Any) -> Any:
    return np.asarray(value) if is_concrete(value) else jnp.asarray(value)


def _positive(value: Any, name: str, dtype: Any) -> Float[Array, ""]:
    number = _values(value)
    if number.ndim or not (jnp.issubdtype(number.dtype, jnp.floating) or jnp.issubdtype(number.dtype, jnp.integer)):
        raise ValueError(f"{name} must be one real number, got {value!r}.")
    finite = np.isfinite(number) if is_concrete(value) else jnp.isfinite(number)
    return require(jnp.asarray(number).astype(dtype), finite & (number > 0), f"{name} must be positive and finite.")
