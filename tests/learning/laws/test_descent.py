"""`Descent` against closed forms, Optax, NumPy written apart, and bounds from the literature."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lagrangian_learning as ll
from tests.helpers import flat, mostly_slow, relative

STIMULUS = ll.Stimulus(
    ll.Sinusoids(jnp.array([1.0, 2.0]), jnp.array([1.0, 0.7]), jnp.array([0.3, 0.0])),
    ll.Sinusoids(jnp.array([1.5]), jnp.array([0.5]), jnp.array([0.0])),
)
ENERGIES = {
    "quadratic": ll.Quadratic(0.5),
    "quartic": ll.Quartic(0.5, 0.3),
    "relativistic": ll.Relativistic(0.5, 0.6),
    "relativistic, each": ll.Relativistic(0.5, 0.6, "each"),
    "dual map": ll.DualMap(lambda p: jnp.sum(jnp.log(jnp.cosh(p)))),
    "by Newton": ll.Kinetic(lambda v: jnp.sum(jnp.cosh(v) - 1)),
}
DAMPINGS = {
    "exponential": (ll.ExponentialDissipation(0.7), None),
    "varying": (ll.PiecewiseLinearDissipation(np.array([0.0, 1.0, 3.0]), np.array([0.2, 1.5, 0.4])), None),
    "Bregman": (ll.Bregman(3.0, 0.3, t0=1.0), None),
    "factor": (ll.ExponentialDissipation(0.7), lambda t: 1 + jnp.sin(t) / 2),
}


def bowl(t, W, args):
    """Anharmonic, anisotropic, and pulled about in time."""
    return jnp.sum(jnp.array([1.0, 3.0]) * W**2) / 2 + jnp.sum(W**4) / 4 + jnp.sum(W) * jnp.sin(2 * t)


def moving(law, t0):
    return law.initial_state(t0, jnp.array([0.7, -0.4]), jnp.array([0.1, 0.3]))


@pytest.mark.parametrize(("order", "power"), [(2.0, 4.0), (3.0, 6.0), (4.0, 8.0)])
def test_bregman_descent_follows_the_power_of_time(order, power):
    """f = |x|^k: x = A t^{−m}, m = p/(k − 2), A^{k−2} = m(p − m)/(C p² k)."""
    scale, t0 = 0.25, 1.5
    m = order / (power - 2)
    size = (m * (order - m) / (scale * order**2 * power)) ** (1 / (power - 2))
    law = ll.Descent(lambda t, W, args: jnp.abs(W[0]) ** power, ll.Quadratic(1.0), ll.Bregman(order, scale, t0))
    start = law.initial_state(t0, jnp.array([size * t0**-m]), jnp.array([-m * size * t0 ** (-m - 1)]))
    ts = np.linspace(t0, 20, 8)
    path = ll.simulate(law, start, ts, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(path.W[:, 0], size * ts**-m, rtol=1e-9)
    assert np.max(np.abs(path.energy_balance)) < 1e-11


def test_nesterov_is_the_bregman_flow_of_order_two():
    """Ẍ + (3/t)Ẋ + ∇f = 0 of f = ½x² from rest at t₀, against the Bessel function that solves it from t = 0."""
    from scipy.special import jv

    t0, end = 1e-3, 12.0
    law = ll.Descent(lambda t, W, args: W[0] ** 2 / 2, ll.Quadratic(1.0), ll.Bregman(2.0, 0.25, t0))
    x0, v0 = 2 * jv(1, t0) / t0, -2 * jv(2, t0) / t0
    start = law.initial_state(t0, jnp.array([x0]), jnp.array([v0]))
    path = ll.simulate(law, start, np.array([t0, 3.0, end]), rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(path.W[1:, 0], 2 * jv(1, path.ts[1:]) / path.ts[1:], atol=1e-9)


@pytest.mark.parametrize("seed", [0, *(pytest.param(k, marks=pytest.mark.slow) for k in range(1, 10))])
@pytest.mark.parametrize("order", [pytest.param(2.0, marks=pytest.mark.slow), 3.0])
def test_the_bregman_bound_holds_on_logistic_regressions(seed, order):
    """f − f* ≤ (½|x₀ + (t₀/p)v₀ − x*|² + C t₀^p (f₀ − f*))/(C t^p), labels not separable."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(40, 5))
    labels = np.where(random.random(40) < 1 / (1 + np.exp(-features[:, 0])), 1.0, -1.0)
    # The same points with both labels: no plane separates them.
    features, labels = np.vstack([features, features[:5]]), np.append(labels, -labels[:5])

    def loss(t, W, args):
        return jnp.mean(jnp.logaddexp(0.0, -labels * (features @ W)))

    best = np.zeros(5)
    for _ in range(30):
        gradient, hessian = jax.grad(loss, 1)(0.0, best, None), jax.hessian(loss, 1)(0.0, best, None)
        best = best - np.linalg.solve(hessian, gradient)
    scale, t0 = 0.25, 1.0
    law = ll.Descent(loss, ll.Quadratic(1.0), ll.Bregman(order, scale, t0))
    x0, v0 = random.normal(size=5), random.normal(size=5)
    ts = np.linspace(t0, 30.0, 60)
    path = ll.simulate(law, law.initial_state(t0, x0, v0), ts, rtol=1e-9, atol=1e-10)
    least = loss(0.0, best, None)
    gaps = np.array([loss(0.0, W, None) - least for W in path.W])
    budget = np.sum((x0 + t0 / order * v0 - best) ** 2) / 2 + scale * t0**order * gaps[0]
    assert np.all(gaps <= budget / (scale * ts**order) + 1e-10)
    assert np.max(gaps * scale * ts**order) > 0.01 * budget, "the bound says nothing here"


