"""`optimizer` against Optax's own gradient descent, and against the motion that it is."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lagrangian_learning as ll
from tests.optimizers.learner import loss, model

GAMMA, STEP = 3.0, 0.1


def trained(key, transformation, steps=30):
    start, static = eqx.partition(model(key), eqx.is_inexact_array)

    @jax.jit
    def run(params):
        def step(carry, t):
            params, state = carry
            gradient = jax.grad(lambda p: loss(eqx.combine(p, static), t))(params)
            updates, state = transformation.update(gradient, state, params)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, (params, transformation.init(params)), STEP * jnp.arange(steps, dtype=float))[0][0]

    return jax.tree.leaves(run(start)), jax.tree.leaves(start)


@pytest.mark.parametrize("theta", [0.5, 1e8, np.inf])
def test_it_is_gradient_descent_with_momentum(key, theta):
    beta = np.exp(-theta * STEP)
    rate = STEP * (1 - beta) / GAMMA
    ours, start = trained(key, ll.optimizer(GAMMA, theta, step=STEP))
    theirs, _ = trained(key, optax.sgd(rate, momentum=beta) if np.isfinite(theta) else optax.sgd(STEP / GAMMA))
    for left, right in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-12, atol=1e-14)
    assert max(np.max(np.abs(a - b)) for a, b in zip(ours, start, strict=True)) > 1e-2


def test_a_scheduled_step_decays_by_its_own_length():
    """Written out in NumPy for V = ½w², with h = 0.1, 0.2, 0."""
    steps = [0.1, 0.2, 0.0]
    transformation = ll.optimizer(GAMMA, 2.0, step=lambda count: jnp.asarray(steps)[count])
    w = jnp.asarray(1.0)
    state = transformation.init(w)
    expected, velocity = 1.0, 0.0
    for h in steps:
        update, state = transformation.update(w, state)
        w = optax.apply_updates(w, update)
        beta = np.exp(-2 * h)
        velocity = beta * velocity - (1 - beta) / GAMMA * expected
        expected += h * velocity
        np.testing.assert_allclose((w, state.velocity), (expected, velocity), rtol=1e-13)


def test_parameters_of_mixed_precision_keep_theirs():
    params = {"a": jnp.ones(2, jnp.float32), "b": jnp.ones(3, jnp.float64), "none": None}
    transformation = ll.optimizer(1.0, 1.0)
    updates, state = transformation.update(params, transformation.init(params))
    assert jax.tree.map(lambda u: str(u.dtype), updates) == {"a": "float32", "b": "float64", "none": None}
    np.testing.assert_allclose(updates["b"], np.expm1(-1.0), rtol=1e-15)
    assert state.count == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"gamma": 0.0}, "gamma must be finite and > 0: it is 1/learning rate"),
        ({"gamma": np.nan}, "gamma must be finite and > 0"),
        ({"gamma": [1.0, 2.0]}, "gamma must be one number"),
        ({"gamma": 1.0, "theta": -1.0}, "theta must be > 0: it is γ/m_W"),
        ({"gamma": 1.0, "theta": np.nan}, "theta must be > 0"),
        ({"gamma": 1.0, "step": 0.0}, "step must be finite and > 0"),
        ({"gamma": 1.0, "step": np.inf}, "step must be finite and > 0"),
    ],
)
def test_bad_constants_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ll.optimizer(**arguments)


@pytest.mark.parametrize(
    ("gradient", "message"),
    [
        (
            {"a": np.ones((2, 3))},
            r"updates\['a'\] is an array float64\[2, 3\], and its parameter .*\[3\]",
        ),
        ({"a": np.ones(3, np.float32)}, r"updates\['a'\] is an array float32\[3\]"),
        ({"a": np.ones(3, complex)}, r"updates\['a'\] is an array complex128\[3\]"),
        ({"b": np.ones(3)}, "another structure than the parameters"),
        (None, "another structure than the parameters"),
    ],
)
def test_gradients_that_are_not_like_their_parameters_are_refused(gradient, message):
    """A gradient of shape (2, 3) would broadcast three parameters to six."""
    transformation = ll.optimizer(1.0)
    with pytest.raises(ValueError, match=message):
        transformation.update(gradient, transformation.init({"a": jnp.ones(3)}))


@pytest.mark.parametrize("parameter", [np.arange(3), np.ones(3, complex), np.ones(3, bool), 1.0, "a"])
def test_parameters_that_cannot_be_learned_are_refused(parameter):
    """Integer velocities would round every step to zero."""
    with pytest.raises(ValueError, match=r"params\['a'\] must be a real floating array.*eqx\.filter"):
        ll.optimizer(1.0).init({"a": parameter})


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (np.nan, "finite and >= 0"),
        (np.inf, "finite and >= 0"),
        (-0.1, "finite and >= 0"),
        (np.ones(3), r"one number, got shape \(3,\)"),
        (1j, "real, got complex"),
        (None, "one real number, got None"),
    ],
)
def test_schedules_that_return_no_time_are_refused(returned, message):
    transformation = ll.optimizer(1.0, step=lambda count: returned)
    params = jnp.ones(3)
    with pytest.raises(ValueError, match=f"step: what the schedule returns must be {message}"):
        transformation.update(params, transformation.init(params))


def test_a_schedule_that_turns_bad_is_seen_under_jit():
    transformation = ll.optimizer(1.0, step=lambda count: jnp.where(count < 1, 1.0, jnp.nan))
    params = jnp.ones(3)
    update = eqx.filter_jit(transformation.update)
    _, state = update(params, transformation.init(params))
    with pytest.raises(RuntimeError, match="what the schedule returns must be finite"):
        jax.block_until_ready(update(params, state))


@pytest.mark.slow
def test_it_is_the_motion_of_damped_descent_by_kick_and_drift(key):
    network = ll.Layered((2, 3, 1))
    stimulus = ll.Stimulus(
        ll.Sinusoids(jnp.array([1.0, 2.0]), jnp.array([1.0, 0.7]), jnp.array([0.3, 0.0])),
        ll.Sinusoids(jnp.array([1.5]), jnp.array([0.5]), jnp.array([0.0])),
    )
    W, theta = network.init(key), 5.0
    law = ll.DampedDescent(network, ll.SquaredError(), GAMMA / theta, ll.ExponentialDissipation(theta))
    ts = STEP * np.arange(21)
    path = ll.simulate(law, law.initial_state(0.0, W, args=stimulus), ts, stimulus, solver=ll.KickDrift(), dt0=STEP)
    transformation = ll.optimizer(GAMMA, theta, step=STEP)
    state = transformation.init(W)
    gradient = jax.jit(
        jax.grad(lambda W, t: 0.5 * jnp.sum((network.forward(W, stimulus.input(t))[-1] - stimulus.target(t)) ** 2))
    )
    for k, t in enumerate(ts[:-1]):
        updates, state = transformation.update(gradient(W, t), state)
        W = optax.apply_updates(W, updates)
        for layer, expected in zip(path.W, W, strict=True):
            np.testing.assert_allclose(layer[k + 1], expected, rtol=1e-9, atol=1e-12)


def test_friction_that_rises_within_a_step_is_in_the_momentum_alone():
    """Written out in NumPy for V = ½w² and m_W = 1: each step has the momentum e^{−∫ϑ}, and nothing else of ϑ."""
    times, thetas, steps = np.array([0.0, 6.0]), np.array([0.1, 50.0]), 6
    dissipation = ll.PiecewiseLinearDissipation(times, thetas)
    law = ll.EulerLagrange(ll.Lagrangian(lambda t, q, v, args: v @ v / 2 - q @ q / 2, dissipation))
    start = law.initial_state(0.0, np.array([1.0]), np.array([-3.0]))
    path = ll.simulate(
        law,
        start,
        np.arange(steps + 1.0),
        solver=ll.KickDrift(),
        dt0=1.0,
        save=lambda t, found: (found["q"], found["v"]),
    )
    w, v, expected = 1.0, -3.0, [(1.0, -3.0)]
    for k in range(steps):
        theta = np.interp(k + 0.5, times, thetas)
        v = np.exp(-theta) * v - (1 - np.exp(-theta)) / theta * w
        w += v
        expected.append((w, v))
    np.testing.assert_allclose(np.hstack(path.saved), expected, rtol=1e-12)
