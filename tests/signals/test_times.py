"""Times as data have them: right, or refused by name. In float32, JAX's default, where it says so."""

import contextlib

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lagrangian_learning.learning import GradientFlow
from lagrangian_learning.networks import Layered
from lagrangian_learning.signals import Patterns, Sampled, Sinusoids, Stimulus, Stream
from tests.signals.test_sampled import derivative

N = np.arange(9.0)
VALUES = np.random.default_rng(0).normal(size=(9, 1))
UNIX = 1.7e9 + 300 * N
FAST = 5e4 + 0.01 * np.arange(400)


@contextlib.contextmanager
def float32():
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"):
        yield


@pytest.mark.parametrize("ts", [UNIX, list(UNIX), UNIX.astype(np.int64), 1.7e9 + 60 * N, FAST[:9]])
def test_times_that_float32_cannot_tell_apart_are_refused_with_the_remedy(ts):
    with (
        float32(),
        pytest.raises(ValueError, match=r"float32 numbers near .* subtract the first time.*float64") as found,
    ):
        Sampled(ts, VALUES)
    assert "sort" not in str(found.value)
    assert len(str(found.value)) <= 300


def test_the_remedy_is_one():
    with float32():
        signal = Sampled(UNIX - UNIX[0], VALUES)
        np.testing.assert_array_equal(signal.ts, 300 * N)
        local = Sampled(FAST - FAST[0], np.sin(3 * FAST))
        times = jnp.linspace(0.1, 3.8, 99)
        slope = jax.vmap(jax.grad(local))(times)
    exact = 3 * np.cos(3 * (FAST[0] + np.asarray(times, np.float64)))
    np.testing.assert_allclose(slope, exact, atol=3e-3)  # of 3; rounded samples and times were off by 0.7


def test_float64_keeps_them_and_integers_beyond_it():
    signal = Sampled(FAST, np.sin(3 * FAST), 4)
    times = 5e4 + np.linspace(0.1, 3.8, 99)
    np.testing.assert_allclose(jax.vmap(derivative(signal, 1))(times), 3 * np.cos(3 * times), atol=1e-5)
    nanoseconds = 1_700_000_000_000_000_000 + 300_000_000_001 * np.arange(9)
    signal = Sampled(nanoseconds, VALUES)
    kept = [int(t) + int(rest) for t, rest in zip(signal.ts, signal.ts_rest, strict=True)]
    assert kept == nanoseconds.tolist()


@pytest.mark.slow
def test_what_rounding_took_from_the_times_is_kept_beside_them():
    """Against the same samples in float64, at the very times of float32; rounded nodes would be off by 0.6."""
    ts = 90.0 + 0.01 * np.arange(1000)
    times = np.linspace(91.0, 99.0, 301).astype(np.float32)
    in_double = jax.vmap(derivative(Sampled(ts, np.sin(3 * ts)), 2))(times.astype(np.float64))
    with float32():
        signal = Sampled(ts, np.sin(3 * ts))
        assert signal.ts.dtype == signal.ts_rest.dtype == jnp.float32
        in_single = jax.vmap(derivative(signal, 2))(jnp.asarray(times))
        np.testing.assert_allclose(signal.times, ts, rtol=0, atol=1e-12)
    np.testing.assert_allclose(in_single, in_double, atol=0.02)


@pytest.mark.parametrize("ts", [UNIX, np.full(9, 3.0), FAST[:9]])
def test_traced_times_are_refused_too(ts):
    with float32(), pytest.raises(eqx.EquinoxRuntimeError, match=r"ts (must|differ)"):
        jax.block_until_ready(eqx.filter_jit(lambda ts: Sampled(ts, VALUES)(ts[0]))(jnp.asarray(ts)))


def test_only_what_is_unsorted_is_told_to_be_sorted():
    rounded = jnp.asarray(1.7e9 + 60 * N, jnp.float32)
    with pytest.raises(ValueError, match=r"in float32 some coincide.*subtract the first time") as found:
        Sampled(rounded, VALUES)
    assert "sort" not in str(found.value)
    with pytest.raises(ValueError, match="sort the samples by time"):
        Sampled(-N, VALUES)


@pytest.mark.parametrize(
    ("ts", "message"),
    [
        (np.datetime64("2024-01-01") + np.arange(9), r"datetime64\[D\]: .*\(ts - ts\[0\]\) / np.timedelta64\(1, 's'\)"),
        (np.arange(9).astype("m8[ms]"), r"timedelta64\[ms\]: .*ts / np.timedelta64\(1, 's'\)"),
        (["0"] * 9, "must be numbers, got"),
        (None, "must be numbers, got None"),
        (np.array([None] * 9), "must be numbers, got .*"),
        ({}, "must be numbers, got dict"),
        (lambda t: t, "must be numbers, got function"),
        (1j * N, "must be real, got complex128"),
        (np.where(N == 3, np.inf, N), "NaN or inf"),
    ],
)
def test_what_is_no_time_is_named(ts, message):
    with pytest.raises(ValueError, match=f"ts.*{message}"):
        Sampled(ts, VALUES)


def test_seconds_from_dates_are_the_remedy_that_is_given():
    dates = np.datetime64("2024-01-01") + np.arange(9)
    np.testing.assert_array_equal(Sampled((dates - dates[0]) / np.timedelta64(1, "s"), VALUES).ts, 86400 * N)


def in_float32(tree):
    return jax.tree.map(lambda leaf: leaf.astype(jnp.float32), tree)


SIGNALS = {
    "Sampled": (Sampled(FAST, np.ones((400, 2))), 5e4),
    "Stream": (Stream(np.ones((9, 2)), spacing=0.01, start=0), 0.05),
    "Patterns": (Patterns(np.ones((3, 2)), 1.0, 0.1), 1e6),
    "Sinusoids": (Sinusoids(np.array([1.0, 300.0])), 1e5),
}


@pytest.mark.parametrize(("signal", "late"), SIGNALS.values(), ids=SIGNALS)
def test_a_run_whose_times_are_too_coarse_for_its_signal_is_refused(signal, late):
    """A float64 signal, read by a law in float32 far from t = 0; in float64, and near 0, all of them run."""
    network = Layered((2, 1))
    law, stimulus = GradientFlow(network), Stimulus(signal, jnp.array([0.4]))
    single, double = (network.init(jax.random.key(0), dtype) for dtype in (jnp.float32, jnp.float64))
    law.initial_state(late, double, args=stimulus)
    if signal.domain is None or signal.domain[0] <= 0:
        law.initial_state(0.01, single, args=stimulus)
    if isinstance(signal, Stream):
        stimulus = Stimulus(Stream(np.ones((9, 2)), spacing=0.01, start=-1e6), jnp.array([0.4]))
        late = 1e4 + 0.05
    with pytest.raises(ValueError, match=f"float32 times .* too far apart for the input, a {type(signal).__name__}"):
        law.initial_state(late, single, args=stimulus)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("frames", [0.5, jnp.asarray(2.5), 1j, np.array([1, 2]), None, "1"])
def test_a_stream_is_shifted_by_whole_frames(frames):
    with pytest.raises(ValueError, match="frames must be"):
        Stream(VALUES).shift(frames)
    assert Stream(VALUES).shift(2.0).start == 2.0
