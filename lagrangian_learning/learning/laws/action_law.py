"""What the laws of a cognitive action have in common, and their consistent Cauchy data (docs/theory.md §4)."""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from lagrangian_learning._arrays import all_finite, as_time, dtype_of, is_concrete, max_abs
from lagrangian_learning._checks import about, one_of, require, time
from lagrangian_learning.learning.abstract_action import AbstractAction
from lagrangian_learning.learning.charges import ActionCharge
from lagrangian_learning.learning.checks import check_stimulus, checked_velocities
from lagrangian_learning.learning.multipliers import AbstractNetworkMultipliers, NetworkSchur
from lagrangian_learning.learning.potential import AbstractPotential
from lagrangian_learning.mechanics import (
    AbstractCharge,
    AbstractEulerLagrange,
    AbstractLaw,
    AbstractMultiplierSolver,
    State,
)
from lagrangian_learning.mechanics.cauchy import initial_state
from lagrangian_learning.mechanics.lagrangian import total_derivative
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

    def charge_of(self, generator: Callable[..., PyTree]) -> AbstractCharge:
        return ActionCharge(self, generator)

    def check_stimulus(self, ts: Array, stimulus: Any) -> None:
        """ValueError when the stimulus does not fit: its input is differentiated as often as its constraints."""
        check_stimulus(self.network, self.potential, self.action.smoothness, ts, stimulus)


class AbstractActionDynamics(AbstractActionLaw):
    """An action's law (8)–(10) whose start follows from the weights: x = f(W, e(t0)), ẋ, … by the forward pass."""

    def initial_state(
        self,
        t0: Any,
        q: PyTree,
        v: PyTree = None,
        args: Stimulus | None = None,
        *,
        a: PyTree = None,
        j: PyTree = None,
        cauchy: str = "general",
    ) -> State:
        """Consistent Cauchy data from weights (docs/theory.md §4), in the coordinates of the law.

        Arguments:
            q, v: weights W and their velocities Ẇ, zero by default. A second-order action also takes a = Ẅ and j by
                keyword, zero by default.
            args: a `Stimulus` whose input has one entry an input neuron.
            cauchy: "general" keeps Ẇ and lets ẋ(0) = −G_ξ⁻¹(G_t + G_M Ẇ) follow; "paper" is (11), all velocities zero,
                and raises where G_t ≠ 0, since then (11) is inconsistent.

        Raises ValueError for weights, signals or settings that do not fit; NaN anywhere is an error, and so are terms
        of the action that leave accelerations undetermined.
        """
        weights = weights_state(self, t0, q, v, args, cauchy, a, j)
        assert args is not None
        return self._start(as_time(t0, weights.q), weights, args)

    @abc.abstractmethod
    def _start(self, t0: Array, weights: State, stimulus: Stimulus) -> State:
        """The state of the law from checked weights (W, Ẇ, …)."""


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


_PAPER_CAUCHY = (
    "the Cauchy data (11) of the paper ask ẋ(0) = Ẇ(0) = 0, which is consistent only if G_t = −ė(0) = 0 and Ẇ(0) = 0: "
    'this input moves at the start, or v is not zero. Use cauchy="general", or a stimulus that starts at rest.'
)
_NOT_FINITE = "the input or the target is NaN or inf at the start: look at stimulus.input(t0) and stimulus.target(t0)."


def weights_state(
    law: AbstractActionLaw, t0: Any, W: PyTree, W_dot: PyTree, stimulus: Any, cauchy: str, *higher: PyTree
) -> State:
    """(W, Ẇ, …), checked: what Cauchy data leave free; the neurons' follow from it."""
    one_of(cauchy, "cauchy", ("general", "paper"))
    with about("q"):
        W = law.network.check_weights(W)
    t0 = time(t0, "t0", W)
    W_dot = checked_velocities(law.network, W, W_dot)
    law.check_stimulus(t0, stimulus)
    if not is_concrete(t0, stimulus):  # otherwise it has been checked just now
        W = require(W, all_finite((stimulus.input(t0), stimulus.target(t0))), _NOT_FINITE)
    if cauchy == "paper":
        W_dot = require(W_dot, _at_rest(t0, W_dot, stimulus), _PAPER_CAUCHY)
    return State(W, W_dot, *_higher_velocities(law, W, higher))


def known_regular(solver: AbstractMultiplierSolver) -> bool:
    """Whether accelerations and multipliers are determined wherever the network itself is regular."""
    # Structured solvers stand for the inertia m_x, m_W; what they need of the network, `guard_rank` sees to.
    return isinstance(solver, AbstractNetworkMultipliers | NetworkSchur)


def regular_start(equations: AbstractEulerLagrange, t0: Any, state: State, stimulus: Stimulus) -> State:
    """The full state, after `mechanics` has seen that its accelerations and multipliers are determined."""
    if known_regular(equations.multiplier_solver):
        return state
    return initial_state(equations, t0, state.q, state.v, stimulus, state.a, state.j, state.multipliers, "check", None)


def _higher_velocities(law: AbstractActionLaw, W: PyTree, higher: tuple[PyTree, ...]) -> tuple[PyTree, ...]:
    if law.action.order == 2:
        return tuple(checked_velocities(law.network, W, level) for level in higher)
    if any(level is not None for level in higher):
        raise ValueError("a first-order action determines its accelerations: leave a and j out.")
    return ()


def _at_rest(t0: Array, W_dot: PyTree, stimulus: Stimulus) -> Array:
    rate = jax.jvp(stimulus.input, (t0,), (jnp.ones_like(t0),))[1]
    tolerance = jnp.finfo(dtype_of(W_dot)).eps ** 0.75
    return (max_abs(rate) <= tolerance) & (max_abs(W_dot) <= tolerance)