def test_relativistic_coasting():
    """One coordinate without force: x = (c/r)(arsinh(p₀/mc) − arsinh(p₀e^{−rt}/mc))."""
    mass, speed, friction, p0 = 2.0, 0.7, 0.3, 5.0
    law = ll.Descent(lambda t, W, args: 0 * W[0], ll.Relativistic(mass, speed), ll.ExponentialDissipation(friction))
    ts = np.linspace(0, 20, 9)
    path = ll.simulate(law, law.initial_state(0.0, jnp.zeros(1), p=jnp.array([p0])), ts, rtol=1e-12, atol=1e-13)
    unit = mass * speed
    expected = speed / friction * (np.arcsinh(p0 / unit) - np.arcsinh(p0 * np.exp(-friction * ts) / unit))
    np.testing.assert_allclose(path.W[:, 0], expected, atol=1e-9)
    assert np.all(np.abs(path.W_dot) < speed)


EVERY_PAIR = [(energy, damping) for energy in ENERGIES for damping in DAMPINGS]
QUICK_PAIRS = [("relativistic", "varying"), ("quartic", "Bregman")]


def paired(energy, damping):
    dissipation, factor = DAMPINGS[damping]
    return ll.Descent(bowl, ENERGIES[energy], dissipation, factor)


@pytest.mark.parametrize("pair", mostly_slow(EVERY_PAIR, *QUICK_PAIRS), ids=", ".join)
def test_the_symmetric_composition_is_of_second_order(pair):
    law = paired(*pair)
    start, ts = moving(law, 1.0), np.array([1.0, 3.0])
    end = ll.simulate(law, start, ts, rtol=1e-12, atol=1e-13).final_state
    errors = {
        symmetric: [
            relative(ll.simulate(law, start, ts, solver=ll.KickDrift(symmetric=symmetric), dt0=2 / n).final_state, end)
            for n in (200, 400)
        ]
        for symmetric in (True, False)
    }
    np.testing.assert_allclose(np.log2(errors[True][0] / errors[True][1]), 2, atol=0.05)
    np.testing.assert_allclose(np.log2(errors[False][0] / errors[False][1]), 1, atol=0.1)


