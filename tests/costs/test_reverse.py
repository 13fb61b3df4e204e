"""Estimates of gradients against XLA's account of compiled ones, and against what `value_and_grad_batch` does."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import pytest

import lagrangian_learning as ll
from lagrangian_learning.batch import chunks, gradient as gradients
from lagrangian_learning.batch.gradient_run import GradientRun, differentiated
from lagrangian_learning.batch.lanes import Inputs
from tests.costs.test_against_xla import FACTOR, HERE, chain, compiled, held, lanes_of, motion, network, planned
from tests.laws import Oscillator

NUMBER = jax.ShapeDtypeStruct((), jnp.float64)


def time_only(t, observables):
    return t


def told(law, state, args, **settings):
    return ll.estimate(law, state, [0.0, 1.0], args, hardware=HERE, saved=NUMBER, **settings)


@pytest.mark.parametrize(
    ("given", "solver", "max_steps"),
    [
        (chain(20_000), diffrax.Heun(), 64),
        (chain(20_000), diffrax.Heun(), 4096),
        pytest.param(chain(20_000), diffrax.Dopri8(), 4096, marks=pytest.mark.slow),
        pytest.param(network("sweeps", 300), diffrax.Heun(), 64, marks=pytest.mark.slow),
        pytest.param(network("flow", 300), diffrax.Tsit5(), 4096, marks=pytest.mark.slow),
    ],
    ids=["chain of masses, few steps", "chain of masses", "many stages", "sweeps", "gradient flow"],
)
def test_memory_of_a_gradient_is_that_of_the_compiled_one(given, solver, max_steps):
    law, state, args = given

    def value(state, args, ts):
        path = ll.simulate(
            law, state, ts, args, solver=solver, dt0=jnp.asarray(0.01), max_steps=max_steps, save=time_only, throw=False
        )
        return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(path.final_state.q))

    times = jax.ShapeDtypeStruct((2,), jnp.float64)
    used = held(compiled(eqx.filter_value_and_grad(value), state, args, times))
    found = told(law, state, args, steps=100, solver=solver, argnums=1, max_steps=max_steps)
    assert 1 / FACTOR <= found.memory / used <= FACTOR
    assert found.states_kept == ll.Replay().copies(max_steps, state)


def test_what_reverse_mode_keeps_follows_max_steps_unless_steps_are_known():
    law, state, args = chain(1000)
    settings = {"solver": diffrax.Heun(), "argnums": 1}
    many, few = (told(law, state, args, steps=100, **settings, max_steps=most) for most in (2**20, 2**10))
    known = told(law, state, args, dt0=0.01, **settings)
    assert (many.states_kept, few.states_kept) == (1024 + 1 + 1024, 32 + 1 + 32)
    assert known.states_kept < 128 + 3  # all of 102 steps, at most a power of two, fit into 16 MB
    alone = told(law, state, args, dt0=0.01, solver=diffrax.Heun())
    assert alone.states_kept == 0
    assert alone.seconds < known.seconds < many.seconds  # no step is made again of which the state was kept
    assert known.seconds_a_step == alone.seconds_a_step
    assert "states kept" in str(many)
    assert "states kept" not in str(alone)


@pytest.mark.slow
def test_a_gradient_by_more_costs_more():
    law, state, args = network("sweeps", 64)
    by = [told(law, state, args, steps=10, solver=diffrax.Heun(), argnums=chosen) for chosen in (1, (0, 1, 2))]
    assert by[0].memory < by[1].memory
    assert by[0].seconds <= by[1].seconds


@pytest.mark.parametrize(("size", "memory"), [(16, 2e10), (16, 4e6), (2000, 2e8)])
def test_a_batch_is_planned_as_it_is_estimated(size, memory, monkeypatch):
    law, state, lanes, cores = Oscillator(1.0), motion(size), 5000, 2
    monkeypatch.setattr(chunks, "device_memory", lambda: memory)
    monkeypatch.setattr("lagrangian_learning.batch.gradient_run.usable_cores", lambda: cores)
    times, tolerances, plan = planned(diffrax.Heun())
    plan = plan.counted(times, 0.1)
    lane = Inputs(law, state, None)
    engine = gradients.engine_of_gradients(None, lane, times, plan)
    given = lanes_of(law, state, None, lanes)
    run = GradientRun(engine, None, differentiated(given, (1,)), given, times, tolerances, plan, None)
    hardware = HERE._replace(memory=memory, cores=cores)
    found = ll.estimate(
        law, state, [0.0, 1.0], dt0=0.1, solver=diffrax.Heun(), lanes=lanes, hardware=hardware, saved=NUMBER, argnums=1
    )
    assert (found.engine, found.chunk) == (engine.name, run.chunk_size(None))


def test_what_is_differentiated_must_be_said_in_numbers():
    law, state, args = chain(10)
    with pytest.raises(ValueError, match=r"argnums must be 0 \(the law\), 1 \(the state\), 2 \(args\)"):
        told(law, state, args, steps=10, argnums=3)
    with pytest.raises(ValueError, match="max_steps must be"):
        told(law, state, args, steps=10, argnums=1, max_steps=0)
