"""Step controllers of a run: constant steps, adaptive ones that land on saved times, and the end of a failed run."""

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, PyTree

from lagrangian_learning._types import Args, Terms, Time
from lagrangian_learning.steppers.terms import unwrapped

from .kinks import Kinks
from .results import STOP, FailureCode
from .stepping import StepReport
from .work import Worked

# A rejected step is cut to a fifth: thirty in a row shrink it by 1e-21, past the rounding of any time.
_MOST_REJECTED_IN_A_ROW = 30


# -- constant steps ------------------------------------------------------------------------------------------------


class GridState(eqx.Module):
    """Which interval between saved times the current step lies in, and which step of the interval it is."""

    interval: Int[Array, ""]
    step: Int[Array, ""]


class SubdividedSteps(diffrax.AbstractStepSizeController):
    """Every interval between saved times, cut into the fewest equal steps not longer than dt.

    A step depends on its own interval only, so that a run resumed at a saved time takes the same steps, to the bit;
    `diffrax.ConstantStepSize` divides the whole time span instead, and steps over the saved times.
    """

    times: Float[Array, " times"]
    dt: Float[Array, ""]
    kinks: Kinks | None = None

    def wrap(self, direction: Any) -> "SubdividedSteps":
        del direction
        return self

    def init(
        self, terms: Terms, t0: Time, t1: Time, y0: PyTree, dt0: Any, args: Args, func: Any, error_order: Any
    ) -> tuple[Array, GridState]:
        del terms, t0, t1, y0, dt0, args, func, error_order
        start = jnp.asarray(0, jnp.int32) if self.kinks is None else self._after(self.times[0])
        first = GridState(start, jnp.asarray(0, jnp.int32))
        return self._end(first), first

    def adapt_step_size(
        self, t0: Array, t1: Array, y0: PyTree, y1_candidate: PyTree, args: Args, y_error: Any, error_order: Any,
        controller_state: GridState,
    ) -> tuple[bool, Array, Array, Any, GridState, diffrax.RESULTS]:  # fmt: skip
        del t0, y0, y1_candidate, args, y_error, error_order
        state = self._advanced(controller_state)
        begin, jump = (t1, False) if self.kinks is None else self.kinks.passed(t1)
        return True, begin, self._end(state), jump, state, diffrax.RESULTS.successful

    def _advanced(self, state: GridState) -> GridState:
        through = state.step + 1 >= self.count(state.interval)
        following = state.interval + 1 if self.kinks is None else self._after(self.times[state.interval + 1])
        return GridState(
            jnp.minimum(jnp.where(through, following, state.interval), self.times.shape[0] - 2),
            jnp.where(through, 0, state.step + 1),
        )

    def _after(self, t: Array) -> Int[Array, ""]:
        """The interval that begins at t, or after the kink there, past those of no length."""
        assert self.kinks is not None
        begin, _ = self.kinks.passed(t)
        return jnp.searchsorted(self.times, begin, side="right").astype(jnp.int32) - 1

    def _end(self, state: GridState) -> Array:
        """Where the step ends; the last of an interval ends exactly on the saved time."""
        count, start, end = self.count(state.interval), self.times[state.interval], self.times[state.interval + 1]
        share = (state.step + 1).astype(start.dtype) / count.astype(start.dtype)
        return jnp.where(state.step + 1 >= count, end, start + (end - start) * share)

    def count(self, interval: Int[Array, ""]) -> Int[Array, ""]:
        """How many steps an interval takes."""
        start, end = self.times[interval], self.times[interval + 1]
        # Times are rounded, so that an interval of ten steps may look like one of ten and a bit.
        rounding = 4 * jnp.finfo(start.dtype).eps * jnp.maximum(jnp.abs(start), jnp.abs(end)) / self.dt
        count = jnp.ceil((end - start) / self.dt * (1 - 1e-6) - rounding)
        return jnp.maximum(count, 1).astype(jnp.int32)


class FixedState(eqx.Module):
    """State of the controller inside, the `FailureCode` that ends the run, and the end of the last step tried."""

    inner: PyTree
    failure: Int[Array, ""]
    tried: Array | None = None