@pytest.mark.parametrize("damping", list(DAMPINGS))
def test_a_kick_is_exact_under_a_constant_force(damping):
    """Also over a long step: e^{−∫r} p − I V_W, against a quadrature of SciPy."""
    from scipy.integrate import quad

    dissipation, factor = DAMPINGS[damping]
    law = ll.Descent(lambda t, W, args: 2.0 * W[0], ll.Relativistic(0.5, 0.6), dissipation, factor)
    t0, t1 = 1.0, 3.0
    start = law.initial_state(t0, jnp.zeros(1), p=jnp.array([1.5]))
    found = ll.simulate(law, start, np.array([t0, t1]), solver=ll.KickDrift(), dt0=t1 - t0).final_state

    def integrand(u):
        return float(
            law.damping.factor_at(jnp.array(u)) * jnp.exp(-dissipation.log_growth(jnp.array(u), jnp.array(t1)))
        )

    impulse = quad(integrand, t0, t1, epsabs=1e-13, epsrel=1e-13, points=[1.0, 2.0])[0]
    p = 1.5 * np.exp(-dissipation.log_growth(jnp.array(t0), jnp.array(t1))) - 2 * impulse
    tolerance = 1e-4 if damping == "varying" else 1e-11  # the kinks of a piecewise linear friction are not Gauss's
    np.testing.assert_allclose(found.p[0], p, rtol=tolerance)
    np.testing.assert_allclose(found.q[0], (t1 - t0) * 0.6 * p / np.hypot(p, 0.3), rtol=10 * tolerance)


def test_strong_friction_needs_no_short_steps():
    """ϑh = 1e4: a step of kick and drift is gradient descent, clipped as v = −(∇/γ)/√(1 + |∇|²/(γc)²)."""
    theta, speed, gamma = 1e4, 0.6, 2.0
    law = ll.Descent(bowl, ll.Relativistic(gamma / theta, speed), ll.ExponentialDissipation(theta))
    start = law.initial_state(0.0, jnp.array([0.7, -0.4]))
    found = ll.simulate(law, start, np.array([0.0, 1.0]), solver=ll.KickDrift(), dt0=1.0).final_state
    gradient = jax.grad(bowl, 1)(0.0, start.q, None)
    v = -gradient / gamma / np.sqrt(1 + np.sum(gradient**2) / (gamma * speed) ** 2)
    np.testing.assert_allclose(found.q, start.q + v, rtol=1e-12)


def test_from_rest_the_symmetric_scheme_is_the_plain_one_half_a_drift_earlier():
    """Its first half drift is none, and later ones join: kick h (half at first), drift h."""
    dissipation, h, n = ll.ExponentialDissipation(0.7), 0.1, 12
    law = ll.Descent(lambda t, W, args: bowl(0.0, W, args), ENERGIES["relativistic"], dissipation)
    start = law.initial_state(0.0, jnp.array([0.7, -0.4]))
    ts = np.array([0.0, n * h])
    plain = ll.simulate(law, start, ts, solver=ll.KickDrift(), dt0=h).final_state
    symmetric = ll.simulate(law, start, ts, solver=ll.KickDrift(symmetric=True), dt0=h).final_state
    np.testing.assert_allclose(plain.p, symmetric.p, rtol=1e-12)
    taken_off = plain.q - h / 2 * law.kinetic.velocity(plain.p)
    np.testing.assert_allclose(taken_off, symmetric.q, rtol=1e-12)


def test_with_a_quadratic_energy_it_is_damped_descent(key):
    network, theta, mass = ll.Layered((2, 3, 1)), 2.0, 0.3
    plain = ll.DampedDescent(network, mass_W=mass, dissipation=ll.ExponentialDissipation(theta))
    law = ll.Descent(network, ll.Quadratic(mass), ll.ExponentialDissipation(theta))
    W, ts = network.init(key), np.linspace(0, 2, 5)
    ends = [ll.simulate(each, each.initial_state(0.0, W, args=STIMULUS), ts, STIMULUS) for each in (plain, law)]
    for name in ("W", "W_dot", "x", "multipliers"):
        assert relative(getattr(ends[1], name), getattr(ends[0], name)) < 1e-7, name
    np.testing.assert_allclose(ends[1].energy, ends[0].energy, rtol=1e-7)
    assert np.max(np.abs(ends[1].energy_balance)) < 1e-8


def test_masses_a_layer_are_those_of_rescaled_weights(key):
    network, masses = ll.Layered((2, 3, 1)), (0.3, 2.0)
    rescaled = ll.Rescaled(network, tuple(1 / np.sqrt(mass) for mass in masses))
    W, ts = network.init(key), np.linspace(0, 2, 5)
    law = ll.Descent(network, ll.Quadratic(masses))
    other = ll.DampedDescent(rescaled, mass_W=1.0)
    found = ll.simulate(law, law.initial_state(0.0, W, args=STIMULUS), ts, STIMULUS).W
    expected = ll.simulate(other, other.initial_state(0.0, rescaled.coordinates(W), args=STIMULUS), ts, STIMULUS).W
    assert relative(found, rescaled.weights(expected)) < 1e-6


