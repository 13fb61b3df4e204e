"""The settings of a run: as a user gives them, checked, and as what Diffrax is given. Each refusal names its remedy."""

from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from lagrangian_learning._arrays import in_dtype, is_concrete
from lagrangian_learning._calls import remembered
from lagrangian_learning._checks import kind_of, one_of, positive, positive_int, require
from lagrangian_learning.mechanics.law import AbstractLaw
from lagrangian_learning.steppers.defaults import default_stepper, trait

from .events import checked_event
from .kinks import checked_kinks
from .loop import Replay
from .plan import Plan, StepChoice, Tolerances, scanned
from .stabilisation import resolve

MAX_STEPS = 2**20
_MOST_STEPS = 2**30  # that a grid counts by an integer of 32 bits

# rtol = atol when neither is given: four digits above rounding in float32, six in float64.
DEFAULT_TOLERANCE = {jnp.dtype("float32"): 1e-5, jnp.dtype("float64"): 1e-10}

WATCHES = ("steps", "saved", "nothing")


class Settings(NamedTuple):
    """The settings that `simulate` and `simulate_batch` share, as a user gives them; see `simulate`."""

    solver: Any = None
    rtol: Any = None
    atol: Any = None
    dt0: Any = None
    stepsize_controller: Any = None
    stabilisation: Any = None
    adjoint: Any = None
    save: Callable[[Array, dict[str, PyTree]], PyTree] | None = None
    max_steps: int | None = MAX_STEPS
    progress: diffrax.AbstractProgressMeter = diffrax.NoProgressMeter()
    watch: str = "steps"
    event: diffrax.Event | None = None
    kinks: Any = None
    dense: bool = False

    def prepared(self, law: AbstractLaw, times: Array) -> tuple[Tolerances, Plan]:
        """Tolerances and plan of runs of this law over these times; ValueError for what does not fit."""
        drifts = law.constrained_part is not None
        free = self.stepsize_controller is None and self.kinks is None and is_concrete(times, self)
        tolerances, plan = _of_any_times(self, times.dtype, drifts) if free else self.resolved(times, drifts=drifts)
        if plan.steps.controller is None and not plan.steps.adaptive:
            assert tolerances.dt0 is not None
            tolerances = tolerances._replace(dt0=_countable(tolerances.dt0, times))
        return tolerances, plan

    def resolved(self, times: Array, *, drifts: bool) -> tuple[Tolerances, Plan]:
        """The same for a law that drifts off its constraints, or does not, without a look at the number of steps."""
        tolerances = self._tolerances(times.dtype)
        kept = isinstance(self.solver, diffrax.AbstractSolver) and trait(self.solver, "keeps_constraints")
        stabiliser = resolve(self.stabilisation, drifts=drifts, kept_by_stepper=kept)
        event = None if self.event is None else checked_event(self.event)
        steps = self._steps(tolerances, times, lands=stabiliser.projects or event is not None)
        steps = self._with_kinks(steps, times, kept=kept)
        stepper = self._stepper(times.dtype, adaptive=steps.adaptive)
        adjoint, stepper = self._adjoint(stepper, steps, tolerances, projects=stabiliser.projects)
        max_steps = None if self.max_steps is None else positive_int(self.max_steps, "max_steps")
        watch = one_of(self.watch, "watch", WATCHES)
        if self.dense:
            self._check_dense(stepper, projects=stabiliser.projects)
        given = (max_steps, self.save, self.progress, watch, event, self.dense)
        return tolerances, Plan(stepper, steps, stabiliser, adjoint, *given)

    def _check_dense(self, solver: diffrax.AbstractSolver, *, projects: bool) -> None:
        if projects:
            raise ValueError(
                "dense=True has no values on the constraints between projected steps: give more ts, or "
                "stabilisation=ll.NoStabilisation() or ll.Baumgarte(alpha, beta)."
            )
        if trait(solver, "motion_alone") or isinstance(self.adjoint, diffrax.BacksolveAdjoint):
            raise ValueError(
                "dense=True needs a stepper that interpolates, and an adjoint other than BacksolveAdjoint."
            )
        if self.max_steps is None or self.max_steps == MAX_STEPS:
            raise ValueError(
                "dense=True keeps as many steps as max_steps allows: give max_steps, no less than the run takes."
            )

    def _tolerances(self, dtype: Any) -> Tolerances:
        """In the dtype of the state; no tolerances where dt0 alone or a controller sets the steps."""
        rtol, atol, dt0, controller = self.rtol, self.atol, self.dt0, self.stepsize_controller
        if controller is not None and (rtol is not None or atol is not None):
            raise ValueError("give tolerances to the stepsize_controller, or give rtol and atol without one, not both.")
        step = None if dt0 is None else _step(dt0, dtype)
        if controller is not None or (dt0 is not None and rtol is None and atol is None):
            return Tolerances(None, None, step)
        if rtol is None and atol is None:
            rtol = DEFAULT_TOLERANCE[dtype]
        absolute = None if atol is None else _positive(atol, "atol", dtype)
        if rtol is None:  # atol may be finer than any rtol can be
            return Tolerances(jnp.maximum(absolute, _finest(dtype)), absolute, step)
        relative = _relative(rtol, dtype)
        return Tolerances(relative, relative if absolute is None else absolute, step)

    def _steps(self, tolerances: Tolerances, times: Float[Array, " times"], *, lands: bool) -> StepChoice:
        """ValueError for a controller whose steps cannot end on the saved times where they must (`lands`)."""
        controller = self.stepsize_controller
        if controller is None:
            return StepChoice(None, tolerances.rtol is not None, True)
        if not isinstance(controller, diffrax.AbstractStepSizeController):
            raise ValueError(f"stepsize_controller must be a Diffrax controller, got {kind_of(controller)}.")
        _check_tolerances(controller)
        if isinstance(controller, diffrax.ConstantStepSize) and tolerances.dt0 is None:
            raise ValueError("diffrax.ConstantStepSize needs the step: give dt0.")
        if isinstance(controller, diffrax.AbstractAdaptiveStepSizeController):
            return StepChoice(controller, True, lands)
        return StepChoice(_meeting(controller, times) if lands else controller, False, lands)

    def _with_kinks(self, steps: StepChoice, times: Float[Array, " times"], *, kept: bool) -> StepChoice:
        """The steps, all of which end before kinks; ValueError for steppers and controllers that cannot."""
        if self.kinks is None:
            return steps
        kinks = checked_kinks(self.kinks, times, apart=isinstance(self.adjoint, Replay | None))
        if kinks is None:
            return steps
        if kept or isinstance(self.adjoint, diffrax.BacksolveAdjoint):
            raise ValueError("kinks are for steps that begin afresh: not for ll.Rattle or diffrax.BacksolveAdjoint.")
        if steps.controller is not None and not steps.adaptive:
            raise ValueError(
                "kinks need steps that can end on them: give dt0 without a controller, or an adaptive one."
            )
        return StepChoice(steps.controller, steps.adaptive, True, kinks)

    def _stepper(self, dtype: Any, *, adaptive: bool) -> diffrax.AbstractSolver:
        solver = self.solver
        if solver is None:
            return default_stepper(dtype)
        if not isinstance(solver, diffrax.AbstractSolver):
            raise ValueError(f"solver must be a Diffrax solver such as diffrax.Tsit5(), got {kind_of(solver)}.")
        if solver.term_structure is not diffrax.AbstractTerm and not isinstance(solver.term_structure, type):
            raise ValueError(f"{type(solver).__name__} integrates several terms, and a law is one: use another solver.")
        if adaptive and not isinstance(solver, diffrax.AbstractAdaptiveSolver):
            raise ValueError(
                f"{type(solver).__name__} has no error estimate: give dt0 without tolerances for constant steps, or "
                "wrap it as diffrax.HalfSolver(...)."
            )
        return solver

    def _adjoint(
        self, solver: diffrax.AbstractSolver, steps: StepChoice, tolerances: Tolerances, *, projects: bool
    ) -> tuple[diffrax.AbstractAdjoint, diffrax.AbstractSolver]:
        """The adjoint, and the stepper in the form that it can differentiate."""
        adjoint = self.adjoint
        if adjoint is None:
            return Replay(), solver
        if not isinstance(adjoint, diffrax.AbstractAdjoint):
            found = kind_of(adjoint)
            raise ValueError(f"adjoint must be a Diffrax adjoint such as diffrax.DirectAdjoint(), got {found}.")
        if isinstance(adjoint, diffrax.BacksolveAdjoint):
            if projects:
                raise ValueError(
                    "diffrax.BacksolveAdjoint integrates an equation without projection, so its gradient would be "
                    "wrong: use the default adjoint, or stabilisation=ll.NoStabilisation()."
                )
            if self.event is not None:
                raise ValueError("diffrax.BacksolveAdjoint looks for no event: use the default adjoint.")
            return _backsolve(adjoint, solver, steps, tolerances), solver
        if isinstance(adjoint, diffrax.DirectAdjoint):
            return adjoint, scanned(solver, "bounded")
        return adjoint, scanned(solver, "lax") if isinstance(adjoint, diffrax.ForwardMode) else solver


