import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lagrangian_learning as ll
from lagrangian_learning.learning.delta_errors import loss
from lagrangian_learning.learning.waves.discrete import backprop_waves
from lagrangian_learning.learning.waves.fidelity import wave_fidelity, wave_frames
from lagrangian_learning.plot.waves.scenes import fidelity_by_speed, stimulus


def linear_loss(x_out, y):
    return jnp.sum(x_out * y)


@pytest.fixture
def noise(key):
    u, y = jax.random.split(key)
    return jax.random.normal(u, (40, 3)), jax.random.normal(y, (40, 2))


@pytest.mark.slow
def test_references_are_those_of_the_frames_that_are_named(key, noise):
    network = ll.Layered((3, 4, 4, 2), bias=True)
    (u, y), W, L = noise, network.init(key), 3
    gradient = backprop_waves(network, W, u, y, ll.SquaredError()).gradient
    true = jax.jit(jax.grad(lambda W, u, y: loss(network, ll.SquaredError(), W, u, y)))
    frames = {
        "cause": lambda t, l: (t - 2 * L + l, t - L + l),
        "target": lambda t, l: (t - L + l,) * 2,
        "input": lambda t, l: (t - l + 1,) * 2,
        "current": lambda t, _: (t, t),
    }
    for reference, pair in frames.items():
        likeness = wave_fidelity(network, W, u, y, ll.SquaredError(), reference)
        for l in range(1, L + 1):
            pairs = [pair(t, l) for t in range(2 * L - 1, 40)]
            expected = jax.tree.map(lambda *g: jnp.stack(g), *[true(W, u[s], y[r])[l - 1] for s, r in pairs])
            found = [jnp.reshape(g[2 * L - 1 :], -1) for g in gradient[l - 1]]
            g, g_true = jnp.concatenate(found), jnp.concatenate([jnp.ravel(e) for e in expected])
            error = jnp.linalg.norm(g - g_true) / jnp.linalg.norm(g_true)
            np.testing.assert_allclose(likeness.relative_error[l - 1], error, rtol=1e-12)
            cosine = jnp.vdot(g, g_true) / jnp.linalg.norm(g) / jnp.linalg.norm(g_true)
            np.testing.assert_allclose(likeness.cosine[l - 1], cosine, rtol=1e-10)


@pytest.mark.parametrize("reference", ["cause", "target", "input", "current"])
def test_constant_input_has_full_fidelity(key, reference):
    network = ll.Layered((3, 4, 4, 4, 2))
    u, y = stimulus(20, None)
    likeness = wave_fidelity(network, network.init(key), u, y, ll.SquaredError(), reference)
    assert float(jnp.max(likeness.relative_error)) < 1e-13
    assert "relative error" in str(likeness)


@pytest.mark.slow
def test_error_is_monotone_for_slow_input_and_least_at_the_output():
    slow, slower = fidelity_by_speed(periods=(300.0, 1000.0))
    assert np.all(np.diff(slow) < 0)
    assert np.all(np.diff(slower) < 0)
    assert np.all(slower < slow)


@pytest.mark.slow
def test_the_synchronised_layer_is_least_wrong_about_the_frame_of_the_target():
    errors = fidelity_by_speed("target", periods=(1000.0, 7.0))
    assert list(errors.argmin(axis=1) + 1) == [5, 5]
    assert np.all(errors.min(axis=1) > 0.01)  # least, not zero: the output in the error is of an older frame


def test_the_synchronised_layer_is_exact_when_the_error_does_not_depend_on_the_output(key, noise):
    network = ll.Layered((3, 4, 4, 4, 4, 2), "identity")
    likeness = wave_fidelity(network, network.init(key), *noise, linear_loss, "target")
    assert float(likeness.relative_error[2]) < 1e-14
    assert float(jnp.delete(likeness.relative_error, 2).min()) > 0.5


def test_frames_found_by_perturbation_are_those_of_the_formulas(key, noise):
    network, L, T = ll.Layered((3, 4, 4, 4, 2)), 4, 14
    u, y = noise[0][:T], noise[1][:T]
    found = wave_frames(network, network.init(key), u, y, ll.SquaredError())
    t = np.arange(T)[:, None]
    levels, layers = np.arange(L + 1), np.arange(1, L + 1)

    def from_zero(frames):
        return np.where(frames < 0, -1, frames)

    np.testing.assert_array_equal(found.input, from_zero(t - levels))
    np.testing.assert_array_equal(found.target, from_zero(t - L + layers))
    np.testing.assert_array_equal(found.cause, from_zero(t - 2 * L + layers))


def test_a_gradient_depends_on_the_frames_that_its_waves_have_met_and_no_others(key, noise):
    network, L, T = ll.Layered((3, 4, 4, 4, 2)), 4, 12
    W, t = network.init(key), 11
    u, y = noise[0][:T], noise[1][:T]

    def gradient(u, y):
        return backprop_waves(network, W, u, y, ll.SquaredError()).gradient_at(t)

    by_input, by_target = (
        jax.jacfwd(gradient, (0, 1))(u, y) if False else zip(*jax.jacfwd(gradient, (0, 1))(u, y), strict=True)
    )
    for l in range(1, L + 1):
        inputs = set(np.flatnonzero(np.any(np.asarray(by_input[l - 1]) != 0, axis=(0, 1, 3))))
        targets = set(np.flatnonzero(np.any(np.asarray(by_target[l - 1]) != 0, axis=(0, 1, 3))))
        slopes = {t - 2 * k + l for k in range(l, L + 1)}  # the slope of layer k, read k − l frames ago
        assert inputs == {t - l + 1} | slopes
        assert min(inputs) == t - 2 * L + l
        assert targets == {t - L + l}


@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_refused(key):
    network = ll.Layered((3, 4, 2))
    u, y = stimulus(5, 10.0)
    with pytest.raises(ValueError, match="must be one of cause, input, target, current"):
        wave_fidelity(network, network.init(key), u, y, ll.SquaredError(), "nothing")
    with pytest.raises(ValueError, match=r"T ≥ 2L = 4 frames"):
        wave_fidelity(network, network.init(key), u[:3], y[:3], ll.SquaredError())


def test_what_stands_still_has_one_gradient_whichever_is_meant(key):
    network = ll.Layered((3, 2, 2), bias=True)
    W, u, y = network.init(key), jnp.tile(jnp.array([0.3, -0.8, 0.5]), (9, 1)), jnp.tile(jnp.array([0.2, 0.7]), (9, 1))
    likeness = wave_fidelity(network, W, u, y, ll.SquaredError(), "input")
    settled = [g[0][3:] for g in backprop_waves(network, W, u, y, ll.SquaredError()).gradient]
    expected = jax.grad(lambda W: loss(network, ll.SquaredError(), W, u[0], y[0]))(W)
    for frames, true in zip(settled, expected, strict=True):
        np.testing.assert_allclose(frames, np.broadcast_to(true[0], frames.shape), rtol=1e-12)
    np.testing.assert_allclose(likeness.relative_error, 0, atol=1e-14)
    np.testing.assert_allclose((likeness.cosine, likeness.norm_ratio), 1, rtol=1e-12)
