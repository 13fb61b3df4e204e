"""All settings of a run together: what a user gave, checked, as what the compiled core takes."""

from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
from jaxtyping import Array, PyTree

from lagrangian_learning.mechanics.law import AbstractLaw

from .plan import checked_adjoint, step_choice
from .run import Outcome, Plan
from .settings import Tolerances, checked_max_steps, checked_solver, checked_tolerances
from .stabilisation import Projection, resolve
from .trajectory import Trajectory

MAX_STEPS = 2**20


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
        tolerances = checked_tolerances(self.rtol, self.atol, self.dt0, self.stepsize_controller, times.dtype)
        stabiliser = resolve(self.stabilisation, law, self.solver)
        projects = isinstance(stabiliser, Projection)
        steps = step_choice(self.stepsize_controller, tolerances, times, projects=projects)
        stepper = checked_solver(self.solver, times.dtype, adaptive=steps.adaptive)
        adjoint, stepper = checked_adjoint(self.adjoint, stepper, steps, tolerances, projects=projects)
        max_steps = checked_max_steps(self.max_steps)
        return tolerances, Plan(stepper, steps, stabiliser, adjoint, max_steps, self.save, self.progress)


def check_law(law: Any, save: Any) -> None:
    """ValueError for what is no law, or no save function."""
    if not isinstance(law, AbstractLaw):
        raise ValueError(f"law must be a law, such as action.law() or ll.EulerLagrange(...), got {type(law).__name__}.")
    if save is not None and not callable(save):
        raise ValueError("save must be a function save(t, observables) that returns what to record.")


class Names(NamedTuple):
    """What a trajectory calls its records, and what it tells of its law and its settings when printed."""

    custom_save: bool
    aliases: tuple[tuple[str, tuple[str, int | None]], ...]
    description: tuple[tuple[str, str], ...]

    def telling(self, name: str, text: str) -> "Names":
        """The same with one more line to print."""
        return self._replace(description=(*self.description, (name, text)))


def names_of(law: AbstractLaw, plan: Plan) -> Names:
    """The names of the trajectories of a law under these settings."""
    description = {
        **law.description,
        "stepper": f"{type(plan.solver).__name__}, {plan.steps.description}",
        "stabilisation": plan.stabilisation.description,
    }
    if not law.drifts:
        del description["stabilisation"]
    return Names(plan.save is not None, tuple(law.aliases.items()), tuple(description.items()))


def trajectory_of(times: Any, tolerances: Tolerances, outcome: Outcome, names: Names) -> Trajectory:
    """The outcome under the names of its law."""
    return Trajectory(
        times,
        outcome.records,
        outcome.energy_start,
        outcome.result,
        outcome.stats,
        {name: value for name, value in tolerances._asdict().items() if value is not None},
        outcome.carry.y.state,
        outcome.carry,
        names.custom_save,
        names.aliases,
        names.description,
    )
