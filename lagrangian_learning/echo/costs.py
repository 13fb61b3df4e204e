"""C = ∫ c(t, q, args) dt + Φ(q(t₁), args): its values, its slopes in q, its gradient by constants of its own."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from lagrangian_learning._arrays import as_time, dtype_of
from lagrangian_learning._checks import real_result


class Costs(eqx.Module):
    """Running and terminal cost, each a callable or None; the running one by the trapezoidal rule over step ends."""

    running: Callable[..., Any] | None
    terminal: Callable[..., Any] | None

    def density(self, t: Array, q: PyTree, args: PyTree) -> Array:
        """c(t, q, args)."""
        if self.running is None:
            return jnp.zeros_like(as_time(t, q))
        return _scalar(self.running(t, q, args), "cost", q)

    def final(self, q: PyTree, args: PyTree) -> Array:
        """Φ(q, args)."""
        if self.terminal is None:
            return jnp.zeros((), dtype_of(q))
        return _scalar(self.terminal(q, args), "terminal", q)

    def slope(self, t: Array, q: PyTree, args: PyTree) -> PyTree:
        """c_q."""
        return jax.grad(self.density, argnums=1)(t, q, args)

    def final_slope(self, q: PyTree, args: PyTree) -> PyTree:
        """Φ_q."""
        return jax.grad(self.final)(q, args)


def _scalar(value: Any, name: str, q: PyTree) -> Array:
    value = real_result(value, name, dtype_of(q))
    if value.shape:
        raise ValueError(f"{name} must return one number, got shape {value.shape}: sum it.")
    return value
