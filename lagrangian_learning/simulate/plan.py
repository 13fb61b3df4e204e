"""`Plan`: the settings of a run, resolved for a law and its times, and what Diffrax is given for them."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import numpy as np
from jaxtyping import Array, Float, PyTree

from lagrangian_learning._arrays import is_concrete
from lagrangian_learning.mechanics.law import AbstractLaw
from lagrangian_learning.steppers import AbstractExponentialRungeKutta, KickDrift
from lagrangian_learning.steppers.defaults import evaluations, num_stages, trait
from lagrangian_learning.steppers.staged import staged

from .charges import Charges, stabilised_charges
from .controllers import AdaptiveState, AdaptiveSteps, FixedSteps, SubdividedSteps
from .events import Conditions
from .kinks import Kinks
from .loop import Replay
from .monitor import StepKind
from .stabilisation import AbstractStabilisation, Accuracy
from .stepping import MonitoredStepper
from .work import QuadratureOfPower

# Relative defects of the energy balance from which on a printed run warns. Between the runs of tests/simulate/alarms.py
# that are wrong, and those that are right.
_ALARM_CONSTANT, _ALARM_ADAPTIVE = 0.02, 0.05


class Tolerances(NamedTuple):
    """rtol and atol, or the constant step dt0; what is not used is None. dt0 beside tolerances is the first step."""

    rtol: Float[Array, ""] | None
    atol: Float[Array, ""] | None
    dt0: Float[Array, ""] | None


class StepChoice(eqx.Module):
    """The user's controller (None: ours), whether it is adaptive, and whether saved times are step ends."""

    controller: diffrax.AbstractStepSizeController | None
    adaptive: bool = eqx.field(static=True)
    lands: bool = eqx.field(static=True)
    kinks: Kinks | None = None

    @property
    def description(self) -> str:
        """How the printed trajectory calls it."""
        if self.controller is not None:
            return type(self.controller).__name__
        return "adaptive steps" if self.adaptive else "constant steps"

    def controller_for(
        self, times: Array, tolerances: Tolerances, start: Array, resume: AdaptiveState | None, *, events: bool = False
    ) -> diffrax.AbstractStepSizeController:
        """The controller that Diffrax is given; start: a failure known before the first step; events: one may come."""
        stops = times if self.kinks is None else self.kinks.stops(times)
        if not self.adaptive:
            ours = self.controller is None
            return FixedSteps(
                SubdividedSteps(stops, tolerances.dt0, self.kinks) if ours else self.controller, start, events
            )
        stops = stops if self.lands else None
        return AdaptiveSteps(self.adaptive_for(tolerances), stops, start, resume, events, self.kinks)

    def accuracy(self, tolerances: Tolerances) -> Accuracy:
        """How near to the constraints a projection must come: by the tolerances of the controller, if it has any."""
        if not self.adaptive:
            return Accuracy(None, None)
        found = [getattr(self.adaptive_for(tolerances), name, None) for name in ("rtol", "atol")]
        return Accuracy(None, None) if None in found else Accuracy(*found)

    def adaptive_for(self, tolerances: Tolerances) -> Any:
        """The user's adaptive controller, or Diffrax's integral controller at the tolerances."""
        if self.controller is not None:
            return self.controller
        return diffrax.PIDController(rtol=tolerances.rtol, atol=tolerances.atol)


