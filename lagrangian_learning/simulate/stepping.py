"""Any Diffrax stepper, made to project, to watch itself, and to say why a step is no good."""

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PyTree

from lagrangian_learning._arrays import all_finite
from lagrangian_learning.mechanics.law import AbstractBoundaryLaw, AbstractLaw, Residual

from .augmented import Augmented, law_of
from .monitor import Monitor, first_reading, observed, reading
from .results import Reason


class Verdict(eqx.Module):
    """What a stepper tells the step controller, in the place of Diffrax's error estimate.

    error: the estimate for the state, without the work, so that watching the energy changes no step; None: constant
    steps. reason: a `Reason`, as a float since Diffrax maps floats over this place.
    """

    error: PyTree
    reason: Float[Array, ""]


class MonitoredState(eqx.Module):
    """State of the stepper inside, and the monitor; Diffrax restores both when a step is rejected."""

    inner: PyTree
    monitor: Monitor


class StepEnds(diffrax.AbstractLocalInterpolation):
    """Interpolation for runs whose saved times are step ends: the ends themselves, and NaN between them."""

    t0: Float[Array, ""]
    t1: Float[Array, ""]
    y0: PyTree
    y1: PyTree

    def evaluate(self, t0: Any, t1: Any = None, left: bool = True) -> PyTree:
        del left
        if t1 is not None:
            return jax.tree.map(jnp.subtract, self.evaluate(t1), self.evaluate(t0))
        between = (t0 > self.t0) & (t0 < self.t1)
        return jax.tree.map(
            lambda start, end: jnp.where(between, jnp.nan, jnp.where(t0 >= self.t1, end, start)), self.y0, self.y1
        )


class MonitoredSolver(diffrax.AbstractWrappedSolver):
    """A stepper with its projection and its monitor.

    Arguments:
        solver: the stepper.
        projects: project after each step, and tell the stepper of the jump, so that first-same-as-last stages are
            evaluated afresh: a stale one belongs to another point, which lies off the constraints.
        lands: saved times are step ends.
        adaptive: whether anyone reads the error estimate.
        drift_limit: largest residual before projection; None: any.
    """

    solver: diffrax.AbstractSolver
    projects: bool = eqx.field(static=True)
    lands: bool = eqx.field(static=True)
    adaptive: bool = eqx.field(static=True)
    drift_limit: Float[Array, ""] | None

    def init(self, terms: Any, t0: Array, t1: Array, y0: Augmented, args: PyTree) -> MonitoredState:
        inner = self.solver.init(terms, t0, t1, y0, args)
        return MonitoredState(inner, first_reading(law_of(terms), t0, y0, args))

    def step(
        self,
        terms: Any,
        t0: Array,
        t1: Array,
        y0: Augmented,
        args: PyTree,
        solver_state: MonitoredState,
        made_jump: bool | Bool[Array, ""],
    ) -> tuple[Augmented, Verdict, dict, MonitoredState, diffrax.RESULTS]:
        jumped = True if self.projects else made_jump
        y1, error, dense, inner, result = self.solver.step(terms, t0, t1, y0, args, solver_state.inner, jumped)
        law = law_of(terms)
        finite = all_finite((y1, error)) if self.adaptive else all_finite(y1)
        reason = jnp.where(finite, int(Reason.NONE), int(Reason.NON_FINITE))
        y1, stepped, reason = self._settled(law, t1, y0, y1, args, reason)
        monitor = reading(solver_state.monitor, law, t1, y1, args, stepped)
        reason = self._drift(monitor if stepped is None else stepped, reason)
        reason = _runaway(law, t1, y1, args, reason)
        verdict = Verdict(error.state if self.adaptive else None, reason.astype(t1.dtype))
        dense = {"y0": y0, "y1": y1} if self.lands else dense
        return y1, verdict, dense, MonitoredState(inner, monitor), result

    def _settled(
        self, law: AbstractLaw, t1: Array, y0: Augmented, y1: Augmented, args: PyTree, reason: Array
    ) -> tuple[Augmented, Residual | None, Array]:
        """y1 brought back onto the constraints, and the residual it had before; a failed step is not projected."""
        if not self.projects:
            return y1, None, reason
        fine = reason == int(Reason.NONE)
        # Newton's method on a NaN would only spread it, and reverse mode would meet it again.
        start = jax.tree.map(lambda end, begin: jnp.where(fine, end, begin), y1.state, y0.state)
        still, there, given = observed((law, start, args))
        stepped = still.residual(t1, there, given)
        state, converged = law.project(t1, start, args)
        converged = converged & all_finite(state)
        reason = jnp.where(fine & ~converged, int(Reason.PROJECTION_FAILED), reason)
        return Augmented(state, y1.work), stepped, reason

    def _drift(self, watched: Monitor | Residual, reason: Array) -> Array:
        residual = watched.settled if isinstance(watched, Monitor) else watched
        if self.drift_limit is None or residual is None:
            return reason
        drifted = residual.position > self.drift_limit
        return jnp.where((reason == int(Reason.NONE)) & drifted, int(Reason.CONSTRAINT_DRIFT), reason)

    def order(self, terms: Any) -> int | None:
        return self.solver.order(terms)

    def error_order(self, terms: Any) -> Any:
        return self.solver.error_order(terms)

    def func(self, terms: Any, t0: Array, y0: Augmented, args: PyTree) -> Augmented:
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


def _runaway(law: AbstractLaw, t1: Array, y1: Augmented, args: PyTree, reason: Array) -> Array:
    if not isinstance(law, AbstractBoundaryLaw):
        return reason
    law, y1, args = observed((law, y1, args))
    unstable = law.unstable(t1, y1.state, args)
    return jnp.where((reason == int(Reason.NONE)) & unstable, int(Reason.UNSTABLE_COSTATE), reason)
