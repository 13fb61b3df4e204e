"""What the Euler–Lagrange laws of a cognitive action have in common."""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from lagrangian_learning.learning.abstract_action import AbstractAction
from lagrangian_learning.learning.checks import check_stimulus
from lagrangian_learning.learning.potential import AbstractPotential
from lagrangian_learning.mechanics import AbstractEulerLagrange, AbstractLaw, AbstractMultiplierSolver, State
from lagrangian_learning.mechanics.jets import total_derivative
from lagrangian_learning.networks import AbstractNetwork
from lagrangian_learning.signals import Stimulus


class AbstractActionLaw(AbstractLaw):
    """A law that follows from a cognitive action, which it holds once: its array leaves are those of the action.

    Constants that a user gave to the multiplier solver or to Baumgarte's method come beside them.
    """

    action: eqx.AbstractVar[AbstractAction]
    multiplier_solver: eqx.AbstractVar[AbstractMultiplierSolver]

    @property
    @abc.abstractmethod
    def equations(self) -> AbstractEulerLagrange:
        """The equations (8)–(10) on q = (x, W)."""

    @abc.abstractmethod
    def full_state(self, t: Any, state: State, stimulus: Stimulus) -> State:
        """The state in full coordinates, q = (x, W) and v = (ẋ, Ẇ)."""

    @property
    def network(self) -> AbstractNetwork:
        """The network of the action."""
        return self.action.network

    @property
    def potential(self) -> AbstractPotential:
        """The potential of the action."""
        return self.action.potential

    def check_stimulus(self, ts: Array, stimulus: Any) -> None:
        """ValueError when the stimulus does not fit: its input is differentiated as often as its constraints."""
        check_stimulus(self.network, self.potential, self.action.smoothness, ts, stimulus)


def described(law: AbstractActionLaw, coordinates: str) -> dict[str, str]:
    """The description of a law (8)–(10) in these coordinates."""
    network = law.network
    kind = "feedforward" if network.feedforward else "cyclic"
    return {
        "equation": "Euler–Lagrange equations of the cognitive action, (8)–(10)",
        "network": f"{kind}, {network.num_neurons} neurons, {network.num_weights} weights",
        "coordinates": coordinates,
        "multipliers": law.multiplier_solver.name,
    }


def full_aliases() -> dict[str, tuple[str, int | None]]:
    """The names of a network's part in the observables of q = (x, W)."""
    levels = {"q": "", "v": "_dot", "a": "_ddot"}
    return {f"{name}{dots}": (key, k) for key, dots in levels.items() for k, name in enumerate(("x", "W"))}


def lifted(network: AbstractNetwork, t: Array, state: State, stimulus: Stimulus) -> State:
    """(W, Ẇ, …) completed by x, ẋ, … of the forward pass x = f(W, e(t)): G = DG = … = 0 exactly."""
    levels = [level for level in (state.q, state.v, state.a, state.j) if level is not None]

    def forward(s: Array, jet: tuple[PyTree, ...]) -> PyTree:
        return network.forward(jet[0], stimulus.input(s))

    x, x_dot = jax.jvp(forward, (t, (levels[0],)), (jnp.ones_like(t), (levels[1],)))
    higher = [total_derivative(forward, k)(t, tuple(levels[: k + 1])) for k in range(2, len(levels))]
    return State(*zip((x, x_dot, *higher), levels, strict=True))
