"""`optimizer(kinetic=...)` against Optax, a NumPy recursion written apart, and inside what Optax composes."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lagrangian_learning as ll
from tests.optimizers.learner import loss, model

THETA, STEP = 2.0, 0.1
RELATIVISTIC = ll.Relativistic(0.5, 0.05, "layer")


def trained(key, transformation, steps=30):
    params, static = eqx.partition(model(key), eqx.is_inexact_array)

    @jax.jit
    def step(params, state, t):
        gradient = jax.grad(lambda p: loss(eqx.combine(p, static), t))(params)
        with jax.numpy_dtype_promotion("standard"):  # Optax's own transformations mix dtypes
            updates, state = transformation.update(gradient, state, params)
        return optax.apply_updates(params, updates), state

    state = transformation.init(params)
    for k in range(steps):
        params, state = step(params, state, jnp.asarray(STEP * k))
    return jax.tree.leaves(params)


def same(left, right, rtol=1e-12):
    for a, b in zip(left, right, strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-14)


def relativistic(**given):
    return ll.optimizer(kinetic=RELATIVISTIC, dissipation=ll.ExponentialDissipation(THETA), step=STEP, **given)


@pytest.mark.parametrize("kinetic", [ll.Quadratic(1.5), ll.Relativistic(1.5, jnp.inf), ll.Relativistic(1.5, 1e9)])
def test_without_a_bound_on_velocities_it_is_gradient_descent_with_momentum(key, kinetic):
    beta = np.exp(-THETA * STEP)
    rate = STEP * (1 - beta) / (THETA * 1.5)
    ours = trained(key, ll.optimizer(kinetic=kinetic, dissipation=ll.ExponentialDissipation(THETA), step=STEP))
    same(ours, trained(key, optax.sgd(rate, momentum=beta)))
    same(ours, trained(key, ll.optimizer(THETA * 1.5, THETA, step=STEP)))


def test_without_mass_it_moves_by_the_sign_of_the_momentum(key):
    """Each weight by ±hc: sign descent along Optax's own trace of the gradients."""
    beta, speed = np.exp(-THETA * STEP), 0.01
    kinetic = ll.Relativistic(0.0, speed, "each")
    ours = trained(key, ll.optimizer(kinetic=kinetic, dissipation=ll.ExponentialDissipation(THETA), step=STEP))
    theirs = optax.chain(optax.trace(beta), optax.scale_by_sign(), optax.scale(-STEP * speed))
    same(ours, trained(key, theirs), rtol=1e-11)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_relativistic_steps_in_numpy(dtype):
    mass, speed, theta, steps = 0.5, 0.3, 2.0, 40
    random = np.random.default_rng(0)
    W = {"a": random.normal(size=3), "b": random.normal(size=(2, 2))}
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), W)
    transformation = ll.optimizer(
        kinetic=ll.Relativistic(mass, speed), dissipation=ll.ExponentialDissipation(theta), step=STEP
    )
    state = transformation.init(params)
    p = jax.tree.map(np.zeros_like, W)
    for _ in range(steps):
        updates, state = transformation.update(jax.tree.map(lambda w: w**3 + w, params), state)
        params = optax.apply_updates(params, updates)
        for name, w in W.items():
            p[name] = np.exp(-theta * STEP) * p[name] - (1 - np.exp(-theta * STEP)) / theta * (w**3 + w)
        size = np.sqrt(sum(np.sum(part**2) for part in p.values()))
        for name, momentum in p.items():
            W[name] = W[name] + STEP * speed * momentum / np.sqrt(size**2 + (mass * speed) ** 2)
    for name, w in W.items():
        np.testing.assert_allclose(params[name], w, rtol=1e-12 if dtype == "float64" else 2e-5)


def test_single_precision_does_not_overflow():
    params = jnp.ones(3, jnp.float32)
    transformation = ll.optimizer(kinetic=ll.Relativistic(1.0, 1e20), step=STEP)
    state, plain = transformation.init(params), ll.optimizer(kinetic=ll.Quadratic(1.0), step=STEP)
    update, _ = transformation.update(params, state)
    np.testing.assert_allclose(update, plain.update(params, plain.init(params))[0], rtol=1e-6)


