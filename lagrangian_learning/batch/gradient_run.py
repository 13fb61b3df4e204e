"""The chunks of a batch that is differentiated: values and slopes of their lanes, added up where lanes share."""

import inspect
import itertools
import operator
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Bool, Float, PyTree

from lagrangian_learning._checks import kind_of
from lagrangian_learning.costs.hardware import usable_cores
from lagrangian_learning.simulate.plan import Plan, Tolerances
from lagrangian_learning.simulate.results import RESULTS
from lagrangian_learning.simulate.run import trajectory_of
from lagrangian_learning.simulate.table import message_of
from lagrangian_learning.simulate.trajectory import names_of

from .batch_run import Meter, prefetch, threaded_map
from .chunks import chunk_size, padded
from .devices import LANES, num_devices, on_all, over_devices
from .engines import AbstractEngine, SerialEngine, run_lane
from .lanes import Inputs, Lanes


class Slopes(NamedTuple):
    """Of a chunk, lanes first: values, `RESULTS` codes, whether they failed, the derivatives by what varies; and the
    derivatives by what lanes share, summed over them, one row a device.
    """

    values: Float[Array, " lanes"]
    result: RESULTS
    failed: Bool[Array, " lanes"]
    own: PyTree
    summed: PyTree


class GradientRun(NamedTuple):
    """All that decides what comes out: `moving` is true at the leaves of a lane that are differentiated."""

    engine: AbstractEngine
    loss: Callable[..., Any]
    moving: Inputs
    lanes: Lanes
    times: Array
    tolerances: Tolerances
    plan: Plan
    mesh: Mesh | None

    @property
    def workers(self) -> int:
        """How many chunks run at once: XLA keeps all its threads busy with one, except for engines of one core."""
        alone = self.engine.one_core and self.mesh is None and jax.default_backend() == "cpu"
        return usable_cores() if alone else 1

    def chunk_size(self, chunk: int | None) -> int:
        """The lanes of a chunk, whose memory has what reverse mode keeps of each."""
        lane = self.lanes.like_one
        given = (self.lanes.count, num_devices(self.mesh), lane, self.times, self.plan)
        moving = tuple(eqx.filter(lane, self.moving)[:3])
        return chunk_size(chunk, *given, workers=self.workers, one_core=self.engine.one_core, moving=moving)

    def chunks(self, size: int) -> Iterator[Slopes]:
        """Of each chunk in turn; the next ones run while one is looked at."""
        shared = on_all(self.mesh, (self.lanes.shared, self.times, self.tolerances))
        still = (self.engine, self.loss, self.moving, self.plan, self.mesh)

        def launched(given: tuple[Inputs, Array]) -> Slopes:
            return run(*still, *given, *shared)

        run: Any = _slopes
        starts = range(0, self.lanes.count, size)
        chunks = (self._given(first, size) for first in starts)
        if self.workers == 1 or len(starts) == 1:
            return prefetch(map(launched, chunks))
        # Compiled and put on the device here: a thread has a JAX context of its own, with another precision maybe.
        given = next(chunks)
        run = _slopes.lower(*still, *given, *shared).compile()
        return threaded_map(launched, itertools.chain([given], chunks), self.workers)

    def _given(self, first: int, size: int) -> tuple[Inputs, Array]:
        """The lanes of a chunk on their devices, padded to what is computed, and which of them count."""
        computed = padded(size, num_devices(self.mesh), self.lanes.like_one)
        counts = np.arange(computed) < min(size, self.lanes.count - first)
        return over_devices(self.mesh, (self.lanes.chunk(first, computed), counts))


def carried_out(run: GradientRun, size: int, meter: Meter, *, throw: bool) -> Slopes:
    """All chunks, put together on the host; RuntimeError for the first lane that failed, with `throw`."""
    parts: list[Slopes] = []
    for first, found in zip(range(0, run.lanes.count, size), run.chunks(size), strict=True):
        count = min(size, run.lanes.count - first)
        # Sums of many chunks are of many small terms.
        summed = jax.tree.map(lambda rows: np.sum(np.asarray(rows), axis=0, dtype=np.float64), found.summed)
        each = jax.tree.map(lambda rows, count=count: np.asarray(rows)[:count], found._replace(summed=None))
        parts.append(each._replace(summed=summed))
        failed = np.flatnonzero(each.failed)
        if throw and failed.size:
            message = message_of(each.result, failed[0])
            raise RuntimeError(
                f"run {first + failed[0]} of the batch failed: {message} throw=False leaves it out of the gradient."
            )
        meter.advance(count, failed.size)
    joined = jax.tree.map(lambda *rows: np.concatenate(rows), *(part._replace(summed=None) for part in parts))
    like = eqx.filter(run.lanes.shared, run.moving)
    summed = jax.tree.map(lambda leaf, *sums: np.asarray(sum(sums), leaf.dtype), like, *(p.summed for p in parts))
    return joined._replace(summed=summed)


