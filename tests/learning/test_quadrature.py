"""Integrals of samples: exact for parabolas from four samples on."""

import jax.numpy as jnp
import numpy as np
import pytest

from lagrangian_learning.learning.quadrature import integrate_samples


def test_four_uneven_samples_integrate_a_parabola_exactly():
    ts = jnp.array([0.0, 0.3, 1.0, 1.2])
    np.testing.assert_allclose(integrate_samples(ts, 2 - ts + 3 * ts**2), 2 * 1.2 - 1.2**2 / 2 + 1.2**3, rtol=1e-14)
    with pytest.raises(ValueError, match="at least 4 saved times, got 3"):
        integrate_samples(ts[:3], ts[:3])
