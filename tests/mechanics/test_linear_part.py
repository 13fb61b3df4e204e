"""φ-functions against mpmath, and damped motion against the exponential of its matrix."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import scipy.integrate
import scipy.linalg

from lagrangian_learning.mechanics import DampedMotion, Decay, ExponentialDissipation, ScheduledDissipation, State
from lagrangian_learning.mechanics.linear_part import decay_moments, motion_moments, phi_function, rest_moments

ARGUMENTS = -np.concatenate([np.logspace(-12, 6, 73), [1 - 1e-12, 1.0, 1 + 1e-12, 0.0]])


def phi(k, z):
    """φ_k(z) = ∫₀¹ e^{(1−s)z} s^{k−1}/(k−1)! ds by its confluent hypergeometric function, in 50 digits."""
    with mpmath.workdps(50):
        return float(mpmath.hyp1f1(1, k + 1, mpmath.mpf(z)) / mpmath.factorial(k))


@pytest.mark.parametrize("k", [0, 1, 2, 3, 4])
def test_phi_functions_equal_mpmath(k):
    result = np.asarray(phi_function(k, jnp.asarray(ARGUMENTS)))
    expected = np.array([mpmath.exp(z) if k == 0 else phi(k, z) for z in ARGUMENTS], dtype=float)
    np.testing.assert_allclose(result, expected, rtol=1e-13)


@pytest.mark.parametrize("k", [0, 1, 2, 3, 4])
def test_phi_functions_in_single_precision(k):
    arguments = ARGUMENTS.astype(np.float32)
    result = phi_function(k, jnp.asarray(arguments))
    assert result.dtype == jnp.float32
    expected = np.array([mpmath.exp(float(z)) if k == 0 else phi(k, float(z)) for z in arguments], dtype=float)
    np.testing.assert_allclose(result, expected, rtol=3e-5, atol=1e-37)


@pytest.mark.parametrize("k", [0, 1, 2, 3])
def test_phi_functions_have_derivatives_everywhere(k):
    """φ_k′ = φ_k − kφ_{k+1}, written so that it does not divide by z."""
    z = jnp.array([-1e3, -2.0, -0.9, -1e-9, 0.0])
    slope = jax.vmap(jax.grad(lambda s: phi_function(k, s)))(z)
    np.testing.assert_allclose(slope, phi_function(k, z) - k * phi_function(k + 1, z), rtol=1e-11, atol=1e-300)


def augmented_exponential(z, step, k, vector):
    """φ_k(hA) y from expm of the augmented matrix [[hA, y, 0], [0, shift]] (SciPy)."""
    matrix = np.array([[0.0, step], [0.0, z]])
    if k == 0:
        return scipy.linalg.expm(matrix) @ vector
    whole = np.zeros((2 + k, 2 + k))
    whole[:2, :2] = matrix
    whole[:2, 2] = vector
    whole[2 : 1 + k, 3:] = np.eye(k - 1)
    return scipy.linalg.expm(whole)[:2, -1]


DISSIPATIONS = {
    "small": (ExponentialDissipation(1e-6), -1e-6 * 0.7),
    "moderate": (ExponentialDissipation(3.0), -3.0 * 0.7),
    "large": (ExponentialDissipation(50.0), -50.0 * 0.7),
    "scheduled": (ScheduledDissipation(lambda t: t**2), 0.2**2 - 0.9**2),
}


@pytest.mark.parametrize("k", [0, 1, 2, 3])
@pytest.mark.parametrize("name", DISSIPATIONS)
def test_damped_motion_equals_the_exponential_of_its_matrix(name, k):
    """q̇ = v, v̇ = −rv over [t₀, t₁]: with z = log ϖ(t₀)/ϖ(t₁) the matrix is [[0, h], [0, z]]."""
    dissipation, z = DISSIPATIONS[name]
    q, v = 0.8, -1.7
    state = State({"a": jnp.asarray([q, 0.0])}, {"a": jnp.asarray([v, 0.0])})
    result = DampedMotion(dissipation).phi(k, jnp.asarray(0.2), jnp.asarray(0.9), state)
    expected = augmented_exponential(z, 0.7, k, np.array([q, v]))
    np.testing.assert_allclose([result.q["a"][0], result.v["a"][0]], expected, rtol=1e-12)
    assert result.q["a"][1] == result.v["a"][1] == 0


def test_the_linear_part_itself():
    part = DampedMotion(ScheduledDissipation(lambda t: t**2))
    result = part.apply(jnp.asarray(3.0), State(jnp.asarray(1.0), jnp.asarray(2.0)))
    assert (result.q, result.v) == (2.0, -12.0)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_stiff_damping_does_not_overflow(dtype):
    part = DampedMotion(ExponentialDissipation(1e6))
    state = State(jnp.asarray(1.0, dtype), jnp.asarray(2.0, dtype))
    for k in range(4):
        moved = part.phi(k, jnp.asarray(0.0, dtype), jnp.asarray(10.0, dtype), state)
        assert moved.q.dtype == moved.v.dtype == dtype
        assert bool(jnp.isfinite(moved.q) & jnp.isfinite(moved.v))


@pytest.mark.parametrize("k", [0, 1, 2, 3])
def test_decay_leaf_by_leaf_equals_phi_functions_in_50_digits(k):
    part = Decay(State((jnp.asarray(4.0), jnp.asarray(0.0)), None, multipliers=jnp.asarray(5.5)), jnp.asarray(4.0))
    ones = jnp.ones(2)
    result = part.phi(k, jnp.asarray(0.2), jnp.asarray(0.9), State((ones, {"w": ones}), None, multipliers=2 * ones))
    expected = [float(mpmath.exp(-r * 0.7)) if k == 0 else phi(k, -r * 0.7) for r in (4.0, 0.0, 5.5)]
    np.testing.assert_allclose(result.q[0], expected[0], rtol=1e-13)
    np.testing.assert_allclose(result.q[1]["w"], expected[1], rtol=1e-13)
    np.testing.assert_allclose(result.multipliers, 2 * expected[2], rtol=1e-13)
    change = part.apply(jnp.asarray(0.0), State((ones, {"w": ones}), None, multipliers=ones))
    assert (change.q[0][0], change.q[1]["w"][0], change.multipliers[0]) == (-4.0, 0.0, -5.5)


@pytest.mark.parametrize("a", [0.0, -0.3, -4.0, -300.0])
@pytest.mark.parametrize("b", [0.0, -4.0, -50.0])
def test_moments_are_the_integrals_that_they_say(a, b):
    """Against SciPy's adaptive quadrature, for 1, u, …, u⁴ and e^{bu}."""
    points = np.array([0.25, 1.0])
    functions = [*(lambda u, k=k: u**k for k in range(5)), lambda u: np.exp(b * u)]

    def integrals(kernel):
        def one(c, f):
            layers = [c * s for s in (1e-3, 1e-2, 0.1, 0.9, 0.99, 0.999)]
            return scipy.integrate.quad(lambda u: kernel(c - u) * f(u), 0, c, points=layers, epsabs=1e-15)[0]

        return [[one(c, f) for f in functions] for c in points]

    exponent, layer = jnp.asarray(a), jnp.asarray(b)
    decay = decay_moments(exponent, layer, jnp.asarray(points), 4)
    np.testing.assert_allclose(decay, integrals(lambda u: np.exp(a * u)), rtol=1e-11, atol=1e-17)
    np.testing.assert_allclose(
        rest_moments(layer, jnp.asarray(points), 4), integrals(np.ones_like), rtol=1e-11, atol=1e-17
    )
    if a == b:
        rest, same, drift = motion_moments(exponent, jnp.asarray(points), 4)
        np.testing.assert_allclose(rest, rest_moments(layer, jnp.asarray(points), 4), rtol=1e-14)
        np.testing.assert_allclose(same, decay, rtol=1e-13)
        expected = integrals(lambda u: np.expm1(a * u) / a if a else u)
        np.testing.assert_allclose(drift, expected, rtol=1e-11, atol=1e-17)


def test_a_step_of_no_length_is_finite_with_its_gradient():
    def moved(theta):
        over = DampedMotion(ExponentialDissipation(theta)).over(jnp.asarray(0.3), jnp.asarray(0.3))
        state = State(jnp.asarray(1.0), jnp.asarray(2.0))
        return over.exponential(jnp.asarray(1.0), state).q + over.linear(state).v

    value, slope = jax.value_and_grad(moved)(3.0)
    assert (value, slope) == (1.0 - 6.0, -2.0)


def test_decay_over_a_share_of_a_step():
    part = Decay((jnp.asarray(4.0), jnp.asarray(0.5)), jnp.asarray(4.0))
    over = part.over(jnp.asarray(0.2), jnp.asarray(0.9))
    found = over.exponential(jnp.asarray(0.25), (jnp.asarray(2.0), jnp.asarray(3.0)))
    np.testing.assert_allclose(found, (2 * np.exp(-4 * 0.175), 3 * np.exp(-0.5 * 0.175)), rtol=1e-14)
