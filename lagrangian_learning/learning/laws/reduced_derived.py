"""The Euler–Lagrange equations of any action of a feedforward network in reduced coordinates, as derived."""

from typing import Any

from jaxtyping import PyTree

from lagrangian_learning._arrays import as_time
from lagrangian_learning.learning.abstract_action import AbstractAction
from lagrangian_learning.mechanics import AbstractMultiplierSolver, Rates, State, compiled
from lagrangian_learning.signals import Stimulus

from .reduced_law import AbstractReducedDynamics, in_weights


class ReducedDerivedDynamics(AbstractReducedDynamics):
    """(8)–(10) on q = W, derived in full coordinates by differentiation of the action, and restricted to the weights.

    For terms that change the inertia, second-order actions, and multiplier solvers that know no network, where
    `ReducedDynamics` has no sweeps. `accelerations` returns (Ẅ, δ); for a second-order action the fourth derivative in
    place of Ẅ.
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