class FixedSteps(diffrax.AbstractStepSizeController):
    """Steps of a controller that reads no error; the first one that fails ends the run, and the state before it stays.

    start: a failure known before the first step, which then is not taken. events: whether steps may end in an event.
    """

    controller: diffrax.AbstractStepSizeController
    start: Int[Array, ""]
    events: bool = eqx.field(static=True, default=False)

    def wrap(self, direction: Any) -> "FixedSteps":
        return FixedSteps(self.controller.wrap(direction), self.start, self.events)

    def init(
        self, terms: Terms, t0: Array, t1: Array, y0: Worked, dt0: Any, args: Args, func: Any, error_order: Any
    ) -> tuple[Array, FixedState]:
        end, inner = self.controller.init(terms, t0, t1, y0, dt0, args, func, error_order)
        return end, FixedState(inner, self.start, end if self.events else None)

    def adapt_step_size(
        self, t0: Array, t1: Array, y0: Worked, y1_candidate: Worked, args: Args, y_error: StepReport,
        error_order: Any, controller_state: FixedState,
    ) -> tuple[Bool[Array, ""], Array, Array, Any, FixedState, diffrax.RESULTS]:  # fmt: skip
        keep, begin, end, jump, inner, result = self.controller.adapt_step_size(
            t0, t1, y0, y1_candidate, args, None, error_order, controller_state.inner
        )
        failure = _first(controller_state.failure, y_error)
        failed = failure > 0
        begin, end = jnp.where(failed, t0, begin), jnp.where(failed, t1, end)
        result = diffrax.RESULTS.where(failed, STOP, result)
        state = FixedState(inner, failure, t1 if self.events else None)
        return keep & ~failed, begin, end, jump, state, result


# -- adaptive steps ------------------------------------------------------------------------------------------------


class Landing(eqx.Module):
    """The step wanted, whether it was cut short for a saved time, and which saved time comes next."""

    wanted: Float[Array, ""]
    cut: Bool[Array, ""]
    target: Int[Array, ""]


def land(
    times: Float[Array, " times"] | None, t: Float[Array, ""], wanted: Float[Array, ""], target: Int[Array, ""]
) -> tuple[Float[Array, ""], Landing]:
    """Where a step from t of the wanted length ends, so that the next saved time, times[target], becomes a step end.

    A step that would leave a sliver before the saved time is halved with it instead. The length wanted before a cut is
    kept for the step after it. `diffrax.ClipStepSizeController` does neither: its steps grow again from the cut one.
    """
    if times is None:
        return t + wanted, Landing(wanted, jnp.asarray(False), target)
    last = times.shape[0] - 1
    target = jnp.where((target <= last) & (t >= times[jnp.minimum(target, last)]), target + 1, target)
    goal = times[jnp.minimum(target, last)]
    left = goal - t
    end = jnp.where(2 * wanted > left, t + left / 2, t + wanted)
    end = jnp.where(wanted >= left * (1 - 1e-3), goal, end)
    end = jnp.where(target <= last, end, t + wanted)
    return end, Landing(wanted, end - t < wanted, target)


class AdaptiveState(eqx.Module):
    """State of the controller inside, the `FailureCode` that ends the run, and the step.

    rejected_in_a_row: steps since the time last advanced; last_failure: the last `FailureCode` among them.
    tried: the end of the last step, where steps may end in an event.
    """

    inner: PyTree
    failure: Int[Array, ""]
    step: Landing
    rejected_in_a_row: Int[Array, ""]
    last_failure: Int[Array, ""]
    tried: Array | None = None


