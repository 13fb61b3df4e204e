"""jit, vmap, grad, and compiling once."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lagrangian_learning as ll
from lagrangian_learning.simulate import NoStabilisation, simulate
from tests.laws import Counting, Motion, Oscillator, Pendulum, array, at_rest, oscillator_at, released

TS = np.linspace(0, 1, 3)


def end(gravity, **settings):
    path = simulate(Pendulum(gravity), released(), TS, solver=diffrax.Tsit5(), **settings)
    return path.q[-1] @ jnp.array([1.0, 2.0])


def difference(f, at, h=1e-4):
    """Central, of fourth order."""
    return (8 * (f(at + h) - f(at - h)) - (f(at + 2 * h) - f(at - 2 * h))) / (12 * h)


@pytest.mark.parametrize(
    "settings",
    [
        {"dt0": 0.05},
        pytest.param({"dt0": 0.05, "stabilisation": NoStabilisation()}, marks=pytest.mark.slow),
        pytest.param({"rtol": 1e-9}, marks=pytest.mark.slow),
        pytest.param({"dt0": 0.05, "max_steps": 32, "adjoint": diffrax.DirectAdjoint()}, marks=pytest.mark.slow),
    ],
    ids=["projection", "no projection", "adaptive", "direct"],
)
def test_gradient(settings):
    gradient = jax.grad(lambda g: end(g, **settings))(array(9.81))
    np.testing.assert_allclose(gradient, difference(lambda g: end(g, **settings), array(9.81)), rtol=1e-6)


@pytest.mark.slow
def test_gradient_by_backsolve():
    settings = {"rtol": 1e-10, "stabilisation": NoStabilisation()}
    exact = jax.grad(lambda g: end(g, **settings))(array(9.81))
    back = jax.grad(lambda g: end(g, adjoint=diffrax.BacksolveAdjoint(), **settings))(array(9.81))
    np.testing.assert_allclose(back, exact, rtol=1e-6)


def test_forward_mode():
    tangent = jax.jvp(lambda g: end(g, dt0=0.05, adjoint=diffrax.ForwardMode()), (array(9.81),), (array(1.0),))[1]
    np.testing.assert_allclose(tangent, difference(lambda g: end(g, dt0=0.05), array(9.81)), rtol=1e-6)


@pytest.mark.slow
def test_gradient_through_jit_and_vmap():
    omegas = jnp.array([1.0, 2.0])

    @jax.jit
    @jax.vmap
    @jax.grad
    def slope(omega):
        return simulate(Oscillator(omega), at_rest(), TS, dt0=0.02).q[-1, 0]

    np.testing.assert_allclose(slope(omegas), -np.sin(omegas), rtol=1e-6)


@pytest.mark.slow
def test_vmap_over_states_and_args():
    starts = Motion(jnp.array([[1.0], [2.0]]), jnp.zeros((2, 1)))
    path = jax.vmap(lambda s, a: simulate(Oscillator(array(2.0)), s, TS, a))(starts, jnp.zeros(2))
    assert path.q.shape == (2, 3, 1)
    assert path.ts.shape == (2, 3)
    for lane, amplitude in enumerate([1.0, 2.0]):
        np.testing.assert_allclose(path.q[lane, :, 0], oscillator_at(TS, 2.0, amplitude, 0.0), atol=1e-9)


def test_a_trajectory_passes_through_jit():
    path = jax.jit(lambda q: simulate(Oscillator(array(2.0)), Motion(q, q * 0), TS))(array([1.0]))
    np.testing.assert_allclose(path.q[:, 0], oscillator_at(TS, 2.0, 1.0, 0.0), atol=1e-9)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(path))
    assert "successful" in str(path)


def test_a_second_call_compiles_nothing():
    traces = []
    law = Counting(array(2.0), traces=traces)
    simulate(law, at_rest(), TS, rtol=1e-6)
    first = len(traces)
    assert first > 0
    with jax.log_compiles(), pytest.MonkeyPatch.context() as patch:
        compiled = []
        import logging

        handler = logging.Handler()
        handler.emit = lambda record: compiled.append(record.getMessage())
        logger = logging.getLogger("jax")
        patch.setattr(logger, "handlers", [handler])
        simulate(Counting(array(3.0), traces=traces), at_rest(0.5), TS * 2, rtol=1e-7)
    assert len(traces) == first
    assert not [message for message in compiled if "Compiling" in message], compiled


@pytest.mark.slow
def test_a_run_traces_its_law_few_times():
    calls = []

    def density(t, q, v, args):
        calls.append(t)
        return v @ v / 2 - q[1]

    law = ll.EulerLagrange(ll.Lagrangian(density), ll.Holonomic(lambda t, q, args: q @ q - 1))
    state = ll.State(jnp.array([1.0, 0.0]), jnp.zeros(2))
    eqx.filter_eval_shape(lambda start: ll.simulate(law, start, jnp.linspace(0.0, 1.0, 3)), state)
    assert len(calls) <= 40  # traces of the rates, of a correction and of the observables, not of each of their uses


@pytest.mark.slow
def test_backsolve_records_what_save_returns():
    """q = cos t alone, an array where observables are a dictionary."""
    law = ll.EulerLagrange(ll.Lagrangian(lambda t, q, v, args: (v @ v - q @ q) / 2))
    settings = {"adjoint": diffrax.BacksolveAdjoint(), "solver": diffrax.Tsit5(), "dt0": 0.05}
    path = ll.simulate(
        law, ll.State(np.ones(1), np.zeros(1)), np.array([0.0, 1.0]), save=lambda t, seen: seen["q"][0], **settings
    )
    np.testing.assert_allclose(path.saved, [1.0, np.cos(1.0)], rtol=1e-6)


def test_a_saved_time_inside_a_long_adaptive_run_does_not_move_its_end():
    """By ts: at the last time the field, at the first −Φ f, and nothing between, to the tolerance.

    Steps cut to land on a saved time are as long as ts say; steps after them that kept that derivative grew it
    tenfold an interval: 10⁻³ at rtol = 10⁻⁸, and 4 at 10⁻⁶.
    """
    law = ll.GradientFlow(ll.Layered((1, 1)), gamma=1.0)
    stimulus = ll.Stimulus(ll.Sinusoids(jnp.array([1.0]), 0.02, 0.1), jnp.array([0.4]))
    start = law.initial_state(0.0, law.network.init(jax.random.key(0)), args=stimulus)

    def end(ts):
        path = ll.simulate(law, start, ts, stimulus, solver=diffrax.Tsit5(), rtol=1e-8)
        return jax.tree.leaves(path.final_state)[0][0, 0], path.final_state

    ts = jnp.linspace(0.0, 300.0, 7)
    by_ts, state = jax.jacfwd(end, has_aux=True)(ts)
    field = jax.tree.leaves(law.vector_field(ts[-1], state, stimulus))[0][0, 0]
    np.testing.assert_allclose(by_ts[-1], field, rtol=1e-6)
    np.testing.assert_allclose(by_ts[1:-1], 0.0, atol=1e-6)
