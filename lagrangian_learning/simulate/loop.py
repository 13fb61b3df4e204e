"""The loop of a run whose saved times are step ends: attempts at a step, one after another, and its records."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PyTree

from lagrangian_learning._checks import positive_int
from lagrangian_learning._tuning import KEPT_ANYWAY
from lagrangian_learning._types import Args, Terms

from .linear_map import alone_or
from .program import Arrays, Program, stored_of
from .replay import replayed


class Running(eqx.Module):
    """Where a run stands between two attempts at a step from t to `end`.

    jumped: whether first stages must be evaluated afresh; None: never. row: of the saved time that comes next.
    going: whether there is a next attempt.
    """

    t: Array
    end: Array
    y: PyTree
    jumped: Bool[Array, ""] | None
    stepper: PyTree
    controller: PyTree
    result: diffrax.RESULTS
    attempts: Int[Array, ""]
    accepted: Int[Array, ""]
    row: Int[Array, ""]
    going: Bool[Array, ""]


class Attempts(eqx.Module):
    """What attempts are made with: a stepper and a controller of Diffrax."""

    terms: Terms
    solver: diffrax.AbstractSolver
    controller: diffrax.AbstractStepSizeController
    times: Array
    args: Args
    save: Callable[..., PyTree]
    max_steps: int | None = eqx.field(static=True)

    def next(self, run: Running) -> tuple[Running, Any]:
        """After one more attempt, and whether it ended in a jump.

        A run that is over, beside others of a batch that go on, stays as it is.
        """
        jumped = False if run.jumped is None else run.jumped
        y, error, _, stepper, result = self.solver.step(
            self.terms, run.t, run.end, run.y, self.args, run.stepper, jumped
        )
        error = jax.tree.map(lambda leaf: jnp.where(jnp.isnan(leaf), jnp.inf, leaf), error)
        order = self.solver.error_order(self.terms)
        keep, t, end, jump, controller, told = self.controller.adapt_step_size(
            run.t, run.end, run.y, y, self.args, error, order, run.controller
        )
        alive = alone_or(run.going)
        keep = keep & alive
        result = diffrax.RESULTS.where(keep, result, diffrax.RESULTS.successful)
        result = diffrax.RESULTS.where(diffrax.is_okay(result), told, result)
        result = diffrax.RESULTS.where(alive, result, run.result)
        last = self.times[-1]
        t, end = (jnp.where(alive, jnp.minimum(new, last), old) for new, old in ((t, run.t), (end, run.end)))
        landed = keep & (t >= self.times[jnp.minimum(run.row, self.times.shape[0] - 1)])
        attempts = run.attempts + alive.astype(jnp.int32)
        going = alive & (t < last) & diffrax.is_successful(result)
        if self.max_steps is not None:
            going = going & (attempts < self.max_steps)
        after = Running(
            t,
            end,
            _where(keep, y, run.y),
            None if run.jumped is None else jnp.where(keep, jump, run.jumped),
            _where(keep, stepper, run.stepper),
            _where(alive, controller, run.controller),
            result,
            attempts,
            run.accepted + keep.astype(jnp.int32),
            run.row + landed.astype(jnp.int32),
            going,
        )
        return after, jump

    def saved(self, run: Running) -> PyTree:
        """The record of a run that has just come to a saved time."""
        return self.save(self.times[jnp.maximum(run.row - 1, 0)], run.y, self.args)


class Replay(diffrax.AbstractAdjoint):
    """The loop of a run, and its derivative: reverse mode goes back over the steps, each made again once.

    Arguments:
        segments: the most pieces that reverse mode cuts a run into, rounded up to a power of two: of each it keeps the
            state at its start, and makes its steps again. Runs of no more steps are kept whole. Default: about
            √max_steps; of a run whose steps are known beforehand, as many as 16 MB hold if these are more.
        most: a number of steps that the run is known not to exceed, if less than max_steps. `simulate` states it for
            constant steps over known times.
        levels: how often each step is made again at most. With 2 a segment is itself cut into pieces: by default
            3·∛max_steps states are kept instead of 2 √max_steps, and a gradient takes some one run more.

    Memory follows max_steps, since shapes are static: `segments` states, and max_steps/segments more while steps are
    made again. `jax.grad`, `jax.jvp`, `jax.jacfwd`, `jax.vmap` and `jax.hessian` all apply; reverse
    mode over reverse mode is refused. Runs with `dense`, or whose saved times are not step ends, are left to
    `diffrax.RecursiveCheckpointAdjoint`.
    """

    segments: Any = eqx.field(static=True, default=None)
    most: int | None = eqx.field(static=True, default=None)
    levels: int = eqx.field(static=True, default=1)

    def __check_init__(self) -> None:
        positive_int(self.levels, "levels")
        if self.segments is not None:
            positive_int(self.segments, "segments")
        if self.most is not None:
            positive_int(self.most, "most")

    def loop(
        self, *, args: Args, terms: Terms, solver: Any, stepsize_controller: Any, saveat: Any, max_steps: int | None,
        init_state: Any, progress_meter: diffrax.AbstractProgressMeter, **rest: Any,
    ) -> Any:  # fmt: skip
        if saveat.dense or not getattr(solver, "lands", False):
            given = {"args": args, "terms": terms, "solver": solver, "stepsize_controller": stepsize_controller}
            given |= {"saveat": saveat, "max_steps": max_steps, "init_state": init_state}
            return diffrax.RecursiveCheckpointAdjoint().loop(**given, progress_meter=progress_meter, **rest)
        sub = saveat.subs[0]
        attempts = Attempts(terms, solver, stepsize_controller, sub.ts, args, sub.fn, max_steps)
        most = self._bound(max_steps)
        return _ended(attempts, init_state, progress_meter, most, self._bits(most, init_state.y), self.levels), {}

    def copies(self, max_steps: int | None, state: PyTree) -> int:
        """States that reverse mode holds of a run: at the starts of segments, and along one of them."""
        most = self._bound(max_steps) or 1
        bits = self._bits(most, state)
        return (1 << bits) + 1 + sum(stored_of(max(0, (most - 1).bit_length() - bits), self.levels))

    def makes_again(self, max_steps: int | None, state: PyTree) -> int:
        """How often reverse mode makes a step again: never where the state before each is kept."""
        most = self._bound(max_steps) or 1
        return self.levels if self._bits(most, state) < (most - 1).bit_length() else 0

    def _bound(self, max_steps: int | None) -> int | None:
        return min((bound for bound in (max_steps, self.most) if bound is not None), default=None)

    def _bits(self, most: int | None, state: PyTree) -> int:
        """Of the number of segments."""
        if self.segments is not None:
            return (self.segments - 1).bit_length()
        if most is None:
            return 0
        every = (most - 1).bit_length()
        held = KEPT_ANYWAY // max(1, sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state)))
        return max(-(-every // (self.levels + 1)), 0 if self.most is None else min(every, held.bit_length() - 1))


def _ended(
    attempts: Attempts, begin: Any, meter: diffrax.AbstractProgressMeter, most: int | None, bits: int, levels: int
) -> Any:
    """Diffrax's state of a run at its end, from the one at its beginning."""
    saved, _ = begin.save_state
    run, step, by_step = _stepping(attempts, begin)
    leaves, tree = jax.tree.flatten(run)
    first = attempts.save(begin.tprev, begin.y, attempts.args)
    rows, row_tree = jax.tree.flatten(jax.tree.map(lambda row, new: row.at[0].set(new), saved.ys, first))

    def of(state: Sequence[Any]) -> Running:
        return jax.tree.unflatten(tree, state)

    record, by_record = _closed(lambda *state: attempts.saved(of(state)), leaves, [row.dtype for row in rows])
    places = _places(run)
    program = Program(
        lambda constants, state: step(constants[: len(by_step)], state),
        lambda constants, state: record(constants[len(by_step) :], state),
        *places,
        most,
        bits,
        levels,
    )

    def shown(watched: Any, leaves: Arrays) -> Any:
        state, start, end = watched
        return meter.step(state, (of(leaves).t - start) / (end - start)), start, end

    watched = (begin.progress_meter_state, begin.tprev, attempts.times[-1])
    leaves, rows, (progress, *_) = replayed(program, leaves, rows, by_step + by_record, shown, watched)
    return _state_of(of(leaves), jax.tree.unflatten(row_tree, rows), progress, attempts.times, begin)


