"""Section 'Diffusion on cyclic graphs': (18)–(20), costates and the two rules for velocity constraints."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

import lagrangian_learning as ll
from benchmarks.studies.stability_atlas import RULES, stability_atlas

CYCLE = [(0, 3), (1, 2), (2, 3), (3, 4), (2, 5), (4, 5), (5, 2), (4, 4)]
PHASE = np.array([0.1, 0.7])


def drive(t):
    return np.sin(np.array([1.0, 2.0]) * t + PHASE)


@pytest.fixture(scope="module")
def stimulus():
    return ll.Stimulus(ll.Sinusoids(jnp.array([1.0, 2.0]), 1.0, jnp.asarray(PHASE)), jnp.array([0.3]))


def handwritten(t, y, edges, masses, theta, c):
    """The equations before (20) with the term that the paper loses, in NumPy, on a tanh digraph with one output."""
    m_x, m_W = masses
    source, target = np.array(edges).T
    n, m = 6, len(edges)
    x, W, W_dot, delta = y[:n], y[n : n + m], y[n + m : n + 2 * m], y[n + 2 * m :]

    def rest(t, x, W):
        a = np.zeros(n)
        np.add.at(a, target, W * x[source])
        image = np.tanh(a)
        image[:2] = drive(t)
        slope = 1 - np.tanh(a) ** 2
        slope[:2] = 0
        return image, slope

    image, slope = rest(t, x, W)
    x_dot = c * (image - x)
    matrix = np.zeros((n, n))
    matrix[target, source] = W
    inputs = np.zeros(n)
    inputs[:2] = np.array([1.0, 2.0]) * np.cos(np.array([1.0, 2.0]) * t + PHASE)
    flow = np.zeros(n)
    np.add.at(flow, target, W_dot * x[source])
    x_ddot = c * (slope * (matrix @ x_dot + flow) + inputs - x_dot)
    jacobian = np.eye(n) - slope[:, None] * matrix
    V_x = np.zeros(n)
    V_x[-1] = x[-1] - 0.3
    W_ddot = -theta * W_dot + slope[target] * delta[target] * x[source] / m_W
    delta_dot = c * (m_x * (x_ddot + theta * x_dot) + jacobian.T @ delta + V_x) - theta * delta
    return np.concatenate([x_dot, W_dot, W_ddot, delta_dot])


@pytest.mark.slow
def test_vakonomic_law_equals_the_handwritten_system_on_a_cycle(key, stimulus):
    """All of m_x, m_W, ϑ, c finite: the derived path against DOP853 on equations written by hand."""
    masses, theta, c = (0.3, 0.7), 5.0, 2.0
    network = ll.Digraph(6, CYCLE, 2, 1)
    action = ll.CognitiveAction(
        network, mass_x=masses[0], mass_W=masses[1], dissipation=ll.ExponentialDissipation(theta), speed=c
    )
    law = action.law()
    keys = jax.random.split(key, 4)
    x, delta = jax.random.normal(keys[0], (6,)), jax.random.normal(keys[1], (6,))
    W, W_dot = network.init(keys[2]), 0.3 * network.init(keys[3])
    state = law.initial_state(0.0, W, W_dot, stimulus, x=x, multipliers=delta)
    ts = jnp.linspace(0.0, 2.0, 5)
    path = ll.simulate(law, state, ts, stimulus, rtol=1e-12, atol=1e-13)
    start = np.concatenate([x, W, W_dot, delta])
    hand = scipy.integrate.solve_ivp(
        handwritten, (0, 2), start, "DOP853", np.asarray(ts), rtol=1e-12, atol=1e-13, args=(CYCLE, masses, theta, c)
    )
    ours = np.concatenate([path.x, path.W, path.W_dot, path.multipliers], axis=1)
    np.testing.assert_allclose(ours, hand.y.T, atol=1e-10)
    assert float(path.stats["max_energy_defect"]) < 1e-8


def test_under_the_rule_of_dalembert_nothing_is_learned(key, stimulus):
    """Erratum remark 11: the d'Alembert forces act on x alone, Ẅ = −ϑẆ whatever the loss."""
    network = ll.networks.xor_network()
    action = ll.CognitiveAction(network, mass_x=0.3, mass_W=0.7, dissipation=ll.ExponentialDissipation(2.0), speed=3.0)
    vakonomic = action.law()
    dalembert = ll.EulerLagrange(action.lagrangian, ll.DAlembert(vakonomic.constraint.fn))
    W_dot = jnp.linspace(-0.5, 0.5, 6)
    state = action.law().initial_state(0.0, network.init(key), W_dot, stimulus)
    (_, W_ddot), _ = dalembert.accelerations(0.0, ll.State(state.q, state.v), stimulus)
    np.testing.assert_allclose(W_ddot, -2.0 * W_dot, atol=1e-13)
    (_, taught), _ = vakonomic.accelerations(0.0, state, stimulus)
    assert float(jnp.max(jnp.abs(taught + 2.0 * W_dot))) > 1e-3


