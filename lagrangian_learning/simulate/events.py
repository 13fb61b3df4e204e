"""Events: a condition of the user's that ends a run where it changes sign, found by stepping again."""

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import optimistix as optx
from jax import lax
from jaxtyping import Array, Bool, Float, PyTree

from lagrangian_learning._arrays import all_finite, observed, time_derivative, tree_where
from lagrangian_learning._types import Args, Terms

from .results import FailureCode

# A root must lower the condition to this part of what it was at the ends of the step.
_ROOT = 1e-2


class Event(eqx.Module):
    """Where an event ended a run: its time (NaN: there was none), which condition it was, the state, and the records.

    mask: like the `cond_fn` of the event, true for the condition that ended the run. saved: as `path.saved`.
    """

    t: Float[Array, "..."]
    mask: PyTree
    state: PyTree
    saved: PyTree


def checked_event(event: Any) -> diffrax.Event | None:
    """The event; ValueError for what is none."""
    if event is not None and not isinstance(event, diffrax.Event):
        raise ValueError(f"event must be a diffrax.Event(cond_fn, root_finder), got {type(event).__name__}.")
    return event


class Conditions(eqx.Module):
    """The conditions of an event as a list, and how each must change."""

    event: diffrax.Event

    @property
    def functions(self) -> list[Any]:
        return jax.tree.leaves(self.event.cond_fn, is_leaf=callable)

    @property
    def directions(self) -> list[bool | None]:
        return jax.tree.leaves(self.event.direction, is_leaf=lambda leaf: leaf is None)

    def values(self, t: Array, state: PyTree, args: Args) -> list[Array]:
        """A number or a boolean each; ValueError for anything else."""
        return [_one(function(t, state, args)) for function in self.functions]

    def at_start(self, t: Array, state: PyTree, args: Args) -> list[Array]:
        """What the first step is compared with: a boolean that is true from the start is an event of the first step."""
        return [jnp.zeros_like(value) if _boolean(value) else value for value in self.values(t, state, args)]

    def crossed(self, old: list[Array], new: list[Array]) -> list[Bool[Array, ""]]:
        """Which have changed as they must; one that starts at exactly zero has not left its side yet."""
        return [_crossed(*each) for each in zip(old, new, self.directions, strict=True)]

    def mask(self, flags: list[Any]) -> PyTree:
        """Flags like `cond_fn`."""
        return jax.tree.unflatten(jax.tree.structure(self.event.cond_fn, is_leaf=callable), flags)


def _one(value: Any) -> Array:
    array = jnp.asarray(value)
    if array.ndim or not (array.dtype == bool or jnp.issubdtype(array.dtype, jnp.floating)):
        raise ValueError(
            f"cond_fn(t, state, args) of an event must return one real number or boolean, got {array.dtype} of shape "
            f"{array.shape}."
        )
    return array


def _boolean(value: Array) -> bool:
    return value.dtype == bool


def _crossed(old: Array, new: Array, upward: bool | None) -> Bool[Array, ""]:
    if _boolean(new):
        return new & ~old
    if upward is None:
        return (jnp.sign(old) != jnp.sign(new)) & (old != 0)
    return (old <= 0) & (new > 0) if upward else (old > 0) & (new <= 0)


# -- where it is ---------------------------------------------------------------------------------------------------


class Place(eqx.Module):
    """The end of a run at its event: time, state, state of the stepper, which condition, and whether it was found."""

    t: Array
    y: PyTree
    solver_state: PyTree
    flags: list[Bool[Array, ""]]
    found: Bool[Array, ""]


class Search(eqx.Module):
    """Steps of any length from where a run stands before its event, with the stepper and the projection of the run."""

    conditions: Conditions
    terms: Terms
    stepper: Any
    end: Any
    args: Args

    def step(self, t: Array) -> tuple[PyTree, Any, Array]:
        """State, state of the stepper, and failure of a step to t."""
        y, report, _, state, _ = self.stepper.step(
            self.terms, self.end.t, t, self.end.y, self.args, self.end.solver_state, self.end.made_jump
        )
        return y, state, report.failure

    def value(self, t: Array, flags: list[Array]) -> Array:
        """The condition of the flag that is set, after a step to t."""
        values = self.conditions.values(t, self.step(t)[0].state, self.args)
        return _picked(values, flags, t)


