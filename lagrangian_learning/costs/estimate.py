"""`estimate`: what a run needs, in memory and time, before it is started. The model is that of docs/scale.md."""

import math
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from lagrangian_learning._checks import collected_verdicts, instance, kind_of, positive, positive_int
from lagrangian_learning._tuning import SOLVER_STEPS
from lagrangian_learning._types import Number
from lagrangian_learning.mechanics import AbstractLaw
from lagrangian_learning.simulate.plan import Plan, Tolerances
from lagrangian_learning.simulate.settings import Settings, check_law, checked_state, checked_times, kinks_known
from lagrangian_learning.simulate.work import start_of
from lagrangian_learning.steppers.defaults import evaluations

from .cost import Cost, cost_of
from .hardware import Hardware, as_hardware
from .loop import lane_memory
from .memory import LaneMemory, Placing, is_small, lanes_in_loop, most_lanes, num_bytes


class Estimate(NamedTuple):
    """What a run needs; prints itself. Bytes and seconds are those of one device unless they say otherwise.

    evaluation: `Cost` of one evaluation of the law's rates for one lane;  evaluations_a_step;  steps;  lanes: of all
    devices;  engine: the name of the engine of their batch, "" of one run;  chunk: lanes of a chunk on a device;
    lanes_at_once: of all chunks there at one time;  lanes_under_way: of those that take a step at one time, a core each
    of a CPU where they are large;  state_bytes, record_bytes: of one lane;  memory: bytes at once for `lanes_at_once`
    lanes of a device;  memory_of_chunk: of one chunk;  seconds_a_step: of `lanes_at_once` lanes;  seconds: of the whole
    run;  bound_by: "memory bandwidth", "arithmetic", "launches", "single numbers" or "exchange between devices".
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
) -> Estimate:
    """What `simulate` or `simulate_batch` of this run needs: bytes moved, memory, time a step, time in all.

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
    any_step = max(float(times[-1] - times[0]), 1.0)  # its length changes nothing that is counted
    run = _planned(law, state, args, ts, dtype, solver, any_step if dt0 is None else dt0)
    engine = _engine(engine, run, lanes, hardware)
    memory, records = _memory(run, lanes, engine, saved)
    model = _Model(
        hardware, dtype.name, evaluations(run.plan.solver), evaluation, watched, memory, num_bytes((law, args)),
        weight_devices, len(jax.tree.leaves(state)), hardware.cores if engine is not None and engine.one_core else 0,
        is_small(state),
    )  # fmt: skip
    share = math.ceil(lanes / lane_devices)
    chunk, at_once = model.chunk(share)
    seconds, bound_by = model.step(at_once)
    total = steps * seconds * math.ceil(share / at_once)
    return Estimate(
        hardware, lanes, lane_devices, weight_devices, "" if engine is None else engine.name, chunk, at_once,
        model.under_way(at_once), steps, model.stages, evaluation, memory.state, records, model.memory(at_once),
        model.memory_of_chunk(chunk), seconds, total, bound_by,
    )  # fmt: skip


class _Run(NamedTuple):
    """One lane of the run, its state as shapes, under constant steps."""

    law: AbstractLaw
    state: PyTree
    args: PyTree
    times: Any
    tolerances: Tolerances
    plan: Plan


def _planned(law: AbstractLaw, state: PyTree, args: PyTree, ts: Any, dtype: Any, solver: Any, step: Number) -> _Run:
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), state)
    times = checked_times(ts, dtype)
    settings = Settings(solver=solver, dt0=step, save=lambda t, observables: t, kinks=kinks_known(None, args))
    return _Run(law, shapes, args, times, *settings.prepared(law, times))


def _engine(engine: Any, run: _Run, lanes: int, hardware: Hardware) -> Any:
    """The engine of the lanes, as `simulate_batch` picks it; None: a run of its own."""
    from lagrangian_learning.batch import DiffraxEngine, engines, lanes as inputs  # which ask this package for chunks

    if lanes == 1:
        return None
    if engine is not None:
        return engine
    if not hardware.cores:
        return DiffraxEngine()
    lane = inputs.Inputs(run.law, run.state, run.args)
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


