"""`simulate_batch`: many runs in one call, chunk by chunk, on one device or many."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import diffrax
import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, PyTree

from lagrangian_learning._arrays import is_concrete
from lagrangian_learning.mechanics.law import AbstractLaw
from lagrangian_learning.simulate.preparation import MAX_STEPS, Names, Settings, check_law, names_of, trajectory_of
from lagrangian_learning.simulate.results import RESULTS
from lagrangian_learning.simulate.resume import resumed
from lagrangian_learning.simulate.settings import checked_times, state_dtype
from lagrangian_learning.simulate.stabilisation import AbstractStabilisation
from lagrangian_learning.simulate.trajectory import Trajectory

from .batch_run import BatchRun, carry_out
from .checkpoint import Checkpoint, run_configuration
from .chunks import chunk_size
from .collect import AbstractSink, Collected, Folded
from .devices import lane_mesh, local_lanes, num_devices, spans_processes
from .engines import AbstractEngine, engines, resolve_engine
from .fold import Folding, checked_fold
from .lanes import Inputs, Lanes, lanes_of
from .progress import Meter
from .reduction import Reduction

_TRACED = (
    "simulate_batch goes chunk by chunk, with its results on the host, and so is called from Python: inside jit, vmap "
    "or grad use jax.vmap of ll.simulate."
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
    engine: str | AbstractEngine = "auto",
    solver: diffrax.AbstractSolver | None = None,
    rtol: Any = None,
    atol: Any = None,
    dt0: Any = None,
    stepsize_controller: diffrax.AbstractStepSizeController | None = None,
    stabilisation: AbstractStabilisation | str | None = None,
    save: Callable[[Array, dict[str, PyTree]], PyTree] | None = None,
    reduce: tuple[PyTree, Callable[[PyTree, Trajectory], PyTree]] | None = None,
    resume: Trajectory | None = None,
    checkpoint: str | Path | None = None,
    max_steps: int | None = MAX_STEPS,
    progress: bool = True,
    throw: bool = False,
) -> Trajectory | Reduction:
    """ẏ_k = f_k(t, y_k, args_k), y_k(ts[0]) = state_k for lanes k = 0, 1, …: `simulate` of many runs in one call.

    Lanes are integrated chunk by chunk, and their results are NumPy arrays on the host, so that neither the device nor
    the call need hold more than two chunks at once; engines of one core have a chunk for every core of a CPU, and one
    more. A lane depends on no other: not on one that fails, not on their order, their number, the chunk, or the devices
    (measured to the bit on CPUs; with engine="diffrax" layers wider than about 128 to rounding, where XLA picks a
    product by the number of lanes). Adaptive lanes step together, but for "serial", until the slowest of a chunk, or of
    a block in "fused", has arrived.

    Arguments:
        law, state, ts, args: as for `simulate`; any of law, state and args may be batched.
        in_axes: (law, state, args): which axis of their arrays counts lanes; each None, an integer, or a pytree prefix,
            as in `jax.vmap`. A law whose constants vary comes from `jax.vmap(make_law)(constants)`, with axis 0.
        mesh: the devices that share the lanes, a `jax.sharding.Mesh` of any shape. None: JAX's default device. A mesh
            over several processes divides the batch, which all give whole, among them by `ll.batch.local_lanes`.
        chunk: the most lanes at once; None: what is estimated to fit a quarter of the memory, at most 1024 a CPU, 8192
            small ones by an engine of one core ("fused", "serial"), and 262,144 another device.
        engine: "diffrax": `jax.vmap` of Diffrax, any law and any setting; "serial": the same, one lane after the other;
            "fused": small systems written out on scalars, the same steps to rounding; "pallas": the same as one kernel
            of a GPU, `ll.fused.PallasEngine`; each is refused with a reason where it cannot. Or an engine of your own.
            "auto": on a CPU fused for 64 small lanes and more with constant steps, serial for states of more than 1024
            numbers; else diffrax, and what took the first part of a run that is resumed; the printed batch tells.
            Name the engine where bits of small and large batches are to be compared.
        solver, rtol, atol, dt0, stepsize_controller, stabilisation, save, max_steps: as for `simulate`, for all lanes.
        reduce: (start, fn): keep no records, but fold them, value = fn(value, path) for one lane after the other; path
            is the trajectory of one lane. Fold little, and let `save` work lane by lane in parallel.
        resume: an earlier batch to go on from, as for `simulate`; state may be None.
        checkpoint: a folder that keeps finished chunks. The same call, made again after the first was killed, goes on
            after the last of them, and ends with the same bits. A folder of another run is refused.
        progress: print lanes, lanes a second and time left to standard error, now and then.
        throw: raise RuntimeError as soon as a lane has failed; otherwise its `path.result` tells.

    Returns a `Trajectory` with lanes first; with reduce, a `Reduction`. Raises ValueError for arguments that do not
    fit.
    """
    check_law(law, save)
    if not is_concrete(law, state, args, ts):
        raise ValueError(_TRACED)
    if resume is not None:
        state, in_axes = resumed(resume, state), _resumed_axes(in_axes)
        if np.ndim(resume.carry.t) == 0:
            raise ValueError("the trajectory to resume is one run, and no batch: go on with it by ll.simulate.")
    dtype = state_dtype(state)
    times = checked_times(ts, dtype)
    settings = Settings(solver, rtol, atol, dt0, stepsize_controller, stabilisation, None, save, max_steps)
    tolerances, plan = settings.prepared(law, times)
    state = jax.tree.map(lambda leaf: np.asarray(leaf, dtype), state)
    row = lane_mesh(mesh)
    batch = lanes_of(Inputs(law, state, args, None if resume is None else resume.carry), in_axes)
    engine = _engine_before(resume) if engine == "auto" and resume is not None else engine
    # Chosen for the whole batch, so that all processes choose the same.
    with _noted(in_axes):
        chosen = resolve_engine(engine, batch.like_one, batch.count, times, tolerances, plan)
    lanes = _mine(batch, mesh)
    run = BatchRun(chosen, lanes, times, tolerances, plan, row)
    names = names_of(law, plan).telling("engine", run.description)
    fold = checked_fold(reduce)
    sink = Collected(lanes.count) if fold is None else Folded(lanes.count, Folding(fold, times, tolerances, names))
    parallel = {"workers": run.workers, "one_core": chosen.one_core}
    with _noted(in_axes):
        size = chunk_size(chunk, lanes.count, num_devices(run.mesh), lanes.like_one, times, plan, **parallel)
    kept = None if checkpoint is None else _kept(checkpoint, run, mesh, reduce)
    carry_out(run, size, sink, kept, Meter(lanes.count, shown=progress), throw=throw)
    return _result(run, sink, names)


@contextlib.contextmanager
def _noted(in_axes: Any) -> Iterator[None]:
    """Errors about one lane, with a word on what makes a lane: an argument may have an axis that in_axes leaves out."""
    try:
        yield
    except (ValueError, TypeError) as error:
        error.add_note(
            f"This is about one lane, as in_axes={in_axes!r} makes it of (law, state, args): None takes an argument "
            "whole for every lane, 0 takes one entry of its first axis for each."
        )
        raise


def _resumed_axes(in_axes: Any) -> Any:
    return (in_axes[0], 0, in_axes[2]) if isinstance(in_axes, tuple | list) and len(in_axes) == 3 else in_axes


def _engine_before(earlier: Trajectory) -> str:
    """The engine that an earlier run tells to have taken: going on with it ends with the bits of one run."""
    told = dict(earlier.description).get("engine", "auto").split(",")[0]
    return told if told in {engine.name for engine in engines()} else "auto"


def _mine(lanes: Lanes, mesh: Any) -> Lanes:
    """The lanes of this process."""
    if not spans_processes(mesh):
        return lanes
    share = local_lanes(lanes.count, mesh)
    if not share:
        raise ValueError(f"{lanes.count} lanes are too few for {mesh.size} devices: this process would have none.")
    return lanes.part(share.start, share.stop)


def _kept(folder: Any, run: BatchRun, mesh: Any, reduce: Any) -> Checkpoint:
    if spans_processes(mesh):
        folder = Path(folder) / f"process-{jax.process_index()}-of-{jax.process_count()}"
    inputs = eqx.combine(*run.lanes)
    parts = {**inputs._asdict(), "axes": jax.tree.map(np.shape, run.lanes.varied), "ts": run.times}
    settings = {"tolerances": run.tolerances, "settings": run.plan, "engine": run.engine, "reduce": reduce}
    return Checkpoint(folder, run_configuration(**parts, **settings))


def _result(run: BatchRun, sink: AbstractSink, names: Names) -> Trajectory | Reduction:
    left = sink.arrays.tree
    refused = np.flatnonzero(left.result == RESULTS.refused_start)
    if refused.size:
        names = names.telling("refused", f"run {refused[0]}: {_why_refused(run, int(refused[0]))}")
    if isinstance(sink, Folded):
        return Reduction(jax.tree.map(np.asarray, sink.value), left.result, left.stats, names.description)
    each = (run.times, run.tolerances)
    times, tolerances = jax.tree.map(lambda leaf: np.broadcast_to(leaf, (run.lanes.count, *leaf.shape)), each)
    return trajectory_of(times, tolerances, left, names)


def _why_refused(run: BatchRun, lane: int) -> str:
    """The law's own words about one lane, which it says only of values that are not traced."""
    law, state, args, _ = jax.tree.map(jax.numpy.asarray, run.lanes.one(lane))
    try:
        law.check(run.times, state, args)
    except ValueError as error:
        return str(error)
    return "the trajectory to resume did not end at ts[0]."
