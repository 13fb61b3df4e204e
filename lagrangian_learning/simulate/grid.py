"""Constant steps that end on the saved times."""

from typing import Any

import diffrax
import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


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

    def wrap(self, direction: Any) -> "SubdividedSteps":
        del direction
        return self

    def init(
        self, terms: Any, t0: Any, t1: Any, y0: Any, dt0: Any, args: Any, func: Any, error_order: Any
    ) -> tuple[Array, GridState]:
        del terms, t0, t1, y0, dt0, args, func, error_order
        first = GridState(jnp.asarray(0, jnp.int32), jnp.asarray(0, jnp.int32))
        return self._end(first), first

    def adapt_step_size(
        self, t0: Any, t1: Any, y0: Any, y1_candidate: Any, args: Any, y_error: Any, error_order: Any,
        controller_state: GridState,
    ) -> tuple[bool, Array, Array, bool, GridState, diffrax.RESULTS]:  # fmt: skip
        del t0, y0, y1_candidate, args, y_error, error_order
        state = self._advanced(controller_state)
        return True, t1, self._end(state), False, state, diffrax.RESULTS.successful

    def _advanced(self, state: GridState) -> GridState:
        through = state.step + 1 >= self.count(state.interval)
        return GridState(
            jnp.minimum(state.interval + through.astype(jnp.int32), self.times.shape[0] - 2),
            jnp.where(through, 0, state.step + 1),
        )

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


class StepState(eqx.Module):
    """The step now being taken ends where it does by `cut` if it was shortened to meet a saved time."""

    wanted: Float[Array, ""]
    cut: Bool[Array, ""]
    target: Int[Array, ""]


def land(
    times: Float[Array, " times"] | None, t: Float[Array, ""], wanted: Float[Array, ""], target: Int[Array, ""]
) -> tuple[Float[Array, ""], StepState]:
    """Where a step from t of the wanted length ends, so that the next saved time, times[target], becomes a step end.

    A step that would leave a sliver before the saved time is halved with it instead.
    """
    if times is None:
        return t + wanted, StepState(wanted, jnp.asarray(False), target)
    last = times.shape[0] - 1
    target = jnp.where((target <= last) & (t >= times[jnp.minimum(target, last)]), target + 1, target)
    goal = times[jnp.minimum(target, last)]
    left = goal - t
    end = jnp.where(2 * wanted > left, t + left / 2, t + wanted)
    end = jnp.where(wanted >= left * (1 - 1e-3), goal, end)
    end = jnp.where(target <= last, end, t + wanted)
    return end, StepState(wanted, end - t < wanted, target)
