"""A failed run has NaN for a derivative wherever anything is asked of it, and zero where nothing is."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lagrangian_learning as ll
from lagrangian_learning.simulate import RESULTS, simulate
from lagrangian_learning.simulate.nan_gradient import nan_gradient
from tests.laws import Motion, Oscillator, array

TS = np.linspace(0, 2, 5)


def run(omega, **settings):
    """An oscillator that needs some twenty steps."""
    start = Motion(array([1.0]), array([0.0]))
    return simulate(Oscillator(omega), start, TS, throw=False, rtol=1e-6, solver=diffrax.Tsit5(), **settings)


ASKED = {
    "last record": lambda path: path.q[-1, 0],
    "first record": lambda path: path.q[0, 0] + path.v[0, 0],
    "end": lambda path: path.final_state.q[0] ** 2,
    "energy": lambda path: path.energy[1],
    "balance": lambda path: path.energy_balance[0],
    "start": lambda path: path.energy_start,
    "statistics": lambda path: path.stats["energy_max"],
}


@pytest.mark.parametrize("mode", [pytest.param(jax.jacrev, marks=pytest.mark.slow), jax.jacfwd])
def test_what_a_failed_run_is_asked_for_has_no_derivative(mode):
    def asked(omega):
        path = run(omega, max_steps=3, adjoint=diffrax.ForwardMode() if mode is jax.jacfwd else None)
        return {name: ask(path) for name, ask in ASKED.items()}

    for name, slope in jax.jit(mode(asked))(array(2.0)).items():
        assert np.isnan(slope), name


@pytest.mark.slow
def test_a_lane_left_out_leaves_the_gradient_of_the_others():
    def loss(omega):
        path = run(omega, max_steps=32)
        value = path.final_state.q[0] + path.q[-1, 0] + path.energy[-1]
        return jnp.where(path.result == RESULTS.successful, value, 0.0), path.result == RESULTS.successful

    omegas = jnp.array([1.0, 50.0, 2.0])
    found, well = jax.jit(jax.vmap(jax.grad(loss, has_aux=True)))(omegas)
    assert well.tolist() == [True, False, True]
    assert found[1] == 0
    t, w = TS[-1], omegas[::2]
    np.testing.assert_allclose(found[::2], -2 * t * np.sin(w * t) + w, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_a_refused_run_has_no_gradient():
    """Its start is returned as it is, and no step depends on the constants."""

    def end(omega):
        path = simulate(Oscillator(omega), Motion(array([jnp.nan]), array([0.0])), TS, throw=False, dt0=0.1)
        return path.stats["num_steps"], path.final_state.v[0]

    (steps, _), slope = end(array(1.0)), jax.grad(lambda omega: end(omega)[1])(array(1.0))
    assert steps == 0
    assert np.isnan(slope)


@pytest.mark.slow
def test_the_energy_balance_has_the_derivative_of_the_energy_at_the_start():
    """Of an undamped oscillator at rest E(t) − E(0) = 0 whatever ω is, and E(0) = ω²/2."""

    def asked(omega):
        path = run(omega)
        return path.energy_balance, path.energy_start

    balance, start = jax.jacrev(asked)(array(2.0))
    np.testing.assert_allclose(balance, 0, atol=1e-4)
    np.testing.assert_allclose(start, 2.0, rtol=1e-12)


@pytest.mark.parametrize("failed", [False, True])
@pytest.mark.parametrize("size", [1e-300, -3.0, 1e300, jnp.nan])
def test_cotangents_of_every_size(failed, size):
    @jax.jit
    def pulled(failed, cotangent):
        _, back = jax.vjp(lambda x: nan_gradient({"y": 2 * x}, x, failed), jnp.array([1.0, 2.0]))
        return back({"y": cotangent})[0]

    found = pulled(failed, jnp.array([0.0, size]))
    expected = np.nan if failed else [0.0, 2 * size]
    np.testing.assert_allclose(found, np.broadcast_to(expected, 2), rtol=1e-12, atol=1e-300)
    np.testing.assert_array_equal(pulled(failed, jnp.zeros(2)), 0)


@pytest.mark.slow
def test_a_gradient_flow_that_runs_out_of_steps():
    """What was found: a value of NaN with a gradient of exactly zero, and at the end that of a shorter run."""
    network = ll.Layered((2, 2, 1))
    stimulus = ll.Stimulus(ll.Sinusoids(jnp.array([1.0, 1.6]), 0.7, 0.1), jnp.array([0.4]))
    W = network.init(jax.random.key(0))

    def ends(gamma):
        law = ll.GradientFlow(network, gamma=gamma)
        path = ll.simulate(law, ll.State(W, None), np.linspace(0.0, 9.0, 3), stimulus, max_steps=4, throw=False)
        return jnp.sum(path.W[0][-1]), jnp.sum(path.final_state.q[0])

    for slope in jax.jacrev(ends)(jnp.asarray(1.0)):
        assert np.isnan(slope)
