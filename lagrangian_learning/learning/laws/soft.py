"""Soft constraints: −½ κ |G|² in the action in place of G = 0, integrated in the coordinates (κG, W)."""

from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from lagrangian_learning._arrays import all_finite, as_time, cast, tree_dot, tree_scale, tree_zeros
from lagrangian_learning._checks import about, one_of, positive, require, time
from lagrangian_learning.learning.abstract_action import AbstractAction
from lagrangian_learning.learning.checks import check_constants, check_state, checked_velocities
from lagrangian_learning.learning.multipliers import ConjugateGradients, DenseSaddlePoint, NetworkStructure
from lagrangian_learning.mechanics import (
    AbstractEnergyPart,
    AbstractEulerLagrange,
    AbstractMultiplierSolver,
    DampedMotion,
    EnergyReading,
    EulerLagrange,
    Lagrangian,
    Rates,
    SaddlePoint,
    State,
    total_derivative,
)
from lagrangian_learning.mechanics.energy import energy_reading
from lagrangian_learning.mechanics.method import compiled
from lagrangian_learning.networks import AbstractNetwork
from lagrangian_learning.signals import Stimulus

from .action_law import AbstractActionLaw, full_aliases
from .reduced import ReducedDerivedDynamics, ReducedDynamics

STARTS = ("multipliers", "constraint")


def optional_stiffness(value: Any) -> Array | None:
    """κ > 0 as a constant, or None; ValueError otherwise."""
    return None if value is None else positive_stiffness(value)


def positive_stiffness(value: Any) -> Array:
    """κ > 0 as a constant; ValueError otherwise."""
    return positive(value, "stiffness", "it is κ of −½ κ |G|². For the constraints G = 0 use ll.CognitiveAction.")


def check_feedforward(network: AbstractNetwork) -> None:
    """ValueError for a network with cycles, whose neurons no sweep finds from κG."""
    if not network.feedforward:
        raise ValueError(
            "soft constraints need a feedforward network, whose neurons follow from κG by a sweep, and this one has "
            "cycles: remove the cycles, or leave stiffness out."
        )


def check_soft(action: AbstractAction) -> None:
    """ValueError for what an action with a stiffness cannot have."""
    check_feedforward(action.network)
    if action.speed is not None:
        raise ValueError(
            "stiffness and speed exclude each other: κ makes the constraints (4) soft, c delays them. Leave one out."
        )
    if action.order == 2:
        raise ValueError("stiffness needs an action of first order: leave terms of order 2 out, or the stiffness.")
    _with_mass(action.mass_x, action)


def soft_solver(action: AbstractAction, coordinates: Any, solver: Any) -> AbstractMultiplierSolver:
    """How the accelerations of an action with a stiffness follow from its forces; ValueError for choices it has not."""
    if coordinates == "reduced":
        raise ValueError(
            "reduced coordinates need x to be a function of W, and soft constraints free it: leave coordinates out, or "
            "stiffness."
        )
    if solver is not None and not isinstance(solver, DiagonalMasses | DenseSaddlePoint):
        raise ValueError("soft constraints have no multipliers to solve for: leave multiplier_solver out.")
    if solver is not None:
        return solver
    return DiagonalMasses() if action.plain_inertia else DenseSaddlePoint()


def finite_errors(delta: PyTree) -> PyTree:
    """δ of a start, if it is finite; an error otherwise."""
    remedy = "q, v or the signals make multipliers that are NaN or inf: give finite data of ordinary size."
    return require(delta, all_finite(delta), remedy)


def _with_mass(value: PyTree, action: AbstractAction) -> PyTree:
    remedy = "soft constraints need mass_x > 0: for neurons without mass use ll.PredictiveCoding."
    return require(value, action.mass_x > 0, remedy)


class DiagonalMasses(AbstractMultiplierSolver):
    """ẍ = f_x/m_x, Ẅ = f_W/m_W: no constraints, and an inertia of m_x and m_W alone."""

    name: ClassVar[str] = "none (soft constraints)"

    def __call__(self, system: SaddlePoint, force: PyTree, closing: PyTree) -> tuple[PyTree, PyTree]:
        assert isinstance(system.structure, NetworkStructure)
        (f_x, f_W), structure = force, system.structure
        x_ddot = tree_scale(1 / cast(structure.mass_x, f_x), f_x)
        return (x_ddot, tree_scale(1 / cast(structure.mass_W, f_W), f_W)), closing


