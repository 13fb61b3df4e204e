"""What `simulate_batch` and `value_and_grad_batch` make of their arguments: settings, times and lanes that fit."""

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, PyTree

from lagrangian_learning._calls import shapes_of
from lagrangian_learning._checks import collected_verdicts
from lagrangian_learning.simulate.inputs import checked_times, state_dtype
from lagrangian_learning.simulate.plan import Plan, Tolerances
from lagrangian_learning.simulate.settings import Settings

from .lanes import Inputs, Lanes, lanes_of


class Prepared(NamedTuple):
    """The lanes of a batch, and settings that are resolved for them."""

    lanes: Lanes
    times: Array
    tolerances: Tolerances
    plan: Plan


def prepared(inputs: Inputs, ts: Any, in_axes: Any, settings: Settings) -> Prepared:
    """The batch, its states on the host; ValueError for what does not fit, in the words of one lane."""
    dtype = state_dtype(inputs.state)
    times = checked_times(ts, dtype)
    tolerances, plan = settings.prepared(inputs.law, times)
    with np.errstate(over="ignore"):  # what becomes infinite is refused as such
        state = jax.tree.map(lambda leaf: np.asarray(leaf, dtype), inputs.state)
    lanes = lanes_of(inputs._replace(state=state), in_axes)
    with noted(in_axes):
        shapes_of(_check_lane, lanes.like_one, times)
    return Prepared(lanes, times, tolerances, plan)


@contextlib.contextmanager
def noted(in_axes: Any) -> Iterator[None]:
    """Errors about one lane, with a word on what makes a lane: an argument may have an axis that in_axes leaves out."""
    try:
        yield
    except (ValueError, TypeError) as error:
        error.add_note(
            f"This is about one lane, as in_axes={in_axes!r} makes it of (law, state, args): None takes an argument "
            "whole for every lane, 0 takes one entry of its first axis for each."
        )
        raise


def _check_lane(lane: Inputs, times: Array) -> PyTree:
    """What the law finds wrong with the shapes of a lane."""
    with collected_verdicts():
        return lane.law.check(times, lane.state, lane.args)
