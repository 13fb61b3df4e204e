"""Blends of local polynomials: the one idea behind `Sampled`, `Stream` and `Patterns`.

On [t_i, t_{i+1}], with θ = (t − t_i)/(t_{i+1} − t_i),

    s(t) = (1 − b(θ)) p_i(t) + b(θ) p_{i+1}(t),

p_i the polynomial of even degree 2r through the 2r + 1 nodes around t_i and b a smoothstep whose first derivatives are
zero at both ends. At a node the derivatives of s are those of p_i from either side: for degree 0 as many as b has zero
ones; for higher degrees one more, since p_{i+1} − p_i is zero at both nodes. So s is C^k with k such derivatives of b,
or with k − 1, which bends less. It interpolates (for degree 0 it stays between two values), and a query costs 2r + 2
nodes, with no global system as for a spline.

Both polynomials go through the 2r nodes in the middle, and differ only in the leading coefficient of their Newton form:

    s(t) = N(t) + ((1 − b) A + b B) ω(t),      ω(t) = Π (t − t_m) over the nodes in the middle.
"""

import math
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from lagrangian_learning._checks import one_of

SMOOTHNESS = (2, 4)
"""C² serves first-order actions, whose constraints are differentiated twice, C⁴ second-order ones."""


def smoothstep(theta: Float[Array, ""], flatness: int) -> Float[Array, ""]:
    """b(θ) = θ^{f+1} Σ_{j=0..f} C(f+j, j) (1 − θ)^j: from 0 to 1 with f vanishing derivatives at both ends."""
    total = jnp.zeros_like(theta)
    for j in reversed(range(flatness + 1)):
        total = total * (1.0 - theta) + float(math.comb(flatness + j, j))
    return total * theta ** (flatness + 1)


def window(interval: Int[Array, ""], num_nodes: int, degree: int) -> Int[Array, ""]:
    """The first of the 2r + 2 nodes that an interval needs, shifted inside at both ends."""
    return jnp.clip(interval - degree // 2, 0, num_nodes - degree - 2)


def blend_weight(
    theta: Float[Array, ""], interval: Int[Array, ""], first: Int[Array, ""], degree: int, smoothness: int
) -> Float[Array, ""]:
    """b(θ); 0 or 1 near the ends, where p_i and p_{i+1} are the same polynomial, the first or the last."""
    shifted = interval - degree // 2 - first
    inside = jnp.where(shifted < 0, 0.0, 1.0).astype(theta.dtype)
    flatness = smoothness if degree == 0 else smoothness - 1
    return jnp.where(shifted == 0, smoothstep(theta, flatness), inside)


def blend(
    t: Float[Array, ""], nodes: Float[Array, " window"], values: Float[Array, " window ..."], weight: Float[Array, ""]
) -> Float[Array, "..."]:
    """s(t) from the 2r + 2 nodes of a window, their values and the weight b; t and nodes count from the same origin."""
    last = values.shape[0] - 1
    # From the middle outwards, so that rounding is least where the blend is used.
    middle = sorted(range(1, last), key=lambda m: abs(2 * m - last))
    used, coefficients = [], []
    for m in middle:
        coefficients.append(_divided_difference(nodes[m], values[m], zip(used, coefficients, strict=True)))
        used.append(nodes[m])
    left = _divided_difference(nodes[0], values[0], zip(used, coefficients, strict=True))
    right = _divided_difference(nodes[last], values[last], zip(used, coefficients, strict=True))
    total = (1.0 - weight) * left + weight * right
    for node, coefficient in zip(reversed(used), reversed(coefficients), strict=True):
        total = total * (t - node) + coefficient
    return total


def _divided_difference(node: Array, value: Array, below: Iterable[tuple[Array, Array]]) -> Array:
    """The Newton coefficient that one more node brings."""
    for other, coefficient in below:
        value = (value - coefficient) / (node - other)
    return value


def limited_blend(
    t: Float[Array, ""], nodes: Float[Array, " 4"], values: Float[Array, " 4 ..."], weight: Float[Array, ""]
) -> Float[Array, "..."]:
    """s(t) of degree 1 between the second and the third of four nodes, p_i the line through node i with slope m_i.

    m_i is the lesser of the slopes to its two neighbours, and 0 where they differ in sign. So s is monotone from node
    to node and stays between the two values: for values that rise, (1 − b) m_i (t − t_i) ≥ 0 and
    v_{i+1} − m_{i+1} (t_{i+1} − t) ≥ v_i. At an end a node is given twice, and its missing slope is the interval's.
    """
    lengths = jnp.diff(nodes)
    lengths = lengths.reshape(lengths.shape + (1,) * (values.ndim - 1))
    slopes = jnp.diff(values, axis=0) / jnp.where(lengths > 0, lengths, 1)
    slopes = jnp.where(lengths > 0, slopes, slopes[1])
    left, right = _lesser(slopes[0], slopes[1]), _lesser(slopes[1], slopes[2])
    ahead, behind = values[1] + left * (t - nodes[1]), values[2] + right * (t - nodes[2])
    return (1.0 - weight) * ahead + weight * behind


def _lesser(slope: Array, other: Array) -> Array:
    """The one nearer to zero; 0 where the signs differ."""
    nearer = jnp.where(jnp.abs(slope) < jnp.abs(other), slope, other)
    return jnp.where(slope * other > 0, nearer, jnp.zeros_like(nearer))


def nan_outside(value: Float[Array, "..."], inside: Array) -> Float[Array, "..."]:
    """`value` inside the domain, NaN outside, and so for its derivatives, which a `where` would make zero there."""
    return value * jnp.where(jax.lax.stop_gradient(inside), 1.0, jnp.nan).astype(value.dtype)


def check_smoothness(smoothness: Any) -> int:
    """2 or 4; ValueError otherwise."""
    return one_of(
        smoothness, "smoothness", SMOOTHNESS, "2 is enough for first-order actions, second-order ones need 4."
    )


def check_size(num_nodes: int, degree: int) -> None:
    """ValueError unless there are nodes enough for one window."""
    if num_nodes < degree + 2:
        raise ValueError(
            f"interpolation of degree {degree} needs at least {degree + 2} samples, got {num_nodes}: "
            "give more samples, or a lower smoothness or degree."
        )
