"""Damped descent (13): the heavy ball."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from lagrangian_learning._arrays import as_time, cast, tree_add, tree_dot, tree_scale
from lagrangian_learning._checks import positive
from lagrangian_learning.learning.checks import check_state, check_stimulus, checked_velocities
from lagrangian_learning.learning.delta_errors import delta_errors, descent_force, loss
from lagrangian_learning.learning.potential import AbstractPotential, SquaredError, as_potential
from lagrangian_learning.mechanics import (
    AbstractDissipation,
    AbstractEnergyPart,
    AbstractLaw,
    DampedMotion,
    ExponentialDissipation,
    Rates,
    State,
    compiled,
)
from lagrangian_learning.networks import AbstractNetwork
from lagrangian_learning.signals import Stimulus

_SMOOTHNESS = 0  # the input is only read, never differentiated


def positive_mass(value: Any) -> Array:
    """m_W > 0 as a constant; ValueError otherwise."""
    return positive(value, "mass_W", "weights without mass follow ll.GradientFlow, (14).")


class DampedDescent(AbstractLaw, AbstractEnergyPart):
    """Ẅ + ϑ Ẇ = −V_W/m_W, (13): the Euler–Lagrange equation of (12), the limit m_x = 0 of the cognitive action.

    Arguments:
        network, potential: as in `GradientFlow`.
        mass_W: m_W > 0.
        dissipation: the weight ϖ(t); `ExponentialDissipation(theta)` for (13) as printed, any other in its place.

    γ = ϑ m_W is the friction; m_W → 0 at fixed γ is the gradient flow (14). The state holds q = W, v = Ẇ.
    """

    network: AbstractNetwork
    potential: AbstractPotential = eqx.field(converter=as_potential, default=SquaredError())
    mass_W: Float[Array, "..."] = eqx.field(converter=positive_mass, default=1.0)  # pyright: ignore[reportAssignmentType]
    # A factory: an array made at import would start the backend before the user can configure it.
    dissipation: AbstractDissipation = eqx.field(default_factory=lambda: ExponentialDissipation(1.0))

    def initial_state(self, t0: Any, q: PyTree, v: PyTree = None, args: Stimulus | None = None) -> State:
        """Weights q = W and their velocities v = Ẇ (0 by default), checked with the stimulus args."""
        W = self.network.check_weights(q)
        W_dot = checked_velocities(self.network, W, v)
        check_stimulus(self.network, self.potential, _SMOOTHNESS, as_time(t0, W), args)
        return State(W, W_dot)

    @compiled
    def accelerations(self, t: Any, state: State, args: Any = None) -> tuple[PyTree, PyTree]:
        """(Ẅ, δ), δ the delta errors of (17)."""
        W_ddot, delta, _ = self._evaluate(as_time(t, state.q), state, args)
        return W_ddot, delta

    def rates(self, t: Any, state: State, args: Stimulus) -> Rates:
        t = as_time(t, state.q)
        explicit = jax.jvp(lambda s: self._loss(s, state.q, args), (t,), (jnp.ones_like(t),))[1]
        friction = self.dissipation.rate(t) * cast(self.mass_W, t) * tree_dot(state.v, state.v)
        W_ddot, _, _ = self._evaluate(t, state, args)
        return Rates(State(state.v, W_ddot), explicit - friction)

    def observables(self, t: Any, state: State, args: Stimulus) -> dict[str, PyTree]:
        W_ddot, delta, x = self._evaluate(as_time(t, state.q), state, args)
        return {"q": state.q, "v": state.v, "a": W_ddot, "x": x, "multipliers": delta}

    @compiled
    def energy(self, t: Any, state: State, args: Any = None) -> Array:
        """½ m_W |Ẇ|² + V."""
        t = as_time(t, state.q)
        return cast(self.mass_W, t) * tree_dot(state.v, state.v) / 2 + self._loss(t, state.q, args)

    def check(self, ts: Array, state: State, args: Stimulus) -> State:
        check_stimulus(self.network, self.potential, _SMOOTHNESS, ts, args)
        check_state(state, 1)
        self.network.check_weights(state.q)
        return state

    @property
    def linear_part(self) -> DampedMotion:
        return DampedMotion(self.dissipation)

    @property
    def description(self) -> dict[str, str]:
        return {"equation": "damped descent (13)", "multipliers": "one adjoint sweep, (17)"}

    @property
    def aliases(self) -> dict[str, tuple[str, int | None]]:
        return {"W": ("q", None), "W_dot": ("v", None), "W_ddot": ("a", None)}

    def _evaluate(self, t: Array, state: State, stimulus: Stimulus) -> tuple[PyTree, PyTree, PyTree]:
        x = self.network.forward(state.q, stimulus.input(t))
        delta = delta_errors(self.network, self.potential, x, state.q, stimulus.target(t))
        force = descent_force(self.network, x, state.q, delta)
        drag = tree_scale(-self.dissipation.rate(t), state.v)
        return tree_add(drag, tree_scale(1 / cast(self.mass_W, t), force)), delta, x

    def _loss(self, t: Array, W: PyTree, stimulus: Stimulus) -> Array:
        return loss(self.network, self.potential, W, stimulus.input(t), stimulus.target(t))