@pytest.mark.parametrize("pair", mostly_slow(EVERY_PAIR, *QUICK_PAIRS), ids=", ".join)
def test_energy_balances(pair):
    law = paired(*pair)
    path = ll.simulate(law, moving(law, 1.0), np.linspace(1, 3, 4), rtol=1e-10, atol=1e-12)
    assert np.max(np.abs(path.energy_balance)) < 1e-8
    assert np.ptp(path.energy) > 1e-2


def test_gradients_by_every_constant_are_those_of_central_differences():
    def end(constants):
        mass, speed, theta, scale = constants
        law = ll.Descent(bowl, ll.Relativistic(mass, speed), ll.ExponentialDissipation(theta), scale)
        path = ll.simulate(law, moving(law, 1.0), np.array([1.0, 3.0]), solver=ll.KickDrift(symmetric=True), dt0=0.02)
        return jnp.sum(path.final_state.q**2)

    constants = jnp.array([0.5, 0.6, 0.7, 1.3])
    gradient = jax.jit(jax.grad(end))(constants)
    compiled, h = jax.jit(end), 1e-5
    for k, unit in enumerate(np.eye(4)):
        difference = (compiled(constants + h * unit) - compiled(constants - h * unit)) / (2 * h)
        np.testing.assert_allclose(gradient[k], difference, rtol=1e-6, atol=1e-9)


def test_gradients_begin_at_rest():
    """p = 0 at the start, where the norm of the momenta has no derivative of its own."""

    def end(speed):
        law = ll.Descent(bowl, ll.Relativistic(0.5, speed))
        start = law.initial_state(0.0, jnp.array([0.7, -0.4]))
        return jnp.sum(ll.simulate(law, start, np.array([0.0, 1.0]), solver=ll.KickDrift(), dt0=0.1).final_state.q)

    assert np.isfinite(jax.grad(end)(0.6))


def test_lanes_are_single_runs():
    def end(mass):
        law = ll.Descent(bowl, ll.Relativistic(mass, 0.6))
        return ll.simulate(law, moving(law, 1.0), np.array([1.0, 3.0])).final_state.q

    masses = jnp.array([0.2, 0.5, 2.0])
    np.testing.assert_allclose(jax.vmap(end)(masses), [end(mass) for mass in masses], rtol=1e-9)


