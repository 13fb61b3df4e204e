"""The compiled run: a law, its settings, one call of Diffrax, and what came of it."""

import dataclasses
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, PyTree

from lagrangian_learning._arrays import all_finite, is_concrete, observed
from lagrangian_learning._calls import Compiled
from lagrangian_learning._checks import require
from lagrangian_learning._one_kernel import one_kernel
from lagrangian_learning._tuning import WORTH_A_KERNEL
from lagrangian_learning._types import Args
from lagrangian_learning.mechanics.cauchy import relative_size, rounding_of
from lagrangian_learning.mechanics.law import AbstractLaw
from lagrangian_learning.mechanics.state import State

from .controllers import AdaptiveState
from .events import Conditions, Event, Search, placed
from .monitor import Statistics, over_records, residual_of
from .nan_gradient import nan_gradient
from .plan import Plan, Tolerances
from .records import FlatRecorder, Record, Recorder, reached
from .results import RESULTS, FailureCode, translate
from .stabilisation import has_drifted, reach_of, rounding_of_sizes
from .trajectory import Carry, Names, Trajectory
from .work import Worked, rates_of, start_of, terms_of


class Outcome(eqx.Module):
    """What a run left, before it is given its names."""

    records: Record
    result: RESULTS
    failed: Bool[Array, ""]
    statistics: Statistics
    carry: Carry
    event: Event | None = None
    dense: diffrax.DenseInterpolation | None = None


def integrate(
    law: AbstractLaw,
    state: PyTree,
    times: Array,
    args: Args,
    tolerances: Tolerances,
    plan: Plan,
    carry: Carry | None,
    refused: Bool[Array, ""] | None = None,
) -> Outcome:
    """One run. A carry continues an earlier one, whose start is not checked again; a refused run takes no step."""
    given = (law, state, times, args, tolerances, plan, carry)
    law = plan.stabilisation.stabilised(law)
    y0 = start_of(law, times[0], state, args, works=plan.reads, charges=plan.charges)
    start = start_failure(law, times[0], y0, args, resumed=carry is not None)
    if refused is not None:
        start = jnp.where(refused & (start == 0), int(FailureCode.REFUSED_START), start)
    solution = _solved(law, times, y0 if carry is None else carry.y, args, tolerances, plan, carry, start)
    records, end, unsolved = _recorded(law, solution, times, args, plan)
    failure, drifts = end.controller_state.failure, plan.stabilisation.drifts
    failure = diagnosed(law, end.t, end.y, failure, args, drifts=drifts, unsolved=unsolved)
    stability = end.solver_state.monitor.stability
    if stability is not None:
        unstable = (failure == 0) & stability.never_held(solution.stats["num_accepted_steps"])
        failure = jnp.where(unstable, int(FailureCode.UNSTABLE_STEP), failure)
    names = ("num_steps", "num_accepted_steps", "num_rejected_steps")
    counts = [jnp.where(start > 0, 0, solution.stats[name]) for name in names]
    happening = None
    if plan.event is not None:
        records, end, failure, happening, moved = _at_event(law, records, end, failure, times, args, tolerances, plan)
        counts[1:] = [counts[1] + moved, counts[2] - moved]
    if plan.watch == "saved":
        read = over_records(end.solver_state.monitor, times, records)
        end = eqx.tree_at(lambda e: e.solver_state.monitor, end, read)
    statistics = Statistics(*counts, end.solver_state.monitor, plan.kind)
    outcome = outcome_of(records, end, failure, solution.result, statistics, plan)
    return _derivable(
        dataclasses.replace(outcome, event=happening, dense=solution.interpolation), given, resumed=carry is not None
    )


integrate_compiled = Compiled(integrate)


def outcome_of(
    records: Record, end: Carry, failure: Array, result: diffrax.RESULTS, statistics: Statistics, plan: Plan
) -> Outcome:
    """What came of a run that ended by a failure of ours, or without one with Diffrax's own result."""
    broken = (result == diffrax.RESULTS.successful) & ~records.finite(plan.save)
    failure = jnp.where(broken & (failure == 0), int(FailureCode.NON_FINITE), failure)
    ours = translate(failure, result)
    failed = (ours != RESULTS.successful) & (ours != RESULTS.event_occurred)
    return Outcome(records, ours, failed, statistics, end)


