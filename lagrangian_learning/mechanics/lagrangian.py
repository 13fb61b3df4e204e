"""Lagrangians, total derivatives along a motion, and the functional derivative of an action (docs/theory.md §2)."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from lagrangian_learning._arrays import tree_add, tree_scale, tree_sub
from lagrangian_learning._checks import instance, module_named, one_of, optional_module_named

from .dissipation import AbstractDissipation, NoDissipation

Jet = tuple[PyTree, ...]
JetFunction = Callable[[Array, Jet], PyTree]


def total_derivative(f: JetFunction, times: int = 1) -> JetFunction:
    """Dⁿf, on jets longer by n: D f(t, (q, q̇, …)) = f_t + f_q q̇ + f_q̇ q̈ + … (docs/theory.md §2).

    Arguments:
        f: a function of t and a jet.
        times: n ≥ 0.
    """
    if times == 0:
        return f

    def derivative(t: Array, jet: Jet) -> PyTree:
        return jax.jvp(f, (t, jet[:-1]), (jnp.ones_like(t), jet[1:]))[1]

    return total_derivative(derivative, times - 1)


def weighted_derivative(f: JetFunction, rate: Callable[[Array], Array], times: int = 1) -> JetFunction:
    """(D + r)ⁿ f: what is left of D(ϖ f)/ϖ when the weight is divided out, r = d/dt log ϖ (docs/theory.md §2).

    Arguments:
        f: a function of t and a jet.
        rate: r, a function of t.
        times: n ≥ 0.
    """
    if times == 0:
        return f

    def derivative(t: Array, jet: Jet) -> PyTree:
        value, change = jax.jvp(f, (t, jet[:-1]), (jnp.ones_like(t), jet[1:]))
        return tree_add(change, tree_scale(rate(t), value))

    return weighted_derivative(derivative, rate, times - 1)


class Lagrangian(eqx.Module):
    """The action ∫ ϖ ℓ dt (+ ∫ F dt), by its density ℓ, its dissipation and an optional term outside the weight.

    Arguments:
        density: ℓ(t, q, v, args) for order 1, ℓ(t, q, v, a, args) for order 2; a scalar. q is any pytree of floating
            arrays, v and a are its velocities and accelerations.
        dissipation: the weight ϖ(t), see `AbstractDissipation`. Without it ϖ = 1.
        order: the highest derivative in the action, 1 or 2.
        unweighted: F with the same signature as density: a term that stands outside ϖ, as F does in (5).

    Raises ValueError when order is neither 1 nor 2 or density is not callable.
    """

    density: Callable[..., Array] = eqx.field(converter=module_named("density"))
    dissipation: AbstractDissipation = NoDissipation()
    order: int = eqx.field(static=True, default=1)
    unweighted: Callable[..., Array] | None = eqx.field(converter=optional_module_named("unweighted"), default=None)

    def __check_init__(self) -> None:
        one_of(self.order, "order", (1, 2), "1 for ℓ of q, q̇; 2 for ℓ of q, q̇, q̈.")
        made = "a dissipation such as ll.ExponentialDissipation(theta)"
        instance(self.dissipation, "dissipation", AbstractDissipation, made)

    def rate(self, t: Array) -> Array:
        """r(t) = d/dt log ϖ."""
        return self.dissipation.rate(t)

    def inverse_weight(self, t: Array) -> Array:
        """1/ϖ(t), which multiplies whatever stands outside the weight."""
        return jnp.exp(-self.dissipation.log_weight(t))

    def normalised(self, t: Array, jet: Jet, args: PyTree) -> Array:
        """L/ϖ = ℓ + F/ϖ on the jet (q, v) or (q, v, a)."""
        value = self.evaluate(self.density, t, jet, args)
        if self.unweighted is None:
            return value
        return value + self.inverse_weight(t) * self.evaluate(self.unweighted, t, jet, args)

    def evaluate(self, fn: Callable[..., Any], t: Array, jet: Jet, args: PyTree) -> Array:
        """One density at a jet, checked to be a scalar."""
        returned = fn(t, *jet[: self.order + 1], args)
        if returned is None:
            raise ValueError("a Lagrangian density returned nothing: does its function end without return?")
        value = jnp.asarray(returned)
        if value.shape != ():
            raise ValueError(
                f"a Lagrangian density must return a scalar, got shape {value.shape}: sum it over the coordinates."
            )
        return value


def partial(lagrangian: Lagrangian, density: Callable[..., Array], index: int, args: PyTree) -> JetFunction:
    """∂ℓ/∂q, ∂ℓ/∂v or ∂ℓ/∂a (index 0, 1, 2) as a function on jets."""

    def derivative(t: Array, jet: Jet) -> PyTree:
        def of_coordinate(coordinate: PyTree) -> Array:
            return lagrangian.evaluate(density, t, (*jet[:index], coordinate, *jet[index + 1 :]), args)

        return jax.grad(of_coordinate)(jet[index])

    return derivative


def functional_derivative(lagrangian: Lagrangian, t: Array, jet: Jet, args: PyTree) -> PyTree:
    """(1/ϖ) δA/δq = ℓ_q − (D + r) ℓ_v + (D + r)² ℓ_a + e^{−log ϖ} (F_q − D F_v + D² F_a)   (docs/theory.md §2).

    The left side of the Euler–Lagrange equations (8) and (9), divided by the weight.

    Arguments:
        lagrangian: a `Lagrangian`.
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
