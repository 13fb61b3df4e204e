"""Costs against closed forms, and estimates of runs that nobody could start here."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lagrangian_learning as ll
from lagrangian_learning.batch import chunks
from lagrangian_learning.batch.lanes import Inputs
from lagrangian_learning.costs import cost_of
from lagrangian_learning.costs.memory import evaluation_bytes, num_bytes
from lagrangian_learning.simulate.inputs import checked_times
from lagrangian_learning.simulate.settings import Settings

FLAT = ll.costs.Hardware(
    "test", {"float32": 1e12, "float64": 1e12}, bandwidth=1e9, memory=1e9, cache_bandwidth=1e9, cache=0.0,
    launch=0.0, link_bandwidth=1e9, link_latency=1e-3,
)  # fmt: skip


def problem(width, depth=2, dtype=jnp.float64):
    network = ll.Layered((width,) * (depth + 1))
    law = ll.CognitiveAction(network, mass_x=1e-3 / width).law()
    W = jax.eval_shape(lambda key: network.init(key, dtype), jax.random.key(0))
    stimulus = ll.Stimulus(ll.Constant(jnp.zeros(width, dtype)), jnp.zeros(width, dtype))
    return law, ll.State(W, W), stimulus


def test_products_are_counted_with_their_loops():
    matrix, vector = jax.ShapeDtypeStruct((30, 20), jnp.float32), jax.ShapeDtypeStruct((20,), jnp.float32)
    assert cost_of(jnp.matmul, matrix, vector) == (2 * 30 * 20, 4 * (30 * 20 + 20 + 30), 1, 1, 0)

    def powers(a, x):
        again = jax.lax.fori_loop(0, 5, lambda _, y: a.T @ (a @ y), x)
        return jax.lax.while_loop(lambda y: jnp.sum(y) < 1, lambda y: a.T @ (a @ y), again)

    cost = cost_of(powers, matrix, vector, loop_steps=3)
    assert cost.products == 2 * (5 + 3)
    assert cost.flops == pytest.approx(2 * (5 + 3) * 2 * 30 * 20, rel=0.05)


def test_convolution_and_cholesky():
    image, kernel = jax.ShapeDtypeStruct((1, 3, 8, 8), jnp.float64), jax.ShapeDtypeStruct((4, 3, 2, 2), jnp.float64)
    cost = cost_of(lambda x, w: jax.lax.conv(x, w, (1, 1), "VALID"), image, kernel)
    assert cost.flops == 2 * (4 * 7 * 7) * (3 * 2 * 2)
    matrix = jax.ShapeDtypeStruct((30, 30), jnp.float64)
    factor = cost_of(lambda a: jax.lax.linalg.cholesky(a, symmetrize_input=False), matrix)
    assert 30**3 / 3 <= factor.flops <= 30**3 / 3 + 4 * 30**2  # zeroing the other triangle is counted too


def test_one_evaluation_moves_the_weights_as_often_as_its_sweeps_read_them():
    """W and Ẇ forward, W both ways for each of k solver steps, which bring the last backward wave with them; Ẇ for the
    drag, Ẅ written, Ẇ copied.
    """
    law, state, stimulus = problem(512)
    k = 4
    t = jax.ShapeDtypeStruct((), jnp.float64)
    cost = cost_of(law.vector_field, t, state, stimulus, loop_steps=k)
    assert cost.bytes / num_bytes(state.q) == pytest.approx(6 + 2 * k, rel=0.1)


def test_a_run_of_a_billion_weights_is_told_without_allocating_it():
    law, state, stimulus = problem(32768, depth=1, dtype=jnp.float32)
    told = ll.estimate(law, state, [0.0, 1.0], stimulus, steps=1000, hardware="h100", saved=jnp.zeros(3))
    assert told.state_bytes == 2 * 4 * 32768**2
    assert not told.fits
    assert "DOES NOT FIT" in str(told)
    shared = ll.estimate(
        law, state, [0.0, 1.0], stimulus, steps=1000, hardware="h100", saved=jnp.zeros(3), weight_devices=8
    )
    assert shared.fits
    assert shared.memory == pytest.approx(told.memory / 8)
    assert shared.seconds < told.seconds


def test_lanes_are_chunked_to_what_fits_and_time_follows():
    law, state, stimulus = problem(64)
    few, many, spread = (
        ll.estimate(law, state, np.linspace(0, 1, 11), stimulus, dt0=0.05, hardware=FLAT, lanes=n, lane_devices=d)
        for n, d in ((1, 1), (100_000, 1), (100_000, 100))
    )
    assert few.steps == 20
    assert few.lanes_at_once == 1
    assert many.lanes_at_once < 100_000
    assert many.memory <= FLAT.memory
    assert many.seconds == pytest.approx(100_000 * few.seconds, rel=0.1)
    assert spread.seconds == pytest.approx(many.seconds / 100, rel=0.1)


@pytest.mark.slow
def test_large_lanes_of_a_cpu_go_in_turn_a_core_each():
    """Cores share the memory's bandwidth, and start kernels each for itself; small lanes go side by side."""
    law, state, stimulus = problem(64)
    bandwidth = FLAT._replace(cores=2, scalars=1e30, flops={"float64": 1e30})
    kernels = bandwidth._replace(bandwidth=1e30, launch=1e-6)

    def told(hardware, lanes, given=(law, state, stimulus)):
        law, state, stimulus = given
        return ll.estimate(
            law, state, [0.0, 1.0], stimulus, steps=1, hardware=hardware, lanes=lanes, saved=jnp.zeros(1)
        )

    assert told(bandwidth, 9).seconds_a_step == pytest.approx(9 * told(bandwidth, 1).seconds_a_step)
    assert told(kernels, 9).seconds_a_step == pytest.approx(5 * told(kernels, 1).seconds_a_step)
    assert told(kernels, 9).lanes_under_way == 2
    assert "9 at once on a device, of these 2 under way" in str(told(kernels, 9))
    one, two, nine = (told(kernels, lanes).memory for lanes in (1, 2, 9))
    assert one < two < 2 * one  # what they share is held once
    assert two < nine < 9 * one / 2
    assert told(kernels, 9, problem(4)).lanes_under_way == 9


