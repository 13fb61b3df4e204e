"""`simulate`: any law, integrated on Diffrax."""

from collections.abc import Callable, Mapping
from typing import Any

import diffrax
import equinox as eqx
import numpy as np
from jaxtyping import Array, Bool, PyTree

from lagrangian_learning._arrays import is_concrete
from lagrangian_learning._checks import collected_verdicts, flag, raised, refused
from lagrangian_learning.mechanics import AbstractCharge
from lagrangian_learning.mechanics.law import AbstractLaw

from .backward import in_tau, turned_round
from .charges import Charges, backward_charges, checked_charges, same_charges
from .checked import checked, run_known
from .inputs import check_law, check_room, checked_state, checked_times, kinks_known
from .plan import Plan, Tolerances
from .results import RESULTS
from .run import integrate_compiled, resumed, trajectory_of
from .settings import MAX_STEPS, Settings
from .stabilisation import AbstractStabilisation
from .trajectory import Carry, Trajectory, names_of


def simulate(
    law: AbstractLaw,
    state: PyTree,
    ts: Any,
    args: PyTree = None,
    *,
    solver: diffrax.AbstractSolver | None = None,
    rtol: Any = None,
    atol: Any = None,
    dt0: Any = None,
    stepsize_controller: diffrax.AbstractStepSizeController | None = None,
    stabilisation: AbstractStabilisation | None = None,
    adjoint: diffrax.AbstractAdjoint | None = None,
    save: Callable[[Array, dict[str, PyTree]], PyTree] | None = None,
    resume: Trajectory | None = None,
    max_steps: int | None = MAX_STEPS,
    progress: bool | diffrax.AbstractProgressMeter = False,
    watch: Any = "steps",
    event: Any = None,
    kinks: Any = None,
    dense: bool = False,
    charges: Mapping[str, AbstractCharge] | None = None,
    throw: bool = True,
) -> Trajectory:
    """ẏ = f(t, y, args), y(ts[0]) = state, for any law, recorded at ts.

    Works inside jit, vmap and grad; a second call with the same structure compiles nothing.

    Arguments:
        law: what is integrated; made by `action.law()`, or an `EulerLagrange`.
        state: as `law.initial_state` makes it, all float32 or all float64.
        ts: times to record [T], strictly increasing, or where they are known outside jit strictly decreasing (dt0 stays
            positive); the first is the start. They are cast to the dtype of the state.
        args: what the law's equations take; the `Stimulus` of a learning law.
        solver: a Diffrax stepper. Default: `Dopri8` in float64, `Tsit5` in float32.
        rtol, atol: tolerances of the local error of the state. Default 1e-10 in float64, 1e-5 in float32; the one not
            given equals the other.
        dt0: alone: constant steps, each interval between saved times being cut into the fewest equal ones not longer
            than dt0. Beside tolerances: the first step.
        stepsize_controller: a Diffrax controller in their place. Without projection it is left alone, and saved times
            are interpolated; otherwise they are step ends.
        stabilisation: `ll.Projection()` (default for a law with constraints), `ll.Baumgarte(alpha, beta)` or
            `ll.NoStabilisation()`.
        adjoint: how to differentiate. Default `ll.Replay()`, for forward and reverse mode and second derivatives, which
            holds about 2√max_steps copies of the state in reverse mode: for the gradient of a big network lower
            max_steps, or give it segments=. Diffrax's adjoints go on working.
        save: save(t, observables) -> pytree, recorded in place of all observables.
        resume: an earlier trajectory to go on from, at ts[0]; state may be None. On constant steps the states of both
            runs together are to the bit those of the one they replace. The settings must be given again.
        max_steps: the run ends as `max_steps_reached` after so many steps, 2**20 by default; None: no limit, and no
            reverse mode.
        progress: print how far the run is, every two percent of it; or a progress meter of Diffrax.
        watch: how often energy and residuals are read: after all "steps", at "saved" times, which costs no step
            anything, or "nothing": then there are none, and no energy balance is integrated.
        event: `diffrax.Event(cond_fn, root_finder, direction)` ends the run where cond_fn(t, state, args), looked at
            after every step, becomes true or changes sign: with a root finder at that time, found by stepping again
            (and projecting) from the start of the step; otherwise, and for booleans, at the end of the step.
            `path.event` is a record of its own, `path.result` is `event_occurred`, and `resume` goes on without meeting
            it again.
        kinks: times at which a force or a signal jumps, or has a kink. No step reaches over one, none reads the jump
            itself, and first stages are evaluated afresh after it; a pulse between two of them is not stepped over.
            Those of signals in args, as `ll.signals.Function(fn, kinks)` states them, are known without it.
        dense: keep every step, so that path.at(t) gives the state at any time, to the stepper's own accuracy; for runs
            without projection, and with a max_steps that memory bears.
        charges: {"name": ll.charge(law, generator)}: Noether charges to keep, whatever `watch` says;
            path.charges["name"] has their values, rates and balance. Their rates are integrated beside the state, as
            the energy's power is, and change no step. One whose constraint does work on it solves for multipliers once
            more a stage.
        throw: raise if the run fails; otherwise `path.result` reports it.

    Returns a `Trajectory`. Raises ValueError for arguments that do not fit, and a run-time error of Equinox (when
    throw) with the message of the `ll.RESULTS` code where the run failed.
    """
    check_law(law, save)
    flag(throw, "throw")
    settings = Settings(
        solver, rtol, atol, dt0, stepsize_controller, stabilisation, adjoint, save, max_steps, _meter(progress), watch,
        event, kinks_known(kinks, args), flag(dense, "dense"),
    )  # fmt: skip
    kept = checked_charges(charges)
    if not _decreases(ts):
        return _simulated(law, state, ts, args, settings, resume, kept, throw=throw)
    backward, settings, resume = in_tau(law, settings, resume)
    given = (backward, state, -np.asarray(ts), args, settings, resume, backward_charges(kept))
    return turned_round(_simulated(*given, throw=throw, sign=-1))


