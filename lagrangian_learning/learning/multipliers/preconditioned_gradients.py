"""Conjugate gradients with a preconditioner that knows a linear image of what it returns."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int, PyTree

from .conjugate_gradients import Solution

Flat = Float[Array, " size"]


class _Step(NamedTuple):
    value: Flat
    image: Flat
    residual: Flat
    direction: Flat
    further: Flat
    slope: Float[Array, ""]
    taken: Int[Array, ""]


def preconditioned_gradients(
    matrix: Callable[[PyTree, PyTree], PyTree],
    preconditioner: Callable[[PyTree], tuple[PyTree, PyTree]],
    right: PyTree,
    rtol: float,
    max_steps: int,
) -> Solution:
    """A y = right for symmetric positive definite A and M, until |residual| ≤ rtol |right|, as `conjugate_gradients`.

    Arguments:
        matrix: (y, L y) ↦ A y, all like `right`: L is any linear map that A goes through.
        preconditioner: r ↦ (M⁻¹ r, L M⁻¹ r), so that L is never applied by itself.

    The value is NaN where max_steps did not suffice.
    """
    flat, unravel = ravel_pytree(right)
    scale = jnp.max(jnp.abs(flat), initial=0)  # so that squares of a small right side do not underflow
    scale = jnp.where(scale > 0, scale, 1)
    flat = flat / scale
    goal = rtol**2 * _dot(flat, flat)

    def prepared(residual: Flat) -> tuple[Flat, Flat]:
        value, image = preconditioner(unravel(residual))
        return ravel_pytree(value)[0], ravel_pytree(image)[0]

    def unfinished(at: _Step) -> Bool[Array, ""]:
        return (_dot(at.residual, at.residual) > goal) & (at.taken < max_steps)

    def step(at: _Step) -> _Step:
        turned = ravel_pytree(matrix(unravel(at.direction), unravel(at.further)))[0]
        length = at.slope / _dot(at.direction, turned)
        residual = at.residual - length * turned
        steepest, image = prepared(residual)
        slope = _dot(residual, steepest)
        return _Step(
            value=at.value + length * at.direction,
            image=at.image + length * at.further,
            residual=residual,
            direction=steepest + slope / at.slope * at.direction,
            further=image + slope / at.slope * at.further,
            slope=slope,
            taken=at.taken + 1,
        )

    steepest, image = prepared(flat)
    zero = jnp.zeros_like(flat)
    start = _Step(zero, zero, flat, steepest, image, _dot(flat, steepest), jnp.asarray(0, jnp.int32))
    end = jax.lax.while_loop(unfinished, step, start)
    square = _dot(end.residual, end.residual)
    relative = jnp.sqrt(square / jnp.where(goal > 0, goal, 1)) * rtol
    answer = jnp.where(square <= goal, scale, jnp.nan)
    return Solution(unravel(answer * end.value), unravel(answer * end.image), end.taken, relative)


def _dot(left: Flat, right: Flat) -> Float[Array, ""]:
    return jnp.vdot(left, right, precision="highest")
