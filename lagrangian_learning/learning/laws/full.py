"""The Euler–Lagrange equations (8)–(10) of a network in full coordinates (x, W)."""

from typing import Any

import equinox as eqx
from jaxtyping import Array, PyTree

from lagrangian_learning._arrays import all_finite
from lagrangian_learning._checks import require
from lagrangian_learning.learning.abstract_action import AbstractAction
from lagrangian_learning.learning.checks import check_constants, check_state
from lagrangian_learning.learning.multipliers import NetworkStructure
from lagrangian_learning.mechanics import (
    AbstractEulerLagrange,
    AbstractMultiplierSolver,
    Holonomic,
    Lagrangian,
    State,
    Vakonomic,
)
from lagrangian_learning.networks import guard_rank
from lagrangian_learning.signals import Stimulus

from .action_law import AbstractActionDynamics, AbstractActionLaw, described, full_aliases, lifted, regular_start


class AbstractFullDynamics(AbstractActionLaw, AbstractEulerLagrange):
    """An action's Euler–Lagrange equations on the whole of q = (x, W), derived by differentiation of the action."""

    @property
    def lagrangian(self) -> Lagrangian:
        return self.action.lagrangian

    @property
    def constraint(self) -> Holonomic | Vakonomic:
        return self.action.constraint

    @property
    def forces(self) -> None:
        return None

    @property
    def structure(self) -> NetworkStructure:
        return self.action.structure

    @property
    def equations(self) -> AbstractEulerLagrange:
        return self

    def full_state(self, t: Any, state: State, stimulus: Stimulus) -> State:
        return state

    @property
    def aliases(self) -> dict[str, tuple[str, int | None]]:
        return full_aliases()


class FullDynamics(AbstractActionDynamics, AbstractFullDynamics):
    """(8)–(10) on q = (x, W): neurons are integrated and kept on their constraints by stabilisation.

    `accelerations` returns ((ẍ, Ẅ), δ). Made by `CognitiveAction.law("full")`.

    action: the `CognitiveAction` that it follows from.
    multiplier_solver: how its multipliers are solved for.
    """

    action: AbstractAction
    multiplier_solver: AbstractMultiplierSolver
    gains: tuple[Array, Array] | None = None
    damps_drift: bool = eqx.field(static=True, default=False)

    def _start(self, t0: Array, weights: State, stimulus: Stimulus) -> State:
        weights = eqx.tree_at(lambda s: s.q, weights, self._guarded(weights.q, stimulus.input(t0)))
        return regular_start(self.equations, t0, lifted(self.network, t0, weights, stimulus), stimulus)

    def check(self, ts: Array, state: State, args: Stimulus) -> State:
        self.check_stimulus(ts, args)
        check_state(state, 2 * self.action.order - 1, whole=True)
        self.network.check_weights(state.q[1])
        return check_constants(state, self.action)

    @property
    def description(self) -> dict[str, str]:
        return described(self, "full (x and W)")

    def _guarded(self, W: PyTree, u: Array) -> PyTree:
        """W, once its cycles are known to be regular: on others ẋ does not exist."""
        if self.network.feedforward:
            return W
        x = guard_rank(self.network, self.network.forward(W, u), W)
        return require(W, all_finite(x), "the neurons of this network are not finite at the start.")
