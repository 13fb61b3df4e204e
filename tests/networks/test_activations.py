import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lagrangian_learning.networks.activations import ACTIVATIONS, check_activation, resolve, slope, smoothness

POINTS = np.array([-3.0, -0.4, 0.3, 2.5])


@pytest.mark.parametrize(
    ("name", "derivative"),
    [
        ("tanh", lambda a: 1 - np.tanh(a) ** 2),
        ("logistic", lambda a: np.exp(-a) / (1 + np.exp(-a)) ** 2),
        ("sigmoid", lambda a: np.exp(-a) / (1 + np.exp(-a)) ** 2),
        ("softplus", lambda a: 1 / (1 + np.exp(-a))),
        ("relu", lambda a: (a > 0).astype(float)),
        ("linear", np.ones_like),
        ("identity", np.ones_like),
        ("sin", np.cos),
        ("arctan", lambda a: 1 / (1 + a**2)),
    ],
)
def test_slope_is_the_hand_written_derivative(name, derivative):
    np.testing.assert_allclose(slope(name, jnp.asarray(POINTS)), derivative(POINTS), rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_slope_is_a_finite_difference_and_keeps_float32(name):
    h = 1e-6
    function = resolve(name)
    difference = (function(jnp.asarray(POINTS + h)) - function(jnp.asarray(POINTS - h))) / (2 * h)
    np.testing.assert_allclose(slope(name, jnp.asarray(POINTS)), difference, atol=1e-8)
    assert slope(name, jnp.asarray(POINTS, jnp.float32)).dtype == jnp.float32
    check_activation(name)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_stated_smoothness_is_what_one_sided_derivatives_at_the_kink_show(name):
    order, function = smoothness(name), resolve(name)
    for k in range(3):
        left, right = function(jnp.asarray(-1e-9)), function(jnp.asarray(1e-9))
        if k <= order:
            np.testing.assert_allclose(left, right, atol=1e-7)
        if k == order + 1:
            assert abs(left - right) > 1e-3
        function = jax.grad(function)


def test_callables_are_smooth_unless_known_to_have_a_kink():
    assert smoothness(lambda a: a**3) == math.inf
    assert smoothness(jnp.tanh) == math.inf
    assert smoothness(jax.nn.relu) == 0
    assert smoothness(jax.nn.elu) == 1
    assert smoothness(jnp.abs) == 0


def test_an_unknown_name_lists_the_names():
    with pytest.raises(ValueError, match=r"unknown activation 'tahn'.*one of tanh, logistic, .*relu"):
        check_activation("tahn")


class Unhashable:
    __hash__ = None  # type: ignore[assignment]

    def __call__(self, a):
        return a


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (jnp.sum, r"not elementwise: it turns float64\[3\] into float64\[\]"),
        (lambda a: a.astype(jnp.float16), "keeps shape and dtype"),
        (lambda a: (a, a), "into tuple; pass a function"),
        (lambda a: a - jnp.mean(a), "depends on other entries"),
        (lambda a: math.tanh(a), r"fails on a float64 array.*written with jax.numpy"),
        (Unhashable(), "cannot be hashed: pass a plain function"),
    ],
)
def test_what_is_not_elementwise_is_refused(function, message):
    with pytest.raises(ValueError, match=message):
        check_activation(function)


def test_a_callable_is_checked_under_jit_too():
    assert jax.jit(lambda a: check_activation(lambda b: b**3) or a)(1.0) == 1.0
