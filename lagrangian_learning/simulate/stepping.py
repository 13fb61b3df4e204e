"""Any Diffrax stepper, made to project, to watch what a run should conserve, and to report why a step fails."""

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PyTree

from lagrangian_learning._arrays import all_finite, observed, tree_where
from lagrangian_learning._types import Args, Terms, Time
from lagrangian_learning.mechanics.law import AbstractLaw, Residual

from .events import Conditions
from .monitor import Monitor, first_reading, reading, residual_of
from .results import FailureCode
from .stabilisation import Accuracy, reach_of
from .stability import Stability
from .work import Worked, law_of


class StepReport(eqx.Module):
    """What a stepper reports to the step controller, in the place of Diffrax's error estimate.

    error: the estimate for the state, without the work, so that watching the energy changes no step; None: constant
    steps. failure: a `FailureCode`, as a float since Diffrax maps floats over this place.
    """

    error: PyTree
    failure: Float[Array, ""]


class MonitoredState(eqx.Module):
    """State of the stepper inside, the monitor, and the conditions of an event; Diffrax restores them when a step is
    rejected.
    """

    inner: PyTree
    monitor: Monitor
    reach: PyTree  # the largest |entry| of the run, leaf by leaf; None where nothing is projected
    sides: list[Array] | None = None


class StepEnds(diffrax.AbstractLocalInterpolation):
    """Interpolation for runs whose saved times are step ends: the ends themselves, and NaN between them."""

    t0: Float[Array, ""]
    t1: Float[Array, ""]
    y0: PyTree
    y1: PyTree

    def evaluate(self, t0: Array, t1: Array | None = None, left: bool = True) -> PyTree:
        del left
        if t1 is not None:
            return jax.tree.map(jnp.subtract, self.evaluate(t1), self.evaluate(t0))
        between = (t0 > self.t0) & (t0 < self.t1)
        return jax.tree.map(
            lambda start, end: jnp.where(between, jnp.nan, jnp.where(t0 >= self.t1, end, start)), self.y0, self.y1
        )


