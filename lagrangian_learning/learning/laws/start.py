"""Consistent Cauchy data of (8)–(10) from weights, or a refusal that says why there are none (THEORY §4)."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from lagrangian_learning._arrays import all_finite, as_time, dtype_of, max_abs
from lagrangian_learning._checks import require
from lagrangian_learning.learning.checks import checked_velocities
from lagrangian_learning.learning.multipliers.network_multipliers import AbstractNetworkMultipliers
from lagrangian_learning.learning.multipliers.waves import NetworkSchur
from lagrangian_learning.mechanics import EulerLagrange, State
from lagrangian_learning.signals import Stimulus

from .network_law import AbstractNetworkLaw

_PAPER_CAUCHY = (
    "the Cauchy data (11) of the paper ask ẋ(0) = Ẇ(0) = 0, which is consistent only if G_t = −ė(0) = 0 and Ẇ(0) = 0: "
    'this input moves at the start, or W_dot is not zero. Use cauchy="general", or a stimulus that starts at rest.'
)
_NOT_FINITE = "the input or the target is NaN or inf at the start: look at stimulus.input(t0) and stimulus.target(t0)."


def weights_state(
    law: AbstractNetworkLaw, t0: Any, W: PyTree, stimulus: Stimulus, W_dot: PyTree, cauchy: str, **higher: PyTree
) -> State:
    """(W, Ẇ, …), checked: what Cauchy data leave free; the neurons' follow from it."""
    if cauchy not in ("general", "paper"):
        raise ValueError(f'cauchy must be "general" or "paper", got {cauchy!r}.')
    W = law.network.check_weights(W)
    t0 = as_time(t0, W)
    law.check_stimulus(t0, stimulus)
    W = require(W, all_finite((stimulus.input(t0), stimulus.target(t0))), _NOT_FINITE)
    W_dot = checked_velocities(law.network, W, W_dot)
    if cauchy == "paper":
        W_dot = require(W_dot, _at_rest(t0, W_dot, stimulus), _PAPER_CAUCHY)
    return State(W, W_dot, *_higher_velocities(law, W, higher))


def known_regular(equations: EulerLagrange) -> bool:
    """Whether accelerations and multipliers are determined wherever the network itself is regular."""
    # Structured solvers stand for the inertia m_x, m_W; what they need of the network, `guard_rank` sees to.
    return isinstance(equations.multiplier_solver, AbstractNetworkMultipliers | NetworkSchur)


def regular_start(equations: EulerLagrange, t0: Any, state: State, stimulus: Stimulus) -> State:
    """The full state, after `mechanics` has seen that its accelerations and multipliers are determined."""
    if known_regular(equations):
        return state
    higher = {} if state.a is None else {"a": state.a, "j": state.j}
    return equations.initial_state(t0, state.q, state.v, stimulus, **higher)


def _higher_velocities(law: AbstractNetworkLaw, W: PyTree, higher: dict[str, PyTree]) -> tuple[PyTree, ...]:
    names = ("W_ddot", "W_dddot") if law.equations.lagrangian.order == 2 else ()
    unknown = set(higher) - set(names)
    if unknown:
        known = ", ".join(("W", "W_dot", *names))
        raise ValueError(f"unknown initial data {sorted(unknown)}: an action of this order takes {known} alone.")
    return tuple(checked_velocities(law.network, W, higher.get(name)) for name in names)


def _at_rest(t0: Array, W_dot: PyTree, stimulus: Stimulus) -> Array:
    rate = jax.jvp(stimulus.input, (t0,), (jnp.ones_like(t0),))[1]
    tolerance = jnp.finfo(dtype_of(W_dot)).eps ** 0.75
    return (max_abs(rate) <= tolerance) & (max_abs(W_dot) <= tolerance)
