"""The run forward: its end, its cost, and the gradient of the cost by constants of the costs themselves."""

from typing import NamedTuple

import diffrax
import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, PyTree

from lagrangian_learning._arrays import tree_add
from lagrangian_learning._types import Args
from lagrangian_learning.mechanics.law import AbstractLaw
from lagrangian_learning.mechanics.state import State
from lagrangian_learning.steppers.rattle import Rattle

from .costs import Costs


class Constants(NamedTuple):
    """Everything whose arrays a gradient is taken by."""

    law: AbstractLaw
    args: Args
    costs: Costs


class Forward(NamedTuple):
    """gradient: ∫ c_θ dt + Φ_θ, like the constants, None where there is no floating array."""

    end: State
    cost: Float[Array, ""]
    gradient: Constants
    solved: Bool[Array, ""]


def forward(constants: Constants, state: State, ts: Float[Array, " nodes"], stepper: Rattle) -> Forward:
    """The run over step ends ts, with the trapezoidal rule for the running cost."""
    law, args, _ = constants
    terms = diffrax.ODETerm(law.vector_field)
    halves = jnp.pad(jnp.diff(ts) / 2, 1)
    shares = halves[:-1] + halves[1:]

    def step(now: tuple[State, PyTree, PyTree, Array], row: tuple[Array, ...]) -> tuple[tuple, None]:
        state, kept, total, solved = now
        t0, t1, share = row
        state, _, _, kept, result = stepper.step(terms, t0, t1, state, args, kept, False)
        total = tree_add(total, _running(constants, t1, state.q, share))
        return (state, kept, total, solved & (result == diffrax.RESULTS.successful)), None

    kept = stepper.init(terms, ts[0], ts[1], state, args)
    begin = (state, kept, _running(constants, ts[0], state.q, shares[0]), jnp.asarray(True))
    (end, _, total, solved), _ = lax.scan(step, begin, (ts[:-1], ts[1:], shares[1:]))
    cost, gradient = tree_add(total, _terminal(constants, end.q))
    return Forward(end, cost, gradient, solved)


def _running(constants: Constants, t: Array, q: PyTree, share: Array) -> tuple[Array, Constants]:
    """share · c(t, q), and its gradient by constants."""
    return eqx.filter_value_and_grad(lambda these: share * these.costs.density(t, q, these.args))(constants)


def _terminal(constants: Constants, q: PyTree) -> tuple[Array, Constants]:
    return eqx.filter_value_and_grad(lambda these: these.costs.final(q, these.args))(constants)