class MonitoredStepper(diffrax.AbstractWrappedSolver):
    """A stepper with its projection and its monitor.

    Arguments:
        solver: the stepper.
        projects: project after each step, and report the jump to the stepper, so that first-same-as-last stages are
            evaluated afresh: a stale one belongs to another point, which lies off the constraints.
        lands: saved times are step ends.
        adaptive: whether the step controller reads the error estimate.
        drift_limit: largest residual before projection; None: any.
        accuracy: how near to the constraints a projection must come.
        conditions: of an event, whose step fails as `EVENT_OCCURRED`, so that the run stands before it.
        watch: where the monitor reads energy and residuals: at "steps", at "saved" times or "nothing".
    """

    solver: diffrax.AbstractSolver
    projects: bool = eqx.field(static=True)
    lands: bool = eqx.field(static=True)
    adaptive: bool = eqx.field(static=True)
    drift_limit: Float[Array, ""] | None
    accuracy: Accuracy
    watch: str = eqx.field(static=True, default="steps")
    conditions: Conditions | None = None

    def init(self, terms: Terms, t0: Array, t1: Array, y0: Worked, args: Args) -> MonitoredState:
        inner = self.solver.init(terms, t0, t1, y0, args)
        reach = reach_of(y0.state) if self.projects else None
        stability = None if self.adaptive else Stability.at_start(self.solver, y0.state)
        sides = None if self.conditions is None else self.conditions.at_start(t0, y0.state, args)
        if self.watch == "nothing":
            return MonitoredState(inner, Monitor(None, None, None, stability), reach, sides)
        return MonitoredState(inner, first_reading(law_of(terms), t0, y0, args, stability), reach, sides)

    @eqx.filter_jit(inline=True)  # traced once, where Diffrax would trace it three times
    def step(
        self,
        terms: Terms,
        t0: Array,
        t1: Array,
        y0: Worked,
        args: Args,
        solver_state: MonitoredState,
        made_jump: bool | Bool[Array, ""],
    ) -> tuple[Worked, StepReport, dict, MonitoredState, diffrax.RESULTS]:
        jumped = True if self.projects else made_jump
        y1, error, dense, inner, result = self.solver.step(terms, t0, t1, y0, args, solver_state.inner, jumped)
        law = law_of(terms)
        finite = all_finite((y1, error)) if self.adaptive else all_finite(y1)
        failure = jnp.where(finite, int(FailureCode.NONE), int(FailureCode.NON_FINITE))
        monitor = solver_state.monitor
        if monitor.stability is not None:
            monitor, failure = _steady(monitor, monitor.stability.after(self.solver, y0, y1, dense), failure)
        y1, stepped, failure, reach = self._settled(law, t1, y0, y1, args, failure, solver_state.reach)
        if self.watch == "steps":
            monitor = reading(monitor, law, (t0, t1), (y0, y1), args, stepped)
        if self.drift_limit is not None:
            failure = self._drift(residual_of(law, t1, y1, args) if stepped is None else stepped, failure)
        failure = _stopped(law, t1, y1, args, failure)
        sides, failure = self._events(solver_state.sides, t1, y1, args, failure)
        report = StepReport(error.state if self.adaptive else None, failure.astype(t1.dtype))
        dense = {"y0": y0, "y1": y1} if self.lands else dense
        return y1, report, dense, MonitoredState(inner, monitor, reach, sides), result

    def _events(
        self, before: list[Array] | None, t1: Array, y1: Worked, args: Args, failure: Array
    ) -> tuple[list[Array] | None, Array]:
        """The conditions at the end of a step, and the failure where one of them ends the run."""
        if self.conditions is None or before is None:
            return before, failure
        conditions, t1, y1, args = observed((self.conditions, t1, y1, args))
        sides = conditions.values(t1, y1.state, args)
        crossed = jnp.any(jnp.stack(conditions.crossed(before, sides)))
        happened = (failure == int(FailureCode.NONE)) & crossed
        return sides, jnp.where(happened, int(FailureCode.EVENT_OCCURRED), failure)

    def _settled(
        self, law: AbstractLaw, t1: Array, y0: Worked, y1: Worked, args: Args, failure: Array, reach: PyTree
    ) -> tuple[Worked, Residual | None, Array, PyTree]:
        """y1 brought back onto the constraints, and the residual it had before; a failed step is not projected."""
        constraints = law.constrained_part
        if not self.projects or constraints is None:
            return y1, None, failure, reach
        fine = failure == int(FailureCode.NONE)
        # Newton's method on a NaN would only spread it, and reverse mode would meet it again.
        start = tree_where(fine, y1.state, y0.state)
        still, there, given = observed((constraints, start, args))
        stepped = still.residual(t1, there, given)
        reach = jax.tree.map(jnp.maximum, reach, reach_of(start))
        state, converged = constraints.project(t1, start, args, self.accuracy.allowed(y0.state, start, reach))
        converged = converged & all_finite(state)
        failure = jnp.where(fine & ~converged, int(FailureCode.PROJECTION_FAILED), failure)
        return Worked(state, *y1.quadratures), stepped, failure, reach

    def _drift(self, residual: Residual | None, failure: Array) -> Array:
        if self.drift_limit is None or residual is None:
            return failure
        drifted = residual.position > self.drift_limit
        return jnp.where((failure == int(FailureCode.NONE)) & drifted, int(FailureCode.CONSTRAINT_DRIFT), failure)

    def order(self, terms: Terms) -> int | None:
        return self.solver.order(terms)

    def error_order(self, terms: Terms) -> Any:
        return self.solver.error_order(terms)

    def func(self, terms: Terms, t0: Time, y0: Worked, args: Args) -> Worked:
        return self.solver.func(terms, t0, y0, args)

    @property
    def term_structure(self) -> Any:
        return self.solver.term_structure

    @property
    def interpolation_cls(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        return StepEnds if self.lands else self.solver.interpolation_cls

    # Diffrax treats the wrapper as what it wraps, and then reads these of it.

    @property
    def scan_kind(self) -> str | None:
        return getattr(self.solver, "scan_kind", None)

    @property
    def root_finder(self) -> Any:
        return self.solver.root_finder  # pyright: ignore[reportAttributeAccessIssue]

    @property
    def root_find_max_steps(self) -> int:
        return self.solver.root_find_max_steps  # pyright: ignore[reportAttributeAccessIssue]


def _steady(monitor: Monitor, stability: Stability, failure: Array) -> tuple[Monitor, Array]:
    """The monitor, and the failure where steps have been too long for an explicit stepper for some time."""
    monitor = eqx.tree_at(lambda m: m.stability, monitor, stability)
    beyond = (failure == int(FailureCode.NONE)) & stability.lost
    return monitor, jnp.where(beyond, int(FailureCode.UNSTABLE_STEP), failure)


def _stopped(law: AbstractLaw, t1: Array, y1: Worked, args: Args, failure: Array) -> Array:
    law, y1, args = observed((law, y1, args))
    stops = law.stops(t1, y1.state, args)
    if stops is None:
        return failure
    return jnp.where((failure == int(FailureCode.NONE)) & stops, int(FailureCode.UNSTABLE_COSTATE), failure)
