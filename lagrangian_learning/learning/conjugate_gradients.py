"""Conjugate gradients that tell how many steps they took and how far they came."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from lagrangian_learning.mechanics._arrays import max_abs, tree_add, tree_dot, tree_scale, tree_sub


class Solution(NamedTuple):
    """What conjugate gradients leave: the solution, the steps taken, and |residual|/|right| as they know it."""

    value: PyTree
    steps: Int[Array, ""]
    residual: Float[Array, ""]


class _Step(NamedTuple):
    value: PyTree
    residual: PyTree
    direction: PyTree
    square: Float[Array, ""]
    taken: Int[Array, ""]


def conjugate_gradients(
    matrix: Callable[[PyTree], PyTree], right: PyTree, rtol: float, max_steps: int, guess: PyTree = None
) -> Solution:
    """A y = right for a symmetric positive definite A, until |residual| ≤ rtol |right| (Hestenes and Stiefel 1952).

    Starts from `guess`, zero by default; the guess costs one product with A. The value is NaN where max_steps did not
    suffice. Under vmap lanes that have converged stand still.
    """
    scale = max_abs(right)  # so that squares of a small right side do not underflow
    scale = jnp.where(scale > 0, scale, 1)
    right = tree_scale(1 / scale, right)
    if guess is None:
        value, residual = jax.tree.map(jnp.zeros_like, right), right
    else:
        value = tree_scale(1 / scale, guess)
        residual = tree_sub(right, matrix(value))
    goal = rtol**2 * tree_dot(right, right)

    def unfinished(at: _Step) -> Bool[Array, ""]:
        return (at.square > goal) & (at.taken < max_steps)

    def step(at: _Step) -> _Step:
        image = matrix(at.direction)
        length = at.square / tree_dot(at.direction, image)
        value = _along(at.value, length, at.direction)
        residual = _along(at.residual, -length, image)
        square = tree_dot(residual, residual)
        return _Step(value, residual, _along(residual, square / at.square, at.direction), square, at.taken + 1)

    start = _Step(value, residual, residual, tree_dot(residual, residual), jnp.asarray(0, jnp.int32))
    end = jax.lax.while_loop(unfinished, step, start)
    relative = jnp.sqrt(end.square / jnp.where(goal > 0, goal, 1)) * rtol
    answer = jnp.where(end.square <= goal, scale, jnp.nan)
    return Solution(tree_scale(answer, end.value), end.taken, relative)


def _along(point: PyTree, length: Array, direction: PyTree) -> PyTree:
    return tree_add(point, tree_scale(length, direction))
