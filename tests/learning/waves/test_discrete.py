import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lagrangian_learning.learning import CrossEntropy, SquaredError
from lagrangian_learning.learning.delta_errors import loss
from lagrangian_learning.learning.waves.discrete import WaveRecord, backprop_waves
from lagrangian_learning.networks import Layered, xor_network


def stream(num_frames, num_inputs, num_outputs, key):
    inputs, targets = jax.random.split(key)
    return jax.random.normal(inputs, (num_frames, num_inputs)), jax.random.normal(targets, (num_frames, num_outputs))


def by_hand(W, u, y, rate=0.0):
    """(1)–(3) in plain NumPy for tanh, squared error and no biases, one neuron at a time kept in lists over time."""
    W, L, T = [np.array(w) for w in W], len(W), len(u)
    x = [[np.array(frame)] + [np.zeros(len(w)) for w in W] for frame in u]
    delta = [[np.zeros(len(w)) for w in W] for _ in u]
    for t in range(T):
        delta[t][L - 1] = (1 - (x[t][L] if t else 0.0) ** 2) * (x[t][L] - y[t])
        if t + 1 < T:
            for l in range(L):
                x[t + 1][l + 1] = np.tanh(W[l] @ x[t][l])
            for l in range(L - 1):
                delta[t + 1][l] = (1 - x[t + 1][l + 1] ** 2) * (W[l + 1].T @ delta[t][l + 1])
        for l in range(L):
            W[l] = W[l] - rate * np.outer(delta[t][l], x[t][l])
    return x, delta, W


def largest(left, right):
    pairs = zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    return max(float(np.max(np.abs(np.asarray(a) - np.asarray(b)))) for a, b in pairs)


@pytest.mark.parametrize("rate", [None, 0.05])
def test_waves_are_those_of_a_loop_written_by_hand(key, rate):
    network = Layered((3, 4, 5, 2))
    W = network.init(key)
    u, y = stream(12, 3, 2, key)
    waves = backprop_waves(network, W, u, y, SquaredError(), rate)
    x, delta, learned = by_hand(W, u, y, rate or 0.0)
    assert [leaf.shape for leaf in waves.x] == [(12, 3), (12, 4), (12, 5), (12, 2)]
    assert [leaf.shape for leaf in waves.delta] == [(12, 4), (12, 5), (12, 2)]
    for l in range(4):
        np.testing.assert_allclose(waves.x[l], [frame[l] for frame in x], atol=1e-14)
    for l in range(3):
        np.testing.assert_allclose(waves.delta[l], [frame[l] for frame in delta], atol=1e-14)
    assert largest(waves.weights, learned) < 1e-14
    assert (largest(waves.weights, W) > 0) == (rate is not None)


def test_gradient_is_the_product_of_both_waves(key):
    network = Layered((3, 4, 2), bias=True)
    u, y = stream(5, 3, 2, key)
    waves = backprop_waves(network, network.init(key), u, y, SquaredError())
    (first, first_bias), (last, last_bias) = waves.gradient
    np.testing.assert_array_equal(first[3], jnp.outer(waves.delta[0][3], waves.x[0][3]))
    np.testing.assert_array_equal(last[4], jnp.outer(waves.delta[1][4], waves.x[1][4]))
    np.testing.assert_array_equal(first_bias, waves.delta[0])
    np.testing.assert_array_equal(last_bias, waves.delta[1])
    assert largest(waves.gradient_at(-2), jax.tree.map(lambda g: g[3], waves.gradient)) == 0
    assert largest(waves.gradient_sum, jax.tree.map(lambda g: g.sum(axis=0), waves.gradient)) < 1e-14


@pytest.mark.parametrize(
    ("network", "potential"),
    [
        (Layered((3, 2)), SquaredError()),
        (Layered((3, 4, 4, 2)), SquaredError()),
        (Layered((3, 5, 4, 3, 2), "softplus", bias=True, output_activation="identity"), CrossEntropy()),
        (Layered((2, 6, 6, 6, 6, 6, 6, 6, 6, 2), "logistic", bias=True), SquaredError()),
    ],
)
def test_input_held_for_2L_steps_gives_the_true_gradient(key, network, potential):
    L = len(network.sizes) - 1
    W = network.init(key)
    before, _ = stream(7, network.num_inputs, 2, key)
    u, y = jnp.full(network.num_inputs, 0.3), jnp.array([0.2, 0.8])
    inputs = jnp.concatenate([before, jnp.tile(u, (2 * L, 1))])
    waves = backprop_waves(network, W, inputs, jnp.tile(y, (7 + 2 * L, 1)), potential)
    truth = jax.grad(lambda W: loss(network, potential, W, u, y))(W)
    one_less = waves.gradient_at(-2)  # after 2L − 1 steps the error at layer 1 is still one of a frame before
    for layer, (full, short, true) in enumerate(zip(waves.gradient_at(-1), one_less, truth, strict=True), 1):
        size = largest(true, jax.tree.map(jnp.zeros_like, true))
        assert largest(full, true) < min(1e-14, 1e-12 * size)
        assert (largest(short, true) < 1e-11 * size) == (layer > 1)


