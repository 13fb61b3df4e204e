import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import betainc

from lagrangian_learning.signals.blend import smoothstep


@pytest.mark.parametrize("smoothness", [2, 4])
def test_smoothstep_is_the_regularised_incomplete_beta_function(smoothness):
    theta = np.linspace(0.0, 1.0, 41)
    ours = jax.vmap(lambda x: smoothstep(x, smoothness))(theta)
    np.testing.assert_allclose(ours, betainc(smoothness + 1, smoothness + 1, theta), atol=2e-15)


def test_smoothstep_of_two_derivatives_is_the_known_quintic():
    theta = jnp.linspace(0.0, 1.0, 11)
    ours = jax.vmap(lambda x: smoothstep(x, 2))(theta)
    np.testing.assert_allclose(ours, 6 * theta**5 - 15 * theta**4 + 10 * theta**3, atol=1e-15)
