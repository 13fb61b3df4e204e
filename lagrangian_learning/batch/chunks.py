"""How many lanes make a chunk: as many as fit the memory, and no more than repay being computed at once."""

import functools
from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, PyTree

from lagrangian_learning._memory import device_memory
from lagrangian_learning._tuning import FEWEST_LANES, VECTOR_OF_LANES
from lagrangian_learning.costs.memory import (
    LaneMemory,
    Placing,
    evaluation_bytes,
    held_stages,
    is_small,
    most_lanes,
    num_bytes,
)
from lagrangian_learning.simulate.plan import Plan
from lagrangian_learning.simulate.records import Recorder
from lagrangian_learning.simulate.work import start_of

from .lanes import Inputs, Kind, kinds_of

# An evaluation that holds so many times what else a lane holds in its loop is not met: where even that would fit, none
# is compiled to be measured.
_CERTAINLY = 16


def chunk_size(
    chunk: int | None, lanes: int, devices: int, lane: Inputs, times: Array, plan: Plan, *, workers: int, one_core: bool
) -> int:
    """The lanes of a chunk, evenly over devices and over chunks; `chunk` is the most that the user allows.

    Without it there are as many chunks as workers, unless they would be too small to repay that.
    """
    small = is_small(lane.state)
    most = most_lanes(cpu=jax.default_backend() == "cpu", in_blocks=one_core and small)
    placing = Placing(device_memory(), most, workers, devices)
    if chunk is not None:
        return placing._replace(workers=1).chunk(lanes, chunk, small=small)
    most = _most_of_a_chunk(placing, lane, times, plan, in_turn=one_core and not small)
    return placing.chunk(lanes, most, small=small)


def padded(size: int, devices: int, lane: Inputs) -> int:
    """The lanes that are computed for a chunk of `size`: as many on every device, none rounded in another way."""
    vector = VECTOR_OF_LANES if is_small((lane.state, lane.carry)) else 1
    per_device = max(-(-size // devices), FEWEST_LANES)
    return devices * vector * -(-per_device // vector)


def _most_of_a_chunk(placing: Placing, lane: Inputs, times: Array, plan: Plan, *, in_turn: bool) -> int:
    known = lane_memory(lane, times, plan, in_turn=in_turn, evaluated=False)
    if placing.most_of_a_chunk(known._replace(evaluation=_CERTAINLY * known.in_loop)) >= placing.devices * placing.most:
        return placing.devices * placing.most
    return placing.most_of_a_chunk(lane_memory(lane, times, plan, in_turn=in_turn))


def lane_memory(lane: Inputs, times: Array, plan: Plan, *, in_turn: bool = False, evaluated: bool = True) -> LaneMemory:
    """Bytes of one lane, estimated from above; evaluated=False: without what one evaluation of the rates holds.

    Measured against XLA's own account of the compiled chunk: 1.05 to 2.1 times as much, for networks of five neurons to
    256 a layer, steppers of 2 to 14 stages (2.6 times for the fused engine, which holds no stages).
    """
    return _lane_memory(*kinds_of((lane, times, plan)), in_turn, evaluated)


@functools.lru_cache(maxsize=128)
def _lane_memory(structure: Any, kinds: tuple[Kind, ...], in_turn: bool, evaluated: bool) -> LaneMemory:  # hashed
    lane, times, plan = structure.unflatten([leaf for _, leaf in kinds])
    varied = [leaf for varies, leaf in kinds if varies]
    t = jax.ShapeDtypeStruct((), times.dtype)
    y = eqx.filter_eval_shape(lambda t, one: start_of(one.law, t, one.state, one.args), t, lane)
    record = eqx.filter_eval_shape(lambda t, one, y: Recorder(one.law, plan.save)(t, y, one.args), t, lane, y)
    # A record is held as it is made and as it leaves; the states too from which records are made afterwards.
    a_time = 2 * num_bytes(record) + num_bytes(y) * plan.records_afterwards
    evaluation = evaluation_bytes(_rates, t, lane) if evaluated else 0
    return LaneMemory(
        num_bytes(varied), num_bytes(y), times.shape[0] * a_time, evaluation, held_stages(plan.solver), in_turn
    )


def _rates(t: Any, lane: Inputs) -> PyTree:
    return lane.law.rates(t, lane.state, lane.args)
