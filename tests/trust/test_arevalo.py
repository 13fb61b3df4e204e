"""Arévalo's index-3 problem: q̈ = (2y, −2x) − qδ on the unit circle, solved by q = (sin t², cos t²), δ = 4t²."""

import jax.numpy as jnp
import numpy as np
import pytest

import lagrangian_learning as ll
from tests.problems import circle


@pytest.mark.slow
def test_position_and_multiplier(gate, balanced):
    law = ll.EulerLagrange(
        ll.Lagrangian(lambda t, q, v, args: 0.5 * v @ v),
        ll.Holonomic(circle),
        forces=lambda t, q, v, args: 2 * jnp.stack([q[1], -q[0]]),
    )
    ts = np.linspace(1.0, 5.0, 81)
    exact = np.stack([np.sin(ts**2), np.cos(ts**2)], axis=1)
    start = law.initial_state(1.0, exact[0], 2 * np.array([np.cos(1.0), -np.sin(1.0)]))
    path = ll.simulate(law, start, ts, rtol=1e-9)
    gate("q", path.q - exact, 1e-8)
    gate("multiplier", path.multipliers - 4 * ts**2, 1e-7)
    balanced(path)