class AdaptiveSteps(diffrax.AbstractAdaptiveStepSizeController):
    """Steps of an adaptive controller, which sees the law's state alone: watching the energy changes no step.

    Arguments:
        controller: any adaptive controller of Diffrax.
        times: saved times that must be step ends, and times before kinks; None: none.
        start: a failure known before the first step, which then is not taken.
        resume: where an earlier run ended.
        events: whether steps may end in an event.
        kinks: times that no step reaches over.

    A step that fails is rejected, so that the next is shorter. The run ends when steps no longer advance the time, or
    when the controller would accept a step that failed.
    """

    controller: diffrax.AbstractAdaptiveStepSizeController
    times: Array | None
    start: Int[Array, ""]
    resume: AdaptiveState | None
    events: bool = eqx.field(static=True, default=False)
    kinks: Kinks | None = None

    @property
    def rtol(self) -> Any:
        return self.controller.rtol  # pyright: ignore[reportAttributeAccessIssue]

    @property
    def atol(self) -> Any:
        return self.controller.atol  # pyright: ignore[reportAttributeAccessIssue]

    @property
    def norm(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.controller.norm  # pyright: ignore[reportAttributeAccessIssue]

    def wrap(self, direction: Any) -> "AdaptiveSteps":
        inner = self.controller.wrap(direction)
        return AdaptiveSteps(inner, self.times, self.start, self.resume, self.events, self.kinks)

    def init(
        self, terms: Terms, t0: Array, t1: Array, y0: Worked, dt0: Any, args: Args, func: Any, error_order: Any
    ) -> tuple[Array, AdaptiveState]:
        if self.resume is None:
            # Diffrax's choice of a first step takes a plain ODETerm, and is 0.01 for its own wrapper of one.
            end, inner = self.controller.init(
                unwrapped(terms), t0, t1, y0.state, dt0, args, _state_alone(func, y0), error_order
            )
            wanted = lax.stop_gradient(end - t0)
        else:
            inner, wanted = self.resume.inner, self.resume.step.wanted
        known = jnp.where(jnp.isfinite(wanted), int(FailureCode.NONE), int(FailureCode.NON_FINITE))
        failure = jnp.where(self.start > 0, self.start, known).astype(jnp.int32)
        wanted = jnp.where(jnp.isfinite(wanted), wanted, (t1 - t0) / 1024)
        end, step = land(self.times, t0, wanted, self._target(t0, jnp.asarray(1, jnp.int32)))
        none, tried = jnp.asarray(0, jnp.int32), end if self.events else None
        return end, AdaptiveState(inner, failure, step, none, none, tried)

    def adapt_step_size(
        self, t0: Array, t1: Array, y0: Worked, y1_candidate: Worked, args: Args, y_error: StepReport,
        error_order: Any, controller_state: AdaptiveState,
    ) -> tuple[Bool[Array, ""], Array, Array, Any, AdaptiveState, diffrax.RESULTS]:  # fmt: skip
        failure = _first(controller_state.failure, y_error)
        happened = (failure == int(FailureCode.EVENT_OCCURRED)) & self.events
        failed = (failure > 0) & ~happened
        begin, y1, error = lax.stop_gradient(_harmless(failed, y0.state, y1_candidate.state, y_error.error))
        accepted, begin, end, jump, inner, result = self.controller.adapt_step_size(
            t0, t1, begin, y1, args, error, error_order, controller_state.inner
        )
        keep = accepted & ~failed & ~happened
        begin = jnp.where(keep, begin, t0)
        # The inner controller multiplies the length of the step taken, which follows ts where it was cut to land there.
        wanted = lax.stop_gradient(_remembered(controller_state.step, keep, end - begin))
        if self.kinks is not None:
            after, kink = self.kinks.passed(begin)
            begin, jump = jnp.where(keep, after, begin), jump | (keep & kink)
        end, step = land(self.times, begin, wanted, self._target(begin, controller_state.step.target))
        advanced = keep & _advances(begin, wanted)
        rejected = jnp.where(advanced, 0, controller_state.rejected_in_a_row + 1)
        last = jnp.where(failed, failure, jnp.where(advanced, 0, controller_state.last_failure))
        over = (controller_state.failure > 0) | (accepted & failed) | (rejected >= _MOST_REJECTED_IN_A_ROW)
        known = jnp.where(last > 0, last, int(FailureCode.STEP_UNDERFLOW)).astype(jnp.int32)
        if self.events:
            over, known = over | (accepted & happened), jnp.where(accepted & happened, failure, known)
        result = diffrax.RESULTS.where(over, STOP, result)
        tried = t1 if self.events else None
        state = AdaptiveState(inner, jnp.where(over, known, 0), step, rejected, last, tried)
        return keep, begin, end, jump, state, result

    def _target(self, t: Array, counted: Int[Array, ""]) -> Int[Array, ""]:
        """The saved time that comes next: counted, and searched for where a kink may be a saved time too."""
        if self.kinks is None or self.times is None:
            return counted
        return jnp.searchsorted(self.times, t, side="right").astype(jnp.int32)


def _first(known: Int[Array, ""], report: StepReport) -> Int[Array, ""]:
    return jnp.where(known > 0, known, report.failure.astype(jnp.int32))


def _state_alone(func: Any, y0: Worked) -> Any:
    return lambda terms, t, state, args: func(terms, t, Worked(state, y0.work), args).state


def _harmless(failed: Array, y0: PyTree, y1: PyTree, error: PyTree) -> tuple[PyTree, PyTree, PyTree]:
    """A failed step as a controller can take it: an infinite error of a finite state (inf/inf would make h a NaN)."""
    y1 = jax.tree.map(lambda end, begin: jnp.where(failed, begin, end), y1, y0)
    return y0, y1, jax.tree.map(lambda leaf: jnp.where(failed, jnp.inf, leaf), error)


def _remembered(taken: Landing, keep: Array, wanted: Array) -> Array:
    """A step cut short that was accepted says nothing against the longer one."""
    return jnp.where(keep & taken.cut, jnp.maximum(wanted, taken.wanted), wanted)


def _advances(t: Array, wanted: Array) -> Array:
    return wanted > 4 * jnp.finfo(t.dtype).eps * jnp.abs(t)
