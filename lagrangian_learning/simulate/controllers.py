"""Step controllers of a run: they read a step's `Verdict`, and end the run as soon as it cannot go on."""

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Int, PyTree

from .augmented import Augmented, unwrapped
from .grid import StepState, land
from .results import STOP, Reason
from .stepping import Verdict

# A rejected step is cut to a fifth: thirty in a row shrink it by 1e-21, past the rounding of any time.
_PATIENCE = 30


class FixedState(eqx.Module):
    """State of the controller inside, and why the run must end."""

    inner: PyTree
    reason: Int[Array, ""]


class AdaptiveState(eqx.Module):
    """The same; with the step wanted, how many steps in a row came to nothing, and the last reason among them."""

    inner: PyTree
    reason: Int[Array, ""]
    step: StepState
    fruitless: Int[Array, ""]
    suspect: Int[Array, ""]


class FixedSteps(diffrax.AbstractStepSizeController):
    """Steps of a controller that reads no error; the first bad one ends the run, and the state before it stays.

    start: a reason known before the first step, which then is not taken.
    """

    controller: diffrax.AbstractStepSizeController
    start: Int[Array, ""]

    def wrap(self, direction: Any) -> "FixedSteps":
        return FixedSteps(self.controller.wrap(direction), self.start)

    def init(
        self, terms: Any, t0: Array, t1: Array, y0: Augmented, dt0: Any, args: Any, func: Any, error_order: Any
    ) -> tuple[Array, FixedState]:
        end, inner = self.controller.init(terms, t0, t1, y0, dt0, args, func, error_order)
        return end, FixedState(inner, self.start)

    def adapt_step_size(
        self, t0: Array, t1: Array, y0: Augmented, y1_candidate: Augmented, args: Any, y_error: Verdict,
        error_order: Any, controller_state: FixedState,
    ) -> tuple[Bool[Array, ""], Array, Array, Any, FixedState, diffrax.RESULTS]:  # fmt: skip
        keep, begin, end, jump, inner, result = self.controller.adapt_step_size(
            t0, t1, y0, y1_candidate, args, None, error_order, controller_state.inner
        )
        reason = _first(controller_state.reason, y_error)
        failed = reason > 0
        begin, end = jnp.where(failed, t0, begin), jnp.where(failed, t1, end)
        result = diffrax.RESULTS.where(failed, STOP, result)
        return keep & ~failed, begin, end, jump, FixedState(inner, reason), result


class AdaptiveSteps(diffrax.AbstractAdaptiveStepSizeController):
    """Steps of an adaptive controller, which is shown the law's state alone: watching the energy changes no step.

    Arguments:
        controller: any adaptive controller of Diffrax.
        times: saved times that must be step ends; None: any. What a step cut short for them would have been is
            remembered, where `diffrax.ClipStepSizeController` has to grow the step again.
        start: a reason known before the first step, which then is not taken.
        resume: where an earlier run left off.

    A step with a reason against it is rejected, so that the next is shorter. The run ends when steps no longer advance
    the time, or when the controller would accept a failed one.
    """

    controller: diffrax.AbstractAdaptiveStepSizeController
    times: Array | None
    start: Int[Array, ""]
    resume: AdaptiveState | None

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
        return AdaptiveSteps(self.controller.wrap(direction), self.times, self.start, self.resume)

    def init(
        self, terms: Any, t0: Array, t1: Array, y0: Augmented, dt0: Any, args: Any, func: Any, error_order: Any
    ) -> tuple[Array, AdaptiveState]:
        if self.resume is None:
            # Diffrax's choice of a first step asks for a plain ODETerm, and is 0.01 for its own wrapper of one.
            end, inner = self.controller.init(
                unwrapped(terms), t0, t1, y0.state, dt0, args, _state_alone(func, y0), error_order
            )
            wanted = lax.stop_gradient(end - t0)
        else:
            inner, wanted = self.resume.inner, self.resume.step.wanted
        hopeless = jnp.where(jnp.isfinite(wanted), int(Reason.NONE), int(Reason.NON_FINITE))
        reason = jnp.where(self.start > 0, self.start, hopeless).astype(jnp.int32)
        wanted = jnp.where(jnp.isfinite(wanted), wanted, (t1 - t0) / 1024)
        end, step = land(self.times, t0, wanted, jnp.asarray(1, jnp.int32))
        return end, AdaptiveState(inner, reason, step, jnp.asarray(0, jnp.int32), jnp.asarray(0, jnp.int32))

    def adapt_step_size(
        self, t0: Array, t1: Array, y0: Augmented, y1_candidate: Augmented, args: Any, y_error: Verdict,
        error_order: Any, controller_state: AdaptiveState,
    ) -> tuple[Bool[Array, ""], Array, Array, Any, AdaptiveState, diffrax.RESULTS]:  # fmt: skip
        reason = _first(controller_state.reason, y_error)
        failed = reason > 0
        begin, y1, error = lax.stop_gradient(_harmless(failed, y0.state, y1_candidate.state, y_error.error))
        kept, begin, end, jump, inner, result = self.controller.adapt_step_size(
            t0, t1, begin, y1, args, error, error_order, controller_state.inner
        )
        keep = kept & ~failed
        begin = jnp.where(keep, begin, t0)
        wanted = _remembered(controller_state.step, keep, end - begin)
        end, step = land(self.times, begin, wanted, controller_state.step.target)
        fruitful = keep & _advances(begin, wanted)
        fruitless = jnp.where(fruitful, 0, controller_state.fruitless + 1)
        suspect = jnp.where(failed, reason, jnp.where(fruitful, 0, controller_state.suspect))
        over = (controller_state.reason > 0) | (kept & failed) | (fruitless >= _PATIENCE)
        known = jnp.where(suspect > 0, suspect, int(Reason.STEP_UNDERFLOW)).astype(jnp.int32)
        result = diffrax.RESULTS.where(over, STOP, result)
        state = AdaptiveState(inner, jnp.where(over, known, 0), step, fruitless, suspect)
        return keep, begin, end, jump, state, result


def _first(known: Int[Array, ""], verdict: Verdict) -> Int[Array, ""]:
    return jnp.where(known > 0, known, verdict.reason.astype(jnp.int32))


def _state_alone(func: Any, y0: Augmented) -> Any:
    return lambda terms, t, state, args: func(terms, t, Augmented(state, y0.work), args).state


def _harmless(failed: Array, y0: PyTree, y1: PyTree, error: PyTree) -> tuple[PyTree, PyTree, PyTree]:
    """A failed step as a controller can digest it: an infinite error of a finite state (inf/inf would make h a NaN)."""
    y1 = jax.tree.map(lambda end, begin: jnp.where(failed, begin, end), y1, y0)
    return y0, y1, jax.tree.map(lambda leaf: jnp.where(failed, jnp.inf, leaf), error)


def _remembered(taken: StepState, keep: Array, wanted: Array) -> Array:
    """A step cut short that went well says nothing against the longer one."""
    return jnp.where(keep & taken.cut, jnp.maximum(wanted, taken.wanted), wanted)


def _advances(t: Array, wanted: Array) -> Array:
    return wanted > 4 * jnp.finfo(t.dtype).eps * jnp.abs(t)
