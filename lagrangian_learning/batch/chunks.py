"""How many lanes at once: as many as fit the memory, and no more than keep a device busy."""

import functools
import os
from typing import Any

import diffrax
import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, PyTree

from lagrangian_learning.costs.peak_memory import most_alive
from lagrangian_learning.simulate.augmented import start_of
from lagrangian_learning.simulate.records import Recorder
from lagrangian_learning.simulate.run import Plan

from .lanes import Inputs, Kind, is_small, kinds_of

# XLA rounds a lone lane otherwise, and, where lanes have few numbers, those left over of a vector of them: a lane never
# runs alone, and small ones come in whole vectors.
_FEWEST_LANES = 2
_VECTOR_OF_LANES = 8
_WORTH_A_WORKER = 64
# More lanes at once are no faster (on CPUs slower, once they leave the cache), and a run is told and kept by chunks.
_MOST_LANES = {"cpu": 2**10}
_MOST_LANES_ELSEWHERE = 2**18
# An engine of one core goes through small lanes by blocks that stay in the cache; more than these repay nothing.
_MOST_LANES_IN_BLOCKS = 2**13
_SHARE_OF_MEMORY = 0.5
# What XLA holds of a lane within its loop: each stage twice, since a loop hands its carry on in a copy, and the state
# as it came, at both ends of a step, as an error and as it leaves.
_COPIES_OF_A_STAGE = 2
_COPIES_OF_STATE = 8
_STAGES_UNLESS_TOLD = 7
_NUMBERS_WATCHED = 32


def chunk_size(
    chunk: Any, lanes: int, devices: int, lane: Inputs, times: Array, plan: Plan, *, workers: int, one_core: bool
) -> int:
    """The lanes of a chunk, evenly over devices and over chunks; `chunk` is the most that the user wants.

    If he does not say, there are as many chunks as workers, unless they would be too small to repay that.
    """
    if chunk is not None:
        most = _checked(chunk)
    else:
        usual = _most_lanes(in_blocks=one_core and is_small(lane.state))
        most = devices * min(_fitting(lane, times, plan, workers + 1), usual)
    chunks = -(-lanes // most)
    worth_a_worker = _WORTH_A_WORKER if is_small(lane.state) else _FEWEST_LANES
    if chunk is None and lanes >= workers * worth_a_worker:
        chunks = workers * -(-chunks // workers)
    per_device = -(-lanes // (chunks * devices))
    return devices * per_device


def padded(size: int, devices: int, lane: Inputs) -> int:
    """The lanes that are computed for a chunk of `size`: as many on every device, none rounded in another way."""
    vector = _VECTOR_OF_LANES if is_small((lane.state, lane.carry)) else 1
    per_device = max(-(-size // devices), _FEWEST_LANES)
    return devices * vector * -(-per_device // vector)


def _checked(chunk: Any) -> int:
    if isinstance(chunk, bool) or not isinstance(chunk, int | np.integer) or chunk < 1:
        raise ValueError(f"chunk must be a positive number of lanes, or None, got {chunk!r}.")
    return int(chunk)


def _fitting(lane: Inputs, times: Array, plan: Plan, at_once: int) -> int:
    """A power of two, so that small changes of the memory do not compile anew; of chunks `at_once` are held."""
    fit = max(int(_SHARE_OF_MEMORY / at_once * _memory()) // lane_bytes(lane, times, plan), 1)
    return 1 << (fit.bit_length() - 1)


def _most_lanes(*, in_blocks: bool) -> int:
    backend = jax.default_backend()
    if in_blocks and backend == "cpu":
        return _MOST_LANES_IN_BLOCKS
    return _MOST_LANES.get(backend, _MOST_LANES_ELSEWHERE)


def lane_bytes(lane: Inputs, times: Array, plan: Plan) -> int:
    """Bytes of one lane, estimated from above: its inputs, its records twice, copies of its state, one evaluation.

    Measured against XLA's own account of the compiled chunk: 1.05 to 2.1 times as much, for networks of five neurons to
    256 a layer, steppers of 2 to 14 stages (2.6 times for the fused engine, which holds no stages).
    """
    return _lane_bytes(*kinds_of((lane, times, plan)))


@functools.lru_cache(maxsize=128)
def _lane_bytes(structure: Any, kinds: tuple[Kind, ...]) -> int:
    lane, times, plan = structure.unflatten([leaf for _, leaf in kinds])
    varied = [leaf for varies, leaf in kinds if varies]
    t = jax.ShapeDtypeStruct((), times.dtype)
    y = eqx.filter_eval_shape(lambda t, one: start_of(one.law, t, one.state, one.args), t, lane)
    record = eqx.filter_eval_shape(lambda t, one, y: Recorder(one.law, plan.save)(t, y, one.args), t, lane, y)
    evaluation = eqx.filter_make_jaxpr(lambda t, one: one.law.rates(t, one.state, one.args))(t, lane)[0]
    a_time = 2 * _bytes(record) + _bytes(y) * plan.records_afterwards
    states = (_COPIES_OF_STATE + _COPIES_OF_A_STAGE * _stages(plan.solver)) * _bytes(y)
    watched = _NUMBERS_WATCHED * times.dtype.itemsize
    return _bytes(varied) + times.shape[0] * a_time + states + watched + most_alive(evaluation.jaxpr)


def _stages(solver: Any) -> int:
    """How many rates a step holds at once; a stepper that does not tell is taken to have as many as Tsit5."""
    if isinstance(solver, diffrax.AbstractWrappedSolver):
        return _stages(solver.solver)
    return getattr(getattr(solver, "tableau", None), "num_stages", _STAGES_UNLESS_TOLD)


def _memory() -> int:
    """Bytes of the device, or of the host where the device does not tell."""
    stats = jax.local_devices()[0].memory_stats() or {}
    return stats.get("bytes_limit") or os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _bytes(tree: PyTree) -> int:
    return sum(int(np.prod(leaf.shape)) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
