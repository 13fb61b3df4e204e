"""Sine and cosine by arithmetic against NumPy's, whose errors are below one unit in the last place."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lagrangian_learning.fused.scalars.sincos import SineCosine, cosine, largest, sine


@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32])
def test_to_an_ulp_of_one_up_to_the_largest_argument(dtype):
    rng = np.random.default_rng(7)
    spread = [rng.uniform(-top, top, 4000) for top in (1.0, 1e2, 1e5, largest(dtype))]
    zeros = np.arange(-2000, 2000) * (np.pi / 2)
    x = np.concatenate([*spread, zeros]).astype(dtype)
    eps = float(jnp.finfo(dtype).eps)
    ours = jax.jit(lambda x: (sine(x), cosine(x)))(jnp.asarray(x))
    wide = x.astype(np.longdouble)
    for got, expected in zip(ours, (np.sin(wide), np.cos(wide)), strict=True):
        assert got.dtype == dtype
        assert np.max(np.abs(np.asarray(got, np.longdouble) - expected)) < eps


def test_no_silent_answer_beyond():
    for function in (sine, cosine):
        assert np.all(np.isnan(function(jnp.asarray([2.0**46, -np.inf, np.nan]))))


def test_sine_and_cosine_of_one_number_share_their_sums():
    kept = []
    circle = SineCosine(lambda x: kept.append(x) or x)
    x, y = jnp.linspace(0.0, 1.0, 4), jnp.linspace(0.0, 1.0, 4)
    circle.sine(x)
    once = len(kept)
    cosine_of_x = circle.cosine(x)
    assert len(kept) == once > 0
    circle.sine(y)
    assert len(kept) == 2 * once
    np.testing.assert_array_equal(cosine_of_x, cosine(x))
