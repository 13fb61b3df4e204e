"""From the cognitive action to gradient descent: (12)–(17) as limits, with their measured rates."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PyTree

from lagrangian_learning.integrate import simulate
from lagrangian_learning.learning import CognitiveAction, DampedDescent, GradientFlow, SquaredError
from lagrangian_learning.mechanics import AbstractLaw, ExponentialDissipation
from lagrangian_learning.networks import AbstractNetwork, Layered
from lagrangian_learning.signals import Sinusoids, Stimulus

GAMMA = 1.0
END = 2.0
MASSES = tuple(10.0 ** -np.arange(1.0, 4.1, 0.5))
RATIOS = tuple(10.0 ** -np.arange(1.0, 5.1, 0.5))


class Limit(NamedTuple):
    """One limit: a parameter that goes to zero, the error against what it tends to, and the fitted log-log slope."""

    name: str
    parameter: np.ndarray
    error: np.ndarray

    @property
    def slope(self) -> float:
        """Least-squares slope of log error against log parameter over the smaller half of the parameters."""
        half = len(self.parameter) // 2
        return float(np.polyfit(np.log(self.parameter[-half - 1 :]), np.log(self.error[-half - 1 :]), 1)[0])


def limit_study(
    network: AbstractNetwork | None = None,
    key: Array | None = None,
    masses: Sequence[float] = MASSES,
    ratios: Sequence[float] = RATIOS,
) -> tuple[Limit, ...]:
    """Errors of the weights at t = 2 against m_W, m_x/m_W and 1/ϑ, in float64 (switch x64 on first).

    Four limits, γ = ϑ m_W = 1 fixed (THEORY §6):
        the action with m_x = m_W² against gradient flow (14), m_W → 0;
        the action at m_W = 0.1 against its own limit m_x = 0, which is damped descent (13), m_x/m_W → 0;
        damped descent (13) against gradient flow (14), 1/ϑ → 0;
        the action with m_x = 0.1 m_W against gradient flow, m_W → 0: no limit, since m_x/m_W stays.

    Arguments:
        network, key: layers (2, 3, 1) and key 0 when None; two inputs, one output.
        masses: the m_W = 1/ϑ, decreasing.  ratios: the m_x/m_W, decreasing.
    """
    network = Layered((2, 3, 1)) if network is None else network
    W = network.init(jax.random.key(0) if key is None else key, jnp.float64)
    stimulus = Stimulus(
        Sinusoids(jnp.array([1.0, 1.7]), jnp.array([1.0, 0.8]), jnp.array([0.3, 0.0])), jnp.array([0.5])
    )

    def end(law: AbstractLaw) -> Array:
        return _end(law, W, stimulus)

    flow, damped = end(GradientFlow(network, SquaredError(), GAMMA)), end(_descent(network, 0.1))
    return (
        _limit(
            "action → gradient flow, m_x = m_W²: against m_W", masses, lambda m: end(_action(network, m**2, m)), flow
        ),
        _limit(
            "action → damped descent, m_W = 0.1: against m_x/m_W",
            ratios,
            lambda r: end(_action(network, 0.1 * r, 0.1)),
            damped,
        ),
        _limit("damped descent → gradient flow: against 1/ϑ", masses, lambda m: end(_descent(network, m)), flow),
        _limit("m_x = 0.1 m_W, no limit: against m_W", masses, lambda m: end(_action(network, 0.1 * m, m)), flow),
    )


def _limit(name: str, parameters: Sequence[float], end: Any, goal: Array) -> Limit:
    errors = [float(jnp.linalg.norm(end(float(parameter)) - goal)) for parameter in parameters]
    return Limit(name, np.asarray(parameters), np.asarray(errors))


def _action(network: AbstractNetwork, mass_x: float, mass_W: float) -> AbstractLaw:
    dissipation = ExponentialDissipation(GAMMA / mass_W)
    return CognitiveAction(network, mass_x=mass_x, mass_W=mass_W, dissipation=dissipation).law()


def _descent(network: AbstractNetwork, mass_W: float) -> AbstractLaw:
    return DampedDescent(network, SquaredError(), mass_W, ExponentialDissipation(GAMMA / mass_W))


@eqx.filter_jit
def _end(law: Any, W: PyTree, stimulus: Stimulus) -> Array:
    state = law.initial_state(0.0, W, stimulus)
    times = jnp.array([0.0, END])
    path = simulate(law, state, times, stimulus, rtol=1e-10, atol=1e-12, save=_nothing)
    return ravel_pytree(path.final_state.q)[0]


def _nothing(t: Array, observables: dict[str, PyTree]) -> Array:
    return t
