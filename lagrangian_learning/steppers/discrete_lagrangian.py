"""A step of the discrete Lagrangian of the trapezoidal rule: any kinetic energy, magnetic terms, forces of velocity."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, PyTree

from lagrangian_learning._arrays import held, matmul, max_abs, tree_add, tree_scale, tree_sub, tree_zeros
from lagrangian_learning.mechanics.equations import AbstractEquations
from lagrangian_learning.mechanics.lagrangian import total_derivative
from lagrangian_learning.mechanics.multipliers import SaddlePoint, scaled_matrix
from lagrangian_learning.mechanics.state import State

_MOST_ITERATIONS = 30
_REFINEMENTS = 2


class Instant(NamedTuple):
    """A law at one time and place: momenta, forces and the constraint as functions of the velocity."""

    law: AbstractEquations
    t: Array
    q: PyTree
    args: PyTree

    def momentum(self, v: PyTree) -> PyTree:
        """p = ∂L/∂v, of the density without its weight."""
        return jax.grad(lambda v: self.law.lagrangian.normalised(self.t, (self.q, v), self.args))(v)

    def force(self, v: PyTree) -> PyTree:
        """∂L/∂q + Q."""
        gradient = jax.grad(lambda q: self.law.lagrangian.normalised(self.t, (q, v), self.args))(self.q)
        return tree_add(gradient, self.law.generalised_force(self.t, State(self.q, v), self.args))

    def value(self) -> PyTree:
        """G; an empty array without constraints."""
        if self.law.constraint is None:
            return jnp.zeros((0,), self.t.dtype)
        return self.law.constraint.value(self.args)(self.t, (self.q,))

    def rate(self, v: PyTree) -> PyTree:
        """DG; an empty array without constraints."""
        if self.law.constraint is None:
            return jnp.zeros((0,), self.t.dtype)
        return total_derivative(self.law.constraint.value(self.args))(self.t, (self.q, v))

    def reaction(self, delta: PyTree) -> PyTree:
        """G_qᵀ δ."""
        if self.law.constraint is None:
            return tree_zeros(self.q)
        return jax.vjp(lambda q: self.law.constraint.value(self.args)(self.t, (q,)), self.q)[1](delta)[0]  # pyright: ignore[reportOptionalMemberAccess]


def discrete_step(
    law: AbstractEquations, t0: Array, t1: Array, state: State, args: PyTree, decays: tuple[Array, Array]
) -> tuple[State, Bool[Array, ""]]:
    """With w = (q₁ − q₀)/h, p̄ = ½ (L_v(t₀, q₀, w) + L_v(t₁, q₁, w)) and K = L_q + Q:

        p₀ = p̄ − (h/2) K(t₀, q₀, w) + G_q(t₀, q₀)ᵀ λ,   G(t₁, q₁) = 0,
        p₁ = p̄ + (h/2) K(t₁, q₁, w),   L_v(t₁, q₁, v₁) + G_q(t₁, q₁)ᵀ μ = p₁,   DG = 0

    (Marsden and West 2001, sections 1.5.1 and 3.5), p multiplied by one of `decays` before and by the other after it;
    both systems by Newton's method. Of second order, symmetric, and symplectic without forces. Where K(t, q) and
    L_v = M v it is RATTLE. Returns the state, and whether both solutions were found.
    """
    h, here = t1 - t0, Instant(law, t0, state.q, args)
    p0 = tree_scale(decays[0], here.momentum(state.v))
    system = law.system(t0, state, args)[0]

    def end(w: PyTree) -> Instant:
        return Instant(law, t1, tree_add(state.q, tree_scale(h, w)), args)

    def mean_momentum(w: PyTree) -> PyTree:
        return tree_scale(0.5, tree_add(here.momentum(w), end(w).momentum(w)))

    def start_left(w: PyTree, multipliers: PyTree) -> tuple[PyTree, PyTree]:
        known = tree_add(p0, tree_scale(h / 2, here.force(w)))
        return tree_sub(tree_add(mean_momentum(w), here.reaction(multipliers)), known), tree_scale(
            1 / h, end(w).value()
        )

    rounding = max_abs(state.q) / jnp.abs(h)
    w, found = _root(start_left, system, state.v, rounding)
    there = end(w)
    p1 = tree_scale(decays[1], tree_add(mean_momentum(w), tree_scale(h / 2, there.force(w))))

    def end_left(v: PyTree, multipliers: PyTree) -> tuple[PyTree, PyTree]:
        return tree_sub(tree_add(there.momentum(v), there.reaction(multipliers)), p1), there.rate(v)

    v, legible = _root(end_left, system, w, rounding)
    return State(there.q, v), found & legible


def _root(
    left: Callable[[PyTree, PyTree], tuple[PyTree, PyTree]], system: SaddlePoint, guess: PyTree, rounding: Array
) -> tuple[PyTree, Bool[Array, ""]]:
    """v of (v, multipliers) at which `left` vanishes, by Newton's method until its updates stop shrinking.

    Scaled as the saddle point of `system`, and regularised like it, since the rank of constraints may drop. `rounding`
    is the size that velocities round off with. The derivative is that of the solution.
    """
    _, column_scale, row_scale = held(scaled_matrix(system))
    scale, n = jnp.concatenate([column_scale, row_scale]), column_scale.size
    _, unravel = ravel_pytree((system.coordinates, system.multipliers))
    eps = jnp.finfo(scale.dtype).eps
    shift = jnp.diag(jnp.where(jnp.arange(scale.size) < n, 0, jnp.sqrt(eps)).astype(scale.dtype))

    def scaled(z: Array) -> Array:
        return scale * ravel_pytree(left(*unravel(scale * z)))[0]

    def solve(f: Callable[[Array], Array], z: Array) -> tuple[Array, Array]:
        def unfinished(now: tuple[Array, Array, Array, Array]) -> Array:
            return (now[1] > 0) & (now[1] < now[2] / 2) & (now[3] < _MOST_ITERATIONS)

        def step(now: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
            z, size, _, count = now
            update = jnp.linalg.solve(jax.jacfwd(f)(z) - shift, -f(z))
            return z + update, jnp.max(jnp.abs(column_scale * update[:n])), size, count + 1

        infinite = jnp.full((), jnp.inf, z.dtype)
        end, size, *_ = lax.while_loop(unfinished, step, step((z, infinite, infinite, jnp.asarray(0))))
        return end, size

    def tangent(linear: Callable[[Array], Array], right: Array) -> Array:
        exact = jax.vmap(linear, out_axes=1)(jnp.eye(scale.size, dtype=scale.dtype))
        factors = jax.scipy.linalg.lu_factor(exact - shift)
        solution = jax.scipy.linalg.lu_solve(factors, right)
        for _ in range(_REFINEMENTS):
            solution = solution + jax.scipy.linalg.lu_solve(factors, right - matmul(exact, solution))
        return solution

    start = ravel_pytree(guess)[0] / column_scale
    start = lax.stop_gradient(jnp.concatenate([start, jnp.zeros_like(row_scale)]))
    z, size = lax.custom_root(scaled, start, solve, tangent, has_aux=True)
    v = unravel(scale * z)[0]
    return v, size <= eps**0.75 * max_abs(v) + 64 * eps * rounding
