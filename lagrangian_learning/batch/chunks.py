"""How many lanes make a chunk: as many as fit the memory, and no more than repay being computed at once."""

import functools
from typing import Any

import jax
from jaxtyping import Array

from lagrangian_learning._memory import device_memory
from lagrangian_learning._tuning import FEWEST_LANES, VECTOR_OF_LANES
from lagrangian_learning.costs import loop
from lagrangian_learning.costs.memory import LaneMemory, Placing, is_small, lanes_in_loop, most_lanes, num_bytes
from lagrangian_learning.costs.reverse import with_reverse
from lagrangian_learning.simulate.plan import Plan

from .lanes import Inputs, Kind, kinds_of

# An evaluation that holds so many times what else a lane holds in its loop is not met: where even that would fit, none
# is compiled to be measured.
_CERTAINLY = 16


def chunk_size(
    chunk: int | None,
    lanes: int,
    devices: int,
    lane: Inputs,
    times: Array,
    plan: Plan,
    *,
    workers: int,
    one_core: bool,
    moving: tuple | None = None,
) -> int:
    """The lanes of a chunk, evenly over devices and over chunks; `chunk` is the most that the user allows.

    Without it there are as many chunks as workers, unless they would be too small to repay that. moving: of (law,
    state, args) of a lane what is differentiated, None elsewhere; None: the run alone.
    """
    small = is_small(lane.state)
    most = most_lanes(cpu=jax.default_backend() == "cpu", in_blocks=one_core and small)
    placing = Placing(device_memory(), most, workers, devices)
    if chunk is not None:
        return placing._replace(workers=1).chunk(lanes, chunk, small=small)
    most = _most_of_a_chunk(placing, lane, times, plan, one_core=one_core, moving=moving)
    return placing.chunk(lanes, most, small=small)


def padded(size: int, devices: int, lane: Inputs) -> int:
    """The lanes that are computed for a chunk of `size`: as many on every device, none rounded in another way."""
    vector = VECTOR_OF_LANES if is_small((lane.state, lane.carry)) else 1
    per_device = max(-(-size // devices), FEWEST_LANES)
    return devices * vector * -(-per_device // vector)


def _most_of_a_chunk(
    placing: Placing, lane: Inputs, times: Array, plan: Plan, *, one_core: bool, moving: tuple | None
) -> int:
    def held(memory: LaneMemory) -> LaneMemory:
        if moving is None:
            return memory
        shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), lane.state)
        return with_reverse(memory, lane.law, shapes, lane.args, times, plan, moving)

    known = lane_memory(lane, times, plan, one_core=one_core, evaluated=False)
    certain = held(known._replace(loop=(1 + _CERTAINLY) * known.loop))
    if placing.most_of_a_chunk(certain) >= placing.devices * placing.most:
        return placing.devices * placing.most
    return placing.most_of_a_chunk(held(lane_memory(lane, times, plan, one_core=one_core)))


def lane_memory(
    lane: Inputs, times: Array, plan: Plan, *, one_core: bool = False, evaluated: bool = True
) -> LaneMemory:
    """Bytes of one lane; evaluated=False: without what one evaluation of the rates holds on its way.

    Against XLA's own account of compiled chunks: benchmarks/scale_compiled.py.
    """
    return _lane_memory(*kinds_of((lane, times, plan)), one_core, evaluated)


@functools.lru_cache(maxsize=128)
def _lane_memory(structure: Any, kinds: tuple[Kind, ...], one_core: bool, evaluated: bool) -> LaneMemory:  # hashed
    lane, times, plan = structure.unflatten([leaf for _, leaf in kinds])
    given = num_bytes([leaf for varies, leaf in kinds if varies])
    at_once = lanes_in_loop(lane.state, one_core=one_core)
    of_one = (lane.law, lane.state, lane.args, times, plan)
    return loop.lane_memory(*of_one, given=given, at_once=at_once, evaluated=evaluated)
