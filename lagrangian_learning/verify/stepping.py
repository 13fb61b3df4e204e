"""Runge's fourth-order method, written out: motions that owe nothing to the package's integrators."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

Field = Callable[[Array, PyTree], PyTree]


def rk4(change: Field, start: PyTree, end: float, steps: int, correct: Field | None = None) -> PyTree:
    """The states at steps + 1 even times from 0 to end, time axis first, of ẏ = change(t, y).

    Every step is followed by y ← correct(t, y), at the time where it has arrived.
    """
    h = end / steps
    # A loop over the stages: written out, `change` would be compiled four times.
    stages = (jnp.array([0.0, h / 2, h / 2, h]), jnp.array([h / 6, h / 3, h / 3, h / 6]))

    def step(y: PyTree, t: Array) -> tuple[PyTree, PyTree]:
        def stage(carry: tuple[PyTree, PyTree], coefficients: tuple[Array, Array]) -> tuple[tuple, None]:
            (k, moved), (offset, weight) = carry, coefficients
            k = change(t + offset, _moved(y, k, offset))
            return (k, _moved(moved, k, weight)), None

        (_, moved), _ = jax.lax.scan(stage, (y, y), stages)
        return moved if correct is None else correct(t + h, moved), y

    last, path = jax.lax.scan(step, start, h * jnp.arange(float(steps)))
    return jax.tree.map(lambda states, state: jnp.concatenate([states, state[None]]), path, last)


def _moved(y: PyTree, k: PyTree, h: Array) -> PyTree:
    return jax.tree.map(lambda value, slope: value + h * slope, y, k)
