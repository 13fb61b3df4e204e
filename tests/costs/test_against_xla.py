"""`ll.estimate` against XLA's account of what is compiled, and against what `simulate_batch` does. Nothing is run."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lagrangian_learning as ll
from lagrangian_learning.batch import chunks
from lagrangian_learning.batch.batch_run import BatchRun
from lagrangian_learning.batch.devices import _run_chunk
from lagrangian_learning.batch.engines import engine_for
from lagrangian_learning.batch.lanes import Inputs, Lanes
from lagrangian_learning.costs import cost_of
from lagrangian_learning.costs.loop import live_slopes
from lagrangian_learning.costs.program import Program
from lagrangian_learning.simulate.inputs import checked_times
from lagrangian_learning.simulate.run import integrate
from lagrangian_learning.simulate.settings import Settings
from tests.laws import Motion, Oscillator

FACTOR = 1.3
HERE = ll.costs.Hardware(
    "test", {"float32": 1e12, "float64": 1e12}, bandwidth=1e9, memory=2e10, cache_bandwidth=1e9, cache=0.0,
    launch=0.0, link_bandwidth=1e9, link_latency=1e-3, lanes=1024,
)  # fmt: skip


def last(t, observables):
    return observables["q"][-1]


def motion(size):
    shape = jax.ShapeDtypeStruct((size,), jnp.float64)
    return Motion(shape, shape)


def network(kind, width):
    layers = ll.Layered((width, width, width))
    law = ll.CognitiveAction(layers, mass_x=1e-3 / width).law() if kind == "sweeps" else ll.GradientFlow(layers)
    W = jax.eval_shape(layers.init, jax.random.key(0))
    state = ll.State(W, W if kind == "sweeps" else None)
    return law, state, ll.Stimulus(ll.Constant(jnp.zeros(width)), jnp.zeros(width))


def chain(size):
    law = ll.EulerLagrange(ll.Lagrangian(lambda t, q, v, _: (jnp.sum(v**2) - jnp.sum(jnp.diff(q) ** 2)) / 2))
    return law, ll.State(motion(size).q, motion(size).v), None


def compiled(fn, *args):
    dynamic, static = eqx.partition(args, lambda leaf: hasattr(leaf, "dtype"))
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), dynamic)
    return jax.jit(lambda arrays: eqx.filter(fn(*eqx.combine(arrays, static)), eqx.is_array)).lower(shapes).compile()


def held(program):
    used = program.memory_analysis()
    return used.argument_size_in_bytes + used.output_size_in_bytes + used.temp_size_in_bytes - used.alias_size_in_bytes


def planned(solver, save=last):
    times = checked_times([0.0, 1.0], jnp.float64)
    return times, *Settings(solver=solver, dt0=0.1, save=save).prepared(Oscillator(1.0), times)


def batched(state, lanes):
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((lanes, *leaf.shape), leaf.dtype), state)


def lanes_of(law, state, args, lanes):
    none = jax.tree.map(lambda leaf: None, Inputs(law, state, args))
    return Lanes(none._replace(state=batched(state, lanes)), Inputs(law, none.state, args))


@pytest.mark.parametrize(
    ("solver", "size"),
    [
        (diffrax.Tsit5(), 20_000),  # stages in Diffrax's loop
        pytest.param(diffrax.Heun(), 20_000, marks=pytest.mark.slow),  # written out
        pytest.param(diffrax.Tsit5(), 200_000, marks=pytest.mark.slow),  # written out for its size
        pytest.param(diffrax.Dopri8(), 200_000, marks=pytest.mark.slow),
        pytest.param(diffrax.Euler(), 20_000, marks=pytest.mark.slow),
    ],
    ids=["loop", "written out", "large", "many stages", "one stage"],
)
def test_memory_of_a_run_is_that_of_the_compiled_one(solver, size):
    law, state = Oscillator(1.0), motion(size)
    times, tolerances, plan = planned(solver)
    used = held(compiled(integrate, law, state, times, None, tolerances, plan, None, None))
    saved = jax.ShapeDtypeStruct((), jnp.float64)
    told = ll.estimate(law, state, [0.0, 1.0], dt0=0.1, solver=solver, hardware=HERE, saved=saved)
    assert 1 / FACTOR <= told.memory / used <= FACTOR


@pytest.mark.parametrize(
    ("law", "state", "args"),
    [
        network("flow", 300),
        chain(50_000),
        pytest.param(*network("sweeps", 300), marks=pytest.mark.slow),
    ],
    ids=["gradient flow", "chain of masses", "sweeps"],
)
def test_an_evaluation_moves_and_computes_what_xla_says(law, state, args):
    """XLA counts one step of a loop."""
    at = (jax.ShapeDtypeStruct((), jnp.float64), state, args)
    cost, counted = cost_of(law.rates, *at), compiled(law.rates, *at).cost_analysis()
    operations = counted["flops"] + 10 * counted.get("transcendentals", 0)
    assert 1 / FACTOR <= cost.flops / operations <= FACTOR
    assert 1 / FACTOR <= cost.bytes / counted["bytes accessed"] <= FACTOR


@pytest.mark.parametrize(
    ("engine", "size", "lanes", "memory", "save"),
    [
        (ll.batch.DiffraxEngine(), 16, 5000, 2e10, last),
        (ll.batch.DiffraxEngine(), 16, 5000, 4e6, last),
        (ll.batch.SerialEngine(), 2000, 300, 2e8, last),
        (None, 2, 50_000, 2e10, last),
        (None, 2, 10, 2e10, last),
        (None, 2000, 300, 2e10, last),
        (None, 2000, 300, 1e8, None),
    ],
    ids=["diffrax", "little memory", "serial", "small", "few", "large", "all observables"],
)
@pytest.mark.parametrize(
    "solver", [diffrax.Heun(), pytest.param(diffrax.Tsit5(), marks=pytest.mark.slow)], ids=["heun", "tsit5"]
)
def test_a_batch_is_planned_as_it_is_estimated(engine, size, lanes, memory, save, solver, monkeypatch):
    """Engine, lanes of a chunk and bytes of a lane: from both the same."""
    law, state = Oscillator(1.0), motion(size)
    times, tolerances, plan = planned(solver, save)
    cores = 2
    saved = None if save is None else jax.ShapeDtypeStruct((), jnp.float64)
    hardware = HERE._replace(memory=memory, cores=cores)
    told = ll.estimate(
        law, state, [0.0, 1.0], dt0=0.1, solver=solver, lanes=lanes, hardware=hardware, saved=saved, engine=engine
    )
    monkeypatch.setattr(chunks, "device_memory", lambda: memory)
    monkeypatch.setattr("lagrangian_learning.batch.batch_run.usable_cores", lambda: cores)
    lane = Inputs(law, state, None)
    chosen = engine_for(engine, lane, lanes, times, tolerances, plan)
    run = BatchRun(chosen, lanes_of(law, state, None, lanes), times, tolerances, plan, None)
    size = chunks.chunk_size(None, lanes, 1, lane, times, plan, workers=run.workers, one_core=chosen.one_core)
    assert (told.engine, told.chunk) == (chosen.name, size)
    assert told.chunks == -(-lanes // size)
    assert told.lanes_at_once == min(lanes, run.workers * size)
    alone = chunks.lane_memory(lane, times, plan, one_core=chosen.one_core)
    assert told.memory_of_chunk == alone.of(size)
    assert told.memory == alone.of(told.lanes_at_once, run.workers)
    assert told.memory_of_chunk <= memory / 2 / (run.workers + 1)


@pytest.mark.parametrize(
    ("engine", "size", "memory"),
    [
        (ll.batch.DiffraxEngine(), 64, 1e7),
        pytest.param(ll.batch.SerialEngine(), 2000, 3e8, marks=pytest.mark.slow),
        pytest.param(ll.fused.FusedEngine(), 2, 1.2e7, marks=pytest.mark.slow),
    ],
    ids=["diffrax", "serial", "fused"],
)
def test_a_compiled_chunk_holds_what_was_planned(engine, size, memory, monkeypatch):
    """A chunk that memory has limited: what XLA says of it is predicted, and within what a chunk may take."""
    law, state, workers = Oscillator(1.0), motion(size), 2 if engine.one_core else 1
    times, tolerances, plan = planned(diffrax.Heun())
    monkeypatch.setattr(chunks, "device_memory", lambda: memory)
    lane = Inputs(law, state, None)
    count = chunks.chunk_size(None, 100_000, 1, lane, times, plan, workers=workers, one_core=engine.one_core)
    assert count < (chunks.most_lanes(cpu=True, in_blocks=size == 2))
    given = lanes_of(law, state, None, count)
    used = held(compiled(_run_chunk, engine, *given, times, tolerances, plan, None))
    told = chunks.lane_memory(lane, times, plan, one_core=engine.one_core).of(count)
    assert 1 / FACTOR <= told / used <= FACTOR
    assert used <= memory / 2 / (workers + 1)


def test_slopes_that_a_step_holds():
    """By hand from the tableaus: of Bosh3 all three, of Dopri8 the second to fifth are read no more at its end."""
    solvers = (diffrax.Heun, diffrax.Bosh3, diffrax.Tsit5, diffrax.Dopri8)
    assert [live_slopes(solver.tableau) for solver in solvers] == [1, 3, 6, 10]


def test_equal_operations_count_once_and_unused_ones_do_not():
    x = jax.ShapeDtypeStruct((100,), jnp.float64)

    def repeated(x):
        jnp.sin(x)
        return jnp.exp(x) + 1.0 * jnp.exp(x) + 0.0

    program = Program(jax.make_jaxpr(repeated)(x).jaxpr)
    assert [operation.name for operation in program.operations] == ["exp", "add"]


def test_bytes_are_those_that_kernels_read_and_write():
    """By hand: a sum of squares reads its array; what is elementwise is written once; an input handed on is copied."""
    x = jax.ShapeDtypeStruct((100,), np.float64)
    size = 8 * 100
    assert cost_of(lambda x: jnp.sum(x * x), x).bytes == size
    assert cost_of(lambda x: jnp.sin(x) * x + 2.0, x).bytes == 2 * size
    assert cost_of(lambda x: x, x).bytes == 2 * size
    assert cost_of(lambda x: (jnp.diff(x), x), x).bytes == 2 * (size - 8) + 2 * size