class _Model(NamedTuple):
    """The model of docs/scale.md."""

    hardware: Hardware
    dtype: str
    stages: int
    evaluation: Cost
    watched: Cost
    lane: LaneMemory
    shared: int
    weight_devices: int
    leaves: int
    cores: int
    small: bool

    @property
    def workers(self) -> int:
        """How many chunks run at once."""
        return max(self.cores, 1)

    @property
    def in_turn(self) -> bool:
        """Whether lanes go one after the other, a core each."""
        return self.cores > 0 and self.lane.at_once == 1

    def under_way(self, lanes: int) -> int:
        """How many of the lanes take a step at one time."""
        return self.lane.under_way(lanes, self.workers)

    def memory(self, lanes: int) -> Number:
        """What so many lanes share, keep, and hold in their loop."""
        return (self.shared + self.lane.of(lanes, self.workers)) / self.weight_devices

    def memory_of_chunk(self, lanes: int) -> Number:
        """The same of one chunk."""
        return (self.shared + self.lane.of(lanes)) / self.weight_devices

    def chunk(self, lanes: int) -> tuple[int, int]:
        """The lanes of a chunk, as `simulate_batch` plans it, and of all chunks that are there at one time."""
        if lanes == 1:
            return 1, 1
        usual = most_lanes(cpu=True, in_blocks=True) if self.cores and self.small else self.hardware.lanes
        placing = Placing(self.hardware.memory * self.weight_devices, usual, self.workers)
        size = placing.chunk(lanes, placing.most_of_a_chunk(self.lane), small=self.small)
        return size, min(lanes, self.workers * size)

    def _working_set(self, lanes: int) -> int:
        return self.under_way(lanes) * self.lane.loop

    def step(self, lanes: int) -> tuple[float, str]:
        """Seconds of one step of so many lanes, and what bounds them."""
        if not self.in_turn or lanes == 1:
            seconds = self._seconds(lanes)
        else:
            # Lanes in turn are single runs: cores share memory and arithmetic, but not what waits for itself.
            shared = {"memory bandwidth": lanes, "arithmetic": lanes, "exchange between devices": lanes}
            turns = math.ceil(lanes / self.under_way(lanes))
            seconds = {name: shared.get(name, turns) * alone for name, alone in self._seconds(1).items()}
        exchange = seconds.pop("exchange between devices")
        # Launches overlap neither with each other nor with small products; bandwidth and arithmetic overlap.
        overlapping = max(seconds["memory bandwidth"], seconds["arithmetic"])
        total = overlapping + seconds["launches"] + seconds["single numbers"]
        bound_by = max(seconds, key=lambda name: seconds[name])
        return total + exchange, "exchange between devices" if exchange > total else bound_by

    def _seconds(self, lanes: int) -> dict[str, float]:
        """Seconds that a step of lanes side by side takes at least, by what it waits for."""
        work = self.evaluation.times(self.stages) + self.watched
        moved = lanes * (work.bytes + self._combination_bytes()) / self.weight_devices
        # Every lane has weights of its own: their products are a batch of small ones, which are slower than large ones.
        peak = self.hardware.flops[self.dtype]
        rate = peak if lanes == 1 else min(peak, self.hardware.batched)
        return {
            "memory bandwidth": self.hardware.seconds_to_move(moved, self._working_set(lanes) / self.weight_devices),
            "arithmetic": lanes * work.flops / rate / self.weight_devices,
            "launches": (work.kernels + self._combination_kernels()) * self.hardware.launch,
            # One lane computes number after number; many share the work of one instruction.
            "single numbers": work.scalars * max(1 / self.hardware.scalars, lanes / self.hardware.elementwise),
            "exchange between devices": self._exchange(lanes, work),
        }

    def _combination_bytes(self) -> Number:
        """Each stage is made of all stages, which Diffrax reads."""
        return self.stages * self.stages * self.lane.state

    def _combination_kernels(self) -> Number:
        """Each array of the state, unless it is of few numbers, is combined once a stage and for the error."""
        numbers = self.lane.state / np.dtype(self.dtype).itemsize
        return 0.0 if numbers <= 8 * self.leaves else (self.stages + 1) * self.leaves

    def _exchange(self, lanes: int, work: Cost) -> Number:
        """Weights on several devices: every product ends in one exchange of a layer's neurons."""
        if self.weight_devices == 1:
            return 0.0
        neurons = lanes * (work.flops / 2 / max(work.products, 1)) ** 0.5 * np.dtype(self.dtype).itemsize
        return work.products * (self.hardware.link_latency + neurons / self.hardware.link_bandwidth)


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
