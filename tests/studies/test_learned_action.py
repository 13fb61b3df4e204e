"""Fits of unknown actions, against closed forms and equations by hand (benchmarks/studies/learned_action.py)."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lagrangian_learning as ll
from benchmarks.studies.learned_action import functions, judged, misses, visited
from benchmarks.studies.learned_action_fits import RECORDS, fitted, gradient_checks, slopes, times
from benchmarks.studies.learned_action_models import (
    ABOVE,
    BELOW,
    CORNER,
    MASS_W,
    MASS_X,
    PRICE,
    THETA,
    WIDTH,
    drawn,
    freed,
    itself,
    quadratic,
    structureless,
    true_law,
    unknown,
)

TS = times(RECORDS)


class Oscillator(ll.AbstractLaw):
    """Ẅ = −k W from rest, W = W₀ cos √k t, in the place of a law whose function is not known."""

    stiffness: jax.Array
    aliases: ClassVar[dict[str, tuple[str, int | None]]] = {"W": ("q", None)}

    def initial_state(self, t0: Any, q: Any, v: Any = None, args: Any = None) -> ll.State:
        return ll.State(q, jnp.zeros_like(q))

    def rates(self, t: Any, state: Any, args: Any) -> ll.Rates:
        return ll.Rates(ll.State(state.v, -self.stiffness * state.q))


@pytest.fixture
def swings():
    """First weights [runs, weights], and a function of k: the weights at all records, in closed form."""
    W = np.random.default_rng(0).normal(size=(2, 3))
    return W, lambda k: W[:, None] * np.cos(np.sqrt(k) * TS)[:, None]


def test_squares_and_their_slope_are_those_of_the_closed_form(swings):
    W, moved = swings
    seen, k = moved(1.0), 1.3
    used = np.arange(RECORDS + 1) <= 20
    arrays, static = eqx.partition(Oscillator(jnp.asarray(k)), eqx.is_array)
    given = jnp.asarray(seen), jnp.asarray(used.astype(float)), (None, jnp.asarray(W))
    value, gradient = slopes(itself, static, arrays, *given)
    left = (moved(k) - seen)[:, used]
    below = np.sum((seen - seen[:, :1])[:, used] ** 2)
    by_k = W[:, None] * (-np.sin(np.sqrt(k) * TS) * TS / (2 * np.sqrt(k)))[:, None]
    assert value == pytest.approx(np.sum(left**2) / below, rel=1e-3)
    assert gradient.stiffness == pytest.approx(2 * np.sum(left * by_k[:, used]) / below, rel=1e-3)


def test_a_fit_finds_what_is_free_and_leaves_the_rest(swings):
    W, moved = swings
    start, starts = Oscillator(jnp.asarray(0.7)), (None, jnp.asarray(W))
    with jax.numpy_dtype_promotion("standard"):  # Optax counts its steps in integers
        fit, frozen = (
            fitted(itself, start, Oscillator(jnp.asarray(free)), moved(1.0), starts, 0.05, 20) for free in (1.0, 0.0)
        )
    assert float(fit.model.stiffness) == pytest.approx(1.0, abs=1e-4)
    assert float(frozen.model.stiffness) == 0.7
    ways = np.sum((moved(0.7) - moved(1.0)) ** 2) / np.sum((moved(1.0) - W[:, None]) ** 2)
    assert fit.left < 1e-3
    assert frozen.left == pytest.approx(np.sqrt(ways), rel=1e-2)
    assert 2 * 20 < fit.gradients <= 2 * 61


def test_the_true_law_is_that_of_its_lagrangian():
    """D ℓ_v + ϑ ℓ_v = ℓ_W of ℓ(t, W, Ẇ) with neurons put in, written by hand."""
    stimulus, W = drawn(jax.random.key(3))
    sizes = [w.size for w in W]
    v = np.random.default_rng(1).normal(size=sum(sizes))

    def lagrangian(t, flat, v):
        def neurons(t, flat):
            x0 = stimulus.input(t)
            x1 = jnp.tanh(flat[:6].reshape(3, 2) @ x0)
            return jnp.concatenate([x0, x1, jnp.tanh(flat[6:].reshape(1, 3) @ x1)])

        x, x_dot = jax.jvp(neurons, (t, flat), (jnp.ones_like(t), v))
        r = (x[-1] - stimulus.target(t)[0]) / WIDTH
        loss = WIDTH * jnp.log(jnp.exp(ABOVE * r) + jnp.exp(-BELOW * r))
        price = PRICE * jnp.sum(jnp.sqrt(flat**2 + CORNER**2))
        return MASS_X / 2 * x_dot @ x_dot + MASS_W / 2 * v @ v - loss - price

    t, flat, v = jnp.asarray(1.2), jnp.concatenate([w.ravel() for w in W]), jnp.asarray(v)
    momentum = jax.grad(lagrangian, 2)
    by_t, by_W, by_v = jax.jacfwd(momentum, (0, 1, 2))(t, flat, v)
    right = jax.grad(lagrangian, 1)(t, flat, v) - THETA * momentum(t, flat, v) - by_t - by_W @ v
    expected = jnp.linalg.solve(by_v, right)
    state = ll.State(W, (v[:6].reshape(3, 2), v[6:].reshape(1, 3)))
    found, _ = true_law().accelerations(t, state, stimulus)
    np.testing.assert_allclose(jnp.concatenate([a.ravel() for a in found]), expected, rtol=1e-8, atol=1e-10)


def test_true_slopes_in_closed_form():
    at = jnp.linspace(-1.5, 1.5, 7)
    by_error, by_weight = functions(None, at, at)
    both = ABOVE + BELOW
    np.testing.assert_allclose(by_error, both / (1 + np.exp(-both * np.asarray(at) / WIDTH)) - BELOW, rtol=1e-10)
    np.testing.assert_allclose(by_weight, PRICE * at / np.sqrt(np.asarray(at) ** 2 + CORNER**2), rtol=1e-10, atol=1e-15)


def test_two_numbers_begin_as_half_the_squared_error_without_a_price():
    model = quadratic(unknown(jax.random.key(0)))
    at = jnp.linspace(-2.0, 2.0, 5)
    by_error, by_weight = functions(model, at, at)
    np.testing.assert_allclose(by_error, at)
    np.testing.assert_allclose(by_weight, 0.0)
    ones = [
        sum(float(jnp.sum(leaf)) for leaf in jax.tree.leaves(freed(model, numbers=numbers)))
        for numbers in (True, False)
    ]
    sizes = sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(model, eqx.is_array)))
    assert ones == [2, sizes - 2]


def test_the_force_without_structure_is_a_layer_of_tanh_after_another():
    law, (stimulus, W) = structureless(jax.random.key(1)), drawn(jax.random.key(2))
    v = jax.tree.map(lambda w: 0.3 * w, W)
    t = jnp.asarray(0.7)
    rates = law.rates(t, ll.State(W, v), stimulus).state
    W1, W2 = (np.asarray(w) for w in W)
    x0 = np.asarray(stimulus.input(t))
    x1 = np.tanh(W1 @ x0)
    value = np.concatenate([W1.ravel(), W2.ravel(), x0, x1, np.tanh(W2 @ x1), np.asarray(stimulus.target(t))])
    *hidden, last = law.mlp.layers
    for layer in hidden:
        value = np.tanh(np.asarray(layer.weight) @ value + np.asarray(layer.bias))
    force = np.asarray(last.weight) @ value + np.asarray(last.bias)
    expected = force / MASS_W - THETA * 0.3 * np.concatenate([W1.ravel(), W2.ravel()])
    np.testing.assert_allclose(np.concatenate([np.ravel(a) for a in rates.v]), expected, rtol=1e-12)
    np.testing.assert_array_equal(rates.q[0], v[0])


def test_errors_are_shares_of_the_way_of_each_run():
    weights = np.cumsum(np.ones((5, 2 * RECORDS + 1, 2)), axis=1) * np.arange(1.0, 6)[:, None, None]
    stays = judged(np.broadcast_to(weights[:, :1], weights.shape), weights)
    assert [stays[name] for name in ("within", "within_spread", "later", "later_spread")] == [1, 1, 1, 1]
    shares = np.array([0.1, 0.2, 0.3, 0.4, np.nan])[:, None, None]
    off = judged(weights + shares * (weights - weights[:, :1]), weights)
    assert off["within"] == pytest.approx(0.3)
    assert off["later"] == pytest.approx(0.3)
    assert off["within_spread"] == np.inf  # a run that failed


def test_errors_visited_are_those_of_the_network_by_hand():
    starts = jax.vmap(drawn)(jax.random.split(jax.random.key(4), 2))
    weights = np.random.default_rng(2).normal(size=(2, RECORDS + 1, 9))
    errors, at = visited(starts, weights)
    stimulus = jax.tree.map(lambda leaf: leaf[1], starts[0])
    flat, t = weights[1, 5], TS[5]
    x = np.tanh(flat[6:] @ np.tanh(flat[:6].reshape(3, 2) @ np.asarray(stimulus.input(t))))
    assert errors.reshape(2, -1)[1, 5] == pytest.approx(float(x - stimulus.target(t)[0]))
    np.testing.assert_array_equal(at, weights.ravel())


def test_misses_are_named():
    near, far = [{"within": 0.05}] * 2, [{"within": 0.9}] * 2
    found = {
        "judged": {"learned action": [{"within": 0.2}, near[0]], "two numbers": far, "neural ODE": near},
        "checks": {"equinox": 0.0, "difference": 1e-3},
    }
    assert misses(found) == [
        "all W: the learned action is 20.0 % off",
        "all W: neural ODE is not 3 times as far off",
        "W with 1 % noise: neural ODE is not 3 times as far off",
        "a difference is 1e-03 off",
    ]


@pytest.mark.slow
def test_both_gradients_through_runs_of_an_action_are_that_of_differences():
    starts = jax.vmap(drawn)(jax.random.split(jax.random.key(5), 2))
    seen = 0.3 * np.random.default_rng(3).normal(size=(2, RECORDS + 1, 9))
    found = gradient_checks(jax.random.key(7), unknown(jax.random.key(6)), seen, starts)
    assert found["equinox"] < 1e-12
    assert found["difference"] < 1e-5
