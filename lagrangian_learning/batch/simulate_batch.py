"""`simulate_batch`: many runs in one call, chunk by chunk, on one device or many."""

import contextlib
import dataclasses
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import diffrax
import jax
import numpy as np
from jaxtyping import Array, PyTree

from lagrangian_learning._arrays import is_concrete
from lagrangian_learning._checks import flag, positive_int
from lagrangian_learning._interrupts import Terminated, terminations_raised
from lagrangian_learning.mechanics.law import AbstractLaw
from lagrangian_learning.simulate.inputs import check_law, kinks_known
from lagrangian_learning.simulate.results import RESULTS
from lagrangian_learning.simulate.run import resumed, trajectory_of
from lagrangian_learning.simulate.settings import MAX_STEPS, Settings
from lagrangian_learning.simulate.stabilisation import AbstractStabilisation
from lagrangian_learning.simulate.trajectory import Names, Trajectory, names_of

from .batch_run import BatchRun, Meter, carry_out
from .checkpoint import Checkpoint, kept_chunk
from .chunks import chunk_size
from .devices import lane_mesh, local_lanes, num_devices, spans_processes
from .engines import AbstractEngine, engine_for
from .fold import NAN_REMEDY, AbstractCollector, Folding, FoldingCollector, RecordCollector, Reduction, checked_fold
from .lanes import Inputs, Lanes
from .prepared import noted, prepared

_TRACED = (
    "simulate_batch goes chunk by chunk, with its results on the host, and so is called from Python: inside jit or "
    "vmap use jax.vmap of ll.simulate, and for a gradient that or ll.value_and_grad_batch."
)
_CHARGES = (
    "simulate_batch keeps no charges, each of which belongs to one law: take jax.vmap of a function that makes the "
    "law, its charge and ll.simulate(..., charges=)."
)


