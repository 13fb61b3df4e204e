"""`estimate`: what a run needs, in memory and time, before it is started. The model is that of docs/scale.md."""

import math
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from lagrangian_learning._checks import (
    argument_numbers,
    collected_verdicts,
    instance,
    kind_of,
    positive,
    positive_int,
)
from lagrangian_learning._tuning import SOLVER_STEPS
from lagrangian_learning._types import Number
from lagrangian_learning.mechanics import AbstractLaw
from lagrangian_learning.simulate.inputs import check_law, checked_state, checked_times, kinks_known
from lagrangian_learning.simulate.plan import Plan, Tolerances
from lagrangian_learning.simulate.settings import MAX_STEPS, Settings
from lagrangian_learning.simulate.work import start_of
from lagrangian_learning.steppers.defaults import evaluations

from .cost import NOTHING, Cost, cost_of
from .hardware import Hardware, as_hardware
from .loop import carried, lane_memory
from .memory import LaneMemory, is_small, lanes_in_loop, num_bytes
from .model import Model
from .reverse import cost_back, makes_again, moved, states_kept, with_reverse


class Estimate(NamedTuple):
    """What a run needs; prints itself. Bytes and seconds are those of one device unless they say otherwise.

    evaluation: `Cost` of one evaluation of the law's rates for one lane;  evaluations_a_step: how many of them a step
    takes;  steps: of the run;  lanes: of all devices;  engine: the name of the engine of their batch, "" of one run;
    chunk: lanes of a chunk on a device;  lanes_at_once: of all chunks there at one time;  lanes_under_way: of those
    that take a step at one time, a core each of a CPU where they are large;  state_bytes, record_bytes: of one lane;
    memory: bytes at once for `lanes_at_once` lanes of a device;  memory_of_chunk: of one chunk;  seconds_a_step: of
    `lanes_at_once` lanes;  seconds: of the whole run;  bound_by: "memory bandwidth", "arithmetic", "launches",
    "single numbers" or "exchange between devices";
    states_kept: by reverse mode, 0 of the run alone. With it memory and `seconds` are those of value and gradient.
    """

    hardware: Hardware
    lanes: int
    lane_devices: int
    weight_devices: int
    engine: str
    chunk: int
    lanes_at_once: int
    lanes_under_way: int
    steps: int
    evaluations_a_step: int
    evaluation: Cost
    state_bytes: int
    record_bytes: int
    memory: float
    memory_of_chunk: float
    seconds_a_step: float
    seconds: float
    bound_by: str
    states_kept: int = 0

    @property
    def chunks(self) -> int:
        """How many chunks a device goes through."""
        return math.ceil(math.ceil(self.lanes / self.lane_devices) / self.chunk)

    @property
    def fits(self) -> bool:
        """Whether one lane at least fits the memory of its devices."""
        return self.memory <= self.hardware.memory

    def __str__(self) -> str:
        devices = self.lane_devices * self.weight_devices
        split = f" ({self.weight_devices} share the weights of a lane)" if self.weight_devices > 1 else ""
        turns = "" if self.lanes_under_way == self.lanes_at_once else f", of these {self.lanes_under_way} under way"
        engine = f", by the engine {self.engine}" if self.engine else ""
        verdict = "fits" if self.fits else "DOES NOT FIT: share the weights over more devices, or save less"
        rows = [
            ("devices", f"{devices} × {self.hardware.name}{split}"),
            ("lanes", f"{self.lanes:,}, {self.lanes_at_once:,} at once on a device{turns}{engine}"),
            ("state", f"{_size(self.state_bytes)} a lane, records {_size(self.record_bytes)} a lane"),
            ("memory", f"{_size(self.memory)} of {_size(self.hardware.memory)} a device: {verdict}"),
            ("evaluation", f"{_count(self.evaluation.flops)}flop and {_size(self.evaluation.bytes)} moved a lane"),
            ("", f"{self.evaluation.products:.0f} products one after another"),
            ("step", f"{self.evaluations_a_step} evaluations, {_time(self.seconds_a_step)}, bound by {self.bound_by}"),
            ("run", f"{self.steps:,} steps, {_time(self.seconds)} in all"),
        ]
        if self.states_kept:
            rows[-1] = ("gradient", f"{self.steps:,} steps forward and back, {_time(self.seconds)} in all")
            rows.append(("", f"{self.states_kept:,} states kept: by steps known from dt0, or max_steps, and segments"))
        return "\n".join(["Estimate", *(f"  {name:<12}{text}" for name, text in rows)])

    def __repr__(self) -> str:
        return str(self)


