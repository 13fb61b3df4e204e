"""The compiled run: a law, its checked settings, one call of Diffrax, and what came of it."""

from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, PyTree

from lagrangian_learning._arrays import all_finite, max_abs
from lagrangian_learning.mechanics.law import AbstractLaw

from .augmented import Augmented, AugmentedField, start_of
from .controllers import AdaptiveState
from .monitor import Monitor, observed
from .plan import StepChoice
from .records import FlatRecorder, Record, Recorder, default_records_finite, reached
from .results import RESULTS, Reason, translate
from .resume import same_kind
from .settings import Tolerances
from .stabilisation import AbstractStabilisation, Projection, as_limit
from .stepping import MonitoredSolver
from .trajectory import Carry


class Plan(eqx.Module):
    """All settings of a run but times and tolerances."""

    solver: diffrax.AbstractSolver
    steps: StepChoice
    stabilisation: AbstractStabilisation
    adjoint: diffrax.AbstractAdjoint
    max_steps: int | None = eqx.field(static=True)
    save: Callable[..., PyTree] | None
    progress: diffrax.AbstractProgressMeter

    @property
    def backsolves(self) -> bool:
        return isinstance(self.adjoint, diffrax.BacksolveAdjoint)

    @property
    def records_afterwards(self) -> bool:
        """Whether records are made of the saved states at the end: one copy of the law less to compile in the loop.

        A user's save function may keep far less than the states, and is called on the way.
        """
        return self.backsolves or self.save is None

    def solver_for(self, dtype: Any) -> MonitoredSolver:
        """The stepper that Diffrax is given."""
        projects = isinstance(self.stabilisation, Projection)
        limit = as_limit(self.stabilisation, dtype)
        return MonitoredSolver(self.solver, projects, self.steps.lands, self.steps.adaptive, limit)


class Outcome(eqx.Module):
    """What a run left, before it is given its names."""

    records: Record
    energy_start: Array | None
    result: RESULTS
    failed: Bool[Array, ""]
    stats: dict[str, Array]
    carry: Carry


def integrate(
    law: AbstractLaw,
    state: PyTree,
    times: Array,
    args: PyTree,
    tolerances: Tolerances,
    plan: Plan,
    carry: Carry | None,
    refused: Bool[Array, ""] | None = None,
) -> Outcome:
    """One run. A carry continues an earlier one, whose start is not checked again; a refused run takes no step."""
    law = plan.stabilisation.stabilised(law)
    y0 = start_of(law, times[0], state, args)
    start = start_reason(law, times[0], y0, args, resumed=carry is not None)
    if refused is not None:
        start = jnp.where(refused & (start == 0), int(Reason.REFUSED_START), start)
    solution = _solved(law, times, y0 if carry is None else carry.y, args, tolerances, plan, carry, start)
    records, end = _recorded(law, solution, times, args, plan)
    reason = diagnosed(law, end.t, end.y, end.controller_state.reason, args)
    counts = {name: jnp.where(start > 0, 0, solution.stats[name]) for name in COUNTS}
    return outcome_of(records, end, reason, solution.result, counts, plan)


integrate_compiled = eqx.filter_jit(integrate)

COUNTS = ("num_steps", "num_accepted_steps", "num_rejected_steps")


def outcome_of(
    records: Record, end: Carry, reason: Array, result: diffrax.RESULTS, counts: dict[str, Array], plan: Plan
) -> Outcome:
    """What came of a run that ended so: for a reason of ours, or without one with Diffrax's own result."""
    broken = (result == diffrax.RESULTS.successful) & ~default_records_finite(records, plan.save)
    reason = jnp.where(broken & (reason == 0), int(Reason.NON_FINITE), reason)
    ours = translate(reason, result)
    monitor = end.solver_state.monitor
    energy_start = None if monitor.energy is None else monitor.energy.start
    return Outcome(records, energy_start, ours, ours != RESULTS.successful, _statistics(counts, monitor), end)


def start_reason(law: AbstractLaw, t0: Array, y0: Augmented, args: PyTree, *, resumed: bool) -> Array:
    """Why the run must not even begin, or zero."""
    law, y0, args = observed((law, y0, args))
    # Of constants and stimulus too: zero times NaN need not be NaN where a compiler knows of the zero.
    finite = all_finite((law, y0.state, args))
    residual = law.residual(t0, y0.state, args)
    if residual is None or resumed:
        reason = jnp.where(finite, int(Reason.NONE), int(Reason.NON_FINITE))
    else:
        largest = jnp.maximum(residual.position, residual.velocity)
        # Quadratic constraints of large coordinates round off in proportion to the square.
        tolerance = jnp.finfo(t0.dtype).eps ** 0.75 * (1 + max_abs(y0.state)) ** 2
        reason = jnp.where(largest > tolerance, int(Reason.INCONSISTENT_START), int(Reason.NONE))
        reason = jnp.where(finite & jnp.isfinite(largest), reason, int(Reason.NON_FINITE))
    return reason.astype(jnp.int32)