def placed(search: Search, t1: Array, happened: Bool[Array, ""]) -> Place:
    """The event of the step from `search.end` to t1; where none happened, the end as it is.

    The root is found out of the derivative. One step of Newton's method, of a length that is zero, gives it the
    derivative −(∂g/∂θ)/(dg/dt) of the implicit function theorem.
    """
    # Where nothing happened a step of no length keeps other lanes' derivatives from meeting a NaN.
    t1 = lax.stop_gradient(jnp.where(happened, t1, search.end.t))
    flags, after = _first(search, t1)
    flags = [flag & happened for flag in flags]
    t, found = _time(search, t1, flags)
    y, state, failure = search.step(t)
    good = found & all_finite((t, y)) & ((failure == 0) | (failure == int(FailureCode.EVENT_OCCURRED)))
    # From the far side of the condition that ended this run, a run that goes on does not meet the same event again.
    sides = [jnp.where(flag, far, here) for flag, far, here in zip(flags, after, state.sides, strict=True)]
    state = eqx.tree_at(lambda s: s.sides, state, sides)
    ends = (search.end.t, search.end.y, search.end.solver_state)
    there = jax.tree.map(lambda new, old: jnp.asarray(new).astype(jnp.result_type(old)), (t, y, state), ends)
    return Place(*tree_where(happened & good, there, ends), flags, good)


def _first(search: Search, t1: Array) -> tuple[list[Array], list[Array]]:
    """Which condition changes first in the step to t1, by straight lines, and all values there."""
    old, new = search.end.solver_state.sides, search.step(t1)[1].sides
    crossed = search.conditions.crossed(old, new)
    shares = [
        jnp.where(cross, 1.0 if _boolean(a) else _share(a, b), jnp.inf)
        for cross, a, b in zip(crossed, old, new, strict=True)
    ]
    first = jnp.argmin(jnp.stack(shares))
    return [cross & (first == index) for index, cross in enumerate(crossed)], new


def _share(old: Array, new: Array) -> Array:
    total = jnp.abs(old) + jnp.abs(new)
    return jnp.abs(old) / jnp.where(total > 0, total, 1)


def _time(search: Search, t1: Array, flags: list[Array]) -> tuple[Array, Bool[Array, ""]]:
    """The time of the event, and whether it was found: the end of the step for a boolean, and without a root finder."""
    numbers = [not _boolean(side) for side in search.end.solver_state.sides]
    finder = search.conditions.event.root_finder
    if finder is None or not any(numbers):
        return t1, jnp.asarray(True)
    seeks = jnp.any(jnp.stack([flag for flag, number in zip(flags, numbers, strict=True) if number]))
    still, flags = observed((search, flags))
    t, found = _root(still, t1, flags, seeks, finder)
    t = lax.stop_gradient(jnp.where(seeks & found, t, t1))
    slope = time_derivative(lambda s: still.value(s, flags), t)
    live = search.value(t, flags)
    change = (live - lax.stop_gradient(live)) / lax.stop_gradient(jnp.where(seeks & (slope != 0), slope, 1))
    return t - jnp.where(seeks, change, 0), found | ~seeks


def _root(
    search: Search, t1: Array, flags: list[Array], seeks: Array, finder: optx.AbstractRootFinder
) -> tuple[Array, Bool[Array, ""]]:
    t0 = search.end.t
    upper = jnp.where(seeks, t1, t0 + 1)

    def fn(t: Array, _: None) -> Array:
        return jnp.where(seeks, search.value(t, flags), t - (t0 + upper) / 2)

    solution = optx.root_find(fn, finder, upper, options={"lower": t0, "upper": upper}, throw=False)
    t = solution.value
    left, before, after = (jnp.abs(value) for value in (fn(t, None), _picked_sides(search, flags), fn(upper, None)))
    small = left <= _ROOT * jnp.maximum(before, after)
    return t, (solution.result == optx.RESULTS.successful) & (t >= t0) & (t <= upper) & small


def _picked(values: list[Array], flags: list[Array], like: Array) -> Array:
    """The number whose flag is set."""
    numbers = [
        jnp.where(flag, value.astype(like.dtype), 0)
        for value, flag in zip(values, flags, strict=True)
        if not _boolean(value)
    ]
    return sum(numbers, start=jnp.zeros_like(like))


def _picked_sides(search: Search, flags: list[Array]) -> Array:
    return _picked(search.end.solver_state.sides, flags, search.end.t)