def _state_of(run: Running, rows: PyTree, progress: Any, times: Array, begin: Any) -> Any:
    """A run at its end as Diffrax's state; rows that it did not reach are at the time inf."""
    saved, last = begin.save_state
    known = (jnp.arange(times.shape[0], dtype=jnp.int32) < run.row) & (run.accepted > 0)
    ended = dataclasses.replace(saved, ts=jnp.where(known, times, jnp.inf), ys=rows)
    final = dataclasses.replace(last, ts=run.t[None], ys=jax.tree.map(lambda leaf: leaf[None], run.y))
    over = (run.t < times[-1]) & diffrax.is_successful(run.result)
    return dataclasses.replace(
        begin,
        y=run.y,
        tprev=run.t,
        tnext=run.end,
        made_jump=False if run.jumped is None else run.jumped,
        solver_state=run.stepper,
        controller_state=run.controller,
        result=diffrax.RESULTS.where(over, diffrax.RESULTS.max_steps_reached, run.result),
        num_steps=run.attempts.astype(int),
        num_accepted_steps=run.accepted.astype(int),
        num_rejected_steps=(run.attempts - run.accepted).astype(int),
        save_state=(ended, final),
        progress_meter_state=progress,
    )


def _stepping(attempts: Attempts, begin: Any) -> tuple[Running, Callable, Arrays]:
    """A run before its first attempt, and the attempt as a function of lists, with its constants.

    That there is no jump is known beforehand, unless the controller returns an array or the run is resumed.
    """
    for jumped in (None, jnp.asarray(begin.made_jump)):
        if jumped is None and begin.made_jump is not False:
            continue
        run = _begun(begin, jumped)
        leaves, tree = jax.tree.flatten(run)
        jumps: list = []

        def step(*state: Array, tree: Any = tree, jumps: list = jumps) -> Running:
            after, jump = attempts.next(jax.tree.unflatten(tree, state))
            jumps.append(jump)
            return after

        called, constants = _closed(step, leaves, [leaf.dtype for leaf in leaves])
        if jumped is not None or jumps[-1] is False:
            return run, called, constants
    raise AssertionError


