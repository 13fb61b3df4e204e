"""The settings of a run: as a user gives them, checked, and as what Diffrax is given. Each refusal names its remedy."""

from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from lagrangian_learning._arrays import is_concrete
from lagrangian_learning._checks import kind_of, positive, positive_int, require
from lagrangian_learning.mechanics.law import AbstractLaw
from lagrangian_learning.steppers.defaults import default_stepper, trait

from .controllers import AdaptiveState, AdaptiveSteps, FixedSteps, SubdividedSteps
from .stabilisation import AbstractStabilisation, Accuracy, resolve
from .stepping import MonitoredStepper
from .work import QuadratureOfPower

MAX_STEPS = 2**20

# rtol = atol when neither is given: four digits above rounding in float32, six in float64.
DEFAULT_TOLERANCE = {jnp.dtype("float32"): 1e-5, jnp.dtype("float64"): 1e-10}


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

    @property
    def description(self) -> str:
        """How the printed trajectory calls it."""
        if self.controller is not None:
            return type(self.controller).__name__
        return "adaptive steps" if self.adaptive else "constant steps"

    def controller_for(
        self, times: Array, tolerances: Tolerances, start: Array, resume: AdaptiveState | None
    ) -> diffrax.AbstractStepSizeController:
        """The controller that Diffrax is given; start: a failure known before the first step."""
        if not self.adaptive:
            fixed = SubdividedSteps(times, tolerances.dt0) if self.controller is None else self.controller
            return FixedSteps(fixed, start)
        return AdaptiveSteps(self.adaptive_for(tolerances), times if self.lands else None, start, resume)

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

    def description_of(self, law: AbstractLaw) -> dict[str, str]:
        """What a printed trajectory of the law says of the settings."""
        stepper = {"stepper": f"{type(self.solver).__name__}, {self.steps.description}"}
        return stepper if law.constrained_part is None else stepper | {"stabilisation": self.stabilisation.description}

    def stepper(self, dtype: Any, tolerances: Tolerances) -> MonitoredStepper:
        """The stepper that Diffrax is given."""
        inner = QuadratureOfPower(self.solver) if trait(self.solver, "motion_alone") else self.solver
        stabilisation, steps = self.stabilisation, self.steps
        accuracy = steps.accuracy(tolerances)
        return MonitoredStepper(
            inner, stabilisation.projects, steps.lands, steps.adaptive, stabilisation.limit(dtype), accuracy
        )


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

    def prepared(self, law: AbstractLaw, times: Array) -> tuple[Tolerances, Plan]:
        """Tolerances and plan of runs of this law over these times; ValueError for what does not fit."""
        tolerances = self._tolerances(times.dtype)
        kept = isinstance(self.solver, diffrax.AbstractSolver) and trait(self.solver, "keeps_constraints")
        stabiliser = resolve(self.stabilisation, law, kept_by_stepper=kept)
        steps = self._steps(tolerances, times, projects=stabiliser.projects)
        stepper = self._stepper(times.dtype, adaptive=steps.adaptive)
        adjoint, stepper = self._adjoint(stepper, steps, tolerances, projects=stabiliser.projects)
        max_steps = None if self.max_steps is None else positive_int(self.max_steps, "max_steps")
        return tolerances, Plan(stepper, steps, stabiliser, adjoint, max_steps, self.save, self.progress)

    def _tolerances(self, dtype: Any) -> Tolerances:
        """In the dtype of the state; no tolerances where dt0 alone or a controller sets the steps."""
        rtol, atol, dt0, controller = self.rtol, self.atol, self.dt0, self.stepsize_controller
        if controller is not None and (rtol is not None or atol is not None):
            raise ValueError("give tolerances to the stepsize_controller, or give rtol and atol without one, not both.")
        step = None if dt0 is None else _positive(dt0, "dt0", dtype)
        if controller is not None or (dt0 is not None and rtol is None and atol is None):
            return Tolerances(None, None, step)
        if rtol is None and atol is None:
            rtol = DEFAULT_TOLERANCE[dtype]
        absolute = None if atol is None else _positive(atol, "atol", dtype)
        if rtol is None:  # atol may be finer than any rtol can be
            return Tolerances(jnp.maximum(absolute, _finest(dtype)), absolute, step)
        relative = _relative(rtol, dtype)
        return Tolerances(relative, relative if absolute is None else absolute, step)

    def _steps(self, tolerances: Tolerances, times: Float[Array, " times"], *, projects: bool) -> StepChoice:
        """ValueError for a controller that cannot end its steps on the saved times where projection requires it."""
        controller = self.stepsize_controller
        if controller is None:
            return StepChoice(None, tolerances.rtol is not None, True)
        if not isinstance(controller, diffrax.AbstractStepSizeController):
            raise ValueError(f"stepsize_controller must be a Diffrax controller, got {kind_of(controller)}.")
        if isinstance(controller, diffrax.ConstantStepSize) and tolerances.dt0 is None:
            raise ValueError("diffrax.ConstantStepSize needs the step: give dt0.")
        if isinstance(controller, diffrax.AbstractAdaptiveStepSizeController):
            return StepChoice(controller, True, projects)
        return StepChoice(_meeting(controller, times) if projects else controller, False, projects)

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
            return diffrax.RecursiveCheckpointAdjoint(), solver
        if not isinstance(adjoint, diffrax.AbstractAdjoint):
            found = kind_of(adjoint)
            raise ValueError(f"adjoint must be a Diffrax adjoint such as diffrax.DirectAdjoint(), got {found}.")
        if isinstance(adjoint, diffrax.BacksolveAdjoint):
            if projects:
                raise ValueError(
                    "diffrax.BacksolveAdjoint integrates an equation without projection, so its gradient would be "
                    "wrong: use the default adjoint, or stabilisation=ll.NoStabilisation()."
                )
            return _backsolve(adjoint, solver, steps, tolerances), solver
        if isinstance(adjoint, diffrax.DirectAdjoint):
            return adjoint, _scanned(solver, "bounded")
        return adjoint, _scanned(solver, "lax") if isinstance(adjoint, diffrax.ForwardMode) else solver


