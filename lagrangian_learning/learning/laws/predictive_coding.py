"""Predictive coding: the overdamped limit of soft constraints, in the coordinates (κG, W) or in W alone."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from lagrangian_learning._arrays import (
    as_time,
    cast,
    is_concrete,
    time_derivative,
    tree_add,
    tree_dot,
    tree_scale,
    tree_sub,
    tree_zeros,
)
from lagrangian_learning._checks import about, instance, nonnegative, one_of, time
from lagrangian_learning.learning.checks import check_constants, check_state, check_stimulus, without_velocities
from lagrangian_learning.learning.delta_errors import descent_force, potential_gradient
from lagrangian_learning.learning.multipliers import ConjugateGradients
from lagrangian_learning.learning.multipliers.stationary_errors import StationaryErrors
from lagrangian_learning.learning.potential import AbstractPotential, SquaredError, as_potential
from lagrangian_learning.mechanics import AbstractEnergyPart, AbstractLaw, EnergyReading, Rates, State, compiled
from lagrangian_learning.networks import AbstractNetwork
from lagrangian_learning.signals import Stimulus

from .limits import friction
from .soft import STARTS, check_feedforward, finite_errors, positive_stiffness


def _neuron_friction(value: Any) -> Array | None:
    """γ_x > 0 as a constant, None for 0: which of them it is decides what the state holds."""
    if value is None:
        return None
    constant = nonnegative(value, "gamma_x", "0 keeps the neurons at rest.")
    return None if is_concrete(value) and np.asarray(value) == 0 else constant


class _Instant(NamedTuple):
    """Neurons, their errors δ = κG, and how fast the weights follow."""

    x: PyTree
    delta: PyTree
    W_dot: PyTree


class PredictiveCoding(AbstractLaw, AbstractEnergyPart):
    """γ_x ẋ = −∂_x(V + ½ κ |G|²),  γ Ẇ = −κ G_Mᵀ G: soft constraints, overdamped (docs/theory.md §10).

    The neurons' errors are e = G = x − σ(Wx), and δ = κG stands where backpropagation has its delta errors. With
    neurons at rest, γ_x = 0, δ solves V_x + G_ξᵀδ = 0 and Ẇ is backpropagation's up to 1/κ. With neurons that relax,
    κ → ∞ is (γ I + γ_x JᵀJ) Ẇ = −V_W − γ_x Jᵀ f_t, J = ∂x/∂W, f_t the forward pass's change with the input.

    x is found from δ by a forward sweep, x_l = σ(W x_{l−1}) + δ_l/κ, in which no digits of δ are lost as κ grows. The
    state is a `State` of q = W and, where neurons relax, multipliers δ. Their fastest rates are those of
    (κ/γ_x) G_ξ G_ξᵀ: explicit steppers are limited by them, implicit ones take no more steps as κ grows, and factorise
    a matrix of all neurons and weights. Give those Newton's method, with tolerances above κ eps: the default of
    `diffrax.Kvaerno5(root_finder=optimistix.Newton(rtol=1e-5, atol=1e-6))` holds one Jacobian and shortens steps. At
    rest nothing is stiff.

    Arguments:
        network: a feedforward network.
        potential: V(x_out, y).
        gamma: γ > 0, the friction of the weights.
        gamma_x: γ_x ≥ 0, the friction of the neurons; 0, kept as None: they are at rest.
        stiffness: κ > 0, in units of V over x². At rest it must exceed |V_xx| over the least eigenvalue of G_ξᵀG_ξ,
            which falls with depth; below, δ need not exist and is NaN where it is not found.

    Observables are W, W_dot, x and the multipliers κG. Raises ValueError for constants out of range and for cycles.
    """

    network: AbstractNetwork
    potential: AbstractPotential = eqx.field(converter=as_potential, default=SquaredError())
    gamma: Float[Array, "..."] = eqx.field(converter=friction, default=1.0)  # pyright: ignore[reportAssignmentType]
    gamma_x: Float[Array, "..."] | None = eqx.field(converter=_neuron_friction, default=None)
    stiffness: Float[Array, "..."] = eqx.field(converter=positive_stiffness, kw_only=True)

    def __check_init__(self) -> None:
        instance(self.network, "network", AbstractNetwork, "a network such as ll.Layered((2, 2, 1))")
        check_feedforward(self.network)

    def initial_state(
        self, t0: Any, q: PyTree, v: None = None, args: Stimulus | None = None, *, start: str = "multipliers"
    ) -> State:
        """Weights q = W, and δ where neurons relax.

        Arguments:
            q: weights.
            args: a `Stimulus` for the network.
            start: "multipliers" starts relaxing neurons at the δ of the limit κ → ∞, so that no layer of time passes
                before they follow; "constraint" on G = 0.

        Raises ValueError for weights, signals or settings that do not fit.
        """
        one_of(start, "start", STARTS)
        with about("q"):
            W = self.network.check_weights(q)
        without_velocities(v)
        t0 = time(t0, "t0", W)
        self._check_stimulus(t0, args)
        assert args is not None
        if self.gamma_x is not None:
            delta = finite_errors(self._followed(t0, W, args))
            return State(W, None, multipliers=tree_zeros(delta) if start == "constraint" else delta)
        if start == "constraint":
            raise ValueError("neurons at rest, gamma_x = 0, have no start of their own: leave start out.")
        return State(W, None)

    def check(self, ts: Array, state: State, args: Stimulus) -> State:
        self._check_stimulus(ts, args)
        check_state(state, 0, multipliers=self.gamma_x is not None)
        self.network.check_weights(state.q)
        return check_constants(state, self)

    @compiled
    def velocities(self, t: Any, state: State, args: Any = None) -> tuple[PyTree, PyTree]:
        """(Ẇ, κG)."""
        found = self._instant(as_time(t, state.q), state, args)
        return found.W_dot, found.delta

    def rates(self, t: Any, state: State, args: Stimulus) -> Rates:
        t = as_time(t, state.q)
        found = self._instant(t, state, args)
        power = self._explicit_rate(t, state.q, found, args)
        power = power - cast(self.gamma, t) * tree_dot(found.W_dot, found.W_dot)
        if self.gamma_x is None:
            return Rates(State(found.W_dot, None), power)
        x_dot, gamma_x = self._neuron_velocities(t, state.q, found, args), cast(self.gamma_x, t)
        delta_dot = self._error_rates(t, state.q, found, x_dot, args)
        return Rates(State(found.W_dot, None, multipliers=delta_dot), power - gamma_x * tree_dot(x_dot, x_dot))

    def observables(self, t: Any, state: State, args: Stimulus) -> dict[str, PyTree]:
        found = self._instant(as_time(t, state.q), state, args)
        return {"q": state.q, "v": found.W_dot, "x": found.x, "multipliers": found.delta}

    @compiled
    def energy(self, t: Any, state: State, args: Any = None) -> Array:
        """V + ½ κ |G|²: its rate is V_t + δ·G_t − γ |Ẇ|² − γ_x |ẋ|²."""
        t = as_time(t, state.q)
        found = self._instant(t, state, args)
        value = self.potential(self.network.output(found.x), args.target(t))
        return value + tree_dot(found.delta, found.delta) / (2 * cast(self.stiffness, t))

    def reading(self, t: Any, state: State, args: Any = None) -> EnergyReading:
        energy = self.energy(t, state, args)
        return EnergyReading(energy, jnp.zeros_like(energy))  # nothing has mass

    @property
    def solves_multipliers(self) -> bool:
        return self.gamma_x is None

    @property
    def description(self) -> dict[str, str]:
        at_rest = self.gamma_x is None
        return {
            "equation": f"predictive coding, neurons {'at rest' if at_rest else 'that relax'}",
            "coordinates": "W; κG and x by Newton's method" if at_rest else "κG and W; x by a forward sweep",
            "multipliers": StationaryErrors.name if at_rest else "κG, part of the state",
        }

    @property
    def aliases(self) -> dict[str, tuple[str, int | None]]:
        return {"W": ("q", None), "W_dot": ("v", None)}

    def _check_stimulus(self, ts: Array, stimulus: Any) -> None:
        # Relaxing errors follow the input's velocity; at rest it is only read.
        check_stimulus(self.network, self.potential, 0 if self.gamma_x is None else 1, ts, stimulus)

    def _instant(self, t: Array, state: State, stimulus: Stimulus) -> _Instant:
        W, kappa, u = state.q, cast(self.stiffness, t), stimulus.input(t)
        delta = state.multipliers
        if self.gamma_x is None:
            delta = StationaryErrors()(self.network, self.potential, W, (u, stimulus.target(t)), kappa)
        x = self.network.displaced(W, u, tree_scale(1 / kappa, delta))
        force = descent_force(self.network, x, W, delta)
        return _Instant(x, delta, tree_scale(1 / cast(self.gamma, t), force))

    def _neuron_velocities(self, t: Array, W: PyTree, found: _Instant, stimulus: Stimulus) -> PyTree:
        """ẋ = −(V_x + G_ξᵀδ)/γ_x."""
        u = stimulus.input(t)
        pulled = jax.vjp(lambda x: self.network.constraint(x, W, u), found.x)[1](found.delta)[0]
        slope = potential_gradient(self.network, self.potential, found.x, stimulus.target(t))
        return tree_scale(-1 / cast(self.gamma_x, t), tree_add(slope, pulled))

    def _error_rates(self, t: Array, W: PyTree, found: _Instant, x_dot: PyTree, stimulus: Stimulus) -> PyTree:
        """δ̇ = κ DG."""

        def constraint(s: Array, x: PyTree, weights: PyTree) -> PyTree:
            return self.network.constraint(x, weights, stimulus.input(s))

        change = jax.jvp(constraint, (t, found.x, W), (jnp.ones_like(t), x_dot, found.W_dot))[1]
        return tree_scale(cast(self.stiffness, t), change)

    def _explicit_rate(self, t: Array, W: PyTree, found: _Instant, stimulus: Stimulus) -> Array:
        """V_y·ẏ + δ·G_t."""

        def potential(s: Array) -> Array:
            return self.potential(self.network.output(found.x), stimulus.target(s))

        return tree_dot(found.delta, self._input_rate(t, W, found.x, stimulus)) + time_derivative(potential, t)

    def _input_rate(self, t: Array, W: PyTree, x: PyTree, stimulus: Stimulus) -> PyTree:
        """G_t."""
        return time_derivative(lambda s: self.network.constraint(x, W, stimulus.input(s)), t)

    def _followed(self, t: Array, W: PyTree, stimulus: Stimulus) -> PyTree:
        """The δ of relaxing neurons as κ → ∞: G_ξᵀδ = −V_x − γ_x ẋ on G = 0."""
        x = self.network.forward(W, stimulus.input(t))
        linearised, gamma_x = self.network.linearised(x, W), cast(self.gamma_x, t)
        slope = potential_gradient(self.network, self.potential, x, stimulus.target(t))
        drift = linearised.forward(self._input_rate(t, W, x, stimulus))
        load = tree_sub(tree_scale(gamma_x, drift), slope)
        return ConjugateGradients().multipliers(linearised, load, gamma_x / cast(self.gamma, t))
