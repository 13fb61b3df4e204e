"""What all signals share: smoothness, dtypes, transformations, batches."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lagrangian_learning.signals import Constant, Function, Patterns, Sampled, Sinusoids, Stimulus, Stream

TS = np.linspace(0.0, 4.0, 9)
VALUES = np.random.default_rng(8).normal(size=(9, 2))
SIGNALS = {
    "constant": Constant([1.0, 2.0]),
    "sinusoids": Sinusoids([1.0, 2.0], 0.5, [0.1, 0.2], 1.0),
    "function": Function(lambda t: jnp.stack([jnp.cos(t), t**2])),
    "sampled2": Sampled(TS, VALUES, 2),
    "sampled4": Sampled(TS, VALUES, 4),
    "patterns": Patterns(VALUES, 1.0, 0.4),
    "stream": Stream(VALUES, 0.5, 4),
    "codes": Stream(VALUES, 0.5, 2, degree=0),
}
every_signal = pytest.mark.parametrize("signal", SIGNALS.values(), ids=SIGNALS.keys())
# Four derivatives of these take seconds to compile.
HEAVY = {"sampled4": [pytest.mark.slow], "stream": [pytest.mark.slow]}
most_signals = pytest.mark.parametrize(
    "signal", [pytest.param(signal, id=name, marks=HEAVY.get(name, [])) for name, signal in SIGNALS.items()]
)


def test_each_states_its_smoothness():
    stated = {name: signal.smoothness for name, signal in SIGNALS.items()}
    assert stated == {
        "constant": math.inf,
        "sinusoids": math.inf,
        "function": math.inf,
        "sampled2": 2,
        "sampled4": 4,
        "patterns": 2,
        "stream": 4,
        "codes": 2,
    }


@every_signal
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_values_take_the_dtype_of_time(signal, dtype):
    assert signal(jnp.asarray(1.3, dtype)).dtype == dtype
    assert jax.jacfwd(signal)(jnp.asarray(1.3, dtype)).dtype == dtype
    assert signal(1).dtype == signal(1.0).dtype == jnp.float64


@every_signal
def test_leaves_are_arrays(signal):
    assert all(eqx.is_array(leaf) for leaf in jax.tree.leaves(signal))


@most_signals
def test_four_nested_derivatives_under_jit_are_finite_and_equal_taylor_by_finite_differences(signal):
    rate = signal
    for _ in range(3):
        rate = jax.jacfwd(rate)
    t, h = 1.3, 1e-5
    fourth = jax.jit(jax.jacfwd(rate))(t)
    assert np.all(np.isfinite(fourth))
    np.testing.assert_allclose(fourth, (rate(t + h) - rate(t - h)) / (2 * h), rtol=1e-4, atol=1e-4)


@every_signal
def test_a_batch_of_signals_equals_each_alone(signal):
    other = jax.tree.map(lambda leaf: leaf * 1.0, signal)
    batch = jax.tree.map(lambda *leaves: jnp.stack(leaves), signal, other)
    if not jax.tree.leaves(batch):
        pytest.skip("a plain function has no leaves to stack")
    together = jax.jit(jax.vmap(lambda s: s(1.3)))(batch)
    np.testing.assert_array_equal(together[0], jax.jit(lambda s: s(1.3))(signal))
    np.testing.assert_array_equal(together[0], together[1])


@pytest.mark.slow
def test_signals_are_built_under_vmap():
    values = np.stack([VALUES, 2.0 * VALUES])
    batch = jax.vmap(lambda v: Stimulus(Sampled(TS, v), Stream(v, 0.5)))(values)
    outputs = jax.vmap(lambda s: (s.input(1.1), s.target(1.1)))(batch)
    np.testing.assert_allclose(outputs[0][1], 2.0 * SIGNALS["sampled2"](1.1), atol=1e-14)
    constants = jax.vmap(Sinusoids)(jnp.ones((3, 2)), jnp.arange(3.0))
    assert jax.vmap(lambda s: s(0.4))(constants).shape == (3, 2)
    direct = Sinusoids(jnp.ones((3, 2)), 2.0)
    assert jax.vmap(lambda s: s(0.4))(direct).shape == (3, 2)


@pytest.mark.slow
@most_signals
def test_gradients_reach_every_leaf(signal):
    if not jax.tree.leaves(signal):
        pytest.skip("a plain function has no leaves")
    gradient = jax.grad(lambda s: jnp.sum(jax.jacfwd(s)(1.3) ** 2) + jnp.sum(s(1.3)))(signal)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradient))


def test_a_module_keeps_its_arrays_as_leaves():
    class Ramp(eqx.Module):
        slope: jax.Array

        def __call__(self, t):
            return self.slope.astype(t.dtype) * t

    signal = Function(Ramp(jnp.asarray([1.0, 2.0])))
    gradient = jax.grad(lambda s: jnp.sum(s(3.0)))(signal)
    np.testing.assert_array_equal(jax.tree.leaves(gradient)[0], [3.0, 3.0])