@pytest.mark.slow
def test_sign_flip_error_falls_as_one_over_c():
    """(20), c → ∞: the weights at t = 2 against gradient flow; slope −1 ± 0.1 over the last two decades to c = 1e4."""
    network = ll.Layered((2, 3, 1))
    W = network.init(jax.random.key(1))
    stimulus = ll.Stimulus(ll.Sinusoids(jnp.array([1.0, 1.7]), 1.0, jnp.array([0.2, 0.9])), jnp.array([0.5]))
    ts = jnp.array([0.0, 2.0])

    def end(law):
        path = ll.simulate(law, law.initial_state(0.0, W, args=stimulus), ts, stimulus, rtol=1e-9, atol=1e-10)
        return jax.flatten_util.ravel_pytree(jax.tree.map(lambda leaf: leaf[-1], path.W))[0]

    flow = end(ll.GradientFlow(network, ll.SquaredError(), 1.0))
    speeds = np.array([1e2, 1e3, 1e4])
    errors = [
        float(jnp.linalg.norm(end(ll.BackpropDiffusion(network, ll.SquaredError(), 1.0, c)) - flow)) for c in speeds
    ]
    slope = np.polyfit(np.log(speeds), np.log(errors), 1)[0]
    assert abs(slope + 1) < 0.1, errors


@pytest.fixture(scope="module")
def atlas():
    return stability_atlas(jnp.array([0.0, 0.3, 0.7, 1.4, 2.0, 2.6]))


@pytest.mark.slow
def test_atlas_spectrum_and_gains_match_the_formulas(atlas):
    """docs/theory.md §7: growth sc − ϑ, stationary gains (1 − sϑ/c)^{−(L−l+1)}, to 1e-8."""
    np.testing.assert_allclose(
        atlas.eigenvalue, atlas.growth, atol=1e-6
    )  # eigenvalues of a defective matrix: eps^(1/4)
    np.testing.assert_allclose(atlas.gain, atlas.formula, rtol=1e-8)
    assert atlas.growth[RULES.index("forward"), 0] > 0
    assert np.all(atlas.growth[RULES.index("sign_flip")] < 0)


def test_gains_take_plain_numbers():
    np.testing.assert_allclose(ll.laws.layer_gains("forward", 4, 1.0, 2), 0.75 ** -np.arange(3.0, 0, -1))


@pytest.mark.slow
def test_atlas_fidelity_of_slow_input(atlas):
    """Sign flip points along the gradient everywhere; forward at ϑ = 2c has alternating sign; parity undoes it."""
    forward, flip, parity = (atlas.cosine[RULES.index(rule)] for rule in ("forward", "sign_flip", "parity"))
    assert np.all(flip > 0.99)
    assert np.all(np.isnan(forward[:3]))
    twice = int(np.argmin(np.abs(atlas.ratio - 2)))
    np.testing.assert_array_equal(np.sign(forward[twice]), [-1, 1, -1])
    assert np.all(parity[twice] > 0.99)


@pytest.mark.slow
def test_stationary_gains_are_reached_in_time(stimulus):
    """The waves of a run with frozen weights and constant input settle at the stationary gains, to 1e-8."""
    network = ll.Layered((2, 3, 3, 1))
    W = network.init(jax.random.key(2))
    still = ll.Stimulus(jnp.array([0.4, -0.8]), jnp.array([0.3]))
    law = ll.BackpropDiffusion(network, ll.SquaredError(), 1e14, 4.0, 1.0)
    path = ll.simulate(
        law, law.initial_state(0.0, W, args=still), jnp.array([0.0, 30.0]), still, rtol=1e-11, atol=1e-13
    )
    x = network.forward(W, still.input(jnp.asarray(0.0)))
    backprop = ll.delta_errors(network, ll.SquaredError(), x, W, jnp.array([0.3]))
    for delta, reference, gain in zip(path.multipliers, backprop, (1 + 1 / 4) ** -np.arange(4.0, 0, -1), strict=True):
        np.testing.assert_allclose(delta[-1], gain * reference, rtol=1e-8, atol=1e-12)


def test_unstable_costates_are_refused_with_their_eigenvalue(stimulus):
    network = ll.Layered((2, 3, 1))
    W = network.init(jax.random.key(3))
    law = ll.BackpropDiffusion(network, ll.SquaredError(), 1.0, 1.0, 0.0, costate="forward")
    with pytest.raises(ValueError, match=r"eigenvalue \+1"):
        ll.simulate(law, law.initial_state(0.0, W, args=stimulus), jnp.linspace(0.0, 20.0, 3), stimulus)
    action = ll.CognitiveAction(network, dissipation=ll.ExponentialDissipation(1.0), speed=10.0).law()
    with pytest.raises(ValueError, match=r"eigenvalue \+9"):
        ll.simulate(action, action.initial_state(0.0, W, args=stimulus), jnp.linspace(0.0, 1.0, 3), stimulus)