def _derivable(outcome: Outcome, given: PyTree, *, resumed: bool) -> Outcome:
    """The outcome, where the run failed with a derivative of NaN, and E(t0) with one for the energy balance."""
    if not resumed and outcome.records.energy is not None:
        first = outcome.records.energy[0]
        moving = jnp.where(jnp.isfinite(first), first - jax.lax.stop_gradient(first), 0)
        outcome = eqx.tree_at(lambda o: o.statistics.monitor.energy.start, outcome, replace_fn=lambda e: e + moving)
    end = outcome.carry
    left = (outcome.records, outcome.statistics, end.t, end.y, outcome.event, outcome.dense)
    records, statistics, t, y, event, dense = nan_gradient(left, given, outcome.failed)
    carry = Carry(t, y, end.solver_state, end.controller_state, end.made_jump)
    return Outcome(records, outcome.result, outcome.failed, statistics, carry, event, dense)


def trajectory_of(times: Any, tolerances: Tolerances, outcome: Outcome, names: Names) -> Trajectory:
    """The outcome under the names of its law."""
    steps = {name: value for name, value in tolerances._asdict().items() if value is not None}
    left = (outcome.records, outcome.result, outcome.statistics, steps, outcome.carry, names)
    return Trajectory(times, *left, event=outcome.event, dense=outcome.dense)


def start_failure(law: AbstractLaw, t0: Array, y0: Worked, args: Args, *, resumed: bool) -> Array:
    """The `FailureCode` of a run that must not even begin, or zero."""
    law, y0, args = observed((law, y0, args))
    # Of constants and stimulus too: zero times NaN need not be NaN where a compiler knows of the zero.
    finite = all_finite((law, y0.state, args))
    constraints = law.constrained_part
    if constraints is None or resumed:
        return jnp.where(finite, int(FailureCode.NONE), int(FailureCode.NON_FINITE)).astype(jnp.int32)
    allowed = rounding_of(y0.state) if isinstance(y0.state, State) else rounding_of_sizes(reach_of(y0.state))
    projected, converged = constraints.project(t0, y0.state, args)
    moved = relative_size(jax.tree.map(jnp.subtract, projected, y0.state), allowed)
    consistent = jnp.where(converged & (moved <= 1), int(FailureCode.NONE), int(FailureCode.INCONSISTENT_START))
    finite = finite & jnp.isfinite(moved)
    return jnp.where(finite, consistent, int(FailureCode.NON_FINITE)).astype(jnp.int32)


def _solved(
    law: AbstractLaw,
    times: Array,
    y0: Worked,
    args: Args,
    tolerances: Tolerances,
    plan: Plan,
    carry: Carry | None,
    start: Array,
) -> diffrax.Solution:
    terms, solver = terms_of(law, plan.charges), plan.stepper(times.dtype, tolerances)
    before, events = _controller_before(carry, plan), plan.event is not None
    controller = plan.steps.controller_for(times, tolerances, start, before, events=events)
    going_on: dict[str, Any] = {}
    if carry is not None:
        like = eqx.filter_eval_shape(solver.init, terms, times[0], times[1], y0, args)
        going_on = {"solver_state": _alike(carry.solver_state, like), "made_jump": carry.made_jump}
    return diffrax.diffeqsolve(
        terms,
        solver,
        times[0],
        times[-1],
        tolerances.dt0,
        y0,
        args,
        saveat=_saveat(law, times, plan),
        stepsize_controller=controller,
        adjoint=plan.adjoint,
        max_steps=plan.max_steps,
        throw=False,
        progress_meter=plan.progress,
        **going_on,
    )


