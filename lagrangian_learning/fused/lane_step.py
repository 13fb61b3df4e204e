"""One lane of a run between steps: how it begins, steps, goes on to the next saved time, and ends.

The same stepper, projection, monitor and step controller as in an ordinary run, as pure functions of one lane. Only
Diffrax's loop around them is left out, and Diffrax's rule that a first stage may have to be evaluated again.
"""

import dataclasses
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PyTree

from lagrangian_learning._checks import collected_verdicts, refused
from lagrangian_learning.batch.lanes import Inputs
from lagrangian_learning.mechanics.law import AbstractLaw
from lagrangian_learning.simulate.controllers import AdaptiveState, AdaptiveSteps, land
from lagrangian_learning.simulate.plan import Plan, Tolerances
from lagrangian_learning.simulate.records import Record, Recorder
from lagrangian_learning.simulate.results import FailureCode
from lagrangian_learning.simulate.run import checked_start, diagnosed, start_failure
from lagrangian_learning.simulate.stepping import MonitoredState, MonitoredStepper
from lagrangian_learning.simulate.work import Worked, start_of, terms_of

from .internals import keeps_last_stage, with_first_stage, without_first_step


class LanePlan(NamedTuple):
    """What all lanes share beside the law's own: saved times, tolerances, settings."""

    times: Array
    tolerances: Tolerances
    plan: Plan


class Running(eqx.Module):
    """A lane between two steps. failure: a `FailureCode`. tnext and control (None: constant steps) of the next."""

    t: Array
    y: Worked
    solver_state: MonitoredState
    failure: Int[Array, ""]
    steps: Int[Array, ""]
    accepted: Int[Array, ""]
    tnext: Array | None
    control: AdaptiveState | None


def law_of_lane(inputs: Inputs, given: LanePlan) -> AbstractLaw:
    """The law that is integrated."""
    return given.plan.stabilisation.stabilised(inputs.law)


def begin(inputs: Inputs, given: LanePlan) -> Running:
    """The lane at its start, or where an earlier run has ended."""
    times, tolerances, plan = given
    law = law_of_lane(inputs, given)
    is_refused, state = _checked(inputs, times)
    y, carry = start_of(law, times[0], state, inputs.args, works=plan.reads), inputs.carry
    failure = start_failure(law, times[0], y, inputs.args, resumed=carry is not None)
    failure = jnp.where(is_refused & (failure == 0), int(FailureCode.REFUSED_START), failure)
    terms, solver = terms_of(law), plan.stepper(times.dtype, tolerances)
    if carry is not None:
        y = carry.y
    tnext, control = None, None
    if plan.steps.adaptive:
        controller = _controller(given, times[:2], failure, None if carry is None else carry.controller_state)
        order, dt0 = solver.error_order(terms), tolerances.dt0
        tnext, control = controller.init(terms, times[0], times[-1], y, dt0, inputs.args, solver.func, order)
        failure = control.failure
    end = times[1] if tnext is None else tnext
    made = solver.init(terms, times[0], end, y, inputs.args) if carry is None else carry.solver_state
    made = _primed(solver, made, terms, times[0], y, inputs.args)
    zero = jnp.asarray(0)  # as Diffrax counts
    return Running(times[0], y, made, failure.astype(jnp.int32), zero, zero, tnext, control)


def _checked(inputs: Inputs, times: Array) -> tuple[Array, PyTree]:
    """Whether the law's own checks refuse the lane, and its state."""
    with collected_verdicts() as verdicts:
        if inputs.carry is not None:
            times = checked_start(inputs.carry, times)
        state = inputs.law.check(times, inputs.state, inputs.args)
    return refused(verdicts), state


def _controller(given: LanePlan, interval: Array, start: Array, resume: AdaptiveState | None) -> AdaptiveSteps:
    """The step controller within an interval between saved times."""
    return AdaptiveSteps(given.plan.steps.adaptive_for(given.tolerances), interval, start, resume)


def _keeps_last_stage(solver: MonitoredStepper, inner: Any) -> bool:
    return keeps_last_stage(solver.solver, inner) and not solver.projects