def _simulated(
    law: AbstractLaw,
    state: PyTree,
    ts: Any,
    args: PyTree,
    settings: Settings,
    resume: Any,
    charges: Charges | None,
    *,
    throw: bool,
    sign: int = 1,
) -> Trajectory:
    """A run in τ = sign · t."""
    if resume is not None:
        state = resumed(resume, state)
        if np.ndim(resume.carry.t):
            raise ValueError("the trajectory to resume is a batch: go on with it by ll.simulate_batch, or jax.vmap.")
        same_charges(resume.carry.y.charges, charges)
    state, dtype = checked_state(state)
    times = checked_times(ts, dtype)
    tolerances, plan = settings.prepared(law, times)
    if charges is not None:
        plan = plan.watching(charges)
    if not is_concrete(law, state, args, charges):  # it may be differentiated
        plan = plan.counted(ts, settings.dt0)
    check_room(state, times.shape[0], settings.save, plan.max_steps if settings.dense else 0)
    given = (law, state, times, args, tolerances, plan, None if resume is None else resume.carry)
    known = run_known(*given) if is_concrete(given) else None
    failed, path = _run_traced(*given, throw=throw) if known is None else known
    # A run that is known to be well is returned as it lies: the check would copy it, and gather what is sharded.
    if not throw or (is_concrete(failed) and not failed):
        return path
    if is_concrete(failed, path.result, path.carry.t):
        raise eqx.EquinoxRuntimeError(f"{RESULTS[path.result]} The run ended at t = {sign * float(path.carry.t):.6g}.")
    return path.result.error_if(path, failed)


def _run_traced(
    law: AbstractLaw,
    state: PyTree,
    times: Array,
    args: PyTree,
    tolerances: Tolerances,
    plan: Plan,
    carry: Carry | None,
    *,
    throw: bool,
) -> tuple[Bool[Array, ""], Trajectory]:
    """Whether the run failed, and its trajectory."""
    # Outside the compiled core, so that what is known to be wrong is a ValueError with its numbers.
    with collected_verdicts() as verdicts:
        state, times = checked(law, state, times, args, carry)
    if throw:
        state = raised(state, verdicts)
    refusal = refused(verdicts) if verdicts else None
    outcome = integrate_compiled(law, state, times, args, tolerances, plan, carry, refusal)
    path = trajectory_of(times, tolerances, outcome, names_of(law, plan.save, plan.description_of(law)))
    return outcome.failed, path


def _meter(progress: bool | diffrax.AbstractProgressMeter) -> diffrax.AbstractProgressMeter:
    if isinstance(progress, diffrax.AbstractProgressMeter):
        return progress
    return diffrax.TextProgressMeter() if flag(progress, "progress") else diffrax.NoProgressMeter()


def _decreases(ts: Any) -> bool:
    """Whether times are known and begin to decrease; whether they go on so is checked in τ."""
    if not is_concrete(ts):
        return False
    times = np.asarray(ts)
    numeric = np.issubdtype(times.dtype, np.floating) or np.issubdtype(times.dtype, np.signedinteger)
    return bool(numeric and times.ndim == 1 and times.shape[0] > 1 and times[1] < times[0])
