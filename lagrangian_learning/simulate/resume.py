"""Going on from an earlier trajectory."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from lagrangian_learning._arrays import is_concrete
from lagrangian_learning._checks import require

from .trajectory import Carry, Trajectory


def resumed(path: Any, state: PyTree) -> PyTree:
    """The state to go on from. A state given beside the trajectory must be its final one."""
    if not isinstance(path, Trajectory):
        raise ValueError(f"resume must be a trajectory that simulate returned, got {type(path).__name__}.")
    if state is None:
        return path.final_state
    message = "with resume=, state must be None or the trajectory's own final_state."
    if jax.tree.structure(state) != jax.tree.structure(path.final_state):
        raise ValueError(message)
    xp = np if is_concrete(state, path.final_state) else jnp
    same = [xp.all(xp.asarray(a) == xp.asarray(b)) for a, b in _pairs(state, path.final_state)]
    return require(path.final_state, xp.all(xp.stack(same)), message)


def checked_start(carry: Carry, times: Array) -> Array:
    """times, if they start where the earlier run ended."""
    if carry.t.dtype != times.dtype:
        raise ValueError(f"the trajectory to resume is {carry.t.dtype}, this run {times.dtype}: keep one dtype.")
    xp = np if is_concrete(carry.t, times) else jnp
    ended = f", {float(carry.t)!r}" if is_concrete(carry.t) and jnp.ndim(carry.t) == 0 else ""
    message = f"ts[0] must be the time at which the resumed trajectory ended{ended}; path.ts[-1] unless it failed."
    return require(times, xp.asarray(times[0]) == xp.asarray(carry.t), message)


def same_kind(state: PyTree, like: PyTree, what: str) -> PyTree:
    """`state`, if it could have been made by this run's settings."""
    kinds = [
        (jax.tree.structure(tree), [getattr(leaf, "shape", ()) for leaf in jax.tree.leaves(tree)])
        for tree in (state, like)
    ]
    if kinds[0] != kinds[1]:
        raise ValueError(f"the trajectory to resume was made with another {what}: give the same settings again.")
    return state


def _pairs(left: PyTree, right: PyTree) -> list[tuple[Any, Any]]:
    return list(zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True))
