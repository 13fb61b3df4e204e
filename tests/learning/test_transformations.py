"""jit, vmap over stimuli and grad through `simulate`, and that a second call compiles nothing."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import lagrangian_learning as ll
from tests.helpers import flat

TS = jnp.linspace(0.0, 0.5, 3)
NETWORK = ll.Layered((2, 2, 1))


def stimulus_of(amplitude):
    return ll.Stimulus(ll.Sinusoids(jnp.array([2.0, 3.0]), amplitude, jnp.array([0.1, 0.7])), jnp.array([0.4]))


def law_of(mass_x=0.2, mass_W=0.7, theta=0.9):
    return ll.CognitiveAction(NETWORK, mass_x=mass_x, mass_W=mass_W, dissipation=ll.ExponentialDissipation(theta)).law()


@pytest.fixture
def W(key):
    return NETWORK.init(key)


@pytest.mark.slow
def test_vmap_over_stimuli_equals_each_stimulus_alone(W):
    law, ts = law_of(), TS
    amplitudes = jnp.array([[1.0, 0.5], [0.3, -1.2], [0.0, 2.0]])
    stimuli = jax.vmap(stimulus_of)(amplitudes)
    paths = jax.vmap(lambda s: ll.simulate(law, law.initial_state(0.0, W, args=s), ts, s))(stimuli)
    for lane, amplitude in enumerate(amplitudes):
        s = stimulus_of(amplitude)
        alone = ll.simulate(law, law.initial_state(0.0, W, args=s), ts, s)
        for name in ("W", "x", "W_dot", "multipliers", "energy"):
            batched = jax.tree.map(lambda leaf, lane=lane: leaf[lane], getattr(paths, name))
            np.testing.assert_allclose(flat(batched), flat(getattr(alone, name)), rtol=1e-12, atol=1e-14)
    changed = flat(jax.tree.map(lambda leaf: leaf[:, -1] - leaf[:, 0], paths.W))
    assert np.max(np.abs(changed)) > 1e-3


def learned(constants):
    """A number made of all that a run ends with, as a function of every constant, the weights and the input."""
    law = law_of(constants["mass_x"], constants["mass_W"], constants["theta"])
    stimulus = stimulus_of(constants["amplitude"])
    state = law.initial_state(0.0, constants["W"], args=stimulus)
    path = ll.simulate(law, state, TS, stimulus, solver=diffrax.Tsit5(), dt0=0.05, max_steps=64)
    end = ravel_pytree((path.W, path.W_dot, path.x, path.multipliers))[0]
    return end @ jnp.cos(jnp.arange(end.size))


@pytest.mark.slow
def test_gradient_through_a_run_against_finite_differences(W):
    constants = {
        "mass_x": jnp.asarray(0.2),
        "mass_W": jnp.asarray(0.7),
        "theta": jnp.asarray(0.9),
        "amplitude": jnp.array([1.0, 0.6]),
        "W": W,
    }
    value = jax.jit(learned)
    gradient = jax.jit(jax.grad(learned))(constants)
    at, unravel = ravel_pytree(constants)
    gradient, h = flat(gradient), 2e-5
    steps = h * np.eye(at.size)
    difference = [(value(unravel(at + step)) - value(unravel(at - step))) / (2 * h) for step in steps]
    np.testing.assert_allclose(gradient, difference, rtol=1e-6, atol=1e-7 * np.max(np.abs(gradient)))
    assert np.all(np.abs(gradient) > 1e-6), "a constant has no effect"


@pytest.fixture
def compiled():
    """The names of JAX's timed events so far, one a compilation."""
    events = []

    def listen(name, duration, **kwargs):
        if name.endswith("backend_compile_duration"):
            events.append(name)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield events
    jax.monitoring.unregister_event_duration_listener(listen)


def test_a_second_run_compiles_nothing(W, compiled):
    """Other weights, stimulus, masses and times of the same shapes."""

    def run(mass_x, scale):
        law, stimulus = law_of(mass_x), stimulus_of(jnp.array([1.0, scale]))
        state = law.initial_state(0.0, jax.tree.map(lambda w: scale * w, W), args=stimulus)
        return ll.simulate(law, state, TS * scale, stimulus, solver=diffrax.Heun())

    run(0.1, 1.0)
    assert compiled
    compiled.clear()
    run(0.3, 0.5)
    assert not compiled


def test_a_second_call_evaluates_nothing_outside_what_is_compiled(W):
    """Signals and potentials are rows of small operations, which outside jit take longer than a short run."""
    calls = []

    def target(t):
        calls.append(t)
        return 0.3 * jnp.ones(1)

    def potential(output, wanted):
        calls.append(output)
        return jnp.sum((output - wanted) ** 2) / 2

    action = ll.CognitiveAction(NETWORK, potential=potential, mass_x=0.1)
    law, stimulus = action.law(), ll.Stimulus(ll.Sinusoids(jnp.array([1.0, 0.6])), target)

    def run():
        ll.simulate(law, law.initial_state(0.0, W, args=stimulus), [0.0, 0.1], stimulus, solver=diffrax.Heun(), dt0=0.1)

    run()
    assert calls
    calls.clear()
    run()
    assert not calls


@pytest.mark.slow
def test_float32_runs_in_float32_and_near_float64(W):
    ends = []
    for dtype in (jnp.float64, jnp.float32):
        law, stimulus = law_of(), stimulus_of(jnp.array([1.0, 0.6]))
        state = law.initial_state(0.0, jax.tree.map(lambda w, d=dtype: w.astype(d), W), args=stimulus)
        path = ll.simulate(law, state, TS.astype(dtype), stimulus)
        assert {leaf.dtype for leaf in jax.tree.leaves((path.W, path.x, path.multipliers))} == {jnp.dtype(dtype)}
        ends.append(flat(path.W).astype(np.float64))
    np.testing.assert_allclose(ends[1], ends[0], atol=1e-4)


@pytest.mark.slow
def test_diffrax_takes_the_law_without_simulate(W):
    law, stimulus = law_of(), stimulus_of(jnp.array([1.0, 0.6]))
    state = law.initial_state(0.0, W, args=stimulus)
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(law.vector_field),
        diffrax.Tsit5(),
        0.0,
        0.5,
        0.01,
        state,
        stimulus,
    )
    end = jax.tree.map(lambda leaf: leaf[-1], solution.ys.q)
    ours = jax.tree.map(lambda leaf: leaf[-1], ll.simulate(law, state, TS, stimulus).W)
    np.testing.assert_allclose(flat(end), flat(ours), rtol=1e-8)
