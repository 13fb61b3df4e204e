"""Delays of discrete waves against (1)–(3) themselves, against NumPy at slow input, and against a closed form."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lagrangian_learning as ll
from benchmarks.studies.wave_delays import delayed_gradient, period_of, sensitivities

RATES, TARGET_RATE = np.array([1.0, 0.77]), 1.19
OFFSETS = np.array([0.3, 1.0, 2.0])
# Over so many periods the beats of these frequencies average out.
PHASES = np.linspace(0, 2 * np.pi * 200, 2500, endpoint=False)


def signals(phase, offsets, xp=jnp):
    return xp.sin(RATES * phase + offsets[:2]), 0.5 * xp.sin(TARGET_RATE * phase + offsets[2:])


def chain(depth, activation="tanh"):
    network = ll.Layered((2, *(4,) * (depth - 1), 1), activation=activation)
    return network, network.init(jax.random.key(depth))


def test_the_delayed_gradient_is_what_waves_form_once_they_are_full():
    network, W = chain(4)
    rate, frames = 0.7, np.arange(12.0)
    inputs, targets = jax.vmap(lambda t: signals(rate * t, OFFSETS))(frames)
    waves = ll.waves.backprop_waves(network, W, inputs, targets, ll.SquaredError())
    at = functools.partial(signals, offsets=OFFSETS)
    for t in (7, 11):
        expected = delayed_gradient(network, W, at, jnp.asarray(rate * t), jnp.asarray(rate))
        for ours, theirs in zip(expected, waves.gradient_at(t), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-15)


def lost_cosine(W, rate):
    """1 − cos of every layer with the present gradient, in NumPy: tanh neurons, each factor read at its own time."""
    L = len(W)

    def neurons(delay):
        x = [np.sin(RATES * (PHASES[:, None] - rate * delay) + OFFSETS[:2])]
        for matrix in W:
            x.append(np.tanh(x[-1] @ matrix.T))
        return x

    def gradient(l, delayed):
        late = lambda frames: frames if delayed else 0  # noqa: E731
        target = 0.5 * np.sin(TARGET_RATE * (PHASES - rate * late(L - l)) + OFFSETS[2])[:, None]
        x = neurons(late(2 * L - l))
        delta = (1 - x[L] ** 2) * (x[L] - target)
        for k in range(L - 1, l - 1, -1):
            delta = (1 - neurons(late(2 * k - l))[k] ** 2) * (delta @ W[k])
        return delta[:, :, None] * neurons(late(l - 1))[l - 1][:, None, :]

    pairs = [(gradient(l, delayed=True), gradient(l, delayed=False)) for l in range(1, L + 1)]
    return np.array([1 - np.sum(g * r) / np.sqrt(np.sum(g * g) * np.sum(r * r)) for g, r in pairs])


@pytest.mark.parametrize("depth", [2, 5])
def test_the_cosine_falls_with_the_square_of_the_rate_as_the_delays_say(depth):
    network, W = chain(depth)
    K = np.asarray(sensitivities(network, W, signals, jnp.asarray(OFFSETS), jnp.asarray(PHASES)))
    rate = 1e-3
    np.testing.assert_allclose(lost_cosine([np.asarray(matrix) for matrix in W], rate), rate**2 * K / 2, rtol=1e-3)


def test_a_linear_network_of_small_output_needs_a_period_proportional_to_L_less_one():
    """K_l = ω_y² (L−l)² + ω_x² (l−1)², ω_x² the mean square of the rates in x_{l−1} = M u; greatest at an end."""
    periods = []
    for depth in (3, 6):
        network, W = chain(depth, "linear")
        W = (*W[:-1], 1e-7 * W[-1])
        K = np.asarray(sensitivities(network, W, signals, jnp.asarray(OFFSETS), jnp.asarray(PHASES)))
        M, expected = np.eye(2), []
        for l, matrix in enumerate(W, 1):
            squares = np.sum(M**2, axis=0)
            expected.append((TARGET_RATE * (depth - l)) ** 2 + squares @ RATES**2 / squares.sum() * (l - 1) ** 2)
            M = np.asarray(matrix) @ M
        np.testing.assert_allclose(K, expected, rtol=5e-3)
        periods.append(period_of(K, 0.99))
    # cos(ω_y (L−1)) = 0.99 at layer 1, to second order.
    np.testing.assert_allclose(periods, 2 * np.pi * TARGET_RATE * np.array([2, 5]) / np.sqrt(0.02), rtol=5e-3)
