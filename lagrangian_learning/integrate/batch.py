"""`simulate_batch`: many runs in one call, chunk by chunk, on one device or many."""

from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, PyTree

from lagrangian_learning.mechanics.law import AbstractLaw

from .engine import Outcome, Plan
from .engines import AbstractEngine, resolve_engine
from .hosted import HostArrays
from .lanes import Inputs, lanes_of
from .preparation import MAX_STEPS, Settings, check_law, described, trajectory_of
from .settings import Tolerances, checked_times, state_dtype
from .stabilisation import AbstractStabilisation
from .trajectory import Trajectory


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
    max_steps: int | None = MAX_STEPS,
    progress: bool = True,
    throw: bool = False,
) -> Trajectory:
    """`simulate` of many runs, lanes, that differ in law, state or args."""
    check_law(law, save)
    dtype = state_dtype(state)
    times = checked_times(ts, dtype)
    settings = Settings(
        solver, rtol, atol, dt0, stepsize_controller, stabilisation, None, save, max_steps, diffrax.NoProgressMeter()
    )
    tolerances, plan = settings.prepared(law, times)
    lanes = lanes_of(Inputs(law, jax.tree.map(lambda leaf: np.asarray(leaf, dtype), state), args), in_axes)
    chosen = resolve_engine(engine, lanes.like_one, times, plan)
    size = lanes.count if chunk is None else chunk
    outcome = HostArrays(lanes.count)
    for start in range(0, lanes.count, size):
        outcome.fill(start, _run(chosen, lanes.chunk(start, size), lanes.shared, times, tolerances, plan))
    everywhere = np.broadcast_to(times, (lanes.count, *times.shape))
    return trajectory_of(law, everywhere, tolerances, plan, outcome.tree, described(law, plan))


@eqx.filter_jit
def _run(
    engine: AbstractEngine, varied: Inputs, shared: Inputs, times: Array, tolerances: Tolerances, plan: Plan
) -> Outcome:
    return engine.run_chunk(varied, shared, times, tolerances, plan)
