"""How a run steps and how it is differentiated: the settings resolved into what Diffrax is given."""

from typing import Any

import diffrax
import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lagrangian_learning._arrays import is_concrete
from lagrangian_learning._checks import require

from .controllers import AdaptiveState, AdaptiveSteps, FixedSteps
from .grid import SubdividedSteps
from .settings import Tolerances


class StepChoice(eqx.Module):
    """The user's controller (None: ours), whether it is adaptive, and whether saved times are step ends."""

    controller: diffrax.AbstractStepSizeController | None
    adaptive: bool = eqx.field(static=True)
    lands: bool = eqx.field(static=True)

    @property
    def description(self) -> str:
        """How the printed trajectory calls it."""
        if self.controller is not None:
            return type(self.controller).__name__
        return "adaptive steps" if self.adaptive else "constant steps"

    def controller_for(
        self, times: Array, tolerances: Tolerances, start: Array, resume: AdaptiveState | None
    ) -> diffrax.AbstractStepSizeController:
        """The controller that Diffrax is given; start: a reason not to step at all."""
        if not self.adaptive:
            fixed = SubdividedSteps(times, tolerances.dt0) if self.controller is None else self.controller
            return FixedSteps(fixed, start)
        return AdaptiveSteps(self.adaptive_for(tolerances), times if self.lands else None, start, resume)

    def adaptive_for(self, tolerances: Tolerances) -> Any:
        """The user's adaptive controller, or Diffrax's integral controller at the tolerances."""
        if self.controller is not None:
            return self.controller
        return diffrax.PIDController(rtol=tolerances.rtol, atol=tolerances.atol)


def step_choice(
    controller: Any, tolerances: Tolerances, times: Float[Array, " times"], *, projects: bool
) -> StepChoice:
    """ValueError for a controller that cannot end its steps on the saved times where projection needs it."""
    if controller is None:
        return StepChoice(None, tolerances.rtol is not None, True)
    if not isinstance(controller, diffrax.AbstractStepSizeController):
        raise ValueError(f"stepsize_controller must be a Diffrax controller, got {controller!r}.")
    if isinstance(controller, diffrax.ConstantStepSize) and tolerances.dt0 is None:
        raise ValueError("diffrax.ConstantStepSize needs the step: give dt0.")
    if isinstance(controller, diffrax.AbstractAdaptiveStepSizeController):
        return StepChoice(controller, True, projects)
    if projects:
        controller = _meeting(controller, times)
    return StepChoice(controller, False, projects)


def _meeting(controller: diffrax.AbstractStepSizeController, times: Array) -> diffrax.StepTo:
    if not isinstance(controller, diffrax.StepTo):
        raise ValueError(
            f"with projection saved times must be step ends, which {type(controller).__name__} cannot promise: give "
            "dt0 without a controller, an adaptive controller, or diffrax.StepTo with times that include ts."
        )
    xp = np if is_concrete(controller.ts, times) else jnp
    met = xp.isin(xp.asarray(times), xp.asarray(controller.ts))
    return diffrax.StepTo(require(controller.ts, met, "with projection the times of diffrax.StepTo must include ts."))


def checked_adjoint(
    adjoint: Any, solver: diffrax.AbstractSolver, choice: StepChoice, tolerances: Tolerances, *, projects: bool
) -> tuple[diffrax.AbstractAdjoint, diffrax.AbstractSolver]:
    """The adjoint, and the stepper in the form that it can differentiate."""
    if adjoint is None:
        return diffrax.RecursiveCheckpointAdjoint(), solver
    if not isinstance(adjoint, diffrax.AbstractAdjoint):
        raise ValueError(f"adjoint must be a Diffrax adjoint such as diffrax.DirectAdjoint(), got {adjoint!r}.")
    if isinstance(adjoint, diffrax.BacksolveAdjoint):
        if projects:
            raise ValueError(
                "diffrax.BacksolveAdjoint integrates an equation that knows of no projection, so its gradient would be "
                'wrong: use the default adjoint, or stabilisation="none".'
            )
        return _backsolve(adjoint, solver, choice, tolerances), solver
    if isinstance(adjoint, diffrax.DirectAdjoint):
        return adjoint, _scanned(solver, "bounded")
    return adjoint, _scanned(solver, "lax") if isinstance(adjoint, diffrax.ForwardMode) else solver


def _backsolve(
    adjoint: diffrax.BacksolveAdjoint, solver: diffrax.AbstractSolver, choice: StepChoice, tolerances: Tolerances
) -> diffrax.BacksolveAdjoint:
    """Backwards in time there is nothing to watch and no saved time to meet: plain stepper and controller do."""
    controller = choice.controller
    if controller is None:
        controller = choice.adaptive_for(tolerances) if choice.adaptive else diffrax.ConstantStepSize()
    return diffrax.BacksolveAdjoint(**{"solver": solver, "stepsize_controller": controller, **adjoint.kwargs})


def _scanned(solver: diffrax.AbstractSolver, kind: str) -> diffrax.AbstractSolver:
    """A stepper whose stages run in a loop of the kind; Diffrax would set it, but does not look inside wrappers."""
    if hasattr(solver, "scan_kind"):
        return solver if solver.scan_kind is not None else _with_scan_kind(solver, kind)
    if isinstance(solver, diffrax.AbstractWrappedSolver):
        return eqx.tree_at(lambda s: s.solver, solver, _scanned(solver.solver, kind))
    return solver


def _with_scan_kind(solver: Any, kind: str) -> diffrax.AbstractSolver:
    return eqx.tree_at(lambda s: s.scan_kind, solver, kind, is_leaf=lambda leaf: leaf is None)