class _Reaction(eqx.Module):
    """−G_qᵀδ with a given δ."""

    network: AbstractNetwork
    delta: PyTree

    def __call__(self, t: Array, q: PyTree, v: PyTree, stimulus: Stimulus) -> PyTree:
        u = stimulus.input(t)
        pull_back = jax.vjp(lambda x, W: self.network.constraint(x, W, u), *q)[1]
        return tree_scale(-1, pull_back(self.delta))


class SoftEquations(AbstractEulerLagrange):
    """(1/ϖ) δA/δq − G_qᵀδ = 0 on q = (x, W), without constraints, at a given δ = κG.

    action: of hard constraints.  delta: δ, like x.
    """

    action: AbstractAction
    multiplier_solver: AbstractMultiplierSolver
    delta: PyTree
    gains: tuple[Array, Array] | None = None
    damps_drift: bool = eqx.field(static=True, default=False)

    @property
    def lagrangian(self) -> Lagrangian:
        return self.action.lagrangian

    @property
    def constraint(self) -> None:
        return None

    @property
    def forces(self) -> _Reaction:
        return _Reaction(self.action.network, self.delta)

    @property
    def structure(self) -> NetworkStructure:
        return self.action.structure


class _Found(NamedTuple):
    """One evaluation: (x, W) with its first two derivatives, and δ̈."""

    full: State
    top: tuple[PyTree, PyTree]
    delta_ddot: PyTree
    power: Array