def test_time_passes_where_friction_depends_on_it():
    """Bregman, written out in NumPy: r = (p+1)/t, s = Cp²t^{p−2}, from t₀; a schedule of steps among them."""
    order, scale, t0 = 3.0, 0.3, 1.0
    steps = [0.1, 0.2, 0.05, 0.0, 0.1]
    transformation = ll.optimizer(
        kinetic=ll.Quadratic(2.0),
        dissipation=ll.Bregman(order, scale, t0),
        step=lambda count: jnp.asarray(steps)[count],
    )
    w = jnp.asarray(1.0)
    state = transformation.init(w)
    t, p, expected = t0, 0.0, 1.0
    for h in steps:
        update, state = transformation.update(w, state)
        w = optax.apply_updates(w, update)
        impulse = scale * order / 2 * ((t + h) ** (2 * order) - t ** (2 * order)) / (t + h) ** (order + 1)
        p = (t / (t + h)) ** (order + 1) * p - impulse * expected
        expected, t = expected + h * p / 2, t + h
        np.testing.assert_allclose((w, state.momentum, state.time), (expected, p, t), rtol=1e-12)


def test_constant_friction_keeps_its_digits_late_in_a_run():
    """t + h − t loses the digits of a short step; a step of constant friction needs h alone."""
    params = jnp.ones(1, jnp.float32)
    transformation = ll.optimizer(kinetic=ll.Quadratic(1.0), step=1e-3)
    early = transformation.init(params)
    late = early._replace(time=jnp.asarray(1e13, early.time.dtype))
    np.testing.assert_array_equal(transformation.update(params, late)[0], transformation.update(params, early)[0])


def test_it_works_in_a_chain_and_under_masks(key):
    """Frozen leaves stay, the others move as without a mask where norms are of each weight."""
    params = {"a": jnp.ones(3), "b": jnp.full(2, 2.0)}
    plain = ll.optimizer(kinetic=ll.Relativistic(0.5, 0.05, "each"), step=STEP)
    masked = optax.chain(optax.masked(plain, {"a": True, "b": False}), optax.scale(2.0))
    updates, _ = masked.update(params, masked.init(params), params)
    np.testing.assert_allclose(updates["a"], 2 * plain.update(params, plain.init(params))[0]["a"], rtol=1e-15)
    np.testing.assert_array_equal(updates["b"], 4.0)


def test_hyperparameters_can_be_injected_and_scheduled(key):
    def made(mass, speed, theta, step):
        return ll.optimizer(
            kinetic=ll.Relativistic(mass, speed, "layer"), dissipation=ll.ExponentialDissipation(theta), step=step
        )

    injected = optax.inject_hyperparams(made)(0.5, 0.05, THETA, STEP)
    same(trained(key, injected), trained(key, relativistic()))
    scheduled = optax.inject_hyperparams(made)(0.5, lambda count: 0.05 * jnp.exp(-count.astype(float)), THETA, STEP)
    found = trained(key, scheduled, 2)
    assert np.max(np.abs(found[0] - trained(key, relativistic(), 2)[0])) > 1e-5
    old = optax.inject_hyperparams(ll.optimizer)(gamma=3.0, theta=THETA, step=STEP)
    same(trained(key, old), trained(key, ll.optimizer(3.0, THETA, step=STEP)))


def test_steps_over_several_batches(key):
    several = optax.MultiSteps(relativistic(), every_k_schedule=3)
    params = {"a": jnp.ones(3, jnp.float32)}
    state = several.init(params)
    with jax.numpy_dtype_promotion("standard"):
        for k in range(2):
            _, state = several.update(jax.tree.map(lambda leaf, k=k: k * leaf, params), state, params)
        updates, state = several.update(jax.tree.map(lambda leaf: 2 * leaf, params), state, params)
    plain = relativistic()
    np.testing.assert_allclose(updates["a"], plain.update(params, plain.init(params))[0]["a"], rtol=1e-12)


