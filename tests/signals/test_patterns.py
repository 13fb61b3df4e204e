import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import betainc

from lagrangian_learning.signals import Patterns

XOR = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])


@pytest.mark.parametrize("smoothness", [2, 4])
@pytest.mark.parametrize("periodic", [False, True])
def test_patterns_are_held_and_rise_as_the_docstring_says(smoothness, periodic):
    signal = jax.vmap(Patterns(XOR, dwell=2.0, rise=0.5, smoothness=smoothness, periodic=periodic))
    times = np.linspace(-3.0, 14.0, 341)

    def expected(t):
        cell = int(np.floor(t / 2.0))
        index = (lambda i: i % 4) if periodic else (lambda i: min(max(i, 0), 3))
        theta = np.clip((t - 2.0 * cell - 1.5) / 0.5, 0.0, 1.0)
        b = betainc(smoothness + 1, smoothness + 1, theta)
        return (1 - b) * XOR[index(cell)] + b * XOR[index(cell + 1)]

    np.testing.assert_allclose(signal(times), [expected(t) for t in times], atol=1e-12)


def test_values_held_are_exact_and_still():
    signal = Patterns(XOR, dwell=2.0, rise=0.5)
    for i, pattern in enumerate(XOR):
        value, rate = jax.jvp(signal, (2.0 * i + 0.7,), (1.0,))
        assert np.array_equal(value, pattern)
        assert not np.any(rate)


@pytest.mark.parametrize("smoothness", [2, 4])
def test_a_rise_stays_between_and_is_monotone(smoothness):
    signal = jax.vmap(Patterns([[-1.0], [1.0]], dwell=1.0, rise=0.9, smoothness=smoothness))
    values = signal(np.linspace(0.0, 1.0, 301))[:, 0]
    assert np.all(np.diff(values) >= 0.0)
    assert (values[0], values[-1]) == (-1.0, 1.0)


def test_it_is_defined_always_but_not_at_nan():
    signal = Patterns(XOR, dwell=2.0, rise=0.5)
    assert signal.domain is None
    np.testing.assert_array_equal(signal(1e6), XOR[-1])
    np.testing.assert_array_equal(signal(-1e6), XOR[0])
    assert np.all(np.isnan(signal(np.nan)))
    assert signal(jnp.asarray(1.9, jnp.float32)).dtype == jnp.float32