def _primed(
    solver: MonitoredStepper, made: MonitoredState, terms: Any, t: Array, y: Worked, args: PyTree
) -> MonitoredState:
    """The first stage in the place of the last one of the step before, so that no step is a special first one."""
    if not _keeps_last_stage(solver, made.inner):
        return made
    return dataclasses.replace(made, inner=with_first_stage(made.inner, terms.vf(t, y, args)))


def _stepped(
    running: Running, inputs: Inputs, given: LanePlan, t1: Array
) -> tuple[Worked, Any, MonitoredState, Any, Any]:
    """A step as the monitored stepper makes it: y1, report, state, terms, stepper."""
    law = law_of_lane(inputs, given)
    terms, solver = terms_of(law), given.plan.stepper(given.times.dtype, given.tolerances)
    state = running.solver_state
    if _keeps_last_stage(solver, state.inner):
        state = dataclasses.replace(state, inner=without_first_step(state.inner))
    y1, report, _, made, result = solver.step(terms, running.t, t1, running.y, inputs.args, state, False)
    failure = jnp.where(result == diffrax.RESULTS.successful, report.failure, int(FailureCode.NON_FINITE))
    return y1, eqx.tree_at(lambda r: r.failure, report, failure), made, terms, solver


def fixed_step(running: Running, inputs: Inputs, given: LanePlan, t1: Array) -> Running:
    """A constant step to t1; a lane that has stopped stays where it is."""
    y1, report, made, _, _ = _stepped(running, inputs, given, t1)
    active = running.failure == 0
    failed = jnp.where(active, report.failure.astype(jnp.int32), running.failure)
    keep = failed == 0
    count = jnp.where(active, 1, 0).astype(running.steps.dtype)
    moved = _where(keep, (t1, y1, made), (running.t, running.y, running.solver_state))
    accepted = running.accepted + jnp.where(keep, 1, 0).astype(running.steps.dtype)
    return Running(*moved, failed, running.steps + count, accepted, None, None)


def adaptive_step(running: Running, inputs: Inputs, given: LanePlan, interval: Array) -> Running:
    """A step that the controller may reject; a lane that has stopped or arrived stays where it is."""
    y1, report, made, terms, solver = _stepped(running, inputs, given, running.tnext)
    report = jax.tree.map(lambda leaf: jnp.where(jnp.isnan(leaf), jnp.inf, leaf), report)
    controller = _controller(given, interval, jnp.zeros((), jnp.int32), None)
    order = solver.error_order(terms)
    keep, begin, end, _, control, _ = controller.adapt_step_size(
        running.t, running.tnext, running.y, y1, inputs.args, report, order, running.control
    )
    stepped = _where(keep, (y1, made), (running.y, running.solver_state))
    count = jnp.where(keep, 1, 0).astype(running.steps.dtype)
    new = Running(
        begin, *stepped, control.failure.astype(jnp.int32), running.steps + 1, running.accepted + count, end, control
    )
    return _where(active(running, given, interval[1]), new, running)


def active(running: Running, given: LanePlan, end: Array) -> Array:
    """Whether a lane has still to go to a time."""
    going = (running.failure == 0) & (running.t < end)
    return going if given.plan.max_steps is None else going & (running.steps < given.plan.max_steps)


def enter(running: Running, inputs: Inputs, given: LanePlan, interval: Array) -> Running:
    """The next step cut, or grown back, to the saved time that lies ahead now."""
    tnext, step = land(interval, running.t, running.control.step.wanted, jnp.asarray(1, jnp.int32))
    control = eqx.tree_at(lambda c: c.step, running.control, step)
    return eqx.tree_at(lambda r: (r.tnext, r.control), running, (tnext, control))


def recorded(t: Array, y: Worked, inputs: Inputs, given: LanePlan) -> Record:
    """What is kept of a saved state."""
    recorder = Recorder(law_of_lane(inputs, given), given.plan.save, given.plan.watch)
    return recorder(t, y, inputs.args)


def failure_of(running: Running, inputs: Inputs, given: LanePlan) -> Array:
    """Why the lane has stopped, with codes of their own for multipliers without a finite solution, and for drift."""
    law, drifts = law_of_lane(inputs, given), given.plan.stabilisation.drifts
    return diagnosed(law, running.t, running.y, running.failure, inputs.args, drifts=drifts)


def _where(which: Array, new: PyTree, old: PyTree) -> PyTree:
    return jax.tree.map(lambda a, b: jnp.where(which, a, b), new, old)