def test_steps_are_those_of_optax(key):
    """On a network and a stream: `optimizer(kinetic=...)` is the law by `KickDrift`, step for step."""
    network, h = ll.Layered((2, 3, 1)), 0.1
    kinetic, dissipation = ll.Relativistic(0.5, 0.2, "layer"), ll.ExponentialDissipation(0.7)
    law = ll.Descent(network, kinetic, dissipation)
    W = network.init(key)
    ts = h * np.arange(11)
    path = ll.simulate(law, law.initial_state(0.0, W, args=STIMULUS), ts, STIMULUS, solver=ll.KickDrift(), dt0=h)
    transformation = ll.optimizer(kinetic=kinetic, dissipation=dissipation, step=h)
    state, loss = transformation.init(W), ll.NetworkLoss(network)
    for k, t in enumerate(ts[:-1]):
        updates, state = transformation.update(jax.grad(loss, 1)(jnp.asarray(t), W, STIMULUS), state)
        W = optax.apply_updates(W, updates)
        assert relative(jax.tree.map(lambda leaf, k=k: leaf[k + 1], path.W), W) < 1e-12


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ll.Descent(3.0), "loss must be a network"),
        (lambda: ll.Descent(ll.Layered), "loss must be a network.*a class: make one"),
        (lambda: ll.Descent(bowl, 3.0), "kinetic must be callable"),
        (lambda: ll.Descent(bowl, dissipation=3.0), "dissipation must be a dissipation such as"),
        (lambda: ll.Descent(bowl, factor=-1.0), "factor must be finite and >= 0"),
        (lambda: ll.Descent(bowl, factor="a"), "factor must be one real number"),
        (lambda: ll.Descent(bowl, dissipation=ll.Bregman()).initial_state(0.0, jnp.ones(2)), "begins at a time t0 > 0"),
        (lambda: ll.Descent(bowl).initial_state(0.0, jnp.ones(2), jnp.ones(3)), "v has shapes"),
        (lambda: ll.Descent(bowl).initial_state(0.0, jnp.ones(2), p=jnp.ones(3)), "p has shapes"),
        (lambda: ll.Descent(bowl).initial_state(0.0, jnp.ones(2), jnp.ones(2), p=jnp.ones(2)), "v and p say the same"),
        (lambda: ll.Descent(bowl).initial_state(0.0, ()), "W has no arrays"),
        (lambda: ll.Descent(lambda t, W, args: W).initial_state(0.0, jnp.ones(2)), "a loss must return a scalar"),
        (lambda: ll.Descent(ll.Layered((2, 1))).initial_state(0.0, jnp.ones(2)), "q: "),
        (lambda: ll.Descent(bowl, ll.Quadratic((1.0, 2.0))).initial_state(0.0, jnp.ones(2)), "a tuple of one a layer"),
        (
            lambda: ll.simulate(ll.Descent(bowl), ll.State(jnp.ones(2), None), np.array([0.0, 1.0])),
            "weights and momenta",
        ),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_bad_descents_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_mass_changed_out_of_range_is_seen():
    import equinox as eqx

    law = eqx.tree_at(lambda law: law.kinetic.mass, ll.Descent(bowl, ll.Relativistic()), jnp.array(-1.0))
    with pytest.raises(ValueError, match="mass must be finite and >= 0: it was changed after Relativistic was built"):
        ll.simulate(law, moving(ll.Descent(bowl), 1.0), np.array([1.0, 2.0]))


def test_states_keep_single_precision(key):
    network = ll.Layered((2, 3, 1))
    law = ll.Descent(network, ll.Relativistic(0.5, 0.6), ll.Bregman(3.0))
    W = network.init(key, jnp.float32)
    path = ll.simulate(law, law.initial_state(1.0, W, args=STIMULUS), np.array([1.0, 2.0]), STIMULUS)
    assert {leaf.dtype for leaf in jax.tree.leaves(path.final_state)} == {jnp.dtype("float32")}
    W = jax.tree.map(lambda leaf: leaf.astype(float), W)
    wide = ll.simulate(law, law.initial_state(1.0, W, args=STIMULUS), np.array([1.0, 2.0]), STIMULUS)
    assert np.max(np.abs(flat(path.final_state) - flat(wide.final_state))) < 1e-4


@pytest.mark.parametrize("damping", ["exponential", "Bregman"])
def test_noether_charges_balance(key, damping):
    """Rotation of the hidden units of two linear layers is a symmetry of V, and of ½m|v|² alone of these energies."""
    dissipation, factor = DAMPINGS[damping]
    network = ll.Layered((2, 3, 1), activation="identity")
    W, ts = network.init(key), np.linspace(1, 2, 4)
    for kinetic in (ll.Quadratic(0.5), ll.Relativistic(0.5, 0.6, "each")):
        law = ll.Descent(network, kinetic, dissipation, factor)
        # The weights themselves are no symmetry of V: their charge sees its force, and the factor of it.
        charges = {"rotation": ll.charge(law, ll.Rotation(0, 1, 0)), "size": ll.charge(law, lambda t, W, args: W)}
        start = law.initial_state(1.0, W, jax.tree.map(lambda leaf: 0.1 * jnp.cos(leaf), W), STIMULUS)
        path = ll.simulate(law, start, ts, STIMULUS, rtol=1e-11, atol=1e-13, charges=charges)
        assert max(np.max(np.abs(each.balance)) for each in path.charges.values()) < 1e-10
        kept = path.charges["rotation"]
        faded = np.exp([-dissipation.log_growth(jnp.array(1.0), jnp.array(t)) for t in ts]) * kept.value[0]
        symmetric = isinstance(kinetic, ll.Quadratic)
        assert (relative(kept.value, faded) < 1e-9) == symmetric
