"""Predictive coding against its energy by hand, backpropagation, and its limit of stiff constraints."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
import pytest
from jax.flatten_util import ravel_pytree

import lagrangian_learning as ll
from tests.helpers import flat, mostly_slow, relative

TIME = 0.4
SMALL, DEEP = ll.Layered((2, 3, 1)), ll.Layered((4, 5, 5, 5, 3))


def stimulus_of(network, dtype=jnp.float64):
    frequency = 1 + jnp.arange(int(np.prod(network.input_shape)), dtype=dtype).reshape(network.input_shape) / 2
    return ll.Stimulus(
        ll.Sinusoids(frequency, 0.6, 0.2 * frequency),
        lambda t: 0.4 * jnp.cos(t) * jnp.ones(network.output_shape, dtype),
    )


def at(law, dtype=jnp.float64, **settings):
    W, stimulus = law.network.init(jax.random.key(0), dtype), stimulus_of(law.network, dtype)
    return law.initial_state(TIME, W, args=stimulus, **settings), stimulus


def energy_by_hand(kappa):
    """V + ½ κ |G|² of tanh layers, as a function of (t, x, W)."""

    def energy(t, x, W, stimulus):
        gaps = [x[0] - stimulus.input(t)]
        gaps += [above - jnp.tanh(m @ below) for m, below, above in zip(W, x, x[1:], strict=False)]
        loss = 0.5 * jnp.sum((x[-1] - 0.4 * jnp.cos(t)) ** 2)
        return loss + kappa / 2 * sum(jnp.sum(gap**2) for gap in gaps)

    return energy


def neurons_by_hand(t, delta, W, kappa, stimulus):
    x = [stimulus.input(t) + delta[0] / kappa]
    for matrix, error in zip(W, delta[1:], strict=True):
        x.append(jnp.tanh(matrix @ x[-1]) + error / kappa)
    return tuple(x)


def backprop(network, W, stimulus):
    """−∇V/γ at γ = 1."""

    def loss(weights):
        x = network.forward(weights, stimulus.input(TIME))
        return 0.5 * jnp.sum((network.output(x) - stimulus.target(TIME)) ** 2)

    return jax.tree.map(jnp.negative, jax.grad(loss)(W))


@pytest.mark.parametrize("kappa", [0.5, pytest.param(40.0, marks=pytest.mark.slow)])
def test_neurons_at_rest_are_stationary_and_weights_descend_the_energy(kappa):
    law = ll.PredictiveCoding(DEEP, gamma=0.7, stiffness=kappa)
    state, stimulus = at(law)
    assert state.multipliers is None
    seen = law.observables(TIME, state, stimulus)
    by_x, by_W = jax.grad(energy_by_hand(kappa), (1, 2))(TIME, seen["x"], state.q, stimulus)
    np.testing.assert_allclose(flat(by_x), 0, atol=1e-12 * max(kappa, 1))
    W_dot, delta = law.velocities(TIME, state, stimulus)
    np.testing.assert_allclose(flat(W_dot), -flat(by_W) / 0.7, rtol=1e-9, atol=1e-13)
    assert relative(neurons_by_hand(TIME, delta, state.q, kappa, stimulus), seen["x"]) < 1e-14
    np.testing.assert_allclose(
        law.energy(TIME, state, stimulus), energy_by_hand(kappa)(TIME, seen["x"], state.q, stimulus), rtol=1e-12
    )


def test_relaxing_neurons_by_hand():
    kappa, law = 40.0, ll.PredictiveCoding(SMALL, gamma=0.7, gamma_x=0.3, stiffness=40.0)
    state, stimulus = at(law)
    state = ll.State(state.q, None, multipliers=jax.tree.map(lambda d: d + 0.3 * jnp.cos(7 * d), state.multipliers))
    x = neurons_by_hand(TIME, state.multipliers, state.q, kappa, stimulus)
    by_t, by_x, by_W = jax.grad(energy_by_hand(kappa), (0, 1, 2))(TIME, x, state.q, stimulus)
    x_dot, W_dot = (jax.tree.map(lambda g, c=c: -g / c, part) for part, c in ((by_x, 0.3), (by_W, 0.7)))
    rates = law.rates(TIME, state, stimulus)
    np.testing.assert_allclose(flat(rates.state.q), flat(W_dot), rtol=1e-12)
    moved = jax.jvp(
        lambda t, d, W: neurons_by_hand(t, d, W, kappa, stimulus),
        (TIME, state.multipliers, state.q),
        (1.0, rates.state.multipliers, rates.state.q),
    )[1]
    np.testing.assert_allclose(flat(moved), flat(x_dot), rtol=1e-11, atol=1e-12)
    power = by_t - 0.3 * np.sum(flat(x_dot) ** 2) - 0.7 * np.sum(flat(W_dot) ** 2)
    np.testing.assert_allclose(rates.power, power, rtol=1e-12)


@pytest.mark.parametrize("gamma_x", [0.0, 0.3])
def test_the_power_is_the_rate_of_the_energy(gamma_x):
    law = ll.PredictiveCoding(SMALL, gamma=0.7, gamma_x=gamma_x, stiffness=1e3)
    state, stimulus = at(law)
    rates = law.rates(TIME, state, stimulus)
    tangent = jax.jvp(lambda t, s: law.energy(t, s, stimulus), (jnp.asarray(TIME), state), (1.0, rates.state))[1]
    np.testing.assert_allclose(rates.power, tangent, rtol=1e-9)
    reading = law.reading(TIME, state, stimulus)
    assert (reading.energy, reading.moving) == (law.energy(TIME, state, stimulus), 0)


def chain():
    layers = [eqx.nn.Linear(2, 3, key=jax.random.key(0)), jnp.tanh, eqx.nn.Linear(3, 1, key=jax.random.key(1))]
    return ll.Chain(layers, 2)


NETWORKS = {
    "small": SMALL,
    "deep": DEEP,
    "batched": ll.Batched(ll.Layered((2, 3, 1), bias=True), 4),
    "digraph": ll.networks.xor_network(),
    "chain": chain(),
    "rescaled": ll.Rescaled(SMALL, (0.5, 2.0)),
    "batched chain": ll.Batched(chain(), 3),
}


@pytest.mark.parametrize("kind", mostly_slow(NETWORKS, "deep", "batched"))
def test_at_rest_the_weight_force_is_that_of_backpropagation_up_to_one_over_stiffness(kind):
    network = NETWORKS[kind]
    kappas = 10.0 ** np.arange(3, 9)
    law = ll.PredictiveCoding(network, stiffness=1.0)
    state, stimulus = at(law)
    expected = flat(backprop(network, state.q, stimulus))

    @jax.jit
    def force(kappa):
        return ll.PredictiveCoding(network, stiffness=kappa).velocities(TIME, state, stimulus)[0]

    errors = [np.linalg.norm(flat(force(kappa)) - expected) / np.linalg.norm(expected) for kappa in kappas]
    slopes = np.diff(np.log10(errors))
    assert np.max(np.abs(slopes + 1)) < 0.05, errors
    assert errors[-1] < 1e-6


def limit(network, gamma, gamma_x, stimulus):
    """(γ I + γ_x JᵀJ) Ẇ = −V_W − γ_x Jᵀ f_t with a dense J."""

    def velocities(t, W, args=None):
        flat_W, unravel = ravel_pytree(W)

        def neurons(s, weights):
            return ravel_pytree(network.forward(unravel(weights), stimulus.input(s)))[0]

        def loss(weights):
            x = network.forward(unravel(weights), stimulus.input(t))
            return 0.5 * jnp.sum((network.output(x) - stimulus.target(t)) ** 2)

        jacobian = jax.jacfwd(neurons, 1)(t, flat_W)
        drift = jax.jvp(lambda s: neurons(s, flat_W), (t,), (jnp.ones_like(t),))[1]
        matrix = gamma * jnp.eye(flat_W.size) + gamma_x * jacobian.T @ jacobian
        return unravel(jnp.linalg.solve(matrix, -jax.grad(loss)(flat_W) - gamma_x * jacobian.T @ drift))

    return velocities


@pytest.mark.parametrize("network", [SMALL, pytest.param(NETWORKS["batched"], marks=pytest.mark.slow)])
def test_relaxing_neurons_start_as_their_limit_has_it(network):
    law = ll.PredictiveCoding(network, gamma=0.7, gamma_x=0.3, stiffness=1e8)
    state, stimulus = at(law)
    W_dot, _ = law.velocities(TIME, state, stimulus)
    assert relative(W_dot, limit(network, 0.7, 0.3, stimulus)(jnp.asarray(TIME), state.q)) < 1e-6
    at_once = at(law, start="constraint")[0]
    assert not np.any(flat(at_once.multipliers))


def implicit(kind):
    # Diffrax's own root finder holds a Jacobian that changes during a step, and makes steps short for it.
    return kind(root_finder=optx.Newton(rtol=1e-5, atol=1e-6), root_find_max_steps=20)


def run(kappa, ts, stepper, rtol=1e-6, atol=1e-8, start="multipliers"):
    law = ll.PredictiveCoding(SMALL, gamma=0.7, gamma_x=0.3, stiffness=kappa)
    W, stimulus = SMALL.init(jax.random.key(0)), stimulus_of(SMALL)
    state = law.initial_state(0.0, W, args=stimulus, start=start)
    return ll.simulate(law, state, ts, args=stimulus, solver=stepper, rtol=rtol, atol=atol, max_steps=4000)


def test_stiff_runs_follow_the_limit_and_take_no_more_steps():
    ts = jnp.linspace(0.0, 2.0, 11)
    stepper = implicit(diffrax.Kvaerno5)
    paths = [run(kappa, ts, stepper) for kappa in (1e4, 1e6, 1e8)]
    field = diffrax.ODETerm(limit(SMALL, 0.7, 0.3, stimulus_of(SMALL)))
    exact = diffrax.diffeqsolve(
        field,
        diffrax.Dopri8(),
        0.0,
        2.0,
        0.01,
        SMALL.init(jax.random.key(0)),
        stepsize_controller=diffrax.PIDController(1e-9, 1e-11),
        saveat=diffrax.SaveAt(ts=ts),
    ).ys
    errors = [relative(path.W, exact) for path in paths]
    assert abs(np.log10(errors[1] / errors[0]) + 2) < 0.1
    assert max(errors[1:]) < 1e-5
    assert int(paths[2].stats["num_steps"]) <= 1.2 * int(paths[0].stats["num_steps"])
    assert all(path.result == ll.RESULTS.successful for path in paths)


@pytest.mark.slow
@pytest.mark.usefixtures("optimised")
@pytest.mark.parametrize("start", ["multipliers", "constraint"])
def test_steps_of_diffraxs_defaults_do_not_grow_with_the_stiffness(start):
    soft, stiff = (run(k, jnp.linspace(0.0, 2.0, 3), diffrax.Kvaerno3(), start=start) for k in (1e4, 1e8))
    assert int(stiff.stats["num_steps"]) <= 1.2 * int(soft.stats["num_steps"])


@pytest.mark.parametrize("gamma_x", [0.0, 0.3])
def test_single_precision_keeps_four_digits_of_the_weight_force(gamma_x):
    law = ll.PredictiveCoding(DEEP, gamma_x=gamma_x, stiffness=1e6)
    state, stimulus = at(law)
    exact = law.velocities(TIME, state, stimulus)[0]
    narrow = jax.tree.map(lambda w: w.astype(jnp.float32), state.q)
    single = stimulus_of(DEEP, jnp.float32)
    started = law.initial_state(TIME, narrow, args=single)
    found = law.velocities(TIME, started, single)[0]
    assert flat(found).dtype == np.float32
    np.testing.assert_allclose(flat(found), flat(exact), rtol=1e-4, atol=1e-4 * np.max(np.abs(flat(exact))) / 100)


@pytest.mark.parametrize("kappa", [1.0, 10.0])
def test_rounding_does_not_pass_for_divergence(kappa):
    """Where δ is small beside the terms that make it, single precision reaches it to their rounding alone."""
    W = SMALL.init(jax.random.key(0), jnp.float32)
    stimulus = ll.Stimulus(ll.Sinusoids(jnp.array([1.0, 1.7], jnp.float32)), jnp.array([0.4], jnp.float32))
    law = ll.PredictiveCoding(SMALL, stiffness=jnp.asarray(kappa, jnp.float32))
    run = jax.jit(jax.vmap(lambda t: law.velocities(t, ll.State(W, None), stimulus)[1]))
    assert np.all(np.isfinite(flat(run(jnp.linspace(0, 1, 51, dtype=jnp.float32)))))


@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32])
def test_a_loss_that_is_nearly_zero_has_errors_that_are(dtype):
    W, u = SMALL.init(jax.random.key(0), dtype), jnp.array([0.5, -0.3], dtype)
    output = SMALL.forward(W, u)[-1]
    gaps = jnp.concatenate([jnp.zeros(1, dtype), output * 8 * jnp.finfo(dtype).eps, output * 1e-4])
    law = ll.PredictiveCoding(SMALL, stiffness=jnp.asarray(10.0, dtype))
    run = jax.vmap(lambda gap: law.velocities(0.0, ll.State(W, None), ll.Stimulus(u, output + gap))[1][-1])
    found = np.ravel(run(gaps))
    assert found[0] == 0
    assert np.all(np.abs(found) <= np.abs(np.asarray(gaps)) + 8 * jnp.finfo(dtype).eps)
    assert 0.5 < found[2] / gaps[2] < 1


def test_neurons_that_no_minimum_holds_are_nan():
    """κ far below |V_xx| on a steep potential, where Newton's method has nothing to find."""
    steep = ll.PredictiveCoding(DEEP, lambda x, y: -1e3 * jnp.sum((x - y) ** 2), stiffness=1e-2)
    state, stimulus = at(steep)
    assert np.all(np.isnan(flat(steep.velocities(TIME, state, stimulus)[1])))


