"""Noether's charges of first-order Lagrangians, with constraints and forces (docs/theory.md §12)."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from lagrangian_learning._arrays import as_time, cast, tree_dot, tree_zeros
from lagrangian_learning._checks import function, instance, module_named

from .charge import AbstractCharge, Charge, ChargeRates
from .equations import AbstractEquations
from .lagrangian import Lagrangian
from .law import AbstractLaw
from .state import State, matches


def charge(law: AbstractLaw, generator: Callable[..., PyTree]) -> AbstractCharge:
    """Q = p·g with (D + r) Q = ℓ_q·g + ℓ_v·Dg − δ·G_q g + Q_f·g: Noether's charge of a generator (docs/theory.md §12).

    Where g is a symmetry of the action and of its constraints, the right side is zero and Q decays as 1/ϖ; otherwise
    the rate reports what breaks the symmetry, and by how much.

    Arguments:
        law: a law with a Lagrangian of first order, or a limit of one: an `EulerLagrange`, a law of a cognitive action,
            `DampedDescent`, `Descent`, `GradientFlow`.
        generator: g(t, q, args), a pytree like q: the direction in which coordinates are displaced, q → q + εg. Of a
            law of learning it is g(t, W, args) in the weights alone, whatever the coordinates of the law: the neurons
            follow by the constraints, g_x = −G_ξ⁻¹ G_M g_W. For neurons that move on their own take
            `ll.EulerLagrange(action.lagrangian, action.constraint)`. Ready-made: `ll.Rescaling`, `ll.Scaling`,
            `ll.Translation`, `ll.Rotation`, `ll.SpaceRotation`, `ll.GradientOf`.

    Returns a module: charge(t, state, args) is a `Charge` (value, rate, parts), in units of action where g has the
    units of q. `ll.simulate(..., charges={"name": charge})` keeps it along a run, with its balance.

    Raises ValueError for a law without a Lagrangian, for a Lagrangian of second order, and for a `GradientFlow` whose
    generator is not known to be a gradient.
    """
    instance(law, "law", AbstractLaw, "a law such as action.law() or an ll.EulerLagrange")
    return law.charge_of(function(generator, "generator", "g(t, q, args), a pytree like q."))


class LagrangianCharge(AbstractCharge):
    """Q = p·g, (D + r) Q = ℓ_q·g + ℓ_v·Dg + the virtual work of constraints and forces (docs/theory.md §12).

    p = ℓ_v; vakonomic p = ℓ_v − G_vᵀδ. No accelerations are needed, and multipliers only where a constraint that
    determines them does work.

    law: the Euler–Lagrange equations.
    generator: g(t, q, args), a pytree like q.
    tangent: whether g moves along the constraints by construction, G_q g = 0, so that multipliers do no work on it.
    """

    law: AbstractEquations
    generator: Callable[..., PyTree] = eqx.field(converter=module_named("generator"))
    tangent: bool = eqx.field(static=True, default=False)

    def __check_init__(self) -> None:
        if self.law.lagrangian.order != 1:
            raise ValueError(
                "Noether charges are for Lagrangians of first order, ℓ(t, q, v): this one is of second order, whose "
                "momenta hold accelerations."
            )

    def reading(self, t: Any, state: State, args: PyTree) -> Charge:
        law, t = self.law, as_time(t, state.q)
        jet = (state.q, state.v)
        g, g_dot = prolonged(self.generator, t, jet, args)
        value = self._momentum(t, state, args, g)
        change = _change(law.lagrangian, t, jet, args, (g, g_dot))
        potential = _change_at_rest(law.lagrangian, t, jet, args, g)
        constraint = self._virtual_work(t, state, args, (g, g_dot))
        forces = jnp.zeros_like(t) if law.forces is None else tree_dot(law.generalised_force(t, state, args), g)
        dissipation = -law.lagrangian.rate(t) * value
        # Not by the parts: ℓ need have no derivative at rest.
        rate = dissipation + change + constraint + forces
        return Charge(value, rate, ChargeRates(dissipation, change - potential, potential, constraint, forces))

    def _momentum(self, t: Array, state: State, args: PyTree, g: PyTree) -> Array:
        """p·g, by forward mode: ℓ_v is not formed."""

        def density(v: PyTree) -> Array:
            return self.law.lagrangian.normalised(t, (state.q, v), args)

        value = jax.jvp(density, (state.v,), (g,))[1]
        constraint = self.law.constraint
        extra = None if constraint is None else constraint.momentum(t, (state.q, state.v), args, state.multipliers)
        return value if extra is None else value + tree_dot(extra, g)

    def _virtual_work(self, t: Array, state: State, args: PyTree, displaced: tuple[PyTree, PyTree]) -> Array:
        constraint = self.law.constraint
        if constraint is None or self.tangent:
            return jnp.zeros_like(t)
        delta = self.law.solved(t, state, args)[1] if state.multipliers is None else state.multipliers
        return constraint.virtual_work(t, (state.q, state.v), args, delta, displaced)


def displacement(generator: Callable[..., PyTree], t: Array, q: PyTree, args: PyTree) -> PyTree:
    """g(t, q, args) in the dtype of q, checked to be a pytree like q."""
    g = matches(generator(t, q, args), q, "generator", "g(t, q, args) must be a pytree like q")
    return jax.tree.map(cast, g, q)


def prolonged(
    generator: Callable[..., PyTree], t: Array, jet: tuple[PyTree, ...], args: PyTree
) -> tuple[PyTree, PyTree]:
    """g, and Dg = g_t + g_q v along the path."""

    def moved(s: Array, q: PyTree) -> PyTree:
        return displacement(generator, s, q, args)

    return jax.jvp(moved, (t, jet[0]), (jnp.ones_like(t), jet[1]))


def _change(
    lagrangian: Lagrangian, t: Array, jet: tuple[PyTree, ...], args: PyTree, displaced: tuple[PyTree, PyTree]
) -> Array:
    """ℓ_q·g + ℓ_v·Dg."""
    return jax.jvp(lambda q, v: lagrangian.normalised(t, (q, v), args), jet, displaced)[1]


def _change_at_rest(lagrangian: Lagrangian, t: Array, jet: tuple[PyTree, ...], args: PyTree, g: PyTree) -> Array:
    """∂_q ℓ(t, q, 0)·g."""
    rest = tree_zeros(jet[1])
    return jax.jvp(lambda q: lagrangian.normalised(t, (q, rest), args), jet[:1], (g,))[1]