def simulate_batch(
    law: AbstractLaw,
    state: PyTree,
    ts: Any,
    args: PyTree = None,
    *,
    in_axes: Any = (None, 0, 0),
    mesh: jax.sharding.Mesh | None = None,
    chunk: int | None = None,
    engine: AbstractEngine | None = None,
    solver: diffrax.AbstractSolver | None = None,
    rtol: Any = None,
    atol: Any = None,
    dt0: Any = None,
    stepsize_controller: diffrax.AbstractStepSizeController | None = None,
    stabilisation: AbstractStabilisation | None = None,
    save: Callable[[Array, dict[str, PyTree]], PyTree] | None = None,
    reduce: tuple[PyTree, Callable[[PyTree, Trajectory], PyTree]] | None = None,
    resume: Trajectory | None = None,
    checkpoint: str | Path | None = None,
    max_steps: int | None = MAX_STEPS,
    progress: bool = True,
    watch: Any = "steps",
    event: Any = None,
    kinks: Any = None,
    charges: Any = None,
    throw: bool = False,
) -> Trajectory | Reduction:
    """ẏ_k = f_k(t, y_k, args_k), y_k(ts[0]) = state_k for lanes k = 0, 1, …: `simulate` of many runs in one call.

    Lanes are integrated chunk by chunk, and their results are NumPy arrays on the host, so that neither the device nor
    the call holds more than two chunks at once; engines of one core have a chunk for every core of a CPU, and one
    more. A lane depends on no other: not on one that fails, not on their order, their number, the chunk, or the devices
    (measured to the bit on CPUs; with `ll.batch.DiffraxEngine` layers wider than about 128 to rounding, where XLA picks
    a product by the number of lanes). Adaptive lanes step together until the slowest of a chunk has arrived; those of
    `ll.fused.FusedEngine` until the slowest of a block has, those of `ll.batch.SerialEngine` each alone.

    Arguments:
        law, state, ts, args: as for `simulate`; any of law, state and args may be batched.
        in_axes: (law, state, args): which axis of their arrays counts lanes; each None, an integer, or a pytree prefix,
            as in `jax.vmap`. A law whose constants vary comes from `jax.vmap(make_law)(constants)`, with axis 0.
        mesh: the devices that share the lanes, a `jax.sharding.Mesh` of any shape. None: JAX's default device. A mesh
            over several processes divides the batch, which all give whole, among them by `ll.batch.local_lanes`.
        chunk: the most lanes at once; None: what is estimated to fit a quarter of the memory, at most 1024 a CPU, 8192
            small ones by an engine of one core (fused, serial), and 262,144 another device; what a checkpoint holds.
        engine: `ll.batch.DiffraxEngine()`: `jax.vmap` of Diffrax, any law and any setting; `ll.batch.SerialEngine()`:
            the same, one lane after the other; `ll.fused.FusedEngine()`: small systems written out on scalars, the same
            steps to rounding; each is refused with a reason where it cannot; or one derived from
            `ll.batch.AbstractEngine`. None: on a CPU the fused one for 64 small lanes and more with constant steps, the
            serial one for states of more than 1024 numbers; otherwise Diffrax's, and for a batch that is resumed the
            engine of its first part; the printed batch names it. Give the engine where bits of small and large batches
            are to be compared.
        solver, rtol, atol, dt0, stepsize_controller, stabilisation, save, max_steps, watch, event, kinks: as for
            `simulate`, for all lanes.
        reduce: (start, fn): keep no records, but fold them, value = fn(value, path) for one lane after the other; path
            is the trajectory of one lane. Fold little, and let `save` work lane by lane in parallel.
        resume: an earlier batch to go on from, as for `simulate`; state may be None.
        checkpoint: a folder that keeps finished chunks. The same call, made again after the first was killed, goes on
            after the last of them, and ends with the same bits. A folder of another run is refused: of another program,
            other inputs, another JAX or device. So are programs that call Python on the host.
        progress: print lanes, lanes a second and time left to standard error, now and then.
        charges: refused: a charge belongs to one law. Take `jax.vmap` of a function that makes the law, its charge and
            `ll.simulate(..., charges=)`.
        throw: raise RuntimeError as soon as a lane has failed, or where the value of reduce holds NaN; otherwise the
            lane's `path.result` names the cause, and `nan_from` of the `Reduction` the lane.

    Returns a `Trajectory` with lanes first; with reduce, a `Reduction`. Raises ValueError for arguments that do not
    fit.
    """
    check_law(law, save)
    if charges is not None:
        raise ValueError(_CHARGES)
    flag(progress, "progress")
    flag(throw, "throw")
    if not is_concrete(law, state, args, ts):
        raise ValueError(_TRACED)
    if resume is not None:
        state, in_axes = _resumed(resume, state, in_axes)
        engine = resume.engine if engine is None else engine
    given = (solver, rtol, atol, dt0, stepsize_controller, stabilisation, None, save, max_steps)
    settings = Settings(*given, watch=watch, event=event, kinks=kinks_known(kinks, args))
    inputs = Inputs(law, state, args, None if resume is None else resume.carry)
    batch, times, tolerances, plan = prepared(inputs, ts, in_axes, settings)
    row = lane_mesh(mesh)
    # Chosen for the whole batch, so that all processes choose the same.
    with noted(in_axes):
        chosen = engine_for(engine, batch.like_one, batch.count, times, tolerances, plan)
    run = BatchRun(chosen, _mine(batch, mesh), times, tolerances, plan, row)
    names = names_of(law, save, plan.description_of(law)).stating("engine", run.description)
    fold = checked_fold(reduce)
    folding = None if fold is None else Folding(fold, times, tolerances, names)
    folder = None if checkpoint is None else _folder_of_process(checkpoint, mesh)
    given_chunk = _given_chunk(chunk, folder)
    with noted(in_axes):
        size = _chunk_size(run, given_chunk)
    count = run.lanes.count
    collector = RecordCollector(count) if folding is None else FoldingCollector(count, folding)
    kept = None if folder is None else _kept(folder, run, collector, size)
    with _kept_where_stopped(kept, count):
        carry_out(run, size, collector, kept, Meter(count, shown=progress), throw=throw)
    return _result(run, collector, names, throw=throw)


