import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lagrangian_learning.signals import Sampled, Stream
from tests.helpers import mostly_slow


def frames(count=40, channels=3, seed=0):
    return np.random.default_rng(seed).normal(size=(count, channels))


@pytest.mark.parametrize("smoothness", mostly_slow((2, 4), 2))
def test_a_stream_is_the_sampled_signal_of_its_grid(smoothness):
    """Our code against our code; `Sampled` has its own oracles."""
    values = frames()
    stream = Stream(values, spacing=0.25, smoothness=smoothness)
    sampled = Sampled(0.25 * np.arange(40), values, smoothness)
    times = np.linspace(0.0, 39 * 0.25, 311)
    np.testing.assert_allclose(jax.vmap(stream)(times), jax.vmap(sampled)(times), atol=1e-12)


@pytest.mark.parametrize(("smoothness", "degree"), [(2, 0), (2, 2), (4, 0), (4, 4), (2, 4), (4, 2)])
def test_frames_are_met_whatever_the_degree(smoothness, degree):
    values = frames()
    stream = Stream(values, spacing=0.5, smoothness=smoothness, degree=degree)
    np.testing.assert_allclose(jax.vmap(stream)(0.5 * np.arange(40)), values, atol=1e-13)


def test_degree_zero_stays_between_neighbouring_frames():
    values = frames(channels=1)[:, 0]
    stream = jax.vmap(Stream(values[:, None], degree=0))
    for n in range(39):
        between = stream(n + np.linspace(0.0, 1.0, 21))[:, 0]
        assert between.min() >= values[n : n + 2].min()
        assert between.max() <= values[n : n + 2].max()


@pytest.mark.parametrize("degree", [0, 2])
def test_pieces_equal_the_whole(degree):
    whole = Stream(frames(), degree=degree)
    local = np.linspace(0.0, 8.0, 65)
    for n in (0, 8, 16, 31):
        np.testing.assert_allclose(jax.vmap(whole.shift(n))(local), jax.vmap(whole)(local + n), atol=1e-13)
    assert whole.shift(5).shift(3).start == 8
    start, end = whole.shift(8).domain
    assert (start, end) == (-8, 31)


def test_one_compiled_function_serves_every_piece():
    stream, traced = Stream(frames()), []

    @jax.jit
    def piece(stream, n):
        traced.append(n)
        return jax.vmap(stream.shift(n))(jnp.linspace(0.0, 4.0, 9))

    first = piece(stream, 0)
    np.testing.assert_array_equal(first, jax.vmap(stream)(jnp.linspace(0.0, 4.0, 9)))
    for n in (4, 8):
        piece(stream, n)
        piece(stream.shift(n), 1)
    assert len(traced) == 1


@pytest.mark.slow
def test_float32_loses_nothing_far_into_a_long_stream():
    count = 100_000
    values = np.sin(0.3 * np.arange(count, dtype=np.float64))[:, None].astype(np.float32)
    stream = Stream(values, smoothness=2, start=jnp.asarray(0.0, jnp.float32))
    local = jnp.linspace(0.0, 20.0, 401, dtype=jnp.float32)
    far = jax.vmap(stream.shift(85_000))(local)
    assert far.dtype == jnp.float32
    exact = jax.vmap(Stream(values[84_990:85_030].astype(np.float64), start=10))(local.astype(jnp.float64))
    np.testing.assert_allclose(far, exact, atol=2e-6)
    # What shifting saves us from: the same frames at global float32 times.
    late = jax.vmap(stream)(local + jnp.float32(85_000))
    assert np.max(np.abs(np.asarray(late) - np.asarray(exact))) > 1e-4


def test_the_last_frame_counts_and_nothing_beyond():
    stream = Stream(frames(), spacing=0.1)
    _, end = stream.domain
    assert np.all(np.isfinite(stream(end)))
    assert np.all(np.isfinite(stream(np.nextafter(end, 10.0))))
    for outside in (end + 1e-6, -1e-6, 1e12, -1e12, np.nan, np.inf):
        assert np.all(np.isnan(stream(outside))), outside
    single = Stream(frames().astype(np.float32), spacing=jnp.asarray(0.1, jnp.float32))
    assert np.all(np.isfinite(single(single.domain[1])))
