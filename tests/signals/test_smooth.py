import jax
import numpy as np

from lagrangian_learning.signals import Sinusoids


def test_sinusoids_are_the_closed_form():
    signal = Sinusoids(frequency=[1.0, 3.0], amplitude=2.0, phase=[0.0, 0.5], offset=0.25)
    t = 0.7
    np.testing.assert_allclose(signal(t), 2.0 * np.sin([0.7, 2.1 + 0.5]) + 0.25, atol=1e-15)
    _, rate = jax.jvp(signal, (t,), (1.0,))
    np.testing.assert_allclose(rate, 2.0 * np.array([1.0, 3.0]) * np.cos([0.7, 2.6]), atol=1e-14)
