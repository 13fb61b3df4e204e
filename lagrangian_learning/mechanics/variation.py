"""The functional derivative of an action, by automatic differentiation."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from lagrangian_learning._arrays import tree_add, tree_scale, tree_sub

from .jets import Jet, JetFunction, weighted_derivative
from .lagrangian import Lagrangian


def functional_derivative(lagrangian: Lagrangian, t: Array, jet: Jet, args: PyTree) -> PyTree:
    """(1/ϖ) δA/δq = ℓ_q − (D + r) ℓ_v + (D + r)² ℓ_a + e^{−log ϖ} (F_q − D F_v + D² F_a)   (docs/theory.md §2).

    The left side of the Euler–Lagrange equations (8) and (9), divided by the weight.

    Arguments:
        t: a scalar array.
        jet: (q, v, a) for a Lagrangian of order 1, (q, v, a, j, s) up to the fourth derivative for order 2.
        args: handed to the densities.

    Returns a pytree like q.
    """
    weighted = _euler_operator(lagrangian, lagrangian.density, lagrangian.rate, t, jet, args)
    if lagrangian.unweighted is None:
        return weighted
    outside = _euler_operator(lagrangian, lagrangian.unweighted, jnp.zeros_like, t, jet, args)
    return tree_add(weighted, tree_scale(lagrangian.inverse_weight(t), outside))


def partial(lagrangian: Lagrangian, density: Callable[..., Array], index: int, args: PyTree) -> JetFunction:
    """∂ℓ/∂q, ∂ℓ/∂v or ∂ℓ/∂a (index 0, 1, 2) as a function on jets."""

    def derivative(t: Array, jet: Jet) -> PyTree:
        def of_coordinate(coordinate: PyTree) -> Array:
            return lagrangian.evaluate(density, t, (*jet[:index], coordinate, *jet[index + 1 :]), args)

        return jax.grad(of_coordinate)(jet[index])

    return derivative


def _euler_operator(
    lagrangian: Lagrangian,
    density: Callable[..., Array],
    rate: Callable[[Array], Array],
    t: Array,
    jet: Jet,
    args: PyTree,
) -> PyTree:
    n = lagrangian.order
    total = partial(lagrangian, density, 0, args)(t, jet[: n + 1])
    for k in range(1, n + 1):
        term = weighted_derivative(partial(lagrangian, density, k, args), rate, k)(t, jet[: n + 1 + k])
        total = tree_sub(total, term) if k % 2 else tree_add(total, term)
    return total
