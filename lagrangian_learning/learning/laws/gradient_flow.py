"""Gradient flow (14), with the multipliers of (15)–(17)."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from lagrangian_learning._arrays import as_time, cast, tree_dot, tree_scale
from lagrangian_learning._checks import positive
from lagrangian_learning.learning.checks import check_state, check_stimulus, without_velocities
from lagrangian_learning.learning.delta_errors import delta_errors, descent_force, loss
from lagrangian_learning.learning.potential import AbstractPotential, SquaredError, as_potential
from lagrangian_learning.mechanics import AbstractEnergyPart, AbstractLaw, Rates, State, compiled
from lagrangian_learning.networks import AbstractNetwork
from lagrangian_learning.signals import Stimulus

_SMOOTHNESS = 0  # the input is only read, never differentiated


def friction(value: Any) -> Array:
    """γ > 0 as a constant; ValueError otherwise."""
    return positive(value, "gamma", "it is 1/learning rate.")


class GradientFlow(AbstractLaw, AbstractEnergyPart):
    """Ẇ = −V_W/γ, (14): as Ẇ_ij = +σ′(a_i) δ_i x_j/γ with T δ = −V_x, (15)–(17), one forward and one adjoint sweep.

    The limit m_x → 0, m_W → 0, m_x/m_W → 0 at ϑ = γ/m_W of the cognitive action. Neurons follow at once, x = f(W, e).

    Arguments:
        network: a feedforward network, or one whose cycles its forward pass solves.
        potential: V(x_out, y).
        gamma: γ > 0, the friction; 1/γ is the learning rate, weight change a unit of time and gradient.

    The state holds q = W; observables are W, W_dot, x and the multipliers δ.
    """

    network: AbstractNetwork
    potential: AbstractPotential = eqx.field(converter=as_potential, default=SquaredError())
    gamma: Float[Array, "..."] = eqx.field(converter=friction, default=1.0)  # pyright: ignore[reportAssignmentType]

    def initial_state(self, t0: Any, q: PyTree, v: None = None, args: Stimulus | None = None) -> State:
        """The weights q = W, checked with the stimulus args; errors as in `ReducedDynamics.initial_state`."""
        W = self.network.check_weights(q)
        without_velocities(v)
        check_stimulus(self.network, self.potential, _SMOOTHNESS, as_time(t0, W), args)
        return State(W, None)

    @compiled
    def velocities(self, t: Any, state: State, args: Any = None) -> tuple[PyTree, PyTree]:
        """(Ẇ, δ)."""
        W_dot, delta, _ = self._evaluate(as_time(t, state.q), state, args)
        return W_dot, delta

    def rates(self, t: Any, state: State, args: Stimulus) -> Rates:
        t = as_time(t, state.q)
        W_dot, _, _ = self._evaluate(t, state, args)
        # V is only as smooth in time as the signals; its explicit rate needs one derivative of them.
        explicit = jax.jvp(lambda s: self._loss(s, state.q, args), (t,), (jnp.ones_like(t),))[1]
        return Rates(State(W_dot, None), explicit - cast(self.gamma, t) * tree_dot(W_dot, W_dot))

    def observables(self, t: Any, state: State, args: Stimulus) -> dict[str, PyTree]:
        W_dot, delta, x = self._evaluate(as_time(t, state.q), state, args)
        return {"q": state.q, "v": W_dot, "x": x, "multipliers": delta}

    @compiled
    def energy(self, t: Any, state: State, args: Any = None) -> Array:
        """V itself: dV/dt = V_t − γ |Ẇ|²."""
        return self._loss(as_time(t, state.q), state.q, args)

    def check(self, ts: Array, state: State, args: Stimulus) -> State:
        check_stimulus(self.network, self.potential, _SMOOTHNESS, ts, args)
        check_state(state, 0)
        self.network.check_weights(state.q)
        return state

    @property
    def description(self) -> dict[str, str]:
        return {"equation": "gradient flow (14)", "multipliers": "one adjoint sweep, (17)"}

    @property
    def aliases(self) -> dict[str, tuple[str, int | None]]:
        return {"W": ("q", None), "W_dot": ("v", None)}

    def _evaluate(self, t: Array, state: State, stimulus: Stimulus) -> tuple[PyTree, PyTree, PyTree]:
        x = self.network.forward(state.q, stimulus.input(t))
        delta = delta_errors(self.network, self.potential, x, state.q, stimulus.target(t))
        force = descent_force(self.network, x, state.q, delta)
        return tree_scale(1 / cast(self.gamma, t), force), delta, x

    def _loss(self, t: Array, W: PyTree, stimulus: Stimulus) -> Array:
        return loss(self.network, self.potential, W, stimulus.input(t), stimulus.target(t))