def test_bad_settings_say_the_remedy():
    law, state, stimulus = problem(4)
    with pytest.raises(ValueError, match="either steps"):
        ll.estimate(law, state, [0.0, 1.0], stimulus, hardware=FLAT)
    with pytest.raises(ValueError, match="lanes must be a positive integer"):
        ll.estimate(law, state, [0.0, 1.0], stimulus, steps=3, hardware=FLAT, lanes=0)
    with pytest.raises(ValueError, match="one of h100, h200"):
        ll.estimate(law, state, [0.0, 1.0], stimulus, steps=3, hardware="abacus")
    with pytest.raises(ValueError, match="steps must be a positive integer, got -1"):
        ll.estimate(law, state, [0.0, 1.0], stimulus, steps=-1, hardware=FLAT)
    with pytest.raises(ValueError, match="must increase strictly"):
        ll.estimate(law, state, [1.0, 0.0], stimulus, steps=3, hardware=FLAT)
    batch = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((2, *leaf.shape), leaf.dtype), state)
    with pytest.raises(ValueError, match="expected shapes"):
        ll.estimate(law, batch, [0.0, 1.0], stimulus, steps=3, hardware=FLAT)


def test_few_numbers_start_no_kernel():
    """Single numbers are arithmetic: 10 for a tanh, 3 for what else; vectors start a kernel every second equation."""
    few, many = jax.ShapeDtypeStruct((), jnp.float32), jax.ShapeDtypeStruct((100,), jnp.float32)
    function = lambda x: 2 * jnp.tanh(x) * x + x  # noqa: E731
    assert cost_of(function, few) == (13, 0, 0, 0, 13)
    assert cost_of(function, many) == (1300, 2 * 4 * 100, 0, 2, 0)
    small = jax.ShapeDtypeStruct((2, 2), jnp.float32), jax.ShapeDtypeStruct((2,), jnp.float32)
    assert cost_of(jnp.matmul, *small) == (8, 0, 1, 0, 8)


