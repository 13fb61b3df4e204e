"""Any Diffrax stepper, made to project, to watch what a run should conserve, and to report why a step fails."""

from typing import TYPE_CHECKING, Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, PyTree

from lagrangian_learning._arrays import all_finite, tree_where
from lagrangian_learning._types import Args, Terms, Time
from lagrangian_learning.mechanics.law import AbstractLaw, Residual

from .results import FailureCode
from .stabilisation import Accuracy, reach_of
from .work import Worked, law_of

if TYPE_CHECKING:
    Values = Array  # NumPy's arrays, which a batch leaves, support whatever is asked of records
else:
    Values = Array | np.ndarray

# -- what is watched -----------------------------------------------------------------------------------------------


class EnergyRange(eqx.Module):
    """Energy at the start, its extrema, and the largest |E − E(t0) − work|; defect is None where there is no power."""

    start: Values
    least: Values
    most: Values
    defect: Values | None

    def including(self, energy: Float[Array, ""], work: Float[Array, ""] | None) -> "EnergyRange":
        """The range with one more step end."""
        defect = None if work is None else jnp.maximum(self.defect, jnp.abs(energy - self.start - work))
        return EnergyRange(self.start, jnp.minimum(self.least, energy), jnp.maximum(self.most, energy), defect)

    @property
    def relative_defect(self) -> Values | None:
        """The largest defect over max |E|; where E is zero throughout, the defect itself."""
        if self.defect is None:
            return None
        xp = jnp if isinstance(self.defect, jax.Array) else np
        scale = xp.maximum(xp.abs(self.least), xp.abs(self.most))
        return self.defect / xp.where(scale > 0, scale, 1)


class Monitor(eqx.Module):
    """Largest residuals at step ends, as the stepper left them and after stabilisation, and the energy's range.

    Extrema over accepted steps only. Residuals are None for a law that has no constraints to drift off, energy for a
    law without one.
    """

    stepped: Residual | None
    settled: Residual | None
    energy: EnergyRange | None

    def including(self, stepped: Residual | None, settled: Residual | None, energy: EnergyRange | None) -> "Monitor":
        """The extrema with one more step end."""
        return Monitor(_larger(self.stepped, stepped), _larger(self.settled, settled), energy)


class Statistics(eqx.Module):
    """Steps taken, and what the monitor has seen over all accepted ones."""

    num_steps: Values
    num_accepted_steps: Values
    num_rejected_steps: Values
    monitor: Monitor

    def as_dict(self) -> dict[str, Values]:
        """By name, those that the law has."""
        counts = ("num_steps", "num_accepted_steps", "num_rejected_steps")
        stats: dict[str, Any] = {name: getattr(self, name) for name in counts}
        settled, stepped, energy = self.monitor.settled, self.monitor.stepped, self.monitor.energy
        if settled is not None and stepped is not None:
            stats |= {
                "max_constraint_residual": settled.position,
                "max_velocity_residual": settled.velocity,
                "max_constraint_residual_before_projection": stepped.position,
                "max_velocity_residual_before_projection": stepped.velocity,
            }
        if energy is not None:
            stats |= {"energy_min": energy.least, "energy_max": energy.most}
            if energy.defect is not None:
                stats |= {"max_energy_defect": energy.relative_defect, "max_energy_defect_absolute": energy.defect}
        return stats


def residual_of(law: AbstractLaw, t: Array, y: Worked, args: Args) -> Residual | None:
    """max |G| and max |DG|; None where nothing drifts."""
    constraints = law.constrained_part
    return None if constraints is None else constraints.residual(t, y.state, args)


def energy_of(law: AbstractLaw, t: Array, y: Worked, args: Args) -> Float[Array, ""] | None:
    """E; None where the law has none."""
    return None if law.energy_part is None else law.energy_part.energy(t, y.state, args)


def first_reading(law: AbstractLaw, t: Array, y: Worked, args: Args) -> Monitor:
    """The monitor at the start of a run."""
    law, y, args = observed((law, y, args))
    residual, energy = residual_of(law, t, y, args), energy_of(law, t, y, args)
    if energy is None:
        return Monitor(residual, residual, None)
    return Monitor(residual, residual, EnergyRange(energy, energy, energy, None if y.work is None else y.work * 0))


def reading(monitor: Monitor, law: AbstractLaw, t: Array, y: Worked, args: Args, stepped: Residual | None) -> Monitor:
    """The monitor after a step that ended, stabilised, in y; `stepped` is the residual before, None: the same."""
    law, y, args = observed((law, y, args))
    settled = residual_of(law, t, y, args)
    energy = monitor.energy
    if energy is not None:
        energy = energy.including(energy_of(law, t, y, args), y.work)
    return monitor.including(settled if stepped is None else stepped, settled, energy)


def observed(tree: PyTree) -> PyTree:
    """The same values, out of the derivative: watching a run must neither cost nor change its gradient."""
    arrays, rest = eqx.partition(tree, eqx.is_array)
    return eqx.combine(lax.stop_gradient(arrays), rest)


def _larger(largest: Residual | None, new: Residual | None) -> Residual | None:
    if largest is None or new is None:
        return largest
    return Residual(jnp.maximum(largest.position, new.position), jnp.maximum(largest.velocity, new.velocity))


# -- the stepper ---------------------------------------------------------------------------------------------------


class StepReport(eqx.Module):
    """What a stepper reports to the step controller, in the place of Diffrax's error estimate.

    error: the estimate for the state, without the work, so that watching the energy changes no step; None: constant
    steps. failure: a `FailureCode`, as a float since Diffrax maps floats over this place.
    """

    error: PyTree
    failure: Float[Array, ""]


class MonitoredState(eqx.Module):
    """State of the stepper inside, and the monitor; Diffrax restores both when a step is rejected."""

    inner: PyTree
    monitor: Monitor
    reach: PyTree  # the largest |entry| of the run, leaf by leaf; None where nothing is projected


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
    """

    solver: diffrax.AbstractSolver
    projects: bool = eqx.field(static=True)
    lands: bool = eqx.field(static=True)
    adaptive: bool = eqx.field(static=True)
    drift_limit: Float[Array, ""] | None
    accuracy: Accuracy

    def init(self, terms: Terms, t0: Array, t1: Array, y0: Worked, args: Args) -> MonitoredState:
        inner = self.solver.init(terms, t0, t1, y0, args)
        reach = reach_of(y0.state) if self.projects else None
        return MonitoredState(inner, first_reading(law_of(terms), t0, y0, args), reach)

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
        y1, stepped, failure, reach = self._settled(law, t1, y0, y1, args, failure, solver_state.reach)
        monitor = reading(solver_state.monitor, law, t1, y1, args, stepped)
        failure = self._drift(monitor.settled if stepped is None else stepped, failure)
        failure = _stopped(law, t1, y1, args, failure)
        report = StepReport(error.state if self.adaptive else None, failure.astype(t1.dtype))
        dense = {"y0": y0, "y1": y1} if self.lands else dense
        return y1, report, dense, MonitoredState(inner, monitor, reach), result

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
        return Worked(state, y1.work), stepped, failure, reach

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


def _stopped(law: AbstractLaw, t1: Array, y1: Worked, args: Args, failure: Array) -> Array:
    law, y1, args = observed((law, y1, args))
    stops = law.stops(t1, y1.state, args)
    if stops is None:
        return failure
    return jnp.where((failure == int(FailureCode.NONE)) & stops, int(FailureCode.UNSTABLE_COSTATE), failure)