def test_learning_during_the_waves_descends(key):
    network = Layered((3, 6, 6, 2), output_activation="identity")
    W = network.init(key)
    t = jnp.arange(20000.0)
    u = jnp.sin(0.02 * t[:, None] * jnp.array([1.0, 1.3, 1.7]))
    y = u[:, :2] * jnp.array([0.5, -0.5])
    learned = backprop_waves(network, W, u, y, SquaredError(), rate=0.005).weights

    def mean_loss(W):
        return jnp.mean(jax.vmap(lambda u, y: loss(network, SquaredError(), W, u, y))(u, y))

    assert mean_loss(learned) < 0.3 * mean_loss(W)


@pytest.mark.slow
def test_transformations(key):
    network = Layered((2, 3, 2), bias=True)
    W = network.init(key)
    u, y = jax.vmap(lambda k: stream(6, 2, 2, k))(jax.random.split(key, 3))

    def run(u, y):
        return backprop_waves(network, W, u, y, SquaredError())

    batch = jax.jit(jax.vmap(run))(u, y)
    single = run(u[1], y[1])
    assert largest(jax.tree.map(lambda leaf: leaf[1], batch), single) < 1e-14
    assert largest(jax.tree.map(lambda leaf: leaf[1], batch.gradient), single.gradient) < 1e-14
    assert largest(jax.tree.map(lambda leaf: leaf[1], batch.gradient_sum), single.gradient_sum) < 1e-14

    def last_output(u):
        return jnp.sum(run(u, y[0]).x[-1][-1])

    expected = jax.grad(lambda frame: jnp.sum(network.output(network.forward(W, frame))))(u[0, 3])
    slope = jax.grad(last_output)(u[0])
    np.testing.assert_allclose(slope[3], expected, atol=1e-15)
    assert float(jnp.abs(slope[jnp.array([0, 1, 2, 4, 5])]).max()) == 0


def test_float32_stays_float32(key):
    network = Layered((2, 3, 2))
    u, y = stream(5, 2, 2, key)
    waves = backprop_waves(network, network.init(key, jnp.float32), u, y, SquaredError(), rate=0.1)
    assert {leaf.dtype.name for leaf in jax.tree.leaves((waves, waves.gradient))} == {"float32"}


def test_targets_may_be_labels(key):
    network = Layered((2, 3, 4), output_activation="identity")
    u, _ = stream(6, 2, 2, key)
    waves = backprop_waves(network, network.init(key), u, jnp.arange(6) % 4, label_loss)
    np.testing.assert_allclose(jnp.sum(waves.delta[-1], axis=1), 0, atol=1e-15)


def label_loss(x_out, label):
    return -jax.nn.log_softmax(x_out)[label]


def test_waves_start_at_zero(key):
    network = Layered((2, 3, 3, 2), "logistic")
    u, y = stream(4, 2, 2, key)
    waves = backprop_waves(network, network.init(key), u, y, SquaredError())
    for layer in (*waves.x[1:], *waves.delta[:-1]):
        np.testing.assert_array_equal(layer[0], 0)
    np.testing.assert_allclose(waves.delta[-1][0], -0.25 * y[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"network": xor_network()}, "needs an ll.Layered network.*BackpropDiffusion"),
        ({"inputs": jnp.zeros(2)}, r"inputs have shape \(2,\), expected \(T, 2\).*jnp.tile"),
        ({"inputs": jnp.zeros((5, 3))}, r"inputs have shape \(5, 3\), expected \(T, 2\)"),
        ({"inputs": jnp.zeros((0, 2)), "targets": jnp.zeros((0, 1))}, "no frames"),
        ({"targets": jnp.zeros((4, 1))}, r"targets have shapes \[\(4, 1\)\], expected \(5, …\).*jnp.tile"),
        ({"targets": jnp.zeros(())}, r"targets have shapes \[\(\)\]"),
        ({"targets": jnp.zeros((5, 3))}, "shape"),
        ({"inputs": jnp.full((5, 2), jnp.nan)}, "NaN or infinity"),
        ({"targets": jnp.full((5, 1), jnp.inf)}, "NaN or infinity"),
        ({"W": (jnp.ones((1, 3)),)}, "expected shapes"),
        ({"potential": 3}, "callable"),
        ({"rate": jnp.ones(2)}, "rate must be one number"),
        ({"rate": jnp.nan}, "rate must be finite"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_refused_with_a_remedy(change, message):
    good = {
        "network": Layered((2, 1)),
        "W": (jnp.ones((1, 2)),),
        "inputs": jnp.zeros((5, 2)),
        "targets": jnp.zeros((5, 1)),
        "potential": SquaredError(),
    }
    with pytest.raises(ValueError, match=re.compile(message, re.DOTALL)):
        backprop_waves(**(good | change))


def test_the_result_has_its_fields(key):
    network = Layered((2, 1))
    waves = backprop_waves(network, network.init(key), jnp.zeros((3, 2)), jnp.zeros((3, 1)), SquaredError())
    assert isinstance(waves, WaveRecord)
    assert not waves.bias


def test_one_frame_is_enough_to_run(key):
    network = Layered((2, 1))
    record = backprop_waves(network, network.init(key), jnp.ones((1, 2)), jnp.ones((1, 1)), SquaredError())
    np.testing.assert_allclose(record.delta[0], [[-1.0]])  # the output is silent yet
