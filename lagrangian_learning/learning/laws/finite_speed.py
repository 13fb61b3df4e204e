"""Neurons that follow their inputs at finite speed: the pairing of G and its action, and their law."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PyTree

from lagrangian_learning._arrays import as_time, cast, tree_scale
from lagrangian_learning._checks import about, time
from lagrangian_learning.learning.abstract_action import AbstractAction
from lagrangian_learning.learning.checks import check_constants, check_state, checked_velocities
from lagrangian_learning.learning.delta_errors import potential_gradient
from lagrangian_learning.mechanics import (
    AbstractBoundaryLaw,
    AbstractDissipation,
    AbstractLinearPart,
    AbstractMultiplierSolver,
    AbstractPropagator,
    State,
    momenta,
)
from lagrangian_learning.mechanics.cauchy import initial_state
from lagrangian_learning.mechanics.linear_part import DecayPropagator, MotionPropagator, mean_rate
from lagrangian_learning.signals import Stimulus

from .backprop_diffusion import (
    growth_rate,
    has_run_away,
    refuse_fast_dissipation,
    refuse_unstable,
    start_waves,
    stationary_waves,
)
from .full import AbstractFullDynamics


class FiniteSpeedMotion(AbstractLinearPart):
    """ẍ = −c ẋ,  Ẅ = −r Ẇ,  δ̇ = −(r − c) δ: the diagonal of the equations before (20) (docs/theory.md §7)."""

    speed: Float[Array, ""]
    dissipation: AbstractDissipation

    def apply(self, t: Float[Array, ""], state: State) -> State:
        speed, rate = cast(self.speed, t), self.dissipation.rate(t)
        v = (tree_scale(-speed, state.v[0]), tree_scale(-rate, state.v[1]))
        return State(state.v, v, multipliers=tree_scale(speed - rate, state.multipliers))

    def over(self, t0: Float[Array, ""], t1: Float[Array, ""]) -> "FiniteSpeedPropagator":
        step, speed, rate = t1 - t0, cast(self.speed, t0), mean_rate(self.dissipation, t0, t1)
        return FiniteSpeedPropagator(
            step,
            MotionPropagator(step, speed),
            MotionPropagator(step, rate),
            DecayPropagator(step, rate - speed, jnp.zeros_like(step)),
        )


class FiniteSpeedPropagator(AbstractPropagator):
    """Neurons, weights and multipliers, each with its own rate."""

    step: Float[Array, ""]
    neurons: MotionPropagator
    weights: MotionPropagator
    costate: DecayPropagator

    @property
    def layer(self) -> Float[Array, ""]:
        """Zero: three rates make three transients, which steppers resolve and do not see through."""
        return jnp.zeros_like(self.step)

    def linear(self, state: State) -> State:
        x, W, delta = _parts(state)
        return _whole(self.neurons.linear(x), self.weights.linear(W), self.costate.linear(delta))

    def exponential(self, share: Float[Array, ""], state: State) -> State:
        x, W, delta = _parts(state)
        return _whole(
            self.neurons.exponential(share, x),
            self.weights.exponential(share, W),
            self.costate.exponential(share, delta),
        )

    def moments(self, points: Float[Array, " points"], degree: int) -> tuple[PyTree, PyTree, PyTree]:
        neurons, weights = self.neurons.moments(points, degree), self.weights.moments(points, degree)
        return neurons, weights, self.costate.moments(points, degree)

    def combined(self, weights: tuple[PyTree, PyTree, PyTree], slopes: State) -> State:
        x, W, delta = _parts(slopes)
        return _whole(
            self.neurons.combined(weights[0], x),
            self.weights.combined(weights[1], W),
            self.costate.combined(weights[2], delta),
        )


class _Pair(eqx.Module):
    q: PyTree
    v: PyTree


def _parts(state: State) -> tuple[_Pair, _Pair, PyTree]:
    neurons, weights = (_Pair(q, v) for q, v in zip(state.q, state.v, strict=True))
    return neurons, weights, state.multipliers


def _whole(neurons: _Pair, weights: _Pair, multipliers: PyTree) -> State:
    return State((neurons.q, weights.q), (neurons.v, weights.v), multipliers=multipliers)


class FiniteSpeedDynamics(AbstractFullDynamics, AbstractBoundaryLaw):
    """The equations before (20), with c, m_x, m_W and ϑ all finite, on any digraph (docs/theory.md §7):

        ẋ = c (σ(Wx) − x),   Ẅ = −ϑ Ẇ + σ′(a_i) δ_i x_j/m_W,   δ̇ = c [m_x (ẍ + ϑ ẋ) + G_ξᵀ δ + V_ξ] − ϑ δ,

    derived from the action by the vakonomic rule, not written out. The state is a `State` with q = (x, W), v = (ẋ, Ẇ)
    and multipliers δ, whose start is free. As an initial-value problem it is stable only for ϑ > c on feedforward
    networks, and refused otherwise; `ll.solve_boundary` solves the rest. Made by `CognitiveAction(speed=c).law()`.

    action: the `CognitiveAction` that it follows from.
    multiplier_solver: how its multipliers are solved for.
    """

    action: AbstractAction
    multiplier_solver: AbstractMultiplierSolver
    gains: tuple[Array, Array] | None = None
    damps_drift: bool = eqx.field(static=True, default=False)

    @property
    def speed(self) -> Array:
        """c, in 1/time."""
        assert self.action.speed is not None
        return jnp.asarray(self.action.speed)

    def initial_state(
        self,
        t0: Any,
        q: PyTree,
        v: PyTree = None,
        args: Stimulus | None = None,
        *,
        x: PyTree = None,
        multipliers: PyTree = None,
    ) -> State:
        """Weights, their velocities and the waves; ẋ = c (σ(Wx) − x) follows.

        Arguments:
            q, v: weights W and their velocities Ẇ, zero by default.
            args: a `Stimulus` for the network.
            x: neurons, by default the forward pass (zero on a network with cycles).
            multipliers: δ(t0), like x; by default backprop's delta errors at x (zero on a network with cycles).
        """
        with about("q"):
            W = self.network.check_weights(q)
        W_dot = checked_velocities(self.network, W, v)
        t0 = time(t0, "t0", W)
        self.check_stimulus(t0, args)
        assert args is not None
        x, delta = start_waves(self.network, self.potential, W, (args.input(t0), args.target(t0)), x, multipliers)
        velocities = (self._neuron_velocities(t0, x, W, args), W_dot)
        return initial_state(self, t0, (x, W), velocities, args, None, None, delta, "check", None)

    def growth_rate(self, t: Any, state: State) -> Float[Array, ""]:
        """The largest real part of the spectrum of the costate equation, x and W frozen; unstable if positive."""
        theta = self.lagrangian.rate(as_time(t, state.q))
        return growth_rate(self.network, "forward", cast(self.speed, theta), theta, *state.q)

    def stops(self, t: Any, state: State, args: Stimulus) -> Bool[Array, ""]:
        target = args.target(as_time(t, state.q))
        return has_run_away(state.multipliers, potential_gradient(self.network, self.potential, state.q[0], target))

    def check(self, ts: Array, state: State, args: Stimulus) -> State:
        self.check_stimulus(ts, args)
        check_state(state, 1, whole=True, multipliers=True)
        self.network.check_weights(state.q[1])
        state = check_constants(state, self.action)
        t0 = as_time(jnp.ravel(ts)[0], state.q)
        theta = self.lagrangian.rate(t0)
        return refuse_unstable(state, self.growth_rate(t0, state), cast(self.speed, theta), theta)

    # -- the boundary-value reading --------------------------------------------------------------------------------

    def boundary_state(self, ts: Array, W: PyTree, args: Stimulus, *, x: PyTree, W_dot: PyTree) -> State:
        W_dot = checked_velocities(self.network, self.network.check_weights(W), W_dot, "W_dot")
        state = check_constants(self.initial_state(ts[0], W, W_dot, args, x=x), self.action)
        self.check_stimulus(ts, args)
        return refuse_fast_dissipation(state, cast(self.speed, ts), jax.vmap(self.lagrangian.rate)(ts))

    def stationary(self, t: Any, state: State, args: Stimulus) -> State:
        t = as_time(t, state.q)
        q, *_, delta = stationary_waves(self.network, self.potential, t, state, args)
        return self.joined(t, (*q, state.v[1]), delta, args)

    def split(self, state: State) -> tuple[PyTree, PyTree]:
        return (*state.q, state.v[1]), state.multipliers

    def joined(self, t: Any, causal: PyTree, costate: PyTree, args: Stimulus) -> State:
        x, W, W_dot = causal
        return State((x, W), (self._neuron_velocities(as_time(t, x), x, W, args), W_dot), multipliers=costate)

    def natural_condition(self, t: Any, state: State, args: Stimulus) -> PyTree:
        """δ(t₁) = c m_x ẋ(t₁): the momentum of x, c ℓ_ẋ − δ, vanishes."""
        t = as_time(t, state.q)
        (momentum,) = momenta(self.lagrangian, t, (state.q, state.v), args)
        return tree_scale(cast(self.speed, t), momentum[0])

    def slowed(self, factor: Any) -> "FiniteSpeedDynamics":
        """Heavier weights at the same ϑ, so that the friction γ = ϑ m_W grows with them."""
        mass = self.action.mass_W
        return eqx.tree_at(lambda law: law.action.mass_W, self, mass * cast(factor, mass))

    @property
    def fastest_rate(self) -> Array:
        return self.speed

    def _neuron_velocities(self, t: Array, x: PyTree, W: PyTree, stimulus: Stimulus) -> PyTree:
        return tree_scale(-cast(self.speed, t), self.network.constraint(x, W, stimulus.input(t)))

    # -- for readers -----------------------------------------------------------------------------------------------

    @property
    def linear_part(self) -> FiniteSpeedMotion:
        return FiniteSpeedMotion(self.speed, self.action.dissipation)

    @property
    def description(self) -> dict[str, str]:
        return {
            "equation": "Euler–Lagrange equations with finite speed, before (20)",
            "coordinates": "full (x, W and the multipliers)",
            "multipliers": f"part of the state; {self.multiplier_solver.name}",
        }
