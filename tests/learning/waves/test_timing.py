import math

import jax.numpy as jnp
import numpy as np
import pytest

from lagrangian_learning.learning.waves.discrete import backprop_waves
from lagrangian_learning.learning.waves.timing import (
    causing_input_mismatch,
    largest_time_step,
    synchronisation_time,
    synchronised_layer,
    target_mismatch,
)
from lagrangian_learning.networks import Layered


def two_tags(x_out, y):
    """∂V/∂x_out = (y, x_out): errors that carry the number of their target frame, and of the input that made them."""
    return x_out[0] * y + x_out[1] ** 2 / 2


@pytest.mark.parametrize("L", range(3, 16))
def test_mismatches_are_those_of_frames_that_carry_their_number(L):
    T = 2 * L + 3
    network = Layered((2,) * (L + 1), "identity")
    numbers = jnp.arange(float(T))
    inputs = jnp.stack([numbers, numbers], axis=1)
    waves = backprop_waves(network, (jnp.eye(2),) * L, inputs, numbers, two_tags)
    for l in range(1, L + 1):
        gradient_input = np.asarray(waves.x[l - 1])[2 * L :, 0]
        target, cause = np.asarray(waves.delta[l - 1])[2 * L :].T
        np.testing.assert_array_equal(target - gradient_input, target_mismatch(l, L))
        np.testing.assert_array_equal(gradient_input - cause, causing_input_mismatch(l, L))
        np.testing.assert_array_equal(gradient_input, np.arange(2 * L, T) - l + 1)


@pytest.mark.parametrize("L", range(1, 16))
def test_synchronised_layer_is_where_the_target_mismatch_vanishes(L):
    fitting = [l for l in range(1, L + 1) if target_mismatch(l, L) == 0]
    assert fitting == ([] if synchronised_layer(L) is None else [synchronised_layer(L)])
    assert min(causing_input_mismatch(l, L) for l in range(1, L + 1)) == causing_input_mismatch(L, L) == 1


def test_time_step_makes_the_mismatch_one_frame():
    assert synchronisation_time(9, 0.5) == 4.0
    assert synchronisation_time(1, 0.5) == 0
    assert largest_time_step(25.0, 9) == 1 / 200
    assert synchronisation_time(9, largest_time_step(25.0, 9)) == pytest.approx(1 / 25)
    assert largest_time_step(25.0, 1) == math.inf


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: target_mismatch(0, 3), "the layer l must be a positive integer"),
        (lambda: causing_input_mismatch(4, 3), "layers are numbered 1, …, L"),
        (lambda: synchronised_layer(2.0), "L, the number of layers of weights, must be a positive integer"),
        (lambda: synchronisation_time(3, 0.0), "dt must be finite and > 0"),
        (lambda: largest_time_step(-1.0, 3), "frame_rate must be finite and > 0"),
        (lambda: largest_time_step(math.nan, 1), "frame_rate must be finite and > 0"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_bad_numbers_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