def _controller_before(carry: Carry | None, plan: Plan) -> AdaptiveState | None:
    """The controller of the run that is resumed; None for constant steps, which remember nothing."""
    if carry is None or not plan.steps.adaptive:
        return None
    if not isinstance(carry.controller_state, AdaptiveState):
        raise ValueError("the trajectory to resume was made with constant steps: give the same settings again.")
    return carry.controller_state


def _saveat(law: AbstractLaw, times: Array, plan: Plan) -> diffrax.SaveAt:
    kept = {"solver_state": True, "controller_state": True, "made_jump": True}
    if plan.backsolves:  # it takes nothing but states
        return diffrax.SaveAt(ts=times, **kept)
    recorder = FlatRecorder(Recorder(law, plan.save, plan.watch, plan.charges))
    recorded = diffrax.SubSaveAt(ts=times, **({} if plan.records_afterwards else {"fn": recorder}))
    return diffrax.SaveAt(subs=(recorded, diffrax.SubSaveAt(t1=True)), dense=plan.dense, **kept)


def _recorded(
    law: AbstractLaw, solution: diffrax.Solution, times: Array, args: Args, plan: Plan
) -> tuple[Record, Carry, Bool[Array, ""] | None]:
    """The records, NaN where the run did not arrive, and where it ended.

    The last is whether multipliers at the end of a run that did not arrive have no finite solution; None: not recorded.
    """
    if plan.backsolves:
        ts, records = solution.ts, solution.ys
        t, y = ts[-1], jax.tree.map(lambda leaf: leaf[-1], records)
    else:
        (ts, end), (records, ys) = solution.ts, solution.ys  # pyright: ignore[reportGeneralTypeIssues]
        t, y = end[0], jax.tree.map(lambda leaf: leaf[0], ys)
    unsolved = None
    if plan.records_afterwards:
        record = Recorder(law, plan.save, plan.watch, plan.charges)
        rows = _unreached((times, records), (t, y), jnp.isfinite(ts))

        # One by one: a batch of multiplier solves would take the memory of all saved times at once.
        def recorded(*rows: Any) -> Record:
            return jax.lax.map(lambda row: record(*row, args), rows)

        many = times.shape[0] >= WORTH_A_KERNEL
        records = one_kernel(recorded)(*rows) if many else recorded(*rows)
        if plan.save is None and "multipliers" in records.saved:
            unsolved = ~all_finite(jax.tree.map(lambda leaf: leaf[-1], records.saved["multipliers"]))
    else:
        records = records.record
    carry = Carry(t, y, solution.solver_state, solution.controller_state, jnp.asarray(solution.made_jump))
    return reached(records, jnp.isfinite(ts)), carry, unsolved


def _at_event(
    law: AbstractLaw,
    records: Record,
    end: Carry,
    failure: Array,
    times: Array,
    args: Args,
    tolerances: Tolerances,
    plan: Plan,
) -> tuple[Record, Carry, Array, Event, Array]:
    """Records, end and failure of a run that stands before its event, moved on to the event, with its own record.

    The last is 1 where it moved.
    """
    assert plan.event is not None
    happened = failure == int(FailureCode.EVENT_OCCURRED)
    conditions = Conditions(plan.event)
    stepper = plan.stepper_to_differentiate(times.dtype, tolerances)
    search = Search(conditions, terms_of(law, plan.charges), stepper, end, args)
    place = placed(search, end.controller_state.tried, happened)
    moved = happened & place.found
    failure = jnp.where(happened & ~place.found, int(FailureCode.EVENT_NOT_LOCATED), failure)
    end = Carry(place.t, place.y, place.solver_state, end.controller_state, end.made_jump & ~moved)
    record = Recorder(law, plan.save, plan.watch, plan.charges)(end.t, end.y, args)
    failure = jnp.where(moved & ~record.finite(plan.save), int(FailureCode.NON_FINITE), failure)
    here = (times == end.t) & moved  # a saved time is the end of the step in which the event was
    records = jax.tree.map(lambda rows, one: jnp.where(_rows(here, rows), one, rows), records, record)
    lost = jnp.where(moved, 0, jnp.nan)
    event = Event(end.t + lost, conditions.mask(place.flags), end.y.state, record.saved)
    return records, end, failure, event, moved.astype(int)


