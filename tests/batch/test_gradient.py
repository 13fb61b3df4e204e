"""The gradient of a batch: chunk by chunk what `jax.grad` of all lanes at once is, and what closed forms say."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lagrangian_learning as ll
from tests.laws import Motion, Oscillator, array

LANES = 37
OMEGA = np.linspace(0.5, 3.0, LANES)
START = Motion(jnp.array([1.0]), jnp.array([0.0]))
TS = np.array([0.0, 0.4, 1.0])
STEPS = {"solver": diffrax.Heun(), "dt0": 0.0025}
ENGINES = [ll.batch.DiffraxEngine(), ll.batch.SerialEngine()]


def end(path):
    return path.q[-1, 0]


def oscillators(omega=OMEGA):
    return jax.vmap(lambda omega: Oscillator(omega))(jnp.asarray(omega))


def derived(loss=end, law=None, state=START, args=None, **settings):
    given = {"in_axes": (0, None, None), "progress": False, "chunk": 8, **STEPS, **settings}
    return ll.value_and_grad_batch(loss, oscillators() if law is None else law, state, TS, args, **given)


@pytest.mark.parametrize("engine", [*ENGINES, None])
def test_the_derivatives_of_lanes_are_those_of_their_closed_forms(engine):
    """q = cos ωt: q(1) = cos ω, ∂q(1)/∂ω = −sin ω, and the start q₀ scales it."""
    found = derived(argnums=(0, 1), engine=engine)
    np.testing.assert_allclose(found.values, np.cos(OMEGA), atol=2e-4)
    law, state = found.gradient
    np.testing.assert_allclose(law.omega, -np.sin(OMEGA), atol=1e-3)
    # What lanes share has the sum over lanes, each once, though chunks are padded.
    np.testing.assert_allclose(state.q, [np.sum(np.cos(OMEGA))], rtol=1e-4)
    np.testing.assert_allclose(state.v, [np.sum(np.sin(OMEGA) / OMEGA)], rtol=1e-4)
    assert (found.result == ll.RESULTS.successful).all()
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(found))


COARSE = {"solver": diffrax.Heun(), "dt0": 0.1}


def squares(path):
    return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(path.final_state.q))


@pytest.fixture(scope="module")
def networks():
    """Nine starts of a network, and the gradient of the sum over them by `jax.vmap` and `jax.grad`."""
    network = ll.Layered((2, 2, 1))
    action = ll.CognitiveAction(network, mass_x=1e-3, mass_W=1.0, dissipation=ll.ExponentialDissipation(2.0))
    stimulus = ll.Stimulus(ll.Sinusoids(jnp.array([1.0, 1.6]), 0.7, 0.1), jnp.array([0.4]))
    law = action.law()
    state = law.initial_state(0.0, network.init(jax.random.key(0)), args=stimulus)
    states = jax.tree.map(lambda leaf: leaf + 0.01 * jnp.arange(9.0).reshape(9, *[1] * leaf.ndim), state)

    def total(moving):
        law, states, stimulus = moving
        return jnp.sum(jax.vmap(lambda one: squares(ll.simulate(law, one, TS, stimulus, **COARSE)))(states))

    return (law, states, stimulus), eqx.filter_jit(eqx.filter_grad(total))((law, states, stimulus))


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_a_network_has_the_gradient_of_jax(engine, networks):
    (law, states, stimulus), expected = networks
    found = ll.value_and_grad_batch(
        squares, law, states, TS, stimulus, argnums=(0, 1, 2), in_axes=(None, 0, None), chunk=4, engine=engine,
        progress=False, **COARSE,
    )  # fmt: skip
    for a, b in zip(jax.tree.leaves(found.gradient), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
    assert found.gradient[0].action.dissipation.theta != 0


def test_lanes_lie_where_they_were():
    states = Motion(jnp.ones((2, LANES)), jnp.zeros((2, LANES)))
    found = derived(state=states, argnums=1, in_axes=(0, 1, None))
    assert found.gradient.q.shape == (2, LANES)
    np.testing.assert_allclose(found.gradient.q, [np.cos(OMEGA), 0 * OMEGA], atol=2e-4)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_lane_that_fails_is_left_out_or_raised(engine):
    omega = np.where(np.arange(LANES) == 11, 1e4, OMEGA)
    found = derived(law=oscillators(omega), argnums=(0, 1), engine=engine, throw=False)
    assert np.flatnonzero(np.isnan(found.values)).tolist() == [11]
    assert np.flatnonzero(found.result == ll.RESULTS.unstable_step).tolist() == [11]
    assert found.gradient[0].omega[11] == 0
    rest = np.delete(OMEGA, 11)
    np.testing.assert_allclose(found.gradient[1].q, [np.sum(np.cos(rest))], rtol=1e-4)
    with pytest.raises(RuntimeError, match=r"run 11 of the batch failed: .*throw=False leaves it out"):
        derived(law=oscillators(omega), engine=engine)


@pytest.mark.slow
def test_records_events_and_adaptive_steps():
    def passing(path):
        return path.event.t

    event = diffrax.Event(lambda t, state, args, **_: state.q[0])
    omega = np.array([2.0, 2.5, 3.0])
    settings = {"dt0": 0.01, "solver": diffrax.Tsit5(), "event": event, "chunk": None}
    found = derived(passing, law=oscillators(omega), throw=True, **settings, max_steps=128)
    np.testing.assert_allclose(found.values, np.pi / 2 / omega, atol=0.011)
    adaptive = derived(lambda path: path.energy[-1], dt0=None, solver=None, rtol=1e-9, watch="saved", max_steps=64)
    np.testing.assert_allclose(adaptive.values, OMEGA**2 / 2, rtol=1e-7)
    np.testing.assert_allclose(adaptive.gradient.omega, OMEGA, rtol=1e-7)


def test_a_second_call_compiles_nothing():
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda name, seconds, **_: compiled.append(name) if "backend_compile" in name else None
    )
    derived(argnums=1)
    compiled.clear()
    derived(argnums=1, law=oscillators(OMEGA + 0.1))
    assert not compiled


def test_chunks_have_room_for_what_reverse_mode_keeps(monkeypatch):
    sizes = []
    real = ll.batch.gradient.carried_out
    monkeypatch.setattr(ll.batch.gradient, "carried_out", lambda run, size, *rest, **named: (
        sizes.append(size), real(run, size, *rest, **named))[1])  # fmt: skip
    monkeypatch.setattr("lagrangian_learning.batch.chunks.device_memory", lambda: 3e5)
    settings = {"chunk": None, "engine": ENGINES[0], "adjoint": ll.Replay()}
    derived(**settings)
    derived(**settings, dt0=0.0005)  # 2048 steps are kept instead of 128
    assert sizes[0] > sizes[1] >= 1


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"loss must return one real number, got an array float64\[3, 1\]"):
        derived(lambda path: path.q)
    with pytest.raises(ValueError, match=r"argnums must be 0 \(the law\), 1 \(the state\), 2 \(args\)"):
        derived(argnums=3)
    with pytest.raises(ValueError, match="nothing to differentiate"):
        derived(argnums=2)
    with pytest.raises(ValueError, match=r"engine must be None, ll.batch.DiffraxEngine\(\)"):
        derived(engine=ll.fused.FusedEngine())
    with pytest.raises(ValueError, match=r"use jax.vmap of jax.value_and_grad of ll.simulate"):
        jax.jit(lambda state: derived(state=state))(START)


def test_shared_and_own_derivatives_are_of_one_dtype():
    single = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), (oscillators(), START))
    found = derived(law=single[0], state=single[1], argnums=(0, 1))
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves((found.values, found.gradient)))
    assert array(1.0).dtype == np.float64


def squared_gap(path, args):
    return (path.q[-1, 0] - args) ** 2


def test_a_loss_may_need_the_args_of_its_lane():
    """(q(1) − a)² at the force a, of q = a + (q₀ − a) cos t: (q₀ − a)² cos² 1, which a moves by −2 (q₀ − a) cos² 1."""
    law, start, forces = Oscillator(array(1.0)), Motion(array([0.3]), array([0.0])), np.linspace(0.0, 1.0, 3)
    found = ll.value_and_grad_batch(
        squared_gap, law, start, TS, jnp.asarray(forces), in_axes=(None, None, 0), argnums=2, progress=False, **STEPS
    )
    np.testing.assert_allclose(found.values, (0.3 - forces) ** 2 * np.cos(1) ** 2, atol=1e-5)
    np.testing.assert_allclose(found.gradient, -2 * (0.3 - forces) * np.cos(1) ** 2, atol=1e-5)