def estimate(
    law: AbstractLaw,
    state: PyTree,
    ts: Any,
    args: PyTree = None,
    *,
    steps: int | None = None,
    dt0: Number | None = None,
    solver: diffrax.AbstractSolver | None = None,
    lanes: int = 1,
    lane_devices: int = 1,
    weight_devices: int = 1,
    hardware: Hardware | str | None = None,
    solver_steps: Number | None = None,
    saved: Any = None,
    engine: Any = None,
    argnums: int | tuple[int, ...] | None = None,
    max_steps: int = MAX_STEPS,
) -> Estimate:
    """What `simulate` or `simulate_batch` of this run needs, or its gradient: bytes moved, memory, time a step, in all.

    Nothing is computed or allocated: the leaves of `state` and `args` may be `jax.ShapeDtypeStruct`, as
    `jax.eval_shape(network.init, key)` makes them, so that a run of 10⁹ weights can be asked about on a laptop.

    Arguments:
        law, state, ts, args: as for `simulate`; one lane.
        steps, dt0: the number of steps, or the constant step from which it follows; one of the two.
        solver: the Diffrax stepper; `Dopri8` in float64 and `Tsit5` in float32 by default, as in `simulate`.
        lanes: how many runs;  lane_devices: over how many devices they are spread.
        weight_devices: how many devices share the weights of one lane.
        hardware: an `ll.costs.Hardware`, "h100", "h200", or None: the device at hand, measured in a few seconds.
        solver_steps: steps of an iterative multiplier solve; 3 in float32 and 5 in float64 by default.
        saved: example of what one saved time records (arrays or shapes); all observables by default.
        engine: an engine of `ll.batch` or `ll.fused`, which decides with the memory how many lanes make a chunk; by
            default the one that `simulate_batch` picks for constant steps.
            Times are those of Diffrax with either.
        argnums: value and gradient of the run by these, in reverse mode with `ll.Replay`: 0 the law, 1 the state, 2
            args, or a tuple of these; more lanes as by `ll.value_and_grad_batch`. None: the run alone.
        max_steps: that of the run, which decides how many states its gradient keeps, unless `dt0` gives the steps.

    Returns an `Estimate`, which prints itself. Raises ValueError for settings that do not fit.
    """
    check_law(law, None)
    dtype = _checked_dtype(law, state, ts, args)
    hardware = as_hardware(hardware)
    if dtype.name not in hardware.flops:
        raise ValueError(
            f"the peak of {hardware.name} is not known in {dtype.name}: give an ll.costs.Hardware that has it."
        )
    counts = {"lanes": lanes, "lane_devices": lane_devices, "weight_devices": weight_devices}
    for name, count in counts.items():
        positive_int(count, name)
    _check_settings(solver, solver_steps, engine)
    times = np.asarray(ts, np.float64)
    steps = _steps(times, steps, dt0)
    loop_steps = SOLVER_STEPS[dtype.name] if solver_steps is None else solver_steps
    evaluation, watched = _costs(law, state, args, dtype, loop_steps)
    run = _planned(law, state, args, ts, dtype, solver, dt0, positive_int(max_steps, "max_steps"))
    moving = None if argnums is None else moved(law, run.state, args, argument_numbers(argnums))
    engine = _engine(engine, run, lanes, hardware, moving)
    memory, records = _memory(run, lanes, engine, saved)
    if moving is not None:
        memory = with_reverse(memory, law, run.state, args, run.times, run.plan, moving)
    model = Model(
        hardware, dtype.name, evaluations(run.plan.solver), evaluation, watched, memory, num_bytes((law, args)),
        weight_devices, len(jax.tree.leaves(state)), hardware.cores if engine is not None and engine.one_core else 0,
        is_small(state),
    )  # fmt: skip
    share = math.ceil(lanes / lane_devices)
    chunk, at_once = model.chunk(share)
    seconds, bound_by = model.step(at_once)
    there_and_back, kept = seconds, 0
    if moving is not None:
        there_and_back, kept = _with_gradient(model, run, at_once, seconds, moving, loop_steps)
    total = steps * there_and_back * math.ceil(share / at_once)
    return Estimate(
        hardware, lanes, lane_devices, weight_devices, "" if engine is None else engine.name, chunk, at_once,
        model.under_way(at_once), steps, model.stages, evaluation, memory.state, records, model.memory(at_once),
        model.memory_of_chunk(chunk), seconds, total, bound_by, kept,
    )  # fmt: skip


class _Run(NamedTuple):
    """One lane of the run, its state as shapes, under constant steps."""

    law: AbstractLaw
    state: PyTree
    args: PyTree
    times: Any
    tolerances: Tolerances
    plan: Plan


def _planned(
    law: AbstractLaw, state: PyTree, args: PyTree, ts: Any, dtype: Any, solver: Any, dt0: Any, max_steps: int
) -> _Run:
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), state)
    times = checked_times(ts, dtype)
    kinks = kinks_known(None, args)
    step = max(float(times[-1] - times[0]), 1.0) if dt0 is None else dt0  # some step: it changes nothing that counts
    settings = Settings(solver=solver, dt0=step, save=lambda t, observables: t, max_steps=max_steps, kinks=kinks)
    tolerances, plan = settings.prepared(law, times)
    return _Run(law, shapes, args, times, tolerances, plan if dt0 is None else plan.counted(times, dt0))