def test_derivatives_at_rest_are_implicit():
    """By κ and by W, forward and reverse, against differences; and lanes of κ are those alone."""
    stimulus = stimulus_of(SMALL)
    W, probe = SMALL.init(jax.random.key(0)), jax.tree.map(jnp.cos, SMALL.init(jax.random.key(5)))

    @jax.jit
    def reading(kappa, weights):
        law = ll.PredictiveCoding(SMALL, stiffness=kappa)
        W_dot, delta = law.velocities(TIME, law.initial_state(TIME, weights, args=stimulus), stimulus)
        return sum(jnp.vdot(jnp.cos(3 * p), w) for p, w in zip(probe, W_dot, strict=True)) + jnp.sum(delta[1] ** 2)

    kappa, h = jnp.asarray(3.0), 1e-5
    by_kappa, by_W = jax.grad(reading, (0, 1))(kappa, W)
    np.testing.assert_allclose(by_kappa, (reading(kappa + h, W) - reading(kappa - h, W)) / (2 * h), rtol=1e-7)
    ahead, behind = (jax.tree.map(lambda w, p, s=s: w + s * h * p, W, probe) for s in (1, -1))
    along = (reading(kappa, ahead) - reading(kappa, behind)) / (2 * h)
    np.testing.assert_allclose(np.dot(flat(by_W), flat(probe)), along, rtol=1e-7)
    forward = jax.jvp(lambda w: reading(kappa, w), (W,), (probe,))[1]
    np.testing.assert_allclose(forward, np.dot(flat(by_W), flat(probe)), rtol=1e-11)
    kappas = jnp.array([1.0, 3.0, 1e5])
    np.testing.assert_allclose(jax.vmap(reading, (0, None))(kappas, W), [reading(k, W) for k in kappas], rtol=1e-11)