def test_settings_that_do_not_fit_are_refused():
    digraph = ll.Digraph(6, CYCLE, 2, 1)
    with pytest.raises(ValueError, match="Layered networks only"):
        ll.BackpropDiffusion(digraph, costate="parity")
    with pytest.raises(ValueError, match="costate must be one of"):
        ll.BackpropDiffusion(digraph, costate="backward")
    with pytest.raises(ValueError, match="speed must be finite and > 0"):
        ll.CognitiveAction(digraph, speed=0.0)
    with pytest.raises(ValueError, match="reduced coordinates need"):
        ll.CognitiveAction(ll.Layered((2, 1)), speed=1.0).law("reduced")
    with pytest.raises(ValueError, match="second-order action with velocity constraints"):
        ll.EulerLagrange(ll.Lagrangian(lambda t, q, v, a, _: a @ a, order=2), ll.Vakonomic(lambda t, q, v, _: v))


@pytest.mark.slow
def test_random_cyclic_digraphs_of_200_neurons_run(key):
    generator = np.random.default_rng(0)
    pairs = {
        (int(s), int(t))
        for s, t in zip(generator.integers(0, 200, 1500), generator.integers(4, 200, 1500), strict=True)
    }
    network = ll.Digraph(200, sorted(pairs), 4, 3)
    assert not network.feedforward
    stimulus = ll.Stimulus(ll.Sinusoids(jnp.arange(1.0, 5.0), 0.5, jnp.zeros(4)), jnp.array([0.1, -0.2, 0.3]))
    law = ll.BackpropDiffusion(network, ll.SquaredError(), 1.0, 10.0, 0.5)
    state = law.initial_state(0.0, 0.5 * network.init(key), args=stimulus)
    path = ll.simulate(law, state, jnp.linspace(0.0, 3.0, 4), stimulus, rtol=1e-6, atol=1e-8)
    assert path.result == ll.RESULTS.successful
    assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(path.multipliers))


def test_the_linear_part_moves_neurons_weights_and_multipliers_each_at_its_rate():
    """ẍ = −c ẋ, Ẅ = −ϑ Ẇ, δ̇ = (c − ϑ) δ under constant slopes, in closed form."""
    c, theta, h = 3.0, 0.7, 0.4
    network = ll.Layered((2, 1))
    law = ll.CognitiveAction(network, dissipation=ll.ExponentialDissipation(theta), speed=c).law()
    assert law.damps_drift is False
    state = ll.State((jnp.array(0.3), jnp.array(1.1)), (jnp.array(0.7), jnp.array(-0.4)), multipliers=jnp.array(0.9))
    slope = ll.State((jnp.array(0.2), jnp.array(-0.6)), (jnp.array(1.3), jnp.array(0.8)), multipliers=jnp.array(-0.5))
    over = law.linear_part.over(jnp.asarray(1.0), jnp.asarray(1.0 + h))
    weights = jax.tree.map(lambda m: m[0, :1], over.moments(jnp.ones(1), 0))
    moved = over.exponential(jnp.asarray(1.0), state)
    forced = over.combined(weights, jax.tree.map(lambda leaf: leaf[None], slope))
    for k, rate in enumerate((c, theta)):
        fades, lasts = np.exp(-rate * h), (1 - np.exp(-rate * h)) / rate
        np.testing.assert_allclose(moved.q[k], state.q[k] + lasts * state.v[k], rtol=1e-13)
        np.testing.assert_allclose(moved.v[k], fades * state.v[k], rtol=1e-13)
        np.testing.assert_allclose(forced.q[k], h * slope.q[k] + (h - lasts) / rate * slope.v[k], rtol=1e-13)
        np.testing.assert_allclose(forced.v[k], lasts * slope.v[k], rtol=1e-13)
    np.testing.assert_allclose(moved.multipliers, np.exp((c - theta) * h) * 0.9, rtol=1e-13)
    np.testing.assert_allclose(forced.multipliers, (np.exp((c - theta) * h) - 1) / (c - theta) * -0.5, rtol=1e-13)
    applied = law.linear_part.apply(jnp.asarray(1.0), state)
    np.testing.assert_allclose(applied.multipliers, (c - theta) * 0.9)
    for found in (applied, over.linear(state)):
        np.testing.assert_allclose(found.v, (-c * state.v[0], -theta * state.v[1]))
        np.testing.assert_allclose(found.multipliers, (c - theta) * 0.9)


def test_a_state_is_joined_of_its_parts_and_its_neurons_follow_their_wave(key, stimulus):
    """ẋ = c (σ(Wx) − x) whatever the state says of it."""
    c, network = 3.0, ll.Layered((2, 1))
    law, W, W_dot = ll.CognitiveAction(network, speed=c).law(), network.init(key), (jnp.array([[0.2, -0.4]]),)
    x, delta = (jnp.array([0.3, -0.9]), jnp.array([0.5])), (jnp.array([0.1, 0.2]), jnp.array([0.7]))
    joined = law.joined(0.4, (x, W, W_dot), delta, stimulus)
    np.testing.assert_allclose(joined.v[0][0], c * (drive(0.4) - x[0]), rtol=1e-14)
    np.testing.assert_allclose(joined.v[0][1], c * (np.tanh(W[0] @ x[0]) - x[1]), rtol=1e-14)
    causal, costate = law.split(joined)
    for parts, given in ((causal, (x, W, W_dot)), (costate, delta)):
        assert jax.tree.all(jax.tree.map(jnp.array_equal, parts, given))
