"""Damped descent (13): the heavy ball."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from lagrangian_learning._arrays import as_time, cast, tree_add, tree_dot, tree_scale
from lagrangian_learning._checks import require
from lagrangian_learning.learning.checks import check_stimulus, checked_velocities, one_number
from lagrangian_learning.learning.delta_errors import delta_errors, descent_force, loss
from lagrangian_learning.learning.potential import AbstractPotential, SquaredError, as_potential
from lagrangian_learning.mechanics import (
    AbstractDissipation,
    AbstractUnconstrainedLaw,
    DampedMotion,
    ExponentialDissipation,
    Rates,
    State,
)
from lagrangian_learning.networks import AbstractNetwork
from lagrangian_learning.signals import Stimulus

_SMOOTHNESS = 0  # the input is only read, never differentiated


def positive_mass(value: Any) -> Array:
    """m_W > 0 as a constant; ValueError otherwise."""
    mass = one_number(value, "mass_W")
    remedy = "mass_W must be finite and > 0: weights without mass follow ll.GradientFlow, (14)."
    return require(mass, jnp.isfinite(mass) & (mass > 0), remedy)


class DampedDescent(AbstractUnconstrainedLaw):
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

    def initial_state(self, t0: Any, W: PyTree, stimulus: Stimulus, W_dot: PyTree = None) -> State:
        """Weights and their velocities (0 by default), checked with the stimulus."""
        W = self.network.check_weights(W)
        check_stimulus(self.network, self.potential, _SMOOTHNESS, as_time(t0, W), stimulus)
        return State(W, checked_velocities(self.network, W, W_dot))

    def accelerations(self, t: Any, state: State, stimulus: Stimulus) -> tuple[PyTree, PyTree]:
        """(Ẅ, δ), δ the delta errors of (17)."""
        W_ddot, delta, _ = self._evaluate(as_time(t, state.q), state, stimulus)
        return W_ddot, delta

    def vector_field(self, t: Any, state: State, args: Stimulus) -> State:
        return State(state.v, self.accelerations(t, state, args)[0])

    def rates(self, t: Any, state: State, args: Stimulus) -> Rates:
        t = as_time(t, state.q)
        explicit = jax.jvp(lambda s: self._loss(s, state.q, args), (t,), (jnp.ones_like(t),))[1]
        friction = self.dissipation.rate(t) * cast(self.mass_W, t) * tree_dot(state.v, state.v)
        return Rates(self.vector_field(t, state, args), explicit - friction)

    def observables(self, t: Any, state: State, args: Stimulus) -> dict[str, PyTree]:
        W_ddot, delta, x = self._evaluate(as_time(t, state.q), state, args)
        return {"q": state.q, "v": state.v, "a": W_ddot, "x": x, "multipliers": delta}

    def energy(self, t: Any, state: State, args: Stimulus) -> Array:
        """½ m_W |Ẇ|² + V."""
        t = as_time(t, state.q)
        return cast(self.mass_W, t) * tree_dot(state.v, state.v) / 2 + self._loss(t, state.q, args)

    def check(self, ts: Array, state: State, args: Stimulus) -> State:
        check_stimulus(self.network, self.potential, _SMOOTHNESS, ts, args)
        self.network.check_weights(state.q)
        return state

    @property
    def linear_part(self) -> DampedMotion:
        return DampedMotion(self.dissipation)

    @property
    def description(self) -> dict[str, str]:
        return {"equation": "damped descent (13)", "multipliers": "one backward sweep, (17)"}

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
