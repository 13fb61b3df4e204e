"""(8)–(10) of a feedforward network in reduced coordinates q = W: by sweeps, and as derived."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from lagrangian_learning._arrays import as_time, cast, matmul, time_derivative, tree_add, tree_dot, tree_scale, tree_sub
from lagrangian_learning.learning.abstract_action import AbstractAction
from lagrangian_learning.learning.checks import check_constants, check_state
from lagrangian_learning.learning.delta_errors import potential_gradient
from lagrangian_learning.learning.multipliers import AbstractNetworkMultipliers
from lagrangian_learning.mechanics import (
    AbstractEnergyPart,
    AbstractEulerLagrange,
    AbstractMultiplierSolver,
    DampedMotion,
    EnergyReading,
    Rates,
    State,
    compiled,
)
from lagrangian_learning.networks import AbstractLinearisation
from lagrangian_learning.signals import Stimulus

from .action_law import AbstractActionDynamics, described, known_regular, lifted, regular_start
from .full import FullDynamics


class AbstractReducedDynamics(AbstractActionDynamics, AbstractEnergyPart):
    """(8)–(10) on q = W: neurons follow the weights, x = f(W, e(t)), and the constraints hold exactly."""

    @property
    def equations(self) -> AbstractEulerLagrange:
        return FullDynamics(self.action, self.multiplier_solver)  # pyright: ignore[reportCallIssue]

    def full_state(self, t: Any, state: State, stimulus: Stimulus) -> State:
        return lifted(self.network, as_time(t, state.q), state, stimulus)

    def _start(self, t0: Array, weights: State, stimulus: Stimulus) -> State:
        if known_regular(self.multiplier_solver):
            return weights
        return in_weights(regular_start(self.equations, t0, self.full_state(t0, weights, stimulus), stimulus))

    @compiled
    def energy(self, t: Any, state: State, args: Any = None) -> Array:
        """½ m_x |ẋ|² + ½ m_W |Ẇ|² + V − F, or its like for an action of second order (docs/theory.md §3)."""
        return self.equations.energy(t, self.full_state(t, state, args), args)

    def reading(self, t: Any, state: State, args: Any = None) -> EnergyReading:
        return self.equations.reading(t, self.full_state(t, state, args), args)

    def check(self, ts: Array, state: State, args: Stimulus) -> State:
        self.check_stimulus(ts, args)
        check_state(state, 2 * self.action.order - 1)
        self.network.check_weights(state.q)
        return check_constants(state, self.action)

    @property
    def solves_multipliers(self) -> bool:
        return True

    @property
    def linear_part(self) -> DampedMotion | None:
        return DampedMotion(self.action.dissipation) if self.action.order == 1 else None

    @property
    def description(self) -> dict[str, str]:
        return described(self, "reduced (W alone, x by the forward pass)")

    @property
    def aliases(self) -> dict[str, tuple[str, int | None]]:
        return {"W": ("q", None), "W_dot": ("v", None), "W_ddot": ("a", None)}


def in_weights(full: State) -> State:
    """The weights' part of a state, or of the rates of one, in full coordinates."""
    entries = (full.q, full.v, full.a, full.j)
    return State(*(None if entry is None else entry[1] for entry in entries))


class Evaluation(NamedTuple):
    """One evaluation: neurons, their velocities, Ẅ and δ, and G linearised at x."""

    x: PyTree
    x_dot: PyTree
    W_ddot: PyTree
    delta: PyTree
    linearised: AbstractLinearisation


