"""(20) and its three costates at single states, against NumPy; what the boundary-value reading asks of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lagrangian_learning as ll
from tests.helpers import flat

CYCLE = [(0, 3), (1, 2), (2, 3), (3, 4), (2, 5), (4, 5), (5, 2), (4, 4)]
SOURCE, TARGET = np.array(CYCLE).T
INPUT, WANTED = np.array([0.4, -0.8]), 0.3
GAMMA, SPEED, THETA = 1.7, 4.0, 0.6
SIGNS = {"sign_flip": -1, "forward": 1}

X, DELTA = np.cos(np.arange(6.0)), np.sin(1 + np.arange(6.0))
W = 0.8 * np.cos(2 + np.arange(8.0))


@pytest.fixture(scope="module")
def stimulus():
    return ll.Stimulus(jnp.asarray(INPUT), jnp.array([WANTED]))


def cyclic(costate):
    return ll.BackpropDiffusion(ll.Digraph(6, CYCLE, 2, 1), ll.SquaredError(), GAMMA, SPEED, THETA, costate=costate)


def a_state():
    return ll.State((jnp.asarray(X), jnp.asarray(W)), None, multipliers=jnp.asarray(DELTA))


def image_and_slope():
    a = np.zeros(6)
    np.add.at(a, TARGET, W * X[SOURCE])
    image, slope = np.tanh(a), 1 - np.tanh(a) ** 2
    image[:2], slope[:2] = INPUT, 0
    return image, slope


def jacobian():
    matrix = np.zeros((6, 6))
    matrix[TARGET, SOURCE] = W
    return np.eye(6) - image_and_slope()[1][:, None] * matrix


@pytest.mark.parametrize("costate", SIGNS)
def test_rates_on_a_cycle_are_the_equations_by_hand(costate, stimulus):
    law = cyclic(costate)
    image, slope = image_and_slope()
    error = np.zeros(6)
    error[-1] = X[-1] - WANTED
    x_dot, W_dot = SPEED * (image - X), slope[TARGET] * DELTA[TARGET] * X[SOURCE] / GAMMA
    delta_dot = SIGNS[costate] * SPEED * (jacobian().T @ DELTA + error) - THETA * DELTA
    found = law.rates(0.0, a_state(), stimulus).state
    for ours, hand in zip((*found.q, found.multipliers), (x_dot, W_dot, delta_dot), strict=True):
        np.testing.assert_allclose(ours, hand, atol=1e-14)
    seen = law.observables(0.0, a_state(), stimulus)
    named = {name: seen[key][k] for name, (key, k) in law.aliases.items()}
    for name, wanted in {"x": X, "W": W, "x_dot": x_dot, "W_dot": W_dot}.items():
        np.testing.assert_allclose(named[name], wanted, atol=1e-14)
    np.testing.assert_array_equal(seen["multipliers"], DELTA)


@pytest.mark.parametrize("costate", SIGNS)
def test_growth_rate_on_a_cycle_is_that_of_the_spectrum(costate):
    spectrum = SIGNS[costate] * SPEED * np.linalg.eigvals(jacobian()) - THETA
    np.testing.assert_allclose(cyclic(costate).growth_rate(a_state()), np.max(spectrum.real), rtol=1e-12)


@pytest.mark.parametrize("costate", SIGNS)
def test_the_linear_part_is_the_diagonal_of_the_equations(costate):
    part = cyclic(costate).linear_part
    found = part.apply(jnp.asarray(0.0), a_state())
    np.testing.assert_allclose(found.q[0], -SPEED * X)
    np.testing.assert_array_equal(found.q[1], 0 * W)
    np.testing.assert_allclose(found.multipliers, -(THETA - SIGNS[costate] * SPEED) * DELTA)
    assert float(part.over(jnp.asarray(0.0), jnp.asarray(0.5)).layer) == -SPEED * 0.5


@pytest.mark.parametrize(("costate", "theta", "undo"), [("sign_flip", 0.6, True), ("parity", 5.0, False)])
def test_what_moves_the_weights_has_no_stationary_gain(costate, theta, undo):
    sign = -1 if costate == "sign_flip" else 1
    gains = (1 - sign * theta / SPEED) ** -np.arange(3.0, 0, -1)
    law = ll.BackpropDiffusion(ll.Layered((2, 3, 1)), speed=SPEED, theta=theta, costate=costate, undo_gain=undo)
    delta = (jnp.array([0.3, -1.0]), jnp.array([0.5, 2.0, -0.7]), jnp.array([1.2]))
    found = law.learning_multipliers(ll.State(None, None, multipliers=delta))
    for ours, given, gain in zip(found, delta, gains, strict=True):
        np.testing.assert_allclose(ours, given / gain, rtol=1e-14)


def test_a_costate_runs_away_beyond_a_million_of_what_the_loss_explains(stimulus):
    law, error = cyclic("sign_flip"), abs(X[-1] - WANTED)
    for size, stops in ((0.99e6, False), (1.01e6, True)):
        delta = jnp.full(6, size * (1 + error))
        assert bool(law.stops(0.0, ll.State(a_state().q, None, multipliers=delta), stimulus)) == stops


def test_at_a_cycle_waves_start_and_stay_where_they_are_given(stimulus):
    law, weights = cyclic("sign_flip"), jnp.asarray(W)
    start = law.initial_state(0.0, weights, args=stimulus)
    assert not np.any(flat((start.q[0], start.multipliers)))
    given = law.initial_state(0.0, weights, args=stimulus, x=jnp.asarray(X), multipliers=jnp.asarray(DELTA))
    np.testing.assert_array_equal(flat(given), flat(a_state()))
    np.testing.assert_array_equal(flat(law.stationary(0.0, given, stimulus)), flat(given))


def test_the_boundary_value_reading(key, stimulus):
    network = ll.Layered((2, 3, 1))
    law = ll.BackpropDiffusion(network, gamma=GAMMA, speed=SPEED)
    W = network.init(key)
    far = jax.tree.map(jnp.ones_like, law.initial_state(0.0, W, args=stimulus))
    far = ll.State((far.q[0], W), None, multipliers=far.multipliers)
    still = law.rates(0.0, law.stationary(0.0, far, stimulus), stimulus).state
    np.testing.assert_allclose(flat((still.q[0], still.multipliers)), 0, atol=1e-15)
    causal, costate = law.split(far)
    np.testing.assert_array_equal(flat(law.joined(0.0, causal, costate, stimulus)), flat(far))
    assert not np.any(flat(law.natural_condition(1.0, far, stimulus)))
    assert float(law.slowed(3.0).gamma) == 3 * GAMMA
    assert float(law.fastest_rate) == SPEED