class Plan(eqx.Module):
    """Settings resolved for a law and its times; what varies without a new compilation stands in `Tolerances`."""

    solver: diffrax.AbstractSolver
    steps: StepChoice
    stabilisation: AbstractStabilisation
    adjoint: diffrax.AbstractAdjoint
    max_steps: int | None = eqx.field(static=True)
    save: Callable[..., PyTree] | None
    progress: diffrax.AbstractProgressMeter
    watch: str = eqx.field(static=True)
    event: diffrax.Event | None
    dense: bool = eqx.field(static=True, default=False)
    charges: Charges | None = None

    def watching(self, charges: Charges | None) -> "Plan":
        """The plan of a run that keeps these charges too."""
        return dataclasses.replace(self, charges=stabilised_charges(charges, self.stabilisation))

    @property
    def kind(self) -> StepKind:
        """What a run may say of its steps."""
        return step_kind(self.solver, adaptive=self.steps.adaptive, projects=self.stabilisation.projects)

    @property
    def reads(self) -> bool:
        """Whether energy, its work and residuals are read at all."""
        return self.watch != "nothing"

    @property
    def backsolves(self) -> bool:
        """Whether the derivative is integrated backward in time, which takes nothing but states."""
        return isinstance(self.adjoint, diffrax.BacksolveAdjoint)

    @property
    def records_afterwards(self) -> bool:
        """Whether records are made of the saved states at the end: one copy of the law less to compile in the loop.

        A user's save function may keep far less than the states, and is called on the way.
        """
        return self.backsolves or self.save is None

    def counted(self, ts: Any, dt0: Any) -> "Plan":
        """The plan whose adjoint knows how many steps there are at most: of constant steps over known times, to a power
        of two, so that few lengths of a run compile anew.
        """
        constant = self.steps.controller is None and not self.steps.adaptive and self.steps.kinks is None
        known = is_concrete(ts, dt0) and self.event is None
        if not (isinstance(self.adjoint, Replay) and constant and known):
            return self
        most = int(np.sum(np.ceil(np.diff(np.asarray(ts, float)) / float(dt0)) + 1))
        adjoint = dataclasses.replace(self.adjoint, most=1 << (most - 1).bit_length())
        return dataclasses.replace(self, adjoint=adjoint)

    def description_of(self, law: AbstractLaw) -> dict[str, str]:
        """What a printed trajectory of the law says of the settings."""
        stepper = {"stepper": f"{type(self.solver).__name__}, {self.steps.description}"}
        return stepper if law.constrained_part is None else stepper | {"stabilisation": self.stabilisation.description}

    @property
    def lands(self) -> bool:
        """Whether saved times are step ends."""
        return self.steps.lands and not self.dense

    @property
    def staged(self) -> diffrax.AbstractSolver:
        """The stepper itself, its stages summed as they come where nothing is interpolated."""
        if not self.lands:
            return self.solver
        replays = isinstance(self.adjoint, Replay)
        inner = staged(self.solver, scans=replays)
        return scanned(inner, "bounded") if replays and inner is self.solver else inner

    def stepper(self, dtype: Any, tolerances: Tolerances) -> MonitoredStepper:
        """The stepper that Diffrax is given."""
        stabilisation, steps = self.stabilisation, self.steps
        inner = QuadratureOfPower(self.staged) if trait(self.solver, "motion_alone") else self.staged
        fixed = (inner, stabilisation.projects, self.lands, steps.adaptive, stabilisation.limit(dtype))
        conditions = None if self.event is None else Conditions(self.event)
        return MonitoredStepper(*fixed, steps.accuracy(tolerances), self.watch, conditions)

    def stepper_to_differentiate(self, dtype: Any, tolerances: Tolerances) -> MonitoredStepper:
        """The same, its stages in a loop that forward and reverse mode can differentiate."""
        stepper = self.stepper(dtype, tolerances)
        return eqx.tree_at(lambda s: s.solver, stepper, scanned(stepper.solver, "bounded"))


def step_kind(solver: diffrax.AbstractSolver, *, adaptive: bool, projects: bool) -> StepKind:
    """What is known of steps beforehand: their evaluations, and what to do where they do not resolve the motion."""
    count = None
    if num_stages(solver) is not None and not isinstance(solver, diffrax.AbstractImplicitSolver):
        count = num_stages(solver) if projects else evaluations(solver)
    if adaptive:
        return StepKind(count, _ALARM_ADAPTIVE, "give smaller rtol and atol")
    if isinstance(solver, AbstractExponentialRungeKutta | KickDrift):
        return StepKind(
            count, _ALARM_CONSTANT, "shorten dt0 against the forces and the signals; dissipation needs no step"
        )
    return StepKind(count, _ALARM_CONSTANT, "shorten dt0, or give rtol")


def scanned(solver: diffrax.AbstractSolver, kind: str) -> diffrax.AbstractSolver:
    """A stepper whose stages run in a loop of the kind; Diffrax would set it, but does not look inside wrappers."""
    if hasattr(solver, "scan_kind"):
        return solver if solver.scan_kind is not None else _with_scan_kind(solver, kind)
    if isinstance(solver, diffrax.AbstractWrappedSolver):
        return eqx.tree_at(lambda s: s.solver, solver, scanned(solver.solver, kind))
    return solver


def _with_scan_kind(solver: Any, kind: str) -> diffrax.AbstractSolver:
    return eqx.tree_at(lambda s: s.scan_kind, solver, kind, is_leaf=lambda leaf: leaf is None)
