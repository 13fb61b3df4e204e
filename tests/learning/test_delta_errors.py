"""Likeness of gradients, layer by layer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lagrangian_learning as ll


def test_cosine_and_norm_ratio_and_how_they_print():
    found = ll.learning.fidelity(
        (jnp.array([3.0, 4.0]), jnp.ones((2, 2))), (jnp.array([4.0, 3.0]), -3 * jnp.ones((2, 2)))
    )
    np.testing.assert_allclose(found.cosine, [0.96, -1.0])
    np.testing.assert_allclose(found.norm_ratio, [1.0, 1 / 3])
    assert str(found).splitlines()[1].split() == ["0", "0.960000", "1.000000"]


@pytest.mark.parametrize("other", [(jnp.ones(3),), jnp.ones(2), (jnp.ones((2, 1)),)])
def test_only_like_is_compared_with_like(other):
    with pytest.raises(ValueError, match="compares like with like"):
        ll.learning.fidelity((jnp.ones(2),), other)


@pytest.mark.usefixtures("unchecked")
def test_neurons_and_weights_that_are_not_the_network_s_are_refused():
    network = ll.Layered((2, 3, 1))
    W = network.init(jax.random.key(0))
    x, y = network.forward(W, jnp.ones(2)), jnp.zeros(1)
    for name, *given in (("neurons", x[:2], W), ("weights", x, W[:1]), ("weights", x, x)):
        with pytest.raises(ValueError, match=f"{name} of Layered.* expected shapes"):
            ll.delta_errors(network, ll.SquaredError(), *given, y)


@pytest.mark.usefixtures("unchecked")
def test_a_list_of_weights_serves_as_well_as_a_tuple():
    network = ll.Layered((2, 3, 1))
    W = network.init(jax.random.key(0))
    x = network.forward(W, jnp.ones(2))
    found, same = (ll.delta_errors(network, ll.SquaredError(), x, weights, jnp.ones(1)) for weights in (list(W), W))
    for one, other in zip(found, same, strict=True):
        np.testing.assert_array_equal(one, other)
