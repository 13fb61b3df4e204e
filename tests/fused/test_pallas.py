"""Whole trajectories in one kernel: interpreted, the same runs as the fused engine; for a GPU, up to the lowering."""

import sys

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lagrangian_learning as ll
from lagrangian_learning import fused
from lagrangian_learning.batch.lanes import Inputs, lanes_of
from lagrangian_learning.fused import FusedEngine
from lagrangian_learning.simulate.preparation import Settings
from lagrangian_learning.simulate.settings import checked_times
from tests.fused.test_fused import TS, agree, both, released, swings, xor_lanes
from tests.laws import Motion, NaNAfter, Oscillator, Pendulum, oscillator_at

INTERPRETED = ll.fused.PallasEngine(block=4, interpret=True)


def interpreted(law, states, args=None, **settings):
    return both(law, states, args, engines=(INTERPRETED, "fused"), **settings)


def test_constant_steps_follow_the_closed_form():
    """Five lanes in blocks of four, so that the last block is filled up."""
    path = ll.simulate_batch(
        Oscillator(2.0), swings(5), TS, None, in_axes=(None, 0, None), engine=INTERPRETED,
        solver=diffrax.Heun(), dt0=1e-3, progress=False,
    )  # fmt: skip
    for lane, start in enumerate(np.linspace(0.5, 1.5, 5)):
        np.testing.assert_allclose(path.q[lane, :, 0], oscillator_at(TS, 2.0, start, 0.0), atol=5e-6)
    assert "pallas" in str(path)


@pytest.mark.slow
def test_a_bad_lane_has_its_own_fate():
    states = Motion(jnp.zeros((3, 1)), jnp.ones((3, 1)))
    pallas, fused = interpreted(NaNAfter(), states, jnp.asarray([9.0, 0.7, 9.0]), solver=diffrax.Heun(), dt0=0.05)
    np.testing.assert_array_equal(pallas.result == ll.RESULTS.non_finite, [False, True, False])
    agree(pallas, fused, 1e-13)


@pytest.mark.slow
def test_adaptive_steps_with_projection_are_those_of_the_fused_engine():
    pallas, fused = interpreted(Pendulum(9.81), released(), solver=diffrax.Heun(), rtol=1e-5)
    np.testing.assert_array_equal(pallas.stats["num_steps"], fused.stats["num_steps"])
    agree(pallas.saved, fused.saved, 1e-9)
    assert np.max(pallas.constraint_residual) < 1e-14


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 2e-5)])
def test_the_xor_network_equals_the_fused_engine(dtype, tolerance):
    law, states, stimuli = xor_lanes(dtype)
    pallas, fused = interpreted(law, states, stimuli, solver=diffrax.Heun(), dt0=0.05)
    assert all(leaf.dtype == dtype for leaf in pallas.W)
    agree(pallas.saved, fused.saved, tolerance)


def lowered(law, states, args, axes, **settings):
    """The text for a GPU of the chunk of a batch; no GPU is needed to write it."""
    dtype = jax.tree.leaves(states)[0].dtype
    times = checked_times(TS, dtype)
    tolerances, plan = Settings(**settings).prepared(law, times)
    lanes = lanes_of(Inputs(law, jax.tree.map(np.asarray, states), args), axes)

    def run(varied, shared, times, tolerances):
        return ll.fused.PallasEngine().run_chunk(varied, shared, times, tolerances, plan).records

    traced = jax.jit(run).trace(lanes.chunk(0, lanes.count), lanes.shared, times, tolerances)
    return traced.lower(lowering_platforms=("cuda",)).as_text()


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_xor_network_is_lowered_to_triton(dtype):
    law, states, stimuli = xor_lanes(dtype)
    assert "__gpu$xla.gpu.triton" in lowered(law, states, stimuli, (None, 0, 0), solver=diffrax.Heun(), dt0=0.05)


@pytest.mark.slow
def test_adaptive_steps_with_projection_are_lowered_to_triton():
    text = lowered(Pendulum(9.81), released(), None, (None, 0, None), solver=diffrax.Tsit5(), rtol=1e-5)
    assert "__gpu$xla.gpu.triton" in text


def test_without_a_gpu_it_is_refused_with_the_remedy():
    if jax.default_backend() == "gpu":
        pytest.skip("there is a GPU")
    settings = {"in_axes": (None, 0, None), "dt0": 0.1, "progress": False}
    with pytest.raises(ValueError, match=r"for GPUs, and JAX runs on a cpu here; engine=ll\.PallasEngine\(interpret"):
        ll.simulate_batch(Oscillator(2.0), swings(), TS, engine="pallas", **settings)


def test_without_pallas_it_is_refused_by_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "jax.experimental.pallas", None)
    monkeypatch.delitem(sys.modules, "lagrangian_learning.fused.pallas_kernel", raising=False)
    monkeypatch.delattr(fused, "in_registers", raising=False)
    settings = {"in_axes": (None, 0, None), "dt0": 0.1, "progress": False}
    with pytest.raises(ValueError, match=r'this JAX has no Pallas for GPUs; a newer one has\. Use engine="auto"'):
        ll.simulate_batch(Oscillator(2.0), swings(), TS, engine=INTERPRETED, **settings)


def test_what_the_fused_engine_refuses_is_refused():
    times = checked_times(TS, np.float64)
    _, plan = Settings(dt0=0.1).prepared(Oscillator(2.0), times)
    lane = Inputs(Oscillator(2.0), Motion(np.ones(100), np.ones(100)), None)
    assert INTERPRETED.refusal(lane, times, plan) == FusedEngine().refusal(lane, times, plan) is not None


class Halving(Oscillator):
    """An oscillator whose rates take a loop of unknown length."""

    def rates(self, t, state, args):
        shift = jax.lax.while_loop(lambda x: x > 1, lambda x: x / 2, t + 3)
        return Oscillator.rates(self, t, state, shift)


def test_steps_that_are_no_arithmetic_are_refused_in_words():
    settings = {"in_axes": (None, 0, None), "dt0": 0.1, "solver": diffrax.Heun(), "progress": False}
    with pytest.raises(ValueError, match=r'engine="pallas" cannot integrate this: its steps need while, which'):
        ll.simulate_batch(Halving(2.0), swings(), TS, engine=INTERPRETED, **settings)


class Driven(Oscillator):
    """An oscillator whose force is looked up."""

    def rates(self, t, state, args):
        return Oscillator.rates(self, t, state, args[jnp.asarray(1000 * t, jnp.int32)])


@pytest.mark.parametrize("entries", [5000, 50])
def test_tables_are_refused_in_words(entries):
    settings = {"in_axes": (None, 0, None), "dt0": 0.1, "solver": diffrax.Heun(), "progress": False}
    with pytest.raises(ValueError, match=r'engine="pallas" cannot integrate this: its steps need dynamic_slice'):
        ll.simulate_batch(Driven(2.0), swings(), TS, jnp.ones(entries), engine=INTERPRETED, **settings)


def test_blocks_are_powers_of_two():
    with pytest.raises(ValueError, match="power of two, got 48"):
        ll.fused.PallasEngine(block=48)
