"""Soft constraints, −½ κ |G|² in the action: against equations by hand, and against the hard constraints."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lagrangian_learning as ll
from tests.helpers import flat, mostly_slow, relative

TIME = 0.3


def stimulus_of(network, dtype=jnp.float64):
    frequency = 1 + jnp.arange(int(np.prod(network.input_shape)), dtype=dtype).reshape(network.input_shape) / 2
    return ll.Stimulus(ll.Sinusoids(frequency, 0.6, 0.2 * frequency), jnp.full(network.output_shape, 0.4, dtype))


def soft(network, kappa, mass_x=0.05, theta=0.6, **settings):
    dissipation = ll.ExponentialDissipation(theta)
    return ll.CognitiveAction(network, mass_x=mass_x, mass_W=0.7, dissipation=dissipation, stiffness=kappa, **settings)


def in_motion(law, kappa, dtype=jnp.float64):
    """A state with every velocity, and a displacement of order 1/κ."""
    W = law.network.init(jax.random.key(3), dtype)
    stimulus = stimulus_of(law.network, dtype)
    delta, rate = (
        jax.tree.map(lambda x, k=k: k * jnp.cos(3 * x + k), law.network.forward(W, stimulus.input(TIME)))
        for k in (0.7, 0.4)
    )
    return ll.State((delta, W), (rate, jax.tree.map(lambda w: 0.4 * jnp.cos(3 * w), W))), stimulus


def test_accelerations_by_hand():
    """m (q̈ + r q̇) = −∂_q (V + ½ κ |G|²) with x by a sweep written apart."""
    kappa, law = 50.0, soft(ll.Layered((2, 3, 1)), 50.0).law()
    state, stimulus = in_motion(law, kappa)
    (delta, W), (delta_dot, W_dot) = state.q, state.v

    def neurons(t, errors, weights):
        x = [0.6 * jnp.sin(jnp.array([1.0, 1.5]) * t + 0.2 * jnp.array([1.0, 1.5])) + errors[0] / kappa]
        for matrix, error in zip(weights, errors[1:], strict=True):
            x.append(jnp.tanh(matrix @ x[-1]) + error / kappa)
        return tuple(x)

    def penalised(x, weights):
        gaps = [x[0] - stimulus.input(TIME)]
        gaps += [above - jnp.tanh(m @ below) for m, below, above in zip(weights, x, x[1:], strict=False)]
        return 0.5 * jnp.sum((x[-1] - 0.4) ** 2) + kappa / 2 * sum(jnp.sum(gap**2) for gap in gaps)

    x, x_dot = jax.jvp(neurons, (TIME, delta, W), (1.0, delta_dot, W_dot))
    by_x, by_W = jax.grad(penalised, (0, 1))(x, W)
    (x_ddot, W_ddot), errors = law.accelerations(TIME, state, stimulus)
    np.testing.assert_allclose(flat(x_ddot), -flat(by_x) / 0.05 - 0.6 * flat(x_dot), rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(flat(W_ddot), -flat(by_W) / 0.7 - 0.6 * flat(W_dot), rtol=1e-11, atol=1e-12)
    np.testing.assert_array_equal(flat(errors), flat(delta))
    seen = law.observables(TIME, state, stimulus)
    np.testing.assert_allclose(flat(seen["q"]), flat((x, W)), rtol=1e-14)
    np.testing.assert_allclose(flat(seen["v"]), flat((x_dot, W_dot)), rtol=1e-13)


def inertial(t, x, x_dot, x_ddot, W, W_dot, W_ddot, stimulus):
    return 0.1 * sum(jnp.sum(w**2) for w in jax.tree.leaves(W_dot)) + 0.05 * sum(jnp.sum(v) for v in x_dot)


NETWORKS = {
    "bias": (ll.Layered((2, 3, 1), bias=True), {}),
    "digraph": (ll.networks.xor_network(), {}),
    "batched": (ll.Batched(ll.Layered((2, 3, 1)), 3), {}),
    "rescaled": (ll.Rescaled(ll.Layered((2, 3, 1)), (0.5, 2.0)), {}),
    "weight decay": (ll.Layered((2, 3, 1)), {"terms": ll.WeightDecay(0.3)}),
    "terms of order 1": (ll.Layered((2, 3, 1)), {"terms": ll.Term(inertial)}),
}


@pytest.mark.parametrize("kind", mostly_slow(NETWORKS, "batched"))
def test_the_coordinates_of_errors_and_of_neurons_agree(kind):
    """(κG, W) against the Euler–Lagrange equations of the same density on (x, W), which know neither δ nor sweeps."""
    (network, settings), kappa = NETWORKS[kind], 20.0
    action = soft(network, kappa, **settings)
    law, direct = action.law(), ll.EulerLagrange(action.lagrangian)
    state, stimulus = in_motion(law, kappa)
    full = law.full_state(TIME, state, stimulus)
    full = ll.State(full.q, full.v)
    top, delta = law.accelerations(TIME, state, stimulus)
    assert relative(top, direct.accelerations(TIME, full, stimulus)[0]) < 1e-11
    gap = network.constraint(*full.q, stimulus.input(TIME))
    assert relative(jax.tree.map(lambda g: kappa * g, gap), delta) < 1e-13
    np.testing.assert_allclose(law.energy(TIME, state, stimulus), direct.energy(TIME, full, stimulus), rtol=1e-12)
    rates = law.rates(TIME, state, stimulus)
    np.testing.assert_allclose(rates.power, direct.rates(TIME, full, stimulus).power, rtol=1e-11)

    def errors(t, q):
        return jax.tree.map(lambda g: kappa * g, network.constraint(*q, stimulus.input(t)))

    def errors_rate(t, q, v):
        return jax.jvp(errors, (t, q), (1.0, v))[1]

    changed = jax.jvp(errors_rate, (TIME, full.q, full.v), (1.0, full.v, top))[1]
    assert relative(rates.state.v[0], changed) < 1e-12


def test_the_power_is_the_rate_of_the_energy():
    law = soft(ll.Layered((2, 3, 1)), 1e6).law()
    state, stimulus = in_motion(law, 1e6)
    rates = law.rates(TIME, state, stimulus)
    tangent = jax.jvp(lambda t, s: law.energy(t, s, stimulus), (jnp.asarray(TIME), state), (1.0, rates.state))[1]
    np.testing.assert_allclose(rates.power, tangent, rtol=1e-9)


def test_single_precision_keeps_the_digits_that_a_difference_loses():
    network, kappa = ll.Layered((2, 3, 1)), 1e6
    law = soft(network, kappa).law()
    state, stimulus = in_motion(law, kappa)
    exact = law.accelerations(TIME, state, stimulus)[0]
    narrow = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), state)
    single = stimulus_of(network, jnp.float32)
    assert relative(law.accelerations(TIME, narrow, single)[0], exact) < 2e-6
    full = law.full_state(TIME, narrow, single)
    direct = ll.EulerLagrange(soft(network, kappa).lagrangian)
    lossy = direct.accelerations(TIME, ll.State(full.q, full.v), single)[0]
    assert relative(lossy, exact) > 1e-3


def runs(network, kappas, moving, start, ts):
    """W of the soft constraints at each κ, and of the hard ones, with κG − δ; at saved times."""
    settings = {"solver": diffrax.Dopri8(), "rtol": 1e-9, "atol": 1e-11, "max_steps": 200_000}
    W, stimulus = network.init(jax.random.key(0)), stimulus_of(network)
    W_dot = jax.tree.map(lambda w: 0.4 * jnp.cos(3 * w), W) if moving else None
    hard = eqx.tree_at(lambda a: a.stiffness, soft(network, 1.0), None).law()
    exact = ll.simulate(hard, hard.initial_state(0.0, W, W_dot, stimulus), ts, args=stimulus, **settings)
    found = []
    for kappa in kappas:
        law = soft(network, kappa).law()
        state = law.initial_state(0.0, W, W_dot, stimulus, start=start)
        found.append(ll.simulate(law, state, ts, args=stimulus, **settings))
    return found, exact


@pytest.mark.parametrize(
    ("sizes", "moving", "start"),
    [
        ((2, 3, 1), False, "multipliers"),
        pytest.param((2, 3, 1), True, "constraint", marks=pytest.mark.slow),
        pytest.param((2, 3, 1), False, "constraint", marks=pytest.mark.slow),
        pytest.param((2, 3, 3), False, "constraint", marks=pytest.mark.slow),
        pytest.param((2, 3, 3), True, "multipliers", marks=pytest.mark.slow),
    ],
)
def test_weights_approach_those_of_the_hard_constraints_as_one_over_stiffness(sizes, moving, start):
    kappas = 10.0 ** np.arange(2, 6)
    found, exact = runs(ll.Layered(sizes), kappas, moving, start, jnp.linspace(0.0, 2.0, 101))
    errors = [np.max(np.abs(flat(path.W) - flat(exact.W))) for path in found]
    slope = np.polyfit(np.log(kappas), np.log(errors), 1)[0]
    assert abs(slope + 1) < 0.05, errors
    assert all(path.result == ll.RESULTS.successful for path in found)


@pytest.mark.slow
@pytest.mark.usefixtures("optimised")
def test_the_errors_follow_the_multipliers_from_their_start_and_oscillate_about_them_from_the_constraint():
    kappas, ts = (1e3, 1e5), jnp.linspace(0.0, 2.0, 401)
    close, exact = runs(ll.Layered((2, 3, 1)), kappas, False, "multipliers", ts)
    wide, _ = runs(ll.Layered((2, 3, 1)), kappas, False, "constraint", ts)
    errors = [np.max(np.abs(flat(path.multipliers) - flat(exact.multipliers))) for path in close]
    assert abs(np.log(errors[1] / errors[0]) / np.log(100) + 0.5) < 0.1
    begin = np.abs(np.asarray(exact.multipliers[-1][0]))
    for path in wide:
        output = np.asarray(path.multipliers[-1] - exact.multipliers[-1])
        np.testing.assert_allclose(np.max(np.abs(output), 0), begin, rtol=0.02)
        assert np.max(np.abs(np.mean(output, 0) / begin)) < 0.02


def test_starts():
    law, hard = soft(ll.Layered((2, 3, 1)), 1e3).law(), soft(ll.Layered((2, 3, 1)), None).law()
    W, stimulus = law.network.init(jax.random.key(0)), stimulus_of(law.network)
    W_dot = jax.tree.map(jnp.cos, W)
    start = law.initial_state(TIME, W, W_dot, stimulus)
    expected = hard.accelerations(TIME, hard.initial_state(TIME, W, W_dot, stimulus), stimulus)[1]
    assert relative(start.q[0], expected) < 1e-12
    assert not np.any(flat(start.v[0]))
    full = law.full_state(TIME, start, stimulus)

    def constraint(t, q):
        return law.network.constraint(*q, stimulus.input(t))

    gap, rate = jax.jvp(constraint, (TIME, full.q), (1.0, full.v))
    np.testing.assert_allclose(1e3 * flat(gap), flat(expected), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(flat(rate), 0, atol=1e-15)
    on = law.full_state(TIME, law.initial_state(TIME, W, W_dot, stimulus, start="constraint"), stimulus)
    assert relative(on.q, hard.full_state(TIME, hard.initial_state(TIME, W, W_dot, stimulus), stimulus).q) < 1e-14


@pytest.mark.slow
def test_the_value_of_the_action_counts_the_penalty():
    """∫ −½ κ |G|² ϖ dt is the difference between the actions with and without stiffness, on one path."""
    law = soft(ll.Layered((2, 3, 1)), 30.0).law()
    W, stimulus = law.network.init(jax.random.key(0)), stimulus_of(law.network)
    ts = jnp.linspace(0.0, 1.0, 41)
    path = ll.simulate(law, law.initial_state(0.0, W, None, stimulus), ts, args=stimulus, rtol=1e-9, atol=1e-11)
    with_, without = (soft(ll.Layered((2, 3, 1)), k)(path, stimulus) for k in (30.0, None))
    squares = sum(np.sum(np.asarray(leaf) ** 2, 1) for leaf in path.multipliers)
    density = -squares / 60 * np.exp(0.6 * np.asarray(ts))
    np.testing.assert_allclose(with_ - without, np.trapezoid(density, ts), rtol=2e-3)


@pytest.mark.usefixtures("unchecked")
def test_what_is_refused():
    network = ll.Layered((2, 3, 1))
    cyclic = ll.Digraph(4, ((0, 2), (1, 2), (2, 3), (3, 2)), 2, 1)
    action = soft(network, 10.0)
    for wrong in (0.0, -1.0, jnp.nan, jnp.inf, "stiff"):
        with pytest.raises(ValueError, match="stiffness must be"):
            soft(network, wrong)
    with pytest.raises(ValueError, match="stiffness and speed exclude each other"):
        soft(network, 10.0, speed=3.0)
    with pytest.raises(ValueError, match="soft constraints need a feedforward network"):
        soft(cyclic, 10.0)
    with pytest.raises(ValueError, match=r"mass_x > 0: for neurons without mass use ll\.PredictiveCoding"):
        soft(network, 10.0, mass_x=0.0)
    with pytest.raises(ValueError, match="stiffness needs an action of first order"):
        soft(network, 10.0, terms=ll.Term(inertial, order=2))
    with pytest.raises(ValueError, match="reduced coordinates need x to be a function of W"):
        action.law("reduced")
    with pytest.raises(ValueError, match="no multipliers to solve for"):
        action.law(multiplier_solver=ll.multipliers.ConjugateGradients())
    with pytest.raises(ValueError, match="start must be one of 'multipliers', 'constraint'"):
        action.law().initial_state(0.0, network.init(jax.random.key(0)), None, stimulus_of(network), start="rest")
    with pytest.raises(ValueError, match="sweep, and this network has cycles"):
        cyclic.displaced(jnp.zeros(4), jnp.zeros(2), jnp.zeros(4))
    law = action.law("full")
    state, stimulus = in_motion(law, 10.0)
    with pytest.raises(ValueError, match="soft constraints"):
        ll.learning.neuron_mass_force(law, TIME, state, stimulus)
    changed = eqx.tree_at(lambda l: l.action.stiffness, law, jnp.asarray(-1.0))
    with pytest.raises(ValueError, match="stiffness must be finite and > 0"):
        ll.simulate(changed, state, jnp.array([0.0, 1.0]), args=stimulus)
