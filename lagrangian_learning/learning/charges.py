"""Noether charges of the laws of learning, from generators of the weights (docs/theory.md §12)."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from lagrangian_learning._arrays import as_time, cast, time_derivative, tree_dot, tree_scale
from lagrangian_learning._checks import module_named
from lagrangian_learning.mechanics import (
    AbstractCharge,
    AbstractGradientGenerator,
    Charge,
    ChargeRates,
    LagrangianCharge,
    Phase,
    State,
)
from lagrangian_learning.mechanics.noether import displacement, prolonged
from lagrangian_learning.networks import AbstractNetwork


class AlongConstraints(eqx.Module):
    """g = (−G_ξ⁻¹ G_M g_W, g_W) on q = (x, W): weights displaced, and the neurons with them, so that G_q g = 0.

    One forward sweep. It is the generator of the displacements that a network admits at an instant: its input rests.
    """

    network: AbstractNetwork
    weights: Callable[..., PyTree] = eqx.field(converter=module_named("generator"))

    def __call__(self, t: Any, q: tuple[PyTree, PyTree], args: PyTree) -> tuple[PyTree, PyTree]:
        x, W = q
        g = displacement(self.weights, t, W, args)
        linearised = self.network.linearised(x, W)
        return tree_scale(-1, linearised.forward(linearised.weight_jvp(g))), g


class ActionCharge(AbstractCharge):
    """Q = m_x ẋ·J g + m_W Ẇ·g with J = ∂x/∂W, for a generator g of the weights; terms of the action add theirs.

    The same in full and reduced coordinates. Constraints (4) do no work on it, so that no multipliers are needed; those
    of a finite speed, (19), do.

    law: a law of a cognitive action.
    generator: g(t, W, stimulus), a pytree like W.
    """

    law: Any
    generator: Callable[..., PyTree] = eqx.field(converter=module_named("generator"))

    def __check_init__(self) -> None:
        self._on_equations()  # which refuses an action of second order

    def reading(self, t: Any, state: State, args: PyTree) -> Charge:
        t = as_time(t, state.q)
        return self._on_equations().reading(t, self.law.full_state(t, state, args), args)

    def _on_equations(self) -> LagrangianCharge:
        equations = self.law.equations
        hard = equations.constraint is not None  # springs in their place are a part of the Lagrangian
        tangent = hard and not equations.constraint.carries_multipliers
        return LagrangianCharge(equations, AlongConstraints(self.law.network, self.generator), tangent)


class DescentCharge(AbstractCharge):
    """Q = m_W Ẇ·g, dQ/dt = −r Q − V_W·g + m_W Ẇ·Dg, of damped descent (13).

    law: a `DampedDescent`.
    generator: g(t, W, stimulus), a pytree like W.
    """

    law: Any
    generator: Callable[..., PyTree] = eqx.field(converter=module_named("generator"))

    def reading(self, t: Any, state: State, args: PyTree) -> Charge:
        law, t = self.law, as_time(t, state.q)
        g, g_dot = prolonged(self.generator, t, (state.q, state.v), args)
        momentum = tree_scale(cast(law.mass_W, t), state.v)
        value = tree_dot(momentum, g)
        parts = _parts(
            t,
            dissipation=-law.dissipation.rate(t) * value,
            kinetic=tree_dot(momentum, g_dot),
            potential=tree_dot(law.loss.downhill(t, state.q, args).force, g),
        )
        return Charge(value, sum(parts, start=jnp.zeros_like(t)), parts)


class MomentumCharge(AbstractCharge):
    """Q = p·g, dQ/dt = −r Q − s V_W·g + p·Dg, of descent with any kinetic energy, (D + r) p = −s V_W.

    law: a `Descent`.
    generator: g(t, W, args), a pytree like W.
    """

    law: Any
    generator: Callable[..., PyTree] = eqx.field(converter=module_named("generator"))

    def reading(self, t: Any, state: Phase, args: PyTree) -> Charge:
        law, t = self.law, as_time(t, state.q)
        g, g_dot = prolonged(self.generator, t, (state.q, law.kinetic.velocity(state.p)), args)
        value = tree_dot(state.p, g)
        force = law.loss.downhill(t, state.q, args).force
        parts = _parts(
            t,
            dissipation=-law.dissipation.rate(t) * value,
            kinetic=tree_dot(state.p, g_dot),
            potential=law.damping.factor_at(t) * tree_dot(force, g),
        )
        return Charge(value, sum(parts, start=jnp.zeros_like(t)), parts)


class FlowCharge(AbstractCharge):
    """Q = γ Φ with g = Φ_W, dQ/dt = γ Ẇ·g + γ Φ_t = −V_W·g + γ Φ_t, of the gradient flow (14).

    Nothing has a momentum here: friction itself makes the charge, and what −V_W·g leaves at rest is kept for ever, not
    up to friction. γ Φ_t counts as kinetic, and there is no dissipation.

    law: a `GradientFlow`.
    generator: g(t, W, stimulus) = Φ_W, an `AbstractGradientGenerator`.
    """

    law: Any
    generator: AbstractGradientGenerator

    def reading(self, t: Any, state: State, args: PyTree) -> Charge:
        law, W, t = self.law, state.q, as_time(t, state.q)
        gamma = cast(law.gamma, t)
        moved = time_derivative(lambda s: self.generator.primitive(s, W, args), t)
        g = displacement(self.generator, t, W, args)
        parts = _parts(t, kinetic=gamma * moved, potential=tree_dot(law.loss.downhill(t, W, args).force, g))
        return Charge(gamma * self.generator.primitive(t, W, args), sum(parts, start=jnp.zeros_like(t)), parts)


def flow_charge(law: Any, generator: Callable[..., PyTree]) -> FlowCharge:
    """The charge of a gradient flow; ValueError for a generator that is not known to be a gradient."""
    if isinstance(generator, AbstractGradientGenerator):
        return FlowCharge(law, generator)
    raise ValueError(
        f"{type(law).__name__} has no momentum: its charge is γ Φ of a generator g = Φ_W, as ll.Rescaling, ll.Scaling, "
        "ll.Translation and ll.GradientOf(phi) are. Of any other g only γ Ẇ·g = −V_W·g holds, with no function of W "
        "behind it: a rotation is no gradient."
    )


def _parts(t: Array, **known: Array) -> ChargeRates:
    return ChargeRates(**{name: jnp.zeros_like(t) for name in ChargeRates._fields} | known)
