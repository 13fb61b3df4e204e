"""Many runs in one call: each lane is the motion that its closed form says."""

import numpy as np

from lagrangian_learning.integrate import simulate_batch

from .laws import Motion, Oscillator, array, oscillator_at

TS = np.linspace(0, 1, 3)
OMEGA = np.linspace(1, 3, 7)


def test_lanes_of_a_law():
    starts = Motion(np.ones((7, 1)), np.zeros((7, 1)))
    path = simulate_batch(Oscillator(array(OMEGA)), starts, TS, in_axes=(Oscillator(0, None), 0, 0), dt0=0.05)
    np.testing.assert_allclose(path.q[:, :, 0], [oscillator_at(TS, omega, 1.0, 0.0) for omega in OMEGA], atol=1e-12)
    assert isinstance(path.q, np.ndarray)
    assert "a batch of 7 runs" in str(path)
