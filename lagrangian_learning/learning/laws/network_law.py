"""What the laws of a network have in common, and those whose state is the whole of q = (x, W)."""

import abc
from typing import Any

import equinox as eqx
from jaxtyping import Array, PyTree

from lagrangian_learning.learning.checks import check_stimulus
from lagrangian_learning.learning.potential import AbstractPotential
from lagrangian_learning.mechanics import AbstractLaw, EulerLagrange, Rates, Residual, State
from lagrangian_learning.networks import AbstractNetwork
from lagrangian_learning.signals import Stimulus


class AbstractNetworkLaw(AbstractLaw):
    """What full and reduced coordinates share: a network, a potential, and the equations on q = (x, W)."""

    network: eqx.AbstractVar[AbstractNetwork]
    potential: eqx.AbstractVar[AbstractPotential]
    equations: eqx.AbstractVar[EulerLagrange]

    @abc.abstractmethod
    def full_state(self, t: Any, state: State, stimulus: Stimulus) -> State:
        """The state in full coordinates, q = (x, W) and v = (ẋ, Ẇ)."""

    def check_stimulus(self, ts: Array, stimulus: Stimulus) -> None:
        """ValueError when the stimulus does not fit: its input is differentiated as often as its constraints."""
        constraint = self.equations.constraint
        needed = 0 if constraint is None else constraint.derivatives(self.equations.lagrangian.order)
        check_stimulus(self.network, self.potential, needed, ts, stimulus)


class AbstractUnreducedLaw(AbstractNetworkLaw):
    """Laws whose state is the whole of q = (x, W), so that `equations` integrate it as it stands."""

    def accelerations(self, t: Any, state: State, stimulus: Stimulus) -> tuple[tuple[PyTree, PyTree], PyTree]:
        """((ẍ, Ẅ), δ); for a second-order action the fourth derivatives in place of (ẍ, Ẅ)."""
        return self.equations.accelerations(t, state, stimulus)

    def full_state(self, t: Any, state: State, stimulus: Stimulus) -> State:
        return state

    def vector_field(self, t: Any, state: State, args: Stimulus) -> State:
        return self.equations.vector_field(t, state, args)

    def rates(self, t: Any, state: State, args: Stimulus) -> Rates:
        return self.equations.rates(t, state, args)

    def observables(self, t: Any, state: State, args: Stimulus) -> dict[str, PyTree]:
        return self.equations.observables(t, state, args)

    def residual(self, t: Any, state: State, args: Stimulus) -> Residual | None:
        return self.equations.residual(t, state, args)

    def energy(self, t: Any, state: State, args: Stimulus) -> Array:
        return self.equations.energy(t, state, args)

    def project(self, t: Any, state: State, args: Stimulus, **settings: Any) -> tuple[State, Array]:
        return self.equations.project(t, state, args, **settings)

    def baumgarte(self, alpha: Any, beta: Any) -> "AbstractUnreducedLaw":
        return eqx.tree_at(lambda law: law.equations, self, self.equations.baumgarte(alpha, beta))

    @property
    def drifts(self) -> bool:
        return True

    @property
    def aliases(self) -> dict[str, tuple[str, int | None]]:
        levels = {"q": "", "v": "_dot", "a": "_ddot"}
        return {f"{name}{dots}": (key, k) for key, dots in levels.items() for k, name in enumerate(("x", "W"))}
