"""The loops of a fused run: blocks of lanes, intervals between saved times, steps."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, PyTree

from lagrangian_learning.batch.lanes import Inputs
from lagrangian_learning.simulate.controllers import SubdividedSteps

from . import lane_step
from .lane_step import LanePlan
from .lanewise import Lanewise, Rows, rows_of, shared_rows
from .one_kernel import fits_one_kernel, one_kernel
from .unrolled_multipliers import unrolled


class BlockOutcome(NamedTuple):
    """What a block leaves: where its lanes ended, why, which saved times they reached, and what is kept of those."""

    running: Rows
    failure: Rows
    there: Array
    records: Rows


# The state at a saved time, and which lanes have reached it.
Saved = tuple[Rows, Array]


class Lockstep:
    """All lanes of a block step together; each has its own time, step and fate.

    Arguments:
        varied: what varies over lanes, of one lane, as shapes.  shared: what does not; None at each other's leaves.
        given: times, tolerances and settings.

    Raises NotScalarError where a step of such a lane is no arithmetic on scalars.
    """

    def __init__(self, varied: Inputs, shared: Inputs, given: LanePlan) -> None:
        self.shared, self.given = shared, given
        self.adaptive = given.plan.steps.adaptive
        interval = given.times[:2]
        self.begin = self._lanewise(lane_step.begin, varied)
        like: Any = self.begin.shapes
        if self.adaptive:
            self.enter = self._lanewise(lane_step.enter, like, varied, last=interval)
            self.step = self._lanewise(lane_step.adaptive_step, like, varied, last=interval)
        else:
            self.step = self._lanewise(lane_step.fixed_step, like, varied, last=interval[1])
        self.record = self._lanewise(lane_step.recorded, interval[0], like.y, varied)
        self.failure = self._lanewise(lane_step.failure_of, like, varied)

    @property
    def parts(self) -> dict[str, Lanewise]:
        """All that is computed lane by lane."""
        names = (
            ("begin", "enter", "step", "record", "failure") if self.adaptive else ("begin", "step", "record", "failure")
        )
        return {name: getattr(self, name) for name in names}

    def _lanewise(self, fn: Callable, *examples: PyTree, last: Array | None = None) -> Lanewise:
        """fn with the inputs of a lane put together from what varies and what does not."""

        def of_lane(*arguments: Any) -> PyTree:
            *most, (varied, shared, given), end = arguments
            inputs = eqx.combine(varied, shared)
            inputs = inputs._replace(law=unrolled(inputs.law))
            return fn(*most, inputs, given) if end is None else fn(*most, inputs, given, end)

        *most, varied = examples
        return Lanewise(of_lane, *most, (varied, self.shared, self.given), last)

    def __call__(self, blocks: list[Array]) -> BlockOutcome:
        """One block from start to end; blocks holds what varies, [numbers, lanes] a leaf."""
        lanes = [*rows_of(blocks), *shared_rows(self.shared), *shared_rows(self.given)]
        running = self.begin(lanes)
        start = self._of(running, lambda r: r.y)
        there = self._arrived(running, self.given.times[0])
        running, (saved, reached) = self._scanned(running, lanes)
        saved = jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest]), start, saved)
        there = jnp.concatenate([(there & ~self._lost(running))[None], reached])
        records = lax.map(lambda at: self.record([[at[0]]], at[1], lanes), (self.given.times, saved))
        return BlockOutcome(running, self.failure(running, lanes), there, records)

    def _scanned(self, running: Rows, lanes: Rows) -> tuple[Rows, Saved]:
        """Through all intervals, one after the other: where lanes are then, and what they were at the saved times."""
        return lax.scan(lambda carry, interval: self._interval(carry, interval, lanes), running, self._intervals())

    def _intervals(self) -> tuple[Array, Array, Array]:
        """Start, end and number of constant steps of every interval."""
        times, dt0 = self.given.times, self.given.tolerances.dt0
        starts, ends = times[:-1], times[1:]
        if self.adaptive:
            return starts, ends, jnp.zeros(starts.shape, jnp.int32)
        return starts, ends, jax.vmap(SubdividedSteps(times, dt0).count)(jnp.arange(starts.shape[0]))

    def _interval(self, running: Rows, interval: tuple, lanes: Rows) -> tuple[Rows, Saved]:
        """To the next saved time; interval: its start, its end, how many constant steps."""
        start, end, _ = interval
        if self.adaptive:
            bounds = [[start, end]]
            running = self.enter(running, lanes, bounds)
            running = lax.while_loop(
                lambda rows: jnp.any(self._active(rows, end)),
                lambda rows: self.step(rows, lanes, bounds),
                running,
            )
        else:
            at_once = fits_one_kernel(self.step.program, [running, lanes])
            steps = one_kernel(self._constant_steps) if at_once else self._constant_steps
            running = steps(running, interval, lanes)
        return running, (self._of(running, lambda r: r.y), self._arrived(running, end))

    def _constant_steps(self, running: Rows, interval: tuple, lanes: Rows) -> Rows:
        """All steps of an interval."""
        start, end, count = interval

        def step(k: Array, rows: Rows) -> Rows:
            share = (k + 1).astype(start.dtype) / count.astype(start.dtype)
            t1 = jnp.where(k + 1 >= count, end, start + (end - start) * share)
            return self.step(rows, lanes, [[t1]])

        return lax.fori_loop(jnp.zeros_like(count), count, step, running)

    def _active(self, running: Rows, end: Array) -> Array:
        t, failure, steps = (self._number(running, name) for name in ("t", "failure", "steps"))
        going = (failure == 0) & (t < end)
        most = self.given.plan.max_steps
        return going if most is None else going & (steps < most)

    def _arrived(self, running: Rows, end: Array) -> Array:
        return (self._number(running, "t") >= end) & (self._number(running, "failure") == 0)

    def _lost(self, running: Rows) -> Array:
        """Lanes whose first step failed: Diffrax, which saves as steps end, has no record of their start either."""
        return (self._number(running, "accepted") == 0) & (self._number(running, "failure") != 0)

    def _number(self, running: Rows, name: str) -> Array:
        return self._of(running, lambda lane: getattr(lane, name))[0][0]

    def _of(self, running: Rows, where: Callable) -> Rows:
        """The leaves of a part of a running lane."""
        leaves, structure = jax.tree.flatten(self.begin.shapes)
        places = structure.unflatten(range(len(leaves)))
        return [running[place] for place in jax.tree.leaves(where(places))]
