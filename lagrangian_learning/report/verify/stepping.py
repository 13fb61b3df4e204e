"""Runge's fourth-order method, written out: for motions that `simulate` would refuse or put right."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree


def rk4(change: Callable[[Array, PyTree], PyTree], start: PyTree, end: float, steps: int) -> PyTree:
    """The states at steps + 1 even times from 0 to end, time axis first, of ẏ = change(t, y)."""
    h = end / steps

    def step(y: PyTree, t: Array) -> tuple[PyTree, PyTree]:
        k1 = change(t, y)
        k2 = change(t + h / 2, _moved(y, k1, h / 2))
        k3 = change(t + h / 2, _moved(y, k2, h / 2))
        k4 = change(t + h, _moved(y, k3, h))
        mean = jax.tree.map(lambda a, b, c, d: (a + 2 * b + 2 * c + d) / 6, k1, k2, k3, k4)
        return _moved(y, mean, h), y

    last, path = jax.lax.scan(step, start, h * jnp.arange(float(steps)))
    return jax.tree.map(lambda states, state: jnp.concatenate([states, state[None]]), path, last)


def _moved(y: PyTree, k: PyTree, h: float) -> PyTree:
    return jax.tree.map(lambda value, slope: value + h * slope, y, k)