def _engine(engine: Any, run: _Run, lanes: int, hardware: Hardware, moving: tuple | None) -> Any:
    """The engine of the lanes, as `simulate_batch` or `value_and_grad_batch` picks it; None: a run of its own."""
    # They ask this package for chunks.
    from lagrangian_learning.batch import DiffraxEngine, engines, gradient, lanes as inputs

    if lanes == 1:
        return None
    if not hardware.cores and engine is None:
        return DiffraxEngine()
    lane = inputs.Inputs(run.law, run.state, run.args)
    if moving is not None:
        return gradient.engine_of_gradients(engine, lane, run.times, run.plan)
    if engine is not None:
        return engine
    return engines.engine_for(None, lane, lanes, run.times, run.tolerances, run.plan)


def _memory(run: _Run, lanes: int, engine: Any, saved: Any) -> tuple[LaneMemory, int]:
    """Bytes of one lane, and of its records; None saved: all observables."""
    law, state, args, times, _, plan = run
    if saved is None:
        plan = eqx.tree_at(lambda p: p.save, plan, None, is_leaf=lambda leaf: leaf is None)
        saved = eqx.filter_eval_shape(law.observables, jax.ShapeDtypeStruct((), times.dtype), state, args)
    else:
        example = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), saved)
        plan = eqx.tree_at(lambda p: p.save, plan, lambda t, observables: _zeros(example))
    at_once = 1 if engine is None else lanes_in_loop(state, one_core=engine.one_core)
    memory = lane_memory(law, state, args, times, plan, given=num_bytes(state), at_once=at_once)
    return memory, num_bytes(saved) * times.size


def _with_gradient(
    model: Model, run: _Run, lanes: int, seconds: float, moving: tuple, loop_steps: Number
) -> tuple[float, int]:
    """Seconds of a step forward and back, and the states that are kept.

    Every step is made again, unless the state before each is kept, and then pulled back.
    """
    y, _ = carried(run.law, run.state, run.args, run.times, run.plan)
    back = cost_back(run.law, run.state, run.args, run.times.dtype, moving, loop_steps)
    unwatched = model._replace(watched=NOTHING)
    again = makes_again(run.plan, y) * unwatched.step(lanes)[0]
    return seconds + again + unwatched._replace(evaluation=back).step(lanes)[0], states_kept(run.plan, y)


def _zeros(example: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), example)


def _check_settings(solver: Any, solver_steps: Any, engine: Any) -> None:
    if solver is not None:
        instance(solver, "solver", diffrax.AbstractSolver, "a Diffrax solver such as diffrax.Tsit5()")
    if solver_steps is not None:
        positive(solver_steps, "solver_steps")
    if engine is not None and not isinstance(getattr(engine, "one_core", None), bool):
        raise ValueError(f"engine must be one of ll.batch or ll.fused, got {kind_of(engine)}.")


def _costs(law: AbstractLaw, state: PyTree, args: PyTree, dtype: np.dtype, loop_steps: Number) -> tuple[Cost, Cost]:
    """Of one evaluation of the rates, and of what is watched after a step."""

    def watch(*at: Any) -> tuple[Any, Any]:
        constraints, energetics = law.constrained_part, law.energy_part
        residual = None if constraints is None else constraints.residual(*at)
        return residual, None if energetics is None else energetics.energy(*at)

    at = (jax.ShapeDtypeStruct((), dtype), state, args)
    return cost_of(law.rates, *at, loop_steps=loop_steps), cost_of(watch, *at, loop_steps=loop_steps)


def _checked_dtype(law: AbstractLaw, state: PyTree, ts: Any, args: PyTree) -> np.dtype:
    """The dtype of the state, once the checks that `simulate` makes have passed on shapes."""

    def start(state: PyTree, args: PyTree) -> PyTree:
        state, dtype = checked_state(state)
        times = checked_times(ts, dtype)
        with collected_verdicts():
            state = law.check(times, state, args)
        return start_of(law, times[0], state, args).state

    return np.dtype(jax.tree.leaves(eqx.filter_eval_shape(start, state, args))[0].dtype)


def _steps(times: Any, steps: int | None, dt0: Number | None) -> int:
    if (steps is None) == (dt0 is None):
        raise ValueError("give either steps, the number of steps, or dt0, the constant step.")
    if steps is not None:
        return positive_int(steps, "steps")
    assert dt0 is not None
    positive(dt0, "dt0", "it is the constant step.")
    return int(np.sum(np.maximum(np.ceil(np.diff(times) / dt0 * (1 - 1e-6)), 1)))


def _count(value: Number) -> str:
    power = min(int(math.log10(max(value, 1)) // 3), 6)
    return f"{value / 1000**power:.3g} {['', 'k', 'M', 'G', 'T', 'P', 'E'][power]}"


def _size(value: Number) -> str:
    return f"{_count(value)}B"


def _time(seconds: Number) -> str:
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60), ("s", 1), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"