def _begun(begin: Any, jumped: Array | None) -> Running:
    zero, one = jnp.asarray(0, jnp.int32), jnp.asarray(1, jnp.int32)
    given = (begin.tprev, begin.tnext, begin.y, jumped, begin.solver_state, begin.controller_state, begin.result)
    return jax.tree.map(_strong, Running(*given, zero, zero, one, jnp.asarray(True)))


def _places(run: Running) -> list[int]:
    """Where going, row and attempts stand among the leaves of a run."""
    leaves = jax.tree.leaves(run)
    return [next(i for i, leaf in enumerate(leaves) if leaf is one) for one in (run.going, run.row, run.attempts)]


def _strong(leaf: Any) -> Array:
    array = jnp.asarray(leaf)
    return array.astype(array.dtype)


def _closed(fn: Callable, like: Arrays, dtypes: list) -> tuple[Callable, Arrays]:
    """fn(*state) as a function of lists (constants, state), and the constants that it reads."""

    def leaves(*state: Array) -> Arrays:
        found = jax.tree.leaves(fn(*state))
        return [jnp.asarray(leaf).astype(dtype) for leaf, dtype in zip(found, dtypes, strict=True)]

    program = jax.make_jaxpr(leaves)(*like)

    def called(constants: Sequence[Any], state: Sequence[Any]) -> Arrays:
        return jax.core.eval_jaxpr(program.jaxpr, constants, *state)

    return called, [jnp.asarray(leaf) for leaf in program.consts]


def _where(keep: Array, new: PyTree, old: PyTree) -> PyTree:
    return jax.tree.map(lambda a, b: jnp.where(keep, a, b), new, old)