# -- law, state and times ------------------------------------------------------------------------------------------


def check_law(law: Any, save: Any) -> None:
    """ValueError for what is not a law, or not a save function."""
    if not isinstance(law, AbstractLaw):
        raise ValueError(f"law must be a law, such as action.law() or ll.EulerLagrange(...), got {type(law).__name__}.")
    if save is not None and not callable(save):
        raise ValueError("save must be a function save(t, observables) that returns what to record.")


def checked_state(state: PyTree) -> tuple[PyTree, Any]:
    """The state as strongly typed arrays, and its one dtype."""
    dtype = state_dtype(state)
    with np.errstate(over="ignore"):  # what becomes infinite is refused as such
        return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), state), dtype


def state_dtype(state: PyTree) -> Any:
    """The one dtype of a state; ValueError for what is not a state."""
    leaves = jax.tree.leaves(state)
    if not leaves:
        raise ValueError("the state has no arrays: make it by law.initial_state(t0, ..., args).")
    if not all(isinstance(leaf, jax.Array | np.ndarray | np.generic | float | int) for leaf in leaves):
        raise ValueError("the state must be a pytree of arrays: make it by law.initial_state(t0, ..., args).")
    dtypes = {jnp.result_type(leaf) for leaf in leaves}
    if len(dtypes) > 1 or not dtypes <= DEFAULT_TOLERANCE.keys():
        raise ValueError(
            f"the state must be all float32 or all float64, got {sorted(map(str, dtypes))}: cast it, or make it by "
            "law.initial_state with floating-point data."
        )
    return dtypes.pop()


def checked_times(ts: Any, dtype: Any) -> Float[Array, " times"]:
    """ts in the dtype of the state: one-dimensional, at least two, finite, strictly increasing."""
    known = is_concrete(ts)
    xp = np if known else jnp
    times = xp.asarray(ts)
    if not (jnp.issubdtype(times.dtype, jnp.floating) or jnp.issubdtype(times.dtype, jnp.integer)):
        raise ValueError(f"ts must be real numbers, got dtype {times.dtype}.")
    if times.ndim != 1 or times.shape[0] < 2:
        raise ValueError(
            f"ts must be one-dimensional with at least two times, the first of them the start; got shape {times.shape}."
        )
    with np.errstate(over="ignore"):
        rounded = times.astype(dtype)
    message = "ts contains NaN or inf: give finite times."
    times = require(jnp.asarray(rounded), xp.isfinite(rounded), message)
    message = (
        f"ts must increase strictly, also after rounding to {dtype}: sort it, remove repeated times, and integrate "
        "long streams piece by piece in local time."
    )
    times = require(times, rounded[1:] > rounded[:-1], message)
    # Diffrax moves a step that ends within 100 units in the last place of the end on to the end.
    room = 128 * float(jnp.finfo(dtype).eps) * xp.abs(rounded[-1])
    message = (
        f"the last two times are closer than 128 eps of {dtype} times ts[-1], where steps drown in rounding: "
        "leave one out, integrate piece by piece in local time, or use float64."
    )
    return require(times, rounded[-1] - rounded[-2] > room, message)


# -- details -------------------------------------------------------------------------------------------------------


def _finest(dtype: Any) -> float:
    return 10 * float(jnp.finfo(dtype).eps)


def _positive(value: Any, name: str, dtype: Any) -> Float[Array, ""]:
    return positive(value, name).astype(dtype)


def _relative(rtol: Any, dtype: Any) -> Float[Array, ""]:
    fine = (
        f"rtol below 10 eps ({_finest(dtype):.1e} in {dtype}) is finer than it resolves: use float64 or a larger rtol."
    )
    relative = _positive(rtol, "rtol", dtype)
    return require(relative, (rtol if is_concrete(rtol) else relative) >= _finest(dtype), fine)


def _meeting(controller: diffrax.AbstractStepSizeController, times: Array) -> diffrax.StepTo:
    if not isinstance(controller, diffrax.StepTo):
        raise ValueError(
            f"with projection saved times must be step ends, which {type(controller).__name__} cannot promise: give "
            "dt0 without a controller, an adaptive controller, or diffrax.StepTo with times that include ts."
        )
    xp = np if is_concrete(controller.ts, times) else jnp
    met = xp.isin(xp.asarray(times), xp.asarray(controller.ts))
    return diffrax.StepTo(require(controller.ts, met, "with projection the times of diffrax.StepTo must include ts."))


def _backsolve(
    adjoint: diffrax.BacksolveAdjoint, solver: diffrax.AbstractSolver, steps: StepChoice, tolerances: Tolerances
) -> diffrax.BacksolveAdjoint:
    """Backwards in time there is nothing to watch and no saved time to meet: plain stepper and controller do."""
    controller = steps.controller
    if controller is None:
        controller = steps.adaptive_for(tolerances) if steps.adaptive else diffrax.ConstantStepSize()
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
