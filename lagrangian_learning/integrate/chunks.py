"""How many lanes at once: as many as fit the memory, and no more than keep a device busy."""

import os
from typing import Any

import diffrax
import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, PyTree

from .augmented import start_of
from .engine import Plan
from .lanes import Inputs, is_small
from .most_alive import most_alive
from .records import Recorder

# XLA rounds a lone lane otherwise, and, where lanes have few numbers, those left over of a vector of them: a lane never
# runs alone, and small ones come in whole vectors.
_FEWEST_LANES = 2
_VECTOR_OF_LANES = 8
_WORTH_A_WORKER = 64
# More lanes at once are no faster (on CPUs slower, once they leave the cache), and a run is told and kept by chunks.
_MOST_LANES = {"cpu": 2**10}
_MOST_LANES_ELSEWHERE = 2**18
_SHARE_OF_MEMORY = 0.5
# What XLA holds of a lane within its loop: each stage twice, since a loop hands its carry on in a copy, and the state
# as it came, at both ends of a step, as an error and as it leaves.
_COPIES_OF_A_STAGE = 2
_COPIES_OF_STATE = 8
_STAGES_UNLESS_TOLD = 7
_NUMBERS_WATCHED = 32


def chunk_size(chunk: Any, lanes: int, devices: int, lane: Inputs, times: Array, plan: Plan, workers: int = 1) -> int:
    """The lanes of a chunk, evenly over devices and over chunks; `chunk` is the most that the user wants.

    If he does not say, there are as many chunks as workers, unless they would be too small to repay that.
    """
    most = _checked(chunk) if chunk is not None else devices * _most_lanes(lane, times, plan, workers + 1)
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


def _most_lanes(lane: Inputs, times: Array, plan: Plan, at_once: int) -> int:
    """A power of two, so that small changes of the memory do not compile anew; of chunks `at_once` are held."""
    fit = max(int(_SHARE_OF_MEMORY / at_once * _memory()) // lane_bytes(lane, times, plan), 1)
    most = _MOST_LANES.get(jax.default_backend(), _MOST_LANES_ELSEWHERE)
    return min(1 << (fit.bit_length() - 1), most)


def lane_bytes(lane: Inputs, times: Array, plan: Plan) -> int:
    """Bytes of one lane, estimated from above: its inputs, its records twice, copies of its state, one evaluation.

    Measured against XLA's own account of the compiled chunk: 1.05 to 2.1 times as much, for networks of five neurons to
    256 a layer, steppers of 2 to 14 stages (2.6 times for the fused engine, which holds no stages).
    """
    t = times[0]
    y = eqx.filter_eval_shape(lambda one: start_of(one.law, t, one.state, one.args), lane)
    record = eqx.filter_eval_shape(lambda one, y: Recorder(one.law, plan.save)(t, y, one.args), lane, y)
    evaluation = eqx.filter_make_jaxpr(lambda one: one.law.rates(t, one.state, one.args))(lane)[0]
    inputs = _bytes(eqx.filter(lane, lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct)))
    a_time = 2 * _bytes(record) + _bytes(y) * plan.records_afterwards
    states = (_COPIES_OF_STATE + _COPIES_OF_A_STAGE * _stages(plan.solver)) * _bytes(y)
    watched = _NUMBERS_WATCHED * times.dtype.itemsize
    return inputs + len(times) * a_time + states + watched + most_alive(evaluation.jaxpr)


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
