"""Energy and the rate at which dissipation, moving constraints and forces change it."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from lagrangian_learning._arrays import time_derivative, tree_dot, tree_sub

from .constraint import AbstractConstraint
from .lagrangian import Jet, Lagrangian, weighted_derivative
from .law import EnergyReading


def momenta(lagrangian: Lagrangian, t: Array, jet: Jet, args: PyTree) -> tuple[PyTree, ...]:
    """p₁ = ℓ_v for order 1; p₁ = ℓ_v − (D + r) ℓ_a and p₂ = ℓ_a for order 2 (Ostrogradsky), divided by ϖ.

    Arguments:
        lagrangian: a `Lagrangian`.
        t: a scalar array.
        jet: (q, v) for order 1, (q, v, a, j) for order 2.
        args: what the densities take.

    Returns (p₁,) or (p₁, p₂), each like q.
    """

    def momentum(index: int):
        def of_jet(s: Array, path: Jet) -> PyTree:
            def of_coordinate(coordinate: PyTree) -> Array:
                return lagrangian.normalised(s, (*path[:index], coordinate, *path[index + 1 :]), args)

            return jax.grad(of_coordinate)(path[index])

        return of_jet

    if lagrangian.order == 1:
        return (momentum(1)(t, jet[:2]),)
    second = momentum(2)
    first = tree_sub(momentum(1)(t, jet[:3]), weighted_derivative(second, lagrangian.rate)(t, jet[:4]))
    return first, second(t, jet[:3])


def energy(
    lagrangian: Lagrangian,
    t: Array,
    jet: Jet,
    args: PyTree,
    constraint: AbstractConstraint | None = None,
    delta: PyTree = None,
) -> Float[Array, ""]:
    """E = p·v − ℓ with p = ℓ_v, or p₁·v + p₂·a − ℓ for order 2 (docs/theory.md §3), in units of action over time.

    A vakonomic constraint adds −G_vᵀδ to p.

    Arguments:
        lagrangian: a `Lagrangian`.
        t: a scalar array.
        jet: (q, v) for order 1, (q, v, a, j) for order 2.
        args: what the densities take.
        constraint: the constraint of the motion; None: there is none.
        delta: the multipliers of a vakonomic one.
    """
    return energy_reading(lagrangian, t, jet, args, constraint, delta).energy


def energy_reading(
    lagrangian: Lagrangian, t: Array, jet: Jet, args: PyTree, constraint: AbstractConstraint | None, delta: PyTree
) -> EnergyReading:
    """E = p·v − ℓ, and p·v."""
    pairing = _pairing(lagrangian, constraint, t, jet, args, delta)
    return EnergyReading(pairing - lagrangian.normalised(t, jet[: lagrangian.order + 1], args), pairing)


def power(
    lagrangian: Lagrangian,
    constraint: AbstractConstraint | None,
    t: Array,
    jet: Jet,
    args: PyTree,
    delta: PyTree,
    force: PyTree | None,
) -> Float[Array, ""]:
    """dE/dt = −r (p₁·v [+ p₂·a]) − δ·G_q v − ℓ_t + Q·v: the right side of the energy balance (docs/theory.md §3).

    On DG = 0 the work of the constraints −δ·G_q v is δ·G_t.

    Arguments:
        lagrangian: a `Lagrangian`.
        constraint: the constraint of the motion; None: there is none.
        t: a scalar array.
        jet: (q, v) for order 1, (q, v, a, j) for order 2.
        args: what the densities take.
        delta: normalised multipliers δ, like G.
        force: the generalised force Q, like q; None: there is none.
    """
    short = jet[: lagrangian.order + 1]
    explicit = time_derivative(lambda s: lagrangian.normalised(s, short, args), t)
    total = -lagrangian.rate(t) * _pairing(lagrangian, constraint, t, jet, args, delta) - explicit
    if constraint is not None:
        total = total + constraint.power(t, jet, args, delta)
    if force is not None:
        total = total + tree_dot(force, jet[1])
    return total


def _pairing(
    lagrangian: Lagrangian, constraint: AbstractConstraint | None, t: Array, jet: Jet, args: PyTree, delta: PyTree
) -> Array:
    conjugate = momenta(lagrangian, t, jet, args)
    total = sum((tree_dot(p, jet[k + 1]) for k, p in enumerate(conjugate)), start=jnp.zeros_like(t))
    extra = None if constraint is None else constraint.momentum(t, jet, args, delta)
    return total if extra is None else total + tree_dot(extra, jet[1])
