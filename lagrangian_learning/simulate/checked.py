"""Runs with their checks: of known values in one program, which is asked for its reasons only where a run failed."""

from typing import Any

import jax
from jaxtyping import Array, Bool, PyTree

from lagrangian_learning._arrays import is_concrete
from lagrangian_learning._calls import Compiled, apart, kinds_of
from lagrangian_learning._checks import collected_verdicts, refused
from lagrangian_learning._types import Args
from lagrangian_learning.mechanics.law import AbstractLaw

from .plan import Plan, Tolerances
from .run import Outcome, checked_start, integrate, trajectory_of
from .trajectory import Carry, Trajectory, names_of


def checked(law: AbstractLaw, state: PyTree, times: Array, args: Args, carry: Carry | None) -> tuple[PyTree, Array]:
    """State and times of a run, after the checks of their values."""
    if carry is not None:
        times = checked_start(carry, times)
    return law.check(times, state, args), times


def run_checked(
    law: AbstractLaw,
    state: PyTree,
    times: Array,
    args: Args,
    tolerances: Tolerances,
    plan: Plan,
    carry: Carry | None,
) -> Outcome:
    """One traced run; what the checks refuse becomes its result code."""
    with collected_verdicts() as verdicts:
        state, times = checked(law, state, times, args, carry)
    return integrate(law, state, times, args, tolerances, plan, carry, refused(verdicts))


def run_known(
    law: AbstractLaw,
    state: PyTree,
    times: Array,
    args: Args,
    tolerances: Tolerances,
    plan: Plan,
    carry: Carry | None,
) -> tuple[Bool[Array, ""], Trajectory] | None:
    """Whether a run of known values failed, and its trajectory; ValueError for values that are refused.

    None where a check depends on traced values, which functions among the arguments can hold. The first time that such
    arguments are met they are checked before anything is compiled. From then on the program of the run checks them
    itself, and only a run that failed is checked once more, for the message with its numbers.
    """
    given = (law, state, times, args, tolerances, plan, carry)
    arrays, rest = apart(given)
    look = (kinds_of(arrays), rest)
    first = not _is_self_checking(look)
    if first:
        with collected_verdicts() as verdicts:
            checked(law, state, times, args, carry)
        if verdicts:
            return None
    failed, path, checks = known_compiled.of_flat(arrays, rest)
    if not first and is_concrete(failed) and failed:
        checked(law, state, times, args, carry)
    if checks:
        if len(_self_checking) >= _MOST_LOOKS:
            _self_checking.clear()
        _self_checking.add(look)
    return failed, path


def _is_self_checking(look: tuple[Any, ...]) -> bool:
    try:
        return look in _self_checking
    except TypeError:  # an unhashable object among the arguments: the checks, or else JAX, will name it
        return False


def _known(
    law: AbstractLaw,
    state: PyTree,
    times: Array,
    args: Args,
    tolerances: Tolerances,
    plan: Plan,
    carry: Carry | None,
) -> tuple[Bool[Array, ""], Trajectory, bool]:
    """Whether the run failed, its trajectory, and whether its checks are part of the program."""
    given = (law, state, times, args, tolerances, plan, carry)
    try:
        outcome, checks = run_checked(*given), True
    except (jax.errors.JAXTypeError, jax.errors.JAXIndexError):  # the check of a user's law, which wants values
        outcome, checks = integrate(*given), False
    names = names_of(law, plan.save, plan.description_of(law))
    return outcome.failed, trajectory_of(times, tolerances, outcome, names), checks


known_compiled = Compiled(_known)

_self_checking: set = set()  # the looks of arguments whose programs check them
_MOST_LOOKS = 1024  # a look holds what is static in its arguments alive