def test_small_systems_are_bound_by_single_numbers_and_lanes_share_their_instructions():
    law, state, stimulus = problem(2)
    slow = FLAT._replace(scalars=1e6, elementwise=1e9, bandwidth=1e12)
    one, few, many = (
        ll.estimate(law, state, [0.0, 1.0], stimulus, steps=1, hardware=slow, lanes=n, saved=jnp.zeros(1))
        for n in (1, 1000, 2000)
    )
    assert one.bound_by == "single numbers"
    stages, watched = one.evaluations_a_step, one.seconds_a_step * 1e6
    assert stages * one.evaluation.scalars < watched < (stages + 2) * one.evaluation.scalars
    assert few.seconds_a_step < 2 * one.seconds_a_step
    assert many.seconds_a_step == pytest.approx(2 * few.seconds_a_step, rel=0.01)


@pytest.mark.parametrize(
    ("engine", "width", "lanes", "memory"),
    [
        (ll.batch.DiffraxEngine(), 2, 4096, 2e10),
        (ll.batch.DiffraxEngine(), 2, 4096, 1e6),  # where memory decides
        (ll.fused.FusedEngine(), 2, 4096, 2e10),
        (ll.batch.SerialEngine(), 40, 100, 2e10),
    ],
    ids=["diffrax", "little memory", "fused", "serial"],
)
def test_a_chunk_is_that_of_a_batch(engine, width, lanes, memory, monkeypatch):
    """`estimate` and `simulate_batch` ask one function, here about one law, its records and its memory."""
    law, state, stimulus = problem(width)
    cores = 2
    told = ll.estimate(
        law, state, [0.0, 1.0], stimulus, steps=1, lanes=lanes, saved=jax.ShapeDtypeStruct((), jnp.float64),
        hardware=FLAT._replace(lanes=1024, cores=cores, memory=memory), engine=engine,
    )  # fmt: skip
    times = checked_times([0.0, 1.0], jnp.float64)
    _, plan = Settings(dt0=0.1, save=lambda t, observables: t).prepared(law, times)
    workers = cores if engine.one_core else 1
    monkeypatch.setattr(chunks, "device_memory", lambda: memory)
    monkeypatch.setattr(chunks, "_CERTAINLY", 2**40)  # always measured
    lane = Inputs(law, state, stimulus)
    size = chunks.chunk_size(None, lanes, 1, lane, times, plan, workers=workers, one_core=engine.one_core)
    assert told.chunk == size
    assert told.lanes_at_once == min(lanes, workers * size)
    assert told.seconds == pytest.approx(-(-lanes // told.lanes_at_once) * told.seconds_a_step)


def test_operations_of_products_are_those_that_xla_counts():
    """Without loops, which XLA counts as if they ran once: an oracle of another house."""
    matrix, vector = jax.ShapeDtypeStruct((300, 200), jnp.float32), jax.ShapeDtypeStruct((200,), jnp.float32)
    image, kernel = jax.ShapeDtypeStruct((1, 3, 8, 8), jnp.float32), jax.ShapeDtypeStruct((4, 3, 2, 2), jnp.float32)
    for function, *at in (
        (lambda a, x: a.T @ (a @ x), matrix, vector),
        (lambda x, w: jax.lax.conv(x, w, (1, 1), "VALID"), image, kernel),
    ):
        by_xla = jax.jit(function).lower(*at).cost_analysis()["flops"]
        assert cost_of(function, *at).flops == pytest.approx(by_xla, rel=0.01)


def test_memory_of_an_evaluation_is_that_of_the_compiled_one():
    """Results, and what is needed on the way to them: here two matrices and one."""
    x = jax.ShapeDtypeStruct((200,), jnp.float64)
    matrix = 8 * 200**2
    assert evaluation_bytes(lambda x: jnp.sin(x), x) == 8 * 200
    held = evaluation_bytes(lambda x: jnp.outer(x, x) @ jnp.outer(jnp.sin(x), x), x)
    assert 2 * matrix <= held <= 3.1 * matrix


@pytest.mark.slow
def test_the_device_at_hand_is_measured():
    here = ll.costs.measure_hardware(entries=2**22)
    assert min(here.bandwidth, here.cache_bandwidth, here.launch, here.memory, here.scalars, *here.flops.values()) > 0
    assert here.elementwise > here.scalars
    assert here.cache_bandwidth >= here.bandwidth
