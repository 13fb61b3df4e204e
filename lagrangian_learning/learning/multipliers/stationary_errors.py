"""κG of soft constraints whose neurons are at rest, by Newton's method on sweeps."""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int, PyTree

from lagrangian_learning._arrays import held, max_abs, tree_scale, tree_sub
from lagrangian_learning.learning.delta_errors import delta_errors
from lagrangian_learning.learning.potential import AbstractPotential
from lagrangian_learning.networks import AbstractNetwork

from .conjugate_gradients import conjugate_gradients, default_rtol

Flat = Float[Array, " size"]


class _Iterate(NamedTuple):
    delta: Flat
    residual: Flat
    size: Float[Array, ""]
    before: Float[Array, ""]
    taken: Int[Array, ""]


class StationaryErrors(eqx.Module):
    """V_x + G_ξᵀδ = 0 at the x with G = δ/κ: neurons at rest in V + ½ κ |G|² (docs/theory.md §10).

    As δ = −G_ξ⁻ᵀ V_x =: b(x(δ)), backpropagation at the neurons that δ displaces. Newton's method from b at G = 0, on
    δ − b = 0; its matrix I + (1/κ) G_ξ⁻ᵀ (V + δ·G)_xx G_ξ⁻¹ is symmetric, and positive definite where V + ½ κ |G|² has
    a minimum in x. Conjugate gradients meet it in products alone, each the derivative of one forward and one adjoint
    sweep, and the fewer of them the stiffer the constraints. Its derivative is implicit.

    Arguments:
        max_steps: of Newton's method; where it needs more, or does not converge, δ is NaN.
    """

    max_steps: int = eqx.field(static=True, default=30)
    name: ClassVar[str] = "Newton's method on conjugate gradients, at rest in x"

    def __call__(
        self,
        network: AbstractNetwork,
        potential: AbstractPotential,
        W: PyTree,
        signals: tuple[Array, Any],
        stiffness: Float[Array, ""],
    ) -> PyTree:
        """δ = κG, like x, at weights W, input and target (u, y), and κ."""
        u, y = signals
        x = network.forward(W, u)
        # What a change of x by itself does to δ: eps of that is the rounding of δ, however small δ is.
        errors, moved = jax.jvp(lambda x: delta_errors(network, potential, x, W, y), (x,), (x,))
        (start, unravel), terms = ravel_pytree(errors), held(max_abs(moved))

        def left_over(delta: Flat) -> Flat:
            errors = unravel(delta)
            x = network.displaced(W, u, tree_scale(1 / stiffness, errors))
            return ravel_pytree(tree_sub(errors, delta_errors(network, potential, x, W, y)))[0]

        def root(residual: Callable[[Flat], Flat], guess: Flat) -> Flat:
            return self._newton(residual, guess, terms)

        return unravel(jax.lax.custom_root(left_over, start, root, _tangent))

    def _newton(self, residual: Callable[[Flat], Flat], start: Flat, terms: Array) -> Flat:
        eps = jnp.finfo(start.dtype).eps

        def at(delta: Flat, before: Array, taken: Array) -> _Iterate:
            left = residual(delta)
            return _Iterate(delta, left, max_abs(left), before, taken)

        def near(now: _Iterate) -> Bool[Array, ""]:
            return now.size <= eps**0.5 * max_abs(now.delta) + 64 * eps * terms

        def unfinished(now: _Iterate) -> Bool[Array, ""]:
            improves = ~near(now) | (now.size < now.before / 2)
            rounding = 4 * eps * (max_abs(now.delta) + terms)
            return (now.size > rounding) & improves & (now.taken < self.max_steps)

        def step(now: _Iterate) -> _Iterate:
            whole = _direction(residual, now)

            def along(length: Array) -> _Iterate:
                return at(now.delta - length * whole, now.size, now.taken + 1)

            def worse(tried: tuple[Array, _Iterate]) -> Bool[Array, ""]:
                length, there = tried
                return ~(there.size < now.size) & ~near(now) & (length > _SHORTEST)

            def halved(tried: tuple[Array, _Iterate]) -> tuple[Array, _Iterate]:
                return tried[0] / 2, along(tried[0] / 2)

            one = jnp.ones((), start.dtype)
            return jax.lax.while_loop(worse, halved, (one, along(one)))[1]

        end = jax.lax.while_loop(unfinished, step, at(start, jnp.full((), jnp.inf, start.dtype), jnp.asarray(0)))
        return jnp.where(near(end), end.delta, jnp.nan)


def _direction(residual: Callable[[Flat], Flat], now: _Iterate) -> Flat:
    """Newton's step, or towards the backpropagated errors where the linear system has no solution to be found."""
    product = jax.linearize(residual, now.delta)[1]
    # No closer than the step itself comes, whose error is of second order in what is left over.
    rtol = jnp.clip(now.size / jnp.maximum(max_abs(now.delta), now.size), default_rtol(now.delta), _COARSEST)
    newton = _solved(product, now.residual, rtol)
    return jnp.where(jnp.all(jnp.isfinite(newton)), newton, now.residual)


_SHORTEST = 1e-2  # share of a step below which none is tried
_COARSEST = 1e-2  # relative residual of the first linear solves


def _solved(product: Callable[[Flat], Flat], right: Flat, rtol: Any = None) -> Flat:
    """The solution of a symmetric positive definite system."""
    rtol = default_rtol(right) if rtol is None else rtol
    return conjugate_gradients(lambda y: (product(y), y), right, rtol, 10 * right.size).value


def _tangent(product: Callable[[Flat], Flat], right: Flat) -> Flat:
    return jax.lax.custom_linear_solve(product, right, _solved, symmetric=True)
