"""`value_and_grad_batch`: a loss of every run of a batch and its gradient, chunk by chunk."""

from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float, PyTree

from lagrangian_learning._arrays import is_concrete
from lagrangian_learning._checks import argument_numbers, flag, kind_of, positive_int
from lagrangian_learning._one_kernel import fits, tested
from lagrangian_learning.costs.memory import is_small
from lagrangian_learning.mechanics.law import AbstractLaw
from lagrangian_learning.simulate.inputs import check_law, kinks_known
from lagrangian_learning.simulate.plan import Plan
from lagrangian_learning.simulate.results import RESULTS
from lagrangian_learning.simulate.settings import MAX_STEPS, Settings
from lagrangian_learning.simulate.stabilisation import AbstractStabilisation
from lagrangian_learning.simulate.work import rates_of

from .batch_run import Meter
from .devices import lane_mesh
from .engines import AbstractEngine, DiffraxEngine, SerialEngine
from .gradient_run import GradientRun, carried_out, differentiated, present
from .lanes import Inputs, Lanes, axes_of
from .prepared import noted, prepared

_TRACED = (
    "value_and_grad_batch goes chunk by chunk, with its results on the host, and so is called from Python: inside jit "
    "or vmap use jax.vmap of jax.value_and_grad of ll.simulate."
)


class BatchGradient(NamedTuple):
    """What `value_and_grad_batch` returns, on the host.

    values: the loss of every lane [lanes], NaN of a run that failed.
    gradient: like what is differentiated, None for what is no array of real numbers. What varies has the derivatives of
        each lane, where its lanes are; what lanes share has their sum.
    result: the `ll.RESULTS` code of every lane.
    """

    values: Float[np.ndarray, " lanes"]
    gradient: PyTree
    result: RESULTS


def value_and_grad_batch(
    loss: Callable[..., Any],
    law: AbstractLaw,
    state: PyTree,
    ts: Any,
    args: PyTree = None,
    *,
    argnums: int | tuple[int, ...] = 0,
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
    adjoint: diffrax.AbstractAdjoint | None = None,
    save: Callable[[Array, dict[str, PyTree]], PyTree] | None = None,
    max_steps: int | None = MAX_STEPS,
    progress: bool = True,
    watch: Any = "nothing",
    event: Any = None,
    kinks: Any = None,
    throw: bool = True,
) -> BatchGradient:
    """ℓ_k = loss(path_k) of the runs k = 0, 1, … of `simulate_batch`, and the gradient of Σ_k ℓ_k.

    Lanes are integrated and differentiated chunk by chunk: the device holds what reverse mode keeps of those of one
    chunk alone. Called from Python, outside jit; a second call with the same structure compiles nothing.

    Arguments:
        loss: loss(path) of the `Trajectory` of one lane, or loss(path, args) with its args as well, such as its
            stimulus; one real number. A new function is compiled anew.
        law, state, ts, args, in_axes: as for `simulate_batch`.
        argnums: by what is differentiated, as for `jax.grad`: 0 the law, 1 the state, 2 args, or a tuple of these.
            Broadcast what lanes share, and give it an axis, where its derivative is wanted lane by lane.
        mesh: the devices of this process that share the lanes; None: JAX's default device.
        chunk: the most lanes at once; None: what is estimated to fit, reverse mode included.
        engine: `ll.batch.DiffraxEngine()`: lanes side by side; `ll.batch.SerialEngine()`: one after the other, on a CPU
            as many at once as there are cores. None: the second on a CPU, unless lanes are small and many kernels.
        solver, rtol, atol, dt0, stepsize_controller, stabilisation, adjoint, save, max_steps, event, kinks: as for
            `simulate`. Lower max_steps for adaptive steps: memory follows it.
        watch: as for `simulate`; "nothing" by default, since a loss rarely reads energy and residuals.
        progress: print lanes, lanes a second and time left to standard error, now and then.
        throw: raise RuntimeError as soon as a lane has failed; otherwise its value is NaN and the gradient leaves it
            out, with zeros where it has derivatives of its own.

    Returns a `BatchGradient`. Raises ValueError for arguments that do not fit.
    """
    check_law(law, save)
    flag(progress, "progress")
    flag(throw, "throw")
    if not is_concrete(law, state, args, ts):
        raise ValueError(_TRACED)
    if not callable(loss):
        raise ValueError(f"loss must be a function of a trajectory, got {kind_of(loss)}.")
    chosen = argument_numbers(argnums)
    given = (solver, rtol, atol, dt0, stepsize_controller, stabilisation, adjoint, save, max_steps)
    settings = Settings(*given, watch=watch, event=event, kinks=kinks_known(kinks, args))
    batch, times, tolerances, plan = prepared(Inputs(law, state, args), ts, in_axes, settings)
    plan = plan.counted(ts, dt0)
    moving = differentiated(batch, chosen)
    if not any(jax.tree.leaves(moving)):
        raise ValueError("nothing to differentiate: the arguments of argnums hold no arrays of real numbers.")
    engine = engine_of_gradients(engine, batch.like_one, times, plan)
    run = GradientRun(engine, loss, moving, batch, times, tolerances, plan, lane_mesh(mesh))
    with noted(in_axes):
        size = run.chunk_size(None if chunk is None else positive_int(chunk, "chunk"))
    meter = Meter(batch.count, shown=progress, name="value_and_grad_batch")
    found = carried_out(run, size, meter, throw=throw)
    gradient = eqx.combine(_lanes_back(found.own, batch, in_axes), found.summed)
    parts = tuple(gradient[number] for number in chosen)
    return BatchGradient(found.values, parts if isinstance(argnums, tuple) else parts[0], found.result)


def engine_of_gradients(engine: Any, lane: Inputs, times: Array, plan: Plan) -> AbstractEngine:
    """The engine given, or for None the one known to be fastest (benchmarks/gradients.py)."""
    if engine is None:
        in_turn = jax.default_backend() == "cpu" and (not is_small(lane.state) or _is_one_kernel(lane, times, plan))
        return SerialEngine() if in_turn else DiffraxEngine()
    if not isinstance(engine, DiffraxEngine | SerialEngine):
        raise ValueError(
            "engine must be None, ll.batch.DiffraxEngine() or ll.batch.SerialEngine(): by others a batch is not "
            f"differentiated; got {kind_of(engine)}."
        )
    return engine


def _is_one_kernel(lane: Inputs, times: Array, plan: Plan) -> bool:
    """Whether a run of one lane is one kernel, as far as one evaluation of its law shows."""
    if plan.stabilisation.projects or not tested():
        return False
    arrays, rest = eqx.partition((lane.law, lane.state, lane.args), lambda leaf: hasattr(leaf, "dtype"))
    law = plan.stabilisation.stabilised

    def rates(t: Array, arrays: PyTree) -> PyTree:
        of, state, args = eqx.combine(arrays, rest)
        return rates_of(law(of), t, state, args)

    return fits(jax.make_jaxpr(rates)(jax.ShapeDtypeStruct((), times.dtype), arrays))


def _lanes_back(own: Inputs, batch: Lanes, in_axes: Any) -> Inputs:
    """Derivatives with lanes first, with lanes where the argument has them."""
    inputs = eqx.combine(batch.varied, batch.shared)
    axes = jax.tree.unflatten(jax.tree.structure(inputs), axes_of(inputs, in_axes))
    return jax.tree.map(lambda rows, axis: np.moveaxis(rows, 0, axis), own, eqx.filter(axes, present(own)))
