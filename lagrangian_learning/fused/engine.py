"""`FusedEngine`: small systems as fused arithmetic, block by block."""

from typing import Any, ClassVar

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from lagrangian_learning._tuning import BLOCK, MAX_STATE
from lagrangian_learning.batch.engines import AbstractEngine
from lagrangian_learning.batch.lanes import Inputs
from lagrangian_learning.simulate.controllers import FixedState, GridState
from lagrangian_learning.simulate.monitor import Statistics
from lagrangian_learning.simulate.plan import Plan, Tolerances
from lagrangian_learning.simulate.records import Record, reached
from lagrangian_learning.simulate.run import Outcome, outcome_of
from lagrangian_learning.simulate.trajectory import Carry

from .internals import untested
from .lane_step import LanePlan, Running
from .lanewise import blocked, size_of, unblocked
from .lockstep import BlockOutcome, Lockstep


class FusedEngine(AbstractEngine):
    """The whole step written out on scalars, each a row over a block of lanes, so that XLA fuses it into few kernels.

    Any law of a few numbers, constant and adaptive steps, explicit steppers, projection: the same steps as the ordinary
    engine takes. Lanes of a block wait for each other at saved times.
    """

    name: ClassVar[str] = "fused"
    one_core: ClassVar[bool] = True

    def refusal(self, lane: Inputs, times: Array, plan: Plan) -> str | None:
        versions = untested()
        if versions is not None:
            return f"it reads insides of other libraries, and its tests have not run with {versions}."
        if plan.event is not None:
            return "it looks for no event."
        if plan.steps.kinks is not None:
            return "its steps end on saved times alone, not on kinks."
        if not plan.steps.lands or (plan.steps.controller is not None and not plan.steps.adaptive):
            return "its steps end on saved times, and this stepsize_controller has its own."
        if isinstance(plan.solver, diffrax.AbstractImplicitSolver):
            return f"{type(plan.solver).__name__} solves equations at every step, which this engine cannot write out."
        if size_of(lane.state) > MAX_STATE:
            return f"a state of {size_of(lane.state)} numbers is too large to be written out (at most {MAX_STATE})."
        return None

    def run_chunk(self, varied: Inputs, shared: Inputs, times: Array, tolerances: Tolerances, plan: Plan) -> Outcome:
        given = LanePlan(times, tolerances, plan)
        lanes = jax.tree.leaves(varied)[0].shape[0]
        one = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), varied)
        lockstep = Lockstep(one, shared, given)
        size = BLOCK if jax.default_backend() == "cpu" else lanes
        run = lax.map(lockstep, blocked(varied, size))
        return _concluded(lockstep, run, lanes, given)


def _concluded(lockstep: Lockstep, run: BlockOutcome, lanes: int, given: LanePlan) -> Outcome:
    """The outcomes of all lanes, lanes first."""
    running = unblocked(run.running, lockstep.begin.shapes, lanes)
    failure = unblocked(run.failure, lockstep.failure.shapes, lanes)
    records = unblocked(run.records, lockstep.record.shapes, lanes, given.times.shape[0])
    there = unblocked([[run.there]], jax.ShapeDtypeStruct((), bool), lanes, given.times.shape[0])
    return eqx.filter_vmap(lambda *of_lane: _outcome(*of_lane, given))(running, failure, there, records)


def _outcome(running: Running, failure: Array, there: Array, records: Record, given: LanePlan) -> Outcome:
    short = (failure == 0) & (running.t < given.times[-1])
    result = diffrax.RESULTS.where(short, diffrax.RESULTS.max_steps_reached, diffrax.RESULTS.successful)
    counts = (running.steps, running.accepted, running.steps - running.accepted)
    statistics = Statistics(*counts, running.solver_state.monitor, given.plan.kind)
    end = Carry(running.t, running.y, running.solver_state, _control(running, given), jnp.asarray(False))
    return outcome_of(reached(records, there), end, failure, result, statistics, given.plan)


def _control(running: Running, given: LanePlan) -> Any:
    if running.control is not None:
        return running.control
    last = GridState(jnp.asarray(given.times.shape[0] - 2, jnp.int32), jnp.asarray(0, jnp.int32))
    return FixedState(last, running.failure)
