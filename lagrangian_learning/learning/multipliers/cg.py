"""Conjugate gradients that return their number of steps and their residual."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int, PyTree

Flat = Float[Array, " size"]


class Solution(NamedTuple):
    """Result of conjugate gradients: y, L y, the steps taken, and |residual|/|right| by their recursion."""

    value: PyTree
    image: PyTree
    steps: Int[Array, ""]
    residual: Float[Array, ""]


class _Step(NamedTuple):
    value: Flat
    image: Flat
    residual: Flat
    direction: Flat
    square: Float[Array, ""]
    taken: Int[Array, ""]


def conjugate_gradients(
    matrix: Callable[[PyTree], tuple[PyTree, PyTree]], right: PyTree, rtol: float, max_steps: int, guess: PyTree = None
) -> Solution:
    """A y = right for a symmetric positive definite A, until |residual| ≤ rtol |right| (Hestenes and Stiefel 1952).

    Arguments:
        matrix: y ↦ (A y, L y), all like `right`: L is any linear map that A goes through, whose value at the solution
            then costs no product more.
        guess: where to start, zero by default; it costs one product.

    The value is NaN where max_steps did not suffice. Under vmap lanes that have converged stand still.
    """
    flat, unravel = ravel_pytree(right)  # one array: one operation a line below, where a pytree takes one a leaf
    scale = jnp.max(jnp.abs(flat), initial=0)  # so that squares of a small right side do not underflow
    scale = jnp.where(scale > 0, scale, 1)
    flat = flat / scale

    def product(direction: Flat) -> tuple[Flat, Flat]:
        image, further = matrix(unravel(direction))
        return ravel_pytree(image)[0], ravel_pytree(further)[0]

    if guess is None:
        value, image, residual = jnp.zeros_like(flat), jnp.zeros_like(flat), flat
    else:
        value = ravel_pytree(guess)[0] / scale
        left, image = product(value)
        residual = flat - left
    goal = rtol**2 * _dot(flat, flat)

    def unfinished(at: _Step) -> Bool[Array, ""]:
        return (at.square > goal) & (at.taken < max_steps)

    def step(at: _Step) -> _Step:
        turned, further = product(at.direction)
        length = at.square / _dot(at.direction, turned)
        residual = at.residual - length * turned
        square = _dot(residual, residual)
        return _Step(
            value=at.value + length * at.direction,
            image=at.image + length * further,
            residual=residual,
            direction=residual + square / at.square * at.direction,
            square=square,
            taken=at.taken + 1,
        )

    start = _Step(value, image, residual, residual, _dot(residual, residual), jnp.asarray(0, jnp.int32))
    end = jax.lax.while_loop(unfinished, step, start)
    relative = jnp.sqrt(end.square / jnp.where(goal > 0, goal, 1)) * rtol
    answer = jnp.where(end.square <= goal, scale, jnp.nan)
    return Solution(unravel(answer * end.value), unravel(answer * end.image), end.taken, relative)


def _dot(left: Flat, right: Flat) -> Float[Array, ""]:
    return jnp.vdot(left, right, precision="highest")