class ReducedDynamics(AbstractReducedDynamics):
    """m_W Ẅ = −r m_W Ẇ − G_Mᵀ δ + F_W, δ = G_ξ⁻ᵀ μ, (I + ρ G_ξ⁻¹ G_M G_Mᵀ G_ξ⁻ᵀ) μ = f with ρ = m_x/m_W:

        f = −V_ξ + F_ξ − m_x z + ρ G_ξ⁻¹ G_M F_W,    z = −G_ξ⁻¹ (γ₂ + r G_t) = ẍ|_{Ẅ=0} + r ẋ|_{Ẇ=0}.

    (8)–(10) on q = W: x and ẋ follow from (W, Ẇ) by the forward pass and its derivative, so that nothing drifts. x, ẋ
    and z are one forward pass, since z is the ẍ of that pass when ü + r u̇ stands in the place of ü. The mass matrix of
    these coordinates is m_W I + m_x JᵀJ, J = ∂x/∂W; it is never formed (docs/theory.md §3). `accelerations` returns
    (Ẅ, δ).

    Made by `CognitiveAction.law()`, for terms F of order 0, which leave the inertia to be m_x and m_W.

    action: the `CognitiveAction` that it follows from.
    multiplier_solver: how its multipliers are solved for.
    """

    action: AbstractAction
    multiplier_solver: AbstractMultiplierSolver

    @compiled
    def accelerations(self, t: Any, state: State, args: Any = None) -> tuple[PyTree, PyTree]:
        """(Ẅ, δ)."""
        found = self.evaluate(as_time(t, state.q), state, args)
        return found.W_ddot, found.delta

    def rates(self, t: Any, state: State, args: Stimulus) -> Rates:
        t = as_time(t, state.q)
        found = self.evaluate(t, state, args)
        return Rates(State(state.v, found.W_ddot), self._power(t, state, found, args))

    def observables(self, t: Any, state: State, args: Stimulus) -> dict[str, PyTree]:
        t = as_time(t, state.q)
        found = self.evaluate(t, state, args)
        free = self.network.taylor_sweep(state.q, state.v, *_input_jet(t, args)).x_ddot
        x_ddot = tree_sub(free, found.linearised.forward(found.linearised.weight_jvp(found.W_ddot)))
        weights = {"q": state.q, "v": state.v, "a": found.W_ddot}
        return weights | {"x": found.x, "x_dot": found.x_dot, "x_ddot": x_ddot, "multipliers": found.delta}

    def evaluate(self, t: Array, state: State, stimulus: Stimulus) -> Evaluation:
        """Ẅ and δ at weights W and velocities Ẇ, with the forward pass that they rest on."""
        action, solver = self.action, self.multiplier_solver
        assert isinstance(solver, AbstractNetworkMultipliers)
        x, x_dot, z, linearised = self._forward(t, state, stimulus)
        slope = potential_gradient(action.network, action.potential, x, stimulus.target(t))
        f_x, f_W = tree_scale(-1, slope), None
        if action.terms:
            further, f_W = jax.grad(lambda q: action.forces_density(t, q, stimulus))((x, state.q))
            f_x = tree_add(f_x, further)
        masses = (cast(action.mass_x, t), cast(action.mass_W, t))
        pull, delta = solver.accelerations(linearised, masses, (f_x, f_W), z)
        W_ddot = tree_add(tree_scale(-action.dissipation.rate(t), state.v), pull)
        return Evaluation(x, x_dot, W_ddot, delta, linearised)

    def _power(self, t: Array, state: State, found: Evaluation, stimulus: Stimulus) -> Float[Array, ""]:
        """dE/dt = −r (m_x |ẋ|² + m_W |Ẇ|²) + δ·G_t − ℓ_t (docs/theory.md §3)."""
        action, W = self.action, state.q
        mass_x, mass_W = cast(action.mass_x, t), cast(action.mass_W, t)
        kinetic = mass_x * tree_dot(found.x_dot, found.x_dot) + mass_W * tree_dot(state.v, state.v)

        def constraint(s: Array) -> PyTree:
            return action.network.constraint(found.x, W, stimulus.input(s))

        def density(s: Array) -> Array:
            value = -action.potential(action.network.output(found.x), stimulus.target(s))
            return value + action.forces_density(s, (found.x, W), stimulus)

        work = tree_dot(found.delta, time_derivative(constraint, t))
        return work - action.dissipation.rate(t) * kinetic - time_derivative(density, t)

    def _forward(
        self, t: Array, state: State, stimulus: Stimulus
    ) -> tuple[PyTree, PyTree, PyTree, AbstractLinearisation]:
        rate = self.action.dissipation.rate(t)
        zero, one = jnp.zeros_like(rate), jnp.ones_like(rate)
        mixed = [jnp.stack(column) for column in ((one, zero, zero), (zero, one, zero), (zero, rate, one))]
        # As products, which XLA computes once: it would evaluate the signal anew for every weight of the first layer.
        jet = jnp.stack(_input_jet(t, stimulus), axis=-1)
        return self.network.taylor_sweep(state.q, state.v, *(matmul(jet, column) for column in mixed))


def _input_jet(t: Array, stimulus: Stimulus) -> tuple[Array, Array, Array]:
    """u, u̇, ü."""

    def rate(s: Array) -> tuple[Array, Array]:
        return jax.jvp(stimulus.input, (s,), (jnp.ones_like(s),))

    (u, u_dot), (_, u_ddot) = jax.jvp(rate, (t,), (jnp.ones_like(t),))
    return u, u_dot, u_ddot


class ReducedDerivedDynamics(AbstractReducedDynamics):
    """(8)–(10) on q = W, derived in full coordinates by differentiation of the action, and restricted to the weights.

    For terms that change the inertia, second-order actions, and multiplier solvers that know no network, where
    `ReducedDynamics` has no sweeps. `accelerations` returns (Ẅ, δ); for a second-order action the fourth derivative in
    place of Ẅ. Made by `CognitiveAction.law()`.

    action: the `CognitiveAction` that it follows from.
    multiplier_solver: how its multipliers are solved for.
    """

    action: AbstractAction
    multiplier_solver: AbstractMultiplierSolver

    @compiled
    def accelerations(self, t: Any, state: State, args: Any = None) -> tuple[PyTree, PyTree]:
        """(Ẅ, δ)."""
        t = as_time(t, state.q)
        (_, top), delta = self.equations.solved(t, self.full_state(t, state, args), args)
        return top, delta

    def rates(self, t: Any, state: State, args: Stimulus) -> Rates:
        rates = self.equations.rates(t, self.full_state(t, state, args), args)
        return Rates(in_weights(rates.state), rates.power)

    def observables(self, t: Any, state: State, args: Stimulus) -> dict[str, PyTree]:
        full = self.equations.observables(t, self.full_state(t, state, args), args)
        delta = full.pop("multipliers")
        neurons = {name: full[key][0] for key, name in (("q", "x"), ("v", "x_dot"), ("a", "x_ddot"))}
        return {key: value[1] for key, value in full.items()} | neurons | {"multipliers": delta}