@contextlib.contextmanager
def _kept_where_stopped(kept: Checkpoint | None, count: int) -> Iterator[None]:
    """With a checkpoint, Ctrl-C and SIGTERM say in one line what is kept before they end the call."""
    if kept is None:
        yield
        return
    try:
        with kept.held(), terminations_raised():
            yield
    except (KeyboardInterrupt, Terminated):
        done = f"{kept.lanes_kept} of {count} lanes are kept in {kept.folder}"
        print(f"\nsimulate_batch: stopped; {done}, and the same call goes on from there.", file=sys.stderr)
        raise


def _resumed(earlier: Any, state: PyTree, in_axes: Any) -> tuple[PyTree, Any]:
    """The state to go on from, and in_axes with lanes first in it."""
    state = resumed(earlier, state)
    if np.ndim(earlier.carry.t) == 0:
        raise ValueError("the trajectory to resume is one run, and no batch: go on with it by ll.simulate.")
    with_axes = isinstance(in_axes, tuple | list) and len(in_axes) == 3
    return state, (in_axes[0], 0, in_axes[2]) if with_axes else in_axes


def _given_chunk(chunk: Any, folder: Any) -> int | None:
    """What the user gives, or what the checkpoint holds."""
    if chunk is not None:
        return positive_int(chunk, "chunk")
    return None if folder is None else kept_chunk(folder)


def _chunk_size(run: BatchRun, chunk: int | None) -> int:
    given = (run.lanes.count, num_devices(run.mesh), run.lanes.like_one, run.times, run.plan)
    return chunk_size(chunk, *given, workers=run.workers, one_core=run.engine.one_core)


def _mine(lanes: Lanes, mesh: Any) -> Lanes:
    """The lanes of this process."""
    if not spans_processes(mesh):
        return lanes
    share = local_lanes(lanes.count, mesh)
    if not share:
        raise ValueError(f"{lanes.count} lanes are too few for {mesh.size} devices: this process would have none.")
    return lanes.part(share.start, share.stop)


def _folder_of_process(folder: Any, mesh: Any) -> Any:
    if spans_processes(mesh):
        return Path(folder) / f"process-{jax.process_index()}-of-{jax.process_count()}"
    return folder


def _kept(folder: Any, run: BatchRun, collector: AbstractCollector, size: int) -> Checkpoint:
    return Checkpoint(folder, {**run.configuration(size), **collector.configuration(run.like(size))})


def _result(run: BatchRun, collector: AbstractCollector, names: Names, *, throw: bool) -> Trajectory | Reduction:
    left = collector.arrays.tree
    refused = np.flatnonzero(left.result == RESULTS.refused_start)
    if refused.size:
        names = names.stating("refused", f"run {refused[0]}: {_why_refused(run, int(refused[0]))}")
    if isinstance(collector, FoldingCollector):
        return _reduction(collector, names, throw=throw)
    each = (run.times, run.tolerances)
    times, tolerances = jax.tree.map(lambda leaf: np.broadcast_to(leaf, (run.lanes.count, *leaf.shape)), each)
    return dataclasses.replace(trajectory_of(times, tolerances, left, names), engine=run.engine)


def _reduction(collector: FoldingCollector, names: Names, *, throw: bool) -> Reduction:
    """What the lanes were folded into; with `throw` an error where that holds NaN."""
    left, folded = collector.arrays.tree, jax.tree.map(np.asarray, collector.value)
    first = int(folded.nan_from)
    if throw and first >= 0:
        raise RuntimeError(f"the value of reduce holds NaN from run {first} on: {NAN_REMEDY}")
    return Reduction(folded.value, left.result, left.statistics, names.description, None if first < 0 else first)


def _why_refused(run: BatchRun, lane: int) -> str:
    """The law's own words about one lane, which it says only of values that are not traced."""
    law, state, args, _ = jax.tree.map(jax.numpy.asarray, run.lanes.one(lane))
    try:
        law.check(run.times, state, args)
    except ValueError as error:
        return str(error)
    return "the trajectory to resume did not end at ts[0]."