class SoftDynamics(AbstractActionLaw, AbstractEnergyPart):
    """m_x (ẍ + r ẋ) = −V_x − G_ξᵀδ,  m_W (Ẅ + r Ẇ) = −G_Mᵀδ,  δ = κG: soft constraints (docs/theory.md §10).

    The Euler–Lagrange equations of an action with −½ κ |G|² in ℓ: no constraint, x and W both free. κG stands where the
    multipliers of the hard constraints stand, and is called "multipliers" among the observables. It oscillates about
    them with frequencies √(κ/m_x), which steps must resolve; weights approach those of the hard constraints as 1/κ.

    x is integrated by way of δ = κG, from which a forward sweep finds it, x_l = σ(W x_{l−1}) + δ_l/κ, and δ̈ = κ D²G:
    κG as a difference of x and σ(W x) would lose the digits of δ as κ grows. The state is a `State` of q = (δ, W),
    v = (δ̇, Ẇ); observables are those of full coordinates, q = (x, W). `accelerations` returns ((ẍ, Ẅ), κG). Made by
    `CognitiveAction(stiffness=κ).law()`.

    action: the `CognitiveAction` that it follows from.
    multiplier_solver: how accelerations follow from forces.
    """

    action: AbstractAction
    multiplier_solver: AbstractMultiplierSolver

    @property
    def equations(self) -> AbstractEulerLagrange:
        """The same equations on q = (x, W), as derived from the density with −½ κ |G|²."""
        return EulerLagrange(self.action.lagrangian)

    def full_state(self, t: Any, state: State, stimulus: Stimulus) -> State:
        """(x, W) and (ẋ, Ẇ), with κG as multipliers, by a forward sweep and its derivative."""
        t, (delta, W) = as_time(t, state.q), state.q

        def sweep(s: Array, jet: tuple[PyTree, ...]) -> PyTree:
            displacement = tree_scale(1 / self._stiffness(s), jet[0][0])
            return self.network.displaced(jet[0][1], stimulus.input(s), displacement)

        x, x_dot = jax.jvp(sweep, (t, (state.q,)), (jnp.ones_like(t), (state.v,)))
        return State((x, W), (x_dot, state.v[1]), multipliers=delta)

    def initial_state(
        self, t0: Any, q: PyTree, v: PyTree = None, args: Stimulus | None = None, *, start: str = "multipliers"
    ) -> State:
        """Weights W = q with velocities Ẇ = v (0 by default), and neurons with DG = 0.

        Arguments:
            q, v: weights and their velocities.
            args: a `Stimulus` for the network.
            start: "multipliers" puts x on G = δ/κ with the δ of the hard constraints at (W, Ẇ), so that κG follows
                them; "constraint" on G = 0, from where κG oscillates about δ with |δ| itself.

        Raises ValueError for weights, signals or settings that do not fit; NaN anywhere is an error.
        """
        one_of(start, "start", STARTS)
        with about("q"):
            W = self.network.check_weights(q)
        t0, W_dot = time(t0, "t0", W), checked_velocities(self.network, W, v)
        self.check_stimulus(t0, args)
        assert args is not None
        delta = finite_errors(_hard_multipliers(self.action, t0, State(W, W_dot), args))
        delta = tree_zeros(delta) if start == "constraint" else delta
        return State((delta, W), (tree_zeros(delta), W_dot))

    def check(self, ts: Array, state: State, args: Stimulus) -> State:
        self.check_stimulus(ts, args)
        check_state(state, 1, whole=True)
        self.network.check_weights(state.q[1])
        return _with_mass(check_constants(state, self.action), self.action)

    @compiled
    def accelerations(self, t: Any, state: State, args: Any = None) -> tuple[PyTree, PyTree]:
        """((ẍ, Ẅ), κG)."""
        return self._evaluate(as_time(t, state.q), state, args).top, state.q[0]

    def rates(self, t: Any, state: State, args: Stimulus) -> Rates:
        found = self._evaluate(as_time(t, state.q), state, args)
        return Rates(State(state.v, (found.delta_ddot, found.top[1])), found.power)

    def observables(self, t: Any, state: State, args: Stimulus) -> dict[str, PyTree]:
        full, top, *_ = self._evaluate(as_time(t, state.q), state, args)
        return {"q": full.q, "v": full.v, "a": top, "multipliers": state.q[0]}

    @compiled
    def energy(self, t: Any, state: State, args: Any = None) -> Array:
        """½ m_x |ẋ|² + ½ m_W |Ẇ|² + V − F + |κG|²/2κ."""
        return self.reading(t, state, args).energy

    def reading(self, t: Any, state: State, args: Any = None) -> EnergyReading:
        t = as_time(t, state.q)
        full = self.full_state(t, state, args)
        hard, moving = energy_reading(_hardened(self.action).lagrangian, t, (full.q, full.v), args, None, None)
        return EnergyReading(hard + tree_dot(state.q[0], state.q[0]) / (2 * self._stiffness(t)), moving)

    @property
    def linear_part(self) -> DampedMotion:
        return DampedMotion(self.action.dissipation)

    @property
    def description(self) -> dict[str, str]:
        network = self.network
        return {
            "equation": "Euler–Lagrange equations of the cognitive action with soft constraints, −½ κ |G|²",
            "network": f"feedforward, {network.num_neurons} neurons, {network.num_weights} weights",
            "coordinates": "κG and W; x by a forward sweep",
            "multipliers": "κG, part of the state",
        }

    @property
    def aliases(self) -> dict[str, tuple[str, int | None]]:
        return full_aliases()

    def _evaluate(self, t: Array, state: State, stimulus: Stimulus) -> _Found:
        full, delta, kappa = self.full_state(t, state, stimulus), state.q[0], self._stiffness(t)
        equations = SoftEquations(_hardened(self.action), self.multiplier_solver, delta)  # pyright: ignore[reportCallIssue]
        found = equations.rates(t, State(full.q, full.v), stimulus)
        top = found.state.v

        def constraint(s: Array, jet: tuple[PyTree, ...]) -> PyTree:
            x, W = jet[0]
            return self.network.constraint(x, W, stimulus.input(s))

        delta_ddot = tree_scale(kappa, total_derivative(constraint, 2)(t, (full.q, full.v, top)))
        assert found.power is not None
        return _Found(full, top, delta_ddot, found.power + tree_dot(delta, state.v[0]) / kappa)

    def _stiffness(self, t: Array) -> Array:
        return cast(self.action.stiffness, t)


def _hardened(action: AbstractAction) -> AbstractAction:
    """The action with G = 0 in place of the soft constraints."""
    return eqx.tree_at(lambda a: a.stiffness, action, None)


def _hard_multipliers(action: AbstractAction, t: Array, weights: State, stimulus: Stimulus) -> PyTree:
    """δ of the hard constraints at (W, Ẇ)."""
    hard = _hardened(action)
    plain = ReducedDynamics(hard, ConjugateGradients())  # pyright: ignore[reportCallIssue]
    derived = ReducedDerivedDynamics(hard, DenseSaddlePoint())  # pyright: ignore[reportCallIssue]
    return (plain if action.plain_inertia else derived).accelerations(t, weights, stimulus)[1]