def _rows(which: Array, leaf: Array) -> Array:
    return which.reshape(which.shape + (1,) * (leaf.ndim - 1))


def _unreached(saved: PyTree, end: PyTree, there: Bool[Array, " times"]) -> PyTree:
    """Times and states, the end standing in where the run did not arrive: no solve then has to meet Diffrax's inf."""

    def filled(leaf: Array, last: Array) -> Array:
        return jnp.where(there.reshape(there.shape + (1,) * last.ndim), leaf, last)

    return jax.tree.map(filled, saved, end)


def diagnosed(
    law: AbstractLaw,
    t: Array,
    y: Worked,
    failure: Array,
    args: Args,
    *,
    drifts: bool,
    unsolved: Bool[Array, ""] | None = None,
) -> Array:
    """The failure that the controller kept, and what is only seen at the end: constraints that a run which `drifts`
    has left, multipliers without a finite solution (`unsolved`, if that is known already).
    """
    if drifts and law.constrained_part is not None:
        drifted = has_drifted(law, t, y.state, args)
        failure = jnp.where((failure == 0) & drifted, int(FailureCode.CONSTRAINT_DRIFT), failure)
    return (
        _singular_named(*observed((law, t, y)), failure, *observed((args, unsolved)))
        if law.solves_multipliers
        else failure
    )


def _singular_named(
    law: AbstractLaw, t: Array, y: Worked, failure: Array, args: Args, unsolved: Bool[Array, ""] | None
) -> Array:
    """A NaN out of finite data and constraints is the multipliers' doing."""

    def singular() -> Array:
        without = ~all_finite(rates_of(law, t, y.state, args).state) if unsolved is None else unsolved
        return without & all_finite((law, args, y.state, residual_of(law, t, y, args)))

    found = jax.lax.cond(failure == int(FailureCode.NON_FINITE), singular, lambda: jnp.asarray(False))
    return jnp.where(found, int(FailureCode.SINGULAR_MULTIPLIERS), failure)


# -- going on from an earlier trajectory ---------------------------------------------------------------------------


def resumed(path: Any, state: PyTree) -> PyTree:
    """The state to go on from. A state given beside the trajectory must be its final one."""
    if not isinstance(path, Trajectory):
        raise ValueError(f"resume must be a trajectory that simulate returned, got {type(path).__name__}.")
    if state is None:
        return path.final_state
    message = "with resume=, state must be None or the trajectory's own final_state."
    if jax.tree.structure(state) != jax.tree.structure(path.final_state):
        raise ValueError(message)
    xp = np if is_concrete(state, path.final_state) else jnp
    same = [xp.all(xp.asarray(a) == xp.asarray(b)) for a, b in _pairs(state, path.final_state)]
    return require(path.final_state, xp.all(xp.stack(same)), message)


def checked_start(carry: Carry, times: Array) -> Array:
    """times, if they start where the earlier run ended."""
    if carry.t.dtype != times.dtype:
        raise ValueError(f"the trajectory to resume is {carry.t.dtype}, this run {times.dtype}: keep one dtype.")
    xp = np if is_concrete(carry.t, times) else jnp
    ended = f", {float(carry.t)!r}" if is_concrete(carry.t) and jnp.ndim(carry.t) == 0 else ""
    message = f"ts[0] must be the time at which the resumed trajectory ended{ended}; path.ts[-1] unless it failed."
    return require(times, xp.asarray(times[0]) == xp.asarray(carry.t), message)


def _alike(state: PyTree, like: PyTree) -> PyTree:
    """The state of the stepper, if it could have been made by this run's settings."""
    kinds = [
        (jax.tree.structure(tree), [getattr(leaf, "shape", ()) for leaf in jax.tree.leaves(tree)])
        for tree in (state, like)
    ]
    if kinds[0] != kinds[1]:
        raise ValueError("the trajectory to resume was made with another solver: give the same settings again.")
    return state


def _pairs(left: PyTree, right: PyTree) -> list[tuple[Any, Any]]:
    return list(zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True))
