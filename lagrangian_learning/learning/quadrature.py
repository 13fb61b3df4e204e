"""Integration of sampled densities."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def integrate_samples(ts: Float[Array, " T"], values: Float[Array, " T"]) -> Float[Array, ""]:
    """∫ f dt from samples at increasing times: on each interval the mean of the two parabolas that cover it.

    Exact for parabolas, fourth order for smooth f on even grids. Raises ValueError for fewer than four samples.
    """
    if ts.shape[0] < 4:
        raise ValueError(f"the action needs at least 4 saved times, got {ts.shape[0]}: save more.")
    steps = jnp.diff(ts)
    left, right = _parabolas(steps, values), _parabolas(steps[::-1], values[::-1])[::-1]
    first, last = left[:1], right[-1:]
    inner = (left[1:] + right[:-1]) / 2
    return jnp.sum(jnp.concatenate([first, inner, last]))


def _parabolas(steps: Array, values: Array) -> Array:
    """∫ over the first of two neighbouring intervals of the parabola through their three nodes."""
    h, k = steps[:-1], steps[1:]
    slope = (values[1:-1] - values[:-2]) / h
    bend = ((values[2:] - values[1:-1]) / k - slope) / (h + k)
    return h * (values[:-2] + values[1:-1]) / 2 - bend * h**3 / 6