def differentiated(lanes: Lanes, chosen: tuple[int, ...]) -> Inputs:
    """Whether each leaf of a lane is differentiated: real numbers in arrays, of the arguments chosen."""
    given = lanes.like_one

    def moves(leaf: Any) -> bool:
        return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.inexact)

    return Inputs(*(jax.tree.map(moves if n in chosen else lambda _: False, part) for n, part in enumerate(given)))


@eqx.filter_jit
def _slopes(
    engine: AbstractEngine,
    loss: Callable,
    moving: Inputs,
    plan: Plan,
    mesh: Mesh | None,
    varied: Inputs,
    counts: Bool[Array, " lanes"],
    shared: Inputs,
    times: Array,
    tolerances: Tolerances,
) -> Slopes:
    arrays, rest = eqx.partition((shared, times, tolerances, plan), eqx.is_array)

    def of_device(varied: Inputs, counts: Array, arrays: PyTree) -> Slopes:
        shared, times, tolerances, plan = eqx.combine(arrays, rest)
        derived = _derived_lane(loss, moving, shared, times, tolerances, plan)
        return _over_lanes(engine, derived, eqx.filter(shared, moving), varied, counts)

    if mesh is None:
        return of_device(varied, counts, arrays)
    by_lane = PartitionSpec(LANES)
    given = (by_lane, by_lane, PartitionSpec())
    sharded = jax.shard_map(of_device, mesh=mesh, in_specs=given, out_specs=by_lane, check_vma=False)
    return sharded(varied, counts, arrays)


def _derived_lane(
    loss: Callable, moving: Inputs, shared: Inputs, times: Array, tolerances: Tolerances, plan: Plan
) -> Callable[[Inputs, Array], tuple[Slopes, PyTree]]:
    """What a lane has for its own, and its share of the sum: none where it does not count, or failed."""

    def derived(varied: Inputs, counts: Array) -> tuple[Slopes, PyTree]:
        moves, still = eqx.partition(eqx.combine(varied, shared), moving)

        def value(moves: Inputs) -> tuple[Array, tuple[RESULTS, Array]]:
            lane = eqx.combine(moves, still)
            outcome = run_lane(lane, times, tolerances, plan)
            names = names_of(lane.law, plan.save, plan.description_of(lane.law))
            path = trajectory_of(times, tolerances, outcome, names)
            number = _real(loss(path, lane.args) if takes_args(loss) else loss(path))
            return number, (outcome.result, outcome.failed)

        (number, (result, failed)), slope = jax.value_and_grad(value, has_aux=True)(moves)
        slope = jax.tree.map(lambda leaf: jnp.where(failed | ~counts, 0, leaf), slope)
        own, summed = eqx.filter(slope, present(varied)), eqx.filter(slope, present(shared))
        return Slopes(jnp.where(failed, jnp.nan, number), result, failed, own, None), summed

    return derived


def takes_args(loss: Callable) -> bool:
    """Whether it needs two arguments, loss(path, args), and not the path alone."""
    try:
        parameters = inspect.signature(loss).parameters.values()
    except (TypeError, ValueError):  # some callables of C have none
        return False
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return len([1 for p in parameters if p.kind in positional and p.default is inspect.Parameter.empty]) > 1


def present(tree: PyTree) -> PyTree:
    """Whether there is something at each leaf."""
    return jax.tree.map(lambda leaf: leaf is not None, tree, is_leaf=lambda leaf: leaf is None)


def _real(value: Any) -> Array:
    number = jnp.asarray(value) if isinstance(value, float | int | np.ndarray | Array) else value
    if jnp.ndim(number) or not jnp.issubdtype(jnp.result_type(number), jnp.floating):
        raise ValueError(f"loss must return one real number, got {kind_of(value)}.")
    return number


def _over_lanes(engine: AbstractEngine, derived: Callable, shared: PyTree, varied: Inputs, counts: Array) -> Slopes:
    """Of all lanes of a device, as the engine takes them: in turn, or side by side."""
    if isinstance(engine, SerialEngine):

        def one(total: PyTree, lane: tuple[Inputs, Array]) -> tuple[PyTree, Slopes]:
            found, more = derived(*lane)
            return jax.tree.map(operator.add, total, more), found

        summed, found = jax.lax.scan(one, jax.tree.map(jnp.zeros_like, shared), (varied, counts))
    else:
        found, every = eqx.filter_vmap(derived)(varied, counts)
        summed = jax.tree.map(lambda rows: jnp.sum(rows, axis=0), every)
    return found._replace(summed=jax.tree.map(lambda leaf: leaf[None], summed))