@pytest.mark.slow
@pytest.mark.usefixtures("optimised")
def test_inertial_neurons_with_one_rate_tend_to_it():
    """m_x = γ_x/ϑ, m_W = γ/ϑ: soft constraints of the action, as ϑ → ∞, at κ fixed."""
    ts, kappa, stimulus = jnp.linspace(0.0, 1.0, 6), 10.0, stimulus_of(SMALL)
    W = SMALL.init(jax.random.key(0))
    coding = ll.PredictiveCoding(SMALL, gamma=0.7, gamma_x=0.3, stiffness=kappa)
    settings = {"args": stimulus, "rtol": 1e-8, "atol": 1e-10, "max_steps": 100_000}
    exact = ll.simulate(coding, coding.initial_state(0.0, W, args=stimulus, start="constraint"), ts, **settings)
    errors = []
    for theta in (100.0, 200.0, 400.0):
        dissipation = ll.ExponentialDissipation(theta)
        action = ll.CognitiveAction(
            SMALL, mass_x=0.3 / theta, mass_W=0.7 / theta, dissipation=dissipation, stiffness=kappa
        )
        law = action.law()
        start = law.initial_state(0.0, W, args=stimulus, start="constraint")
        path = ll.simulate(law, start, ts, **settings)
        errors.append(np.max(np.abs(flat(path.W) - flat(exact.W))))
    np.testing.assert_allclose(np.diff(np.log2(errors)), -1, atol=0.1)
    assert errors[0] < 3e-3


