"""Total time derivatives on jets (t, (q, q̇, q̈, …)).

A function of time and of a path is a function f(t, jet) of the path's derivatives at t. Its total derivative is a
function on the next jet, D f = f_t + f_q q̇ + f_q̇ q̈ + …: exactly one `jax.jvp` whose tangent of each coordinate is
the coordinate above it. Higher derivatives nest.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from lagrangian_learning._arrays import tree_add, tree_scale

Jet = tuple[PyTree, ...]
JetFunction = Callable[[Array, Jet], PyTree]


def total_derivative(f: JetFunction, times: int = 1) -> JetFunction:
    """Dⁿf, on jets longer by n: D f(t, (q, q̇, …)) = f_t + f_q q̇ + f_q̇ q̈ + … (docs/theory.md §2)."""
    if times == 0:
        return f

    def derivative(t: Array, jet: Jet) -> PyTree:
        return jax.jvp(f, (t, jet[:-1]), (jnp.ones_like(t), jet[1:]))[1]

    return total_derivative(derivative, times - 1)


def weighted_derivative(f: JetFunction, rate: Callable[[Array], Array], times: int = 1) -> JetFunction:
    """(D + r)ⁿ f: what is left of D(ϖ f)/ϖ when the weight is divided out, r = d/dt log ϖ (docs/theory.md §2)."""
    if times == 0:
        return f

    def derivative(t: Array, jet: Jet) -> PyTree:
        value, change = jax.jvp(f, (t, jet[:-1]), (jnp.ones_like(t), jet[1:]))
        return tree_add(change, tree_scale(rate(t), value))

    return weighted_derivative(derivative, rate, times - 1)