# -- details -------------------------------------------------------------------------------------------------------


@remembered
def _of_any_times(settings: Settings, dtype: Any, drifts: bool) -> tuple[Tolerances, Plan]:
    """Of settings to which only the dtype of the times matters."""
    return settings.resolved(jnp.zeros(2, dtype), drifts=drifts)


def _finest(dtype: Any) -> float:
    return 10 * float(jnp.finfo(dtype).eps)


def _step(dt0: Any, dtype: Any) -> Float[Array, ""]:
    step = _positive(dt0, "dt0", dtype)
    message = f"dt0 is below the smallest number that {dtype} holds ({jnp.finfo(dtype).tiny:.1e}): give a longer step."
    return require(step, _concrete(step) >= jnp.finfo(dtype).tiny, message)


def _countable(step: Array, times: Array) -> Array:
    """A constant step of which a run takes no more than can be counted, each longer than the rounding of time."""
    short, row = _concrete(step), _concrete(times)
    fine = ((row[-1] - row[0]) / _MOST_STEPS < short) & (short > np.finfo(row.dtype).eps * abs(row).max())
    message = f"dt0 is too short: more than 2**30 steps from ts[0] to ts[-1], or below the rounding of {row.dtype}."
    return require(step, fine, message)


def _concrete(value: Array) -> Any:
    """In NumPy where it is known: under jit even an operation on constants would be traced."""
    return np.asarray(value) if is_concrete(value) else value


