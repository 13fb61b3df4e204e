"""Oracles: SciPy's barycentric polynomials and incomplete beta function, closed forms, polynomial fits."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.polynomial import Chebyshev
from scipy.interpolate import BarycentricInterpolator
from scipy.special import betainc

from lagrangian_learning.signals import Sampled
from tests.helpers import mostly_slow


def uneven(count, seed=0):
    steps = np.random.default_rng(seed).uniform(0.5, 1.5, count - 1)
    return np.concatenate([[0.0], np.cumsum(steps)]) - 1.0


def derivative(fn, order):
    for _ in range(order):
        fn = functools.partial(lambda f, t: jax.jvp(f, (t,), (jnp.ones_like(t),))[1], fn)
    return fn


def by_the_definition(ts, values, smoothness, t):
    """(1 − b) p_i + b p_{i+1}, word by word."""
    count, half = len(ts), smoothness // 2

    def local(i, t):
        first = min(max(i - half, 0), count - smoothness - 1)
        near = slice(first, first + smoothness + 1)
        return BarycentricInterpolator(ts[near], values[near], rng=0)(t)

    i = min(max(np.searchsorted(ts, t, side="right") - 1, 0), count - 2)
    b = betainc(smoothness, smoothness, (t - ts[i]) / (ts[i + 1] - ts[i]))
    return (1 - b) * local(i, t) + b * local(i + 1, t)


@pytest.mark.parametrize("smoothness", [2, 4])
@pytest.mark.parametrize("extra", [0, 1, 7])
def test_it_is_what_the_definition_says(smoothness, extra):
    ts = uneven(smoothness + 2 + extra)
    values = np.random.default_rng(1).normal(size=(ts.size, 2))
    times = np.linspace(ts[0], ts[-1], 53)
    expected = np.stack([by_the_definition(ts, values, smoothness, t) for t in times])
    np.testing.assert_allclose(jax.vmap(Sampled(ts, values, smoothness))(times), expected, atol=1e-12)


@pytest.mark.parametrize("smoothness", [2, 4])
def test_it_goes_through_the_samples(smoothness):
    ts = uneven(12)
    values = np.random.default_rng(2).normal(size=(12, 3))
    np.testing.assert_allclose(jax.vmap(Sampled(ts, values, smoothness))(ts), values, atol=1e-13)


@pytest.mark.parametrize("smoothness", [2, 4])
def test_error_falls_with_the_order_of_the_local_polynomials(smoothness):
    errors = []
    for count in (41, 81, 161):
        ts = np.linspace(0.0, 6.0, count) + 0.3 * (6.0 / count) * np.sin(7.0 * np.arange(count))
        times = np.linspace(ts[0], ts[-1], 1501)
        errors.append(np.max(np.abs(jax.vmap(Sampled(ts, np.sin(ts), smoothness))(times) - np.sin(times))))
    slopes = np.log2(np.divide(errors[:-1], errors[1:]))
    assert np.all(np.abs(slopes - (smoothness + 1)) < 0.3), slopes


@pytest.mark.parametrize(
    ("smoothness", "tolerances"),
    [(2, (2e-5, 2e-3, 0.1)), pytest.param(4, (1e-8, 1e-6, 1e-4, 1e-2), marks=pytest.mark.slow)],
)
def test_derivatives_of_a_sampled_sine(smoothness, tolerances):
    ts = np.linspace(0.0, 6.0, 121)
    signal = Sampled(ts, np.sin(ts), smoothness)
    times = np.linspace(0.02, 5.98, 97)
    closed = (np.sin, np.cos, lambda t: -np.sin(t), lambda t: -np.cos(t), np.sin)
    for order, tolerance in enumerate(tolerances):
        ours = jax.vmap(derivative(signal, order))(times)
        np.testing.assert_allclose(ours, closed[order](times), atol=tolerance)


@pytest.mark.parametrize("smoothness", [2, 4])
@pytest.mark.parametrize("node", [1, 2, 5, 8, 9])
def test_it_is_exactly_so_often_differentiable_at_the_nodes(smoothness, node):
    """Each piece is a polynomial of degree 3k − 1: fit it on either side of a node and compare derivatives there."""
    ts = uneven(11, seed=3)
    signal = jax.vmap(Sampled(ts, np.random.default_rng(4).normal(size=11), smoothness))
    sides = []
    for start, end in ((ts[node - 1], ts[node]), (ts[node], ts[node + 1])):
        points = start + (end - start) * 0.5 * (1 - np.cos(np.pi * (np.arange(16) + 0.5) / 16))
        sides.append(Chebyshev.fit(points, signal(points), 3 * smoothness - 1, domain=[start, end]))
    jumps = [abs(sides[0].deriv(j)(ts[node]) - sides[1].deriv(j)(ts[node])) for j in range(1, smoothness + 2)]
    assert max(jumps[:-1]) < 1e-4
    at_the_end = node < smoothness // 2 or node > 10 - smoothness // 2  # one polynomial on both sides: smooth
    assert (jumps[-1] < 1e-2) if at_the_end else (jumps[-1] > 1.0)


@pytest.mark.slow
def test_nested_derivatives_are_those_of_finite_differences():
    ts = uneven(9, seed=5)
    signal = Sampled(ts, np.random.default_rng(6).normal(size=9), 4)
    t, h = 2.3, 1e-5
    for order in range(4):
        below, above = derivative(signal, order)(t - h), derivative(signal, order)(t + h)
        np.testing.assert_allclose(derivative(signal, order + 1)(t), (above - below) / (2 * h), rtol=1e-6, atol=1e-6)


def test_a_constant_has_no_derivative_at_all():
    signal = Sampled(uneven(8), np.full((8, 2), 0.3), 4)
    assert np.all(derivative(signal, 1)(1.234) == 0.0)
    assert np.all(signal(1.234) == 0.3)


@pytest.mark.parametrize("smoothness", mostly_slow((2, 4), 4))
def test_float32_times_give_float32_values(smoothness):
    ts = uneven(30)
    signal = Sampled(ts, np.sin(ts), smoothness)
    times = np.linspace(ts[0], ts[-1], 71)
    single = jax.vmap(signal)(jnp.asarray(times, jnp.float32))
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, jax.vmap(signal)(times), atol=3e-6)
    all_single = Sampled(ts.astype(np.float32), np.sin(ts).astype(np.float32), smoothness)
    assert all_single.values.dtype == jnp.float32
    assert all_single(jnp.asarray(1.0, jnp.float64)).dtype == jnp.float64
    np.testing.assert_allclose(jax.vmap(all_single)(jnp.asarray(times, jnp.float32)), single, atol=3e-6)


def test_nothing_is_extrapolated():
    ts = np.linspace(0.1, 0.7, 7)
    signal = Sampled(ts, ts**2)
    start, end = signal.domain
    assert (start, end) == (ts[0], ts[-1])
    for inside in (start, end, np.nextafter(end, 1.0), np.nextafter(start, 0.0)):
        assert np.isfinite(signal(inside))
    for outside in (start - 1e-9, end + 1e-9, np.nan, np.inf, -np.inf):
        assert np.isnan(signal(outside))
        assert np.isnan(derivative(signal, 1)(outside))


@pytest.mark.slow
def test_gradients_in_times_and_values_are_those_of_finite_differences():
    ts, values = uneven(8), np.random.default_rng(7).normal(size=8)

    def energy(ts, values):
        signal = Sampled(ts, values, 2)
        return jnp.sum(jax.vmap(lambda t: signal(t) ** 2 + derivative(signal, 2)(t))(jnp.asarray([0.3, 1.7, 4.0])))

    gradients = jax.jit(jax.grad(energy, argnums=(0, 1)))(ts, values)
    h = 1e-6
    for which, gradient in enumerate(gradients):
        for k in range(8):
            samples = [np.array([ts, values]), np.array([ts, values])]
            samples[0][which, k] -= h
            samples[1][which, k] += h
            low, high = (energy(*jnp.asarray(sample)) for sample in samples)
            np.testing.assert_allclose(gradient[k], (high - low) / (2 * h), rtol=1e-5, atol=1e-5)


def with_limited_slopes(ts, values, smoothness, t):
    """(1 − b) p_i + b p_{i+1} with lines through the nodes, word by word."""
    slopes = np.diff(values) / np.diff(ts)
    steps = np.concatenate([slopes[:1], slopes, slopes[-1:]])
    at_node = [min(a, b, key=abs) if a * b > 0 else 0.0 for a, b in itertools.pairwise(steps)]
    i = min(max(np.searchsorted(ts, t, side="right") - 1, 0), len(ts) - 2)
    b = betainc(smoothness + 1, smoothness + 1, (t - ts[i]) / (ts[i + 1] - ts[i]))
    ahead, behind = (values[k] + at_node[k] * (t - ts[k]) for k in (i, i + 1))
    return (1 - b) * ahead + b * behind


GAP = np.concatenate([np.arange(10.0), 29.0 + np.arange(10.0)])
IN_UNIT = np.random.default_rng(1).uniform(size=20)


@pytest.mark.slow
@pytest.mark.parametrize("smoothness", [2, 4])
@pytest.mark.parametrize("degree", [0, 1])
def test_low_degrees_stay_between_their_neighbours_in_a_gap(smoothness, degree):
    """Data in [0, 1] with a gap of 20: degree 2 reaches −1.3, degree 4 −7."""
    signal = jax.vmap(Sampled(GAP, IN_UNIT, smoothness, degree))
    assert np.min(jax.vmap(Sampled(GAP, IN_UNIT, smoothness))(np.linspace(9, 29, 301))) < -1
    np.testing.assert_allclose(signal(GAP), IN_UNIT, atol=1e-15)
    for k in range(19):
        between = np.asarray(signal(np.linspace(GAP[k], GAP[k + 1], 101)))
        steps = np.diff(between) * np.sign(IN_UNIT[k + 1] - IN_UNIT[k])
        assert np.min(steps) > -1e-15
        assert min(IN_UNIT[k : k + 2]) - 1e-15 < between.min()
        assert between.max() < max(IN_UNIT[k : k + 2]) + 1e-15


@pytest.mark.parametrize("smoothness", [2, 4])
def test_degree_one_is_what_the_definition_says(smoothness):
    ts, values = uneven(9), np.random.default_rng(5).normal(size=9)
    times = np.linspace(ts[0], ts[-1], 97)
    expected = [with_limited_slopes(ts, values, smoothness, t) for t in times]
    np.testing.assert_allclose(jax.vmap(Sampled(ts, values, smoothness, 1))(times), expected, atol=1e-13)


@pytest.mark.parametrize("degree", [0, 1])
@pytest.mark.parametrize("node", [1, 4, 8])
def test_low_degrees_are_as_smooth_as_stated(degree, node):
    ts = uneven(10, seed=3)
    signal = jax.vmap(Sampled(ts, np.cumsum(np.random.default_rng(4).uniform(size=10)), 2, degree))
    sides = []
    for start, end in ((ts[node - 1], ts[node]), (ts[node], ts[node + 1])):
        points = start + (end - start) * 0.5 * (1 - np.cos(np.pi * (np.arange(12) + 0.5) / 12))
        sides.append(Chebyshev.fit(points, signal(points), 7, domain=[start, end]))
    jumps = [abs(sides[0].deriv(j)(ts[node]) - sides[1].deriv(j)(ts[node])) for j in (1, 2, 3)]
    assert max(jumps[:2]) < 1e-7
    assert jumps[2] > 0.1


@pytest.mark.parametrize("degree", [0, 1])
def test_error_of_low_degrees_falls_with_their_order(degree):
    errors = []
    for count in (41, 81, 161):
        ts, times = np.linspace(0.0, 2.0, count), np.linspace(0.0, 2.0, 1501)
        errors.append(np.max(np.abs(jax.vmap(Sampled(ts, np.exp(ts), 2, degree))(times) - np.exp(times))))
    slopes = np.log2(np.divide(errors[:-1], errors[1:]))
    assert np.all(np.abs(slopes - (degree + 1)) < 0.1), slopes
