"""φ-functions against mpmath, and damped motion against the exponential of its matrix."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import scipy.linalg

from lagrangian_learning.mechanics import DampedMotion, ExponentialDissipation, ScheduledDissipation, State
from lagrangian_learning.mechanics.linear_part import phi_function

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
