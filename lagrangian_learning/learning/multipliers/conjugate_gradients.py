"""Multipliers of a network by conjugate gradients, and the solver."""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int, PyTree

from lagrangian_learning._arrays import dtype_of
from lagrangian_learning._checks import positive, positive_int
from lagrangian_learning.networks import AbstractLinearisation, AbstractNetwork

from .network_solver import AbstractNetworkMultipliers, check_feedforward

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
    matrix: Callable[[PyTree], tuple[PyTree, PyTree]],
    right: PyTree,
    rtol: float | Float[Array, ""],
    max_steps: int,
    guess: PyTree = None,
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


class ConjugateGradients(AbstractNetworkMultipliers):
    """(I + ρ G_ξ⁻¹ G_M G_Mᵀ G_ξ⁻ᵀ) μ = f, ρ = m_x/m_W, by conjugate gradients; then δ = G_ξ⁻ᵀ μ (docs/theory.md §3).

    Each step is one adjoint and one forward sweep through the network, Θ(m) in the number m of weights; no matrix is
    formed. The smaller ρ, the fewer steps; none but the first at m_x = 0, where δ is backpropagation, (17).

    Arguments:
        rtol: the relative residual at which to stop; None is 1e-12 in float64 and 1e-6 in float32.
        max_steps: multipliers that took more are NaN, which a run reports by name; None is 10 times the number of
            neurons.
    """

    rtol: float | None = eqx.field(static=True, default=None)
    max_steps: int | None = eqx.field(static=True, default=None)
    name: ClassVar[str] = "conjugate gradients on forward and adjoint sweeps"

    def __check_init__(self) -> None:
        if self.rtol is not None:
            positive(self.rtol, "rtol", "leave it None for 1e-12 in float64 and 1e-6 in float32.")
        if self.max_steps is not None:
            positive_int(self.max_steps, "max_steps")

    def check_network(self, network: AbstractNetwork) -> None:
        check_feedforward(network)

    def solve(self, linearised: AbstractLinearisation, load: PyTree, ratio: Array) -> tuple[PyTree, PyTree]:
        found = self.solution(linearised, load, ratio)
        return found.value, found.image

    def solution(self, linearised: AbstractLinearisation, load: PyTree, ratio: Array, guess: PyTree = None) -> Solution:
        """μ, and δ as its image, with the steps it took and its relative residual; `guess`: start from an earlier μ."""
        # Not lineax.CG: it scales every residual by its own entry of the load, and most of those are zero at rest.
        rtol = default_rtol(load) if self.rtol is None else self.rtol
        num_neurons = sum(leaf.size for leaf in jax.tree.leaves(load))
        max_steps = 10 * num_neurons if self.max_steps is None else self.max_steps
        return conjugate_gradients(lambda mu: self.product(linearised, mu, ratio), load, rtol, max_steps, guess)


def default_rtol(like: Any) -> float:
    """The relative residual at which iterative multiplier solves stop, by dtype."""
    return 1e-12 if dtype_of(like) == jnp.float64 else 1e-6