def _solved(
    law: AbstractLaw,
    times: Array,
    y0: Augmented,
    args: PyTree,
    tolerances: Tolerances,
    plan: Plan,
    carry: Carry | None,
    start: Array,
) -> diffrax.Solution:
    terms = diffrax.ODETerm(AugmentedField(law))
    solver = plan.solver_for(times.dtype)
    going_on: dict[str, Any] = {}
    resume = None
    if carry is not None:
        like = eqx.filter_eval_shape(solver.init, terms, times[0], times[1], y0, args)
        going_on = {
            "solver_state": same_kind(carry.solver_state, like, "solver"),
            "made_jump": carry.made_jump,
        }
        resume = carry.controller_state if plan.steps.adaptive else None
        if plan.steps.adaptive and not isinstance(resume, AdaptiveState):
            raise ValueError("the trajectory to resume was made with constant steps: give the same settings again.")
    return diffrax.diffeqsolve(
        terms,
        solver,
        times[0],
        times[-1],
        tolerances.dt0,
        y0,
        args,
        saveat=_saveat(law, times, plan),
        stepsize_controller=plan.steps.controller_for(times, tolerances, start, resume),
        adjoint=plan.adjoint,
        max_steps=plan.max_steps,
        throw=False,
        progress_meter=plan.progress,
        **going_on,
    )


def _saveat(law: AbstractLaw, times: Array, plan: Plan) -> diffrax.SaveAt:
    kept = {"solver_state": True, "controller_state": True, "made_jump": True}
    if plan.backsolves:  # it takes nothing but states
        return diffrax.SaveAt(ts=times, **kept)
    recorder = FlatRecorder(Recorder(law, plan.save))
    recorded = diffrax.SubSaveAt(ts=times, **({} if plan.records_afterwards else {"fn": recorder}))
    return diffrax.SaveAt(subs=(recorded, diffrax.SubSaveAt(t1=True)), **kept)


def _recorded(
    law: AbstractLaw, solution: diffrax.Solution, times: Array, args: PyTree, plan: Plan
) -> tuple[Record, Carry]:
    """The records, NaN where the run did not arrive, and where it ended."""
    if plan.backsolves:
        ts, records = solution.ts, solution.ys
        t, y = ts[-1], jax.tree.map(lambda leaf: leaf[-1], records)
    else:
        (ts, end), (records, ys) = solution.ts, solution.ys  # pyright: ignore[reportGeneralTypeIssues]
        t, y = end[0], jax.tree.map(lambda leaf: leaf[0], ys)
    if plan.records_afterwards:
        record = Recorder(law, plan.save)
        states = _unreached(records, y, jnp.isfinite(ts))
        # One by one: a batch of multiplier solves would take the memory of all saved times at once.
        records = jax.lax.map(lambda saved: record(*saved, args), (times, states))
    else:
        records = records.record
    carry = Carry(t, y, solution.solver_state, solution.controller_state, jnp.asarray(solution.made_jump))
    return reached(records, jnp.isfinite(ts)), carry


def _unreached(states: PyTree, end: PyTree, there: Bool[Array, " times"]) -> PyTree:
    """The saved states, the end standing in where the run did not arrive: no solve then has to meet Diffrax's inf."""

    def filled(leaf: Array, last: Array) -> Array:
        return jnp.where(there.reshape(there.shape + (1,) * last.ndim), leaf, last)

    return jax.tree.map(filled, states, end)


def diagnosed(law: AbstractLaw, t: Array, y: Augmented, reason: Array, args: PyTree) -> Array:
    """The reason kept by the controller; a NaN out of finite data on finite constraints is the multipliers' doing."""
    law, t, y, args = observed((law, t, y, args))

    def singular() -> Array:
        residual = law.residual(t, y.state, args)
        rates = law.rates(t, y.state, args)
        return all_finite((law, args, y.state, residual)) & ~all_finite(rates.state)

    if eqx.filter_eval_shape(law.residual, t, y.state, args) is None:
        return reason
    found = jax.lax.cond(reason == int(Reason.NON_FINITE), singular, lambda: jnp.asarray(False))
    return jnp.where(found, int(Reason.SINGULAR_MULTIPLIERS), reason)


def _statistics(counts: dict[str, Array], monitor: Monitor) -> dict[str, Array]:
    stats = dict(counts)
    if monitor.settled is not None and monitor.stepped is not None:
        stats |= {
            "max_constraint_residual": monitor.settled.position,
            "max_velocity_residual": monitor.settled.velocity,
            "max_constraint_residual_before_projection": monitor.stepped.position,
            "max_velocity_residual_before_projection": monitor.stepped.velocity,
        }
    if monitor.energy is not None:
        stats |= {"energy_min": monitor.energy.least, "energy_max": monitor.energy.most}
        if monitor.energy.relative_defect is not None:
            stats["max_energy_defect"] = monitor.energy.relative_defect
            stats["max_energy_defect_absolute"] = monitor.energy.defect
    return stats