@pytest.mark.slow
def test_a_run_at_rest_closes_its_balance():
    law = ll.PredictiveCoding(NETWORKS["batched"], ll.BatchMean(ll.SquaredError()), gamma=0.7, stiffness=100.0)
    W, stimulus = law.network.init(jax.random.key(0)), stimulus_of(law.network)
    path = ll.simulate(
        law, law.initial_state(0.0, W, args=stimulus), jnp.linspace(0.0, 1.0, 3), args=stimulus, rtol=1e-8, atol=1e-10
    )
    assert path.result == ll.RESULTS.successful
    assert path.stats["max_energy_defect"] < 1e-8
    assert "at rest" in str(path)


@pytest.mark.usefixtures("unchecked")
def test_what_is_refused():
    W, stimulus = SMALL.init(jax.random.key(0)), stimulus_of(SMALL)
    cyclic = ll.Digraph(4, ((0, 2), (1, 2), (2, 3), (3, 2)), 2, 1)
    rest, relaxing = (ll.PredictiveCoding(SMALL, gamma_x=g, stiffness=1e3) for g in (0, 0.3))
    for name, wrong in (("stiffness", 0.0), ("stiffness", None), ("gamma", -1.0), ("gamma_x", -1.0), ("gamma_x", "x")):
        with pytest.raises(ValueError, match=f"{name} must be"):
            ll.PredictiveCoding(SMALL, **{"stiffness": 1e3, name: wrong})
    with pytest.raises(ValueError, match="soft constraints need a feedforward network"):
        ll.PredictiveCoding(cyclic, stiffness=1e3)
    with pytest.raises(ValueError, match="network must be a network"):
        ll.PredictiveCoding(3, stiffness=1e3)
    with pytest.raises(ValueError, match="have no start of their own"):
        rest.initial_state(0.0, W, args=stimulus, start="constraint")
    with pytest.raises(ValueError, match="start must be one of"):
        relaxing.initial_state(0.0, W, args=stimulus, start="rest")
    with pytest.raises(ValueError, match="leave v out"):
        rest.initial_state(0.0, W, W, stimulus)
    ts = jnp.array([0.0, 1.0])
    with pytest.raises(ValueError, match="this is not a state of this law, which holds q = W, multipliers"):
        relaxing.check(ts, rest.initial_state(0.0, W, args=stimulus), stimulus)
    with pytest.raises(ValueError, match="this is not a state of this law, which holds q = W"):
        rest.check(ts, relaxing.initial_state(0.0, W, args=stimulus), stimulus)