def _check_tolerances(controller: Any) -> None:
    """ValueError for a controller whose tolerances are known to be no tolerances, through wrappers of Diffrax."""
    for name in ("rtol", "atol"):
        value = getattr(controller, name, None)
        known = isinstance(value, int | float | np.ndarray | jax.Array) and is_concrete(value)
        if known and not (np.isfinite(value).all() and (np.asarray(value) >= 0).all()):
            raise ValueError(f"{name} of the stepsize_controller must be finite and >= 0.")
    if getattr(controller, "controller", None) is not None:
        _check_tolerances(controller.controller)


def _positive(value: Any, name: str, dtype: Any) -> Float[Array, ""]:
    return in_dtype(positive(value, name), dtype)


def _relative(rtol: Any, dtype: Any) -> Float[Array, ""]:
    fine = (
        f"rtol below 10 eps ({_finest(dtype):.1e} in {dtype}) is finer than it resolves: use float64 or a larger rtol."
    )
    relative = _positive(rtol, "rtol", dtype)
    return require(relative, (rtol if is_concrete(rtol) else relative) >= _finest(dtype), fine)


def _meeting(controller: diffrax.AbstractStepSizeController, times: Array) -> diffrax.StepTo:
    if not isinstance(controller, diffrax.StepTo):
        raise ValueError(
            f"with projection or an event saved times must be step ends, which {type(controller).__name__} cannot "
            "promise: give dt0 without a controller, an adaptive one, or diffrax.StepTo with times that include ts."
        )
    xp = np if is_concrete(controller.ts, times) else jnp
    met = xp.isin(xp.asarray(times), xp.asarray(controller.ts))
    message = "with projection or an event the times of diffrax.StepTo must include ts."
    return diffrax.StepTo(require(controller.ts, met, message))


def _backsolve(
    adjoint: diffrax.BacksolveAdjoint, solver: diffrax.AbstractSolver, steps: StepChoice, tolerances: Tolerances
) -> diffrax.BacksolveAdjoint:
    """Backwards in time there is nothing to watch and no saved time to meet: plain stepper and controller do."""
    controller = steps.controller
    if controller is None:
        controller = steps.adaptive_for(tolerances) if steps.adaptive else diffrax.ConstantStepSize()
    return diffrax.BacksolveAdjoint(**{"solver": solver, "stepsize_controller": controller, **adjoint.kwargs})
