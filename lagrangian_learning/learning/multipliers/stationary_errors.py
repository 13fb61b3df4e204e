"""κG of soft constraints whose neurons are at rest, by Newton's method on sweeps."""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int, PyTree

from lagrangian_learning._arrays import max_abs, tree_scale, tree_sub
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
        start, unravel = ravel_pytree(delta_errors(network, potential, network.forward(W, u), W, y))

        def left_over(delta: Flat) -> Flat:
            errors = unravel(delta)
            x = network.displaced(W, u, tree_scale(1 / stiffness, errors))
            return ravel_pytree(tree_sub(errors, delta_errors(network, potential, x, W, y)))[0]

        return unravel(jax.lax.custom_root(left_over, start, self._newton, _tangent))

    def _newton(self, residual: Callable[[Flat], Flat], start: Flat) -> Flat:
        eps = jnp.finfo(start.dtype).eps

        def at(delta: Flat, before: Array, taken: Array) -> _Iterate:
            left = residual(delta)
            return _Iterate(delta, left, max_abs(left), before, taken)

        def unfinished(now: _Iterate) -> Bool[Array, ""]:
            scale = max_abs(now.delta)
            improves = (now.size > eps**0.75 * scale) | (now.size < now.before / 2)
            return (now.size > 4 * eps * scale) & improves & (now.taken < self.max_steps)

        def step(now: _Iterate) -> _Iterate:
            _, product = jax.linearize(residual, now.delta)
            return at(now.delta - _solved(product, now.residual), now.size, now.taken + 1)

        end = jax.lax.while_loop(unfinished, step, at(start, jnp.full((), jnp.inf, start.dtype), jnp.asarray(0)))
        return jnp.where(end.size <= eps**0.75 * max_abs(end.delta), end.delta, jnp.nan)


def _solved(product: Callable[[Flat], Flat], right: Flat) -> Flat:
    """The solution of a symmetric positive definite system."""
    return conjugate_gradients(lambda y: (product(y), y), right, default_rtol(right), 10 * right.size).value


def _tangent(product: Callable[[Flat], Flat], right: Flat) -> Flat:
    return jax.lax.custom_linear_solve(product, right, _solved, symmetric=True)