def test_half_precision_parameters_have_momenta_in_single(key):
    """A hundred kicks of 1e-3 of the momentum, which bfloat16 would round away."""
    params = {"w": jnp.ones(2, jnp.bfloat16), "v": jnp.ones(2, jnp.float16)}
    transformation = ll.optimizer(kinetic=ll.Quadratic(1.0), dissipation=ll.NoDissipation(), step=1e-3)
    state = transformation.init(params)
    gradient = jax.tree.map(lambda leaf: 0.5 * jnp.ones_like(leaf), params)
    for _ in range(499):
        _, state = transformation.update(gradient, state)
    updates, state = transformation.update(gradient, state)
    assert jax.tree.map(lambda leaf: str(leaf.dtype), state.momentum) == {"w": "float32", "v": "float32"}
    assert jax.tree.map(lambda leaf: str(leaf.dtype), updates) == {"w": "bfloat16", "v": "float16"}
    np.testing.assert_allclose(state.momentum["w"], -0.25, rtol=1e-5)
    moved = optax.apply_updates(params, updates)
    assert moved["w"].dtype == jnp.bfloat16


def test_an_energy_of_ones_own_is_enough(key):
    """A subclass with a closed form, and the same K by Newton's method."""

    class Cosh(ll.AbstractKinetic):
        def velocity(self, p):
            return jax.tree.map(jnp.arcsinh, p)

        def momentum(self, v):
            return jax.tree.map(jnp.sinh, v)

        def energy(self, v):
            return sum(jnp.sum(jnp.cosh(leaf) - 1) for leaf in jax.tree.leaves(v))

        def dual(self, p):
            v = self.velocity(p)
            return sum(jnp.sum(a * b) for a, b in zip(*map(jax.tree.leaves, (p, v)), strict=True)) - self.energy(v)

    closed = trained(key, ll.optimizer(kinetic=Cosh(), step=STEP), 10)
    by_newton = trained(key, ll.optimizer(kinetic=Cosh().energy, step=STEP), 10)
    same(closed, by_newton, rtol=1e-10)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "give gamma, the friction, or kinetic="),
        ({"gamma": 1.0, "kinetic": ll.Quadratic()}, "leave gamma and theta out"),
        ({"theta": 1.0, "kinetic": ll.Quadratic()}, "leave gamma and theta out"),
        ({"gamma": 1.0, "dissipation": ll.NoDissipation()}, "belong to a kinetic energy"),
        ({"gamma": 1.0, "factor": 2.0}, "belong to a kinetic energy"),
        ({"kinetic": 3.0}, "kinetic must be callable"),
        ({"kinetic": ll.Quadratic(), "dissipation": 3.0}, "dissipation must be a dissipation"),
        ({"kinetic": ll.Quadratic(), "factor": -1.0}, "factor must be finite and >= 0"),
        ({"kinetic": ll.Quadratic(), "step": 0.0}, "step must be finite and > 0"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ll.optimizer(**arguments)


def test_masses_that_do_not_fit_the_parameters_are_refused():
    with pytest.raises(ValueError, match="a tuple of one a layer; got a tuple of 2"):
        ll.optimizer(kinetic=ll.Quadratic((1.0, 2.0))).init(jnp.ones(3))


def test_gradients_that_are_not_like_their_parameters_are_refused():
    transformation = ll.optimizer(kinetic=ll.Quadratic())
    state = transformation.init({"a": jnp.ones(3)})
    with pytest.raises(ValueError, match=r"updates\['a'\] is an array float64\[2\]"):
        transformation.update({"a": jnp.ones(2)}, state)


def test_models_of_flax_learn(key):
    """Where Flax is installed: a relativistic step a module, on the parameters as Flax holds them."""
    linen = pytest.importorskip("flax.linen")
    module = linen.Sequential([linen.Dense(4), jnp.tanh, linen.Dense(1)])
    inputs = jax.random.normal(key, (32, 2), jnp.float32)
    targets = inputs[:, :1] * inputs[:, 1:]
    with jax.numpy_dtype_promotion("standard"):
        params = module.init(key, inputs)
        transformation = ll.optimizer(kinetic=ll.Relativistic(0.5, 0.1, "layer"), step=0.5)

        def error(params):
            return jnp.mean((module.apply(params, inputs) - targets) ** 2)

        @jax.jit
        def step(params, state):
            updates, state = transformation.update(jax.grad(error)(params), state, params)
            return optax.apply_updates(params, updates), state

        state, before, last = transformation.init(params), error(params), params
        for _ in range(200):
            last = params
            params, state = step(params, state)
        assert error(params) < before / 2
        for layer in ("layers_0", "layers_2"):
            moved = jax.tree.map(lambda a, b: jnp.sum((a - b) ** 2), params["params"][layer], last["params"][layer])
            assert np.sqrt(sum(jax.tree.leaves(moved))) <= 0.5 * 0.1
