"""The stepper of a run that names none, and what a step of any stepper costs."""

from typing import Any

import diffrax
import jax.numpy as jnp


def default_stepper(dtype: Any) -> diffrax.AbstractAdaptiveSolver:
    """`Dopri8` in float64, `Tsit5` in float32."""
    return diffrax.Dopri8() if jnp.dtype(dtype) == jnp.dtype("float64") else diffrax.Tsit5()


def num_stages(stepper: diffrax.AbstractSolver) -> int | None:
    """How many rates a step combines; None where the stepper does not specify it."""
    if isinstance(stepper, diffrax.AbstractWrappedSolver):
        return num_stages(stepper.solver)
    tableau = getattr(stepper, "tableau", None)
    return getattr(tableau, "num_stages", getattr(stepper, "num_stages", None))


def evaluations(stepper: diffrax.AbstractSolver) -> int:
    """Evaluations of the law a step; one where the stepper does not specify its stages."""
    tableau = getattr(stepper, "tableau", None)
    return (num_stages(stepper) or 1) - bool(getattr(tableau, "fsal", getattr(stepper, "fsal", False)))


def trait(stepper: diffrax.AbstractSolver, name: str) -> bool:
    """A property of steppers of this package (`keeps_constraints`, `motion_alone`), through wrappers of Diffrax."""
    if isinstance(stepper, diffrax.AbstractWrappedSolver):
        return trait(stepper.solver, name)
    return getattr(stepper, name, False)
