"""Pais–Uhlenbeck oscillator: ℓ = ½a² − ½(ω₁² + ω₂²)v² + ½ω₁²ω₂²q² is q⁗ + (ω₁² + ω₂²)q̈ + ω₁²ω₂²q = 0."""

import numpy as np
import pytest

import lagrangian_learning as ll

OMEGA = np.array([1.0, np.sqrt(2.0)])
AMPLITUDE, PHASE = np.array([1.0, -0.4]), np.array([0.3, 1.1])


def reference(t, derivative=0):
    """A sum of two oscillations, and its derivatives."""
    oscillations = AMPLITUDE * OMEGA**derivative * np.sin(np.multiply.outer(t, OMEGA) + PHASE + derivative * np.pi / 2)
    return oscillations.sum(axis=-1)


@pytest.mark.slow
def test_against_its_two_oscillations(gate, balanced):
    squares = OMEGA**2
    lagrangian = ll.Lagrangian(
        lambda t, q, v, a, args: 0.5 * a**2 - 0.5 * squares.sum() * v**2 + 0.5 * squares.prod() * q**2, order=2
    )
    law = ll.EulerLagrange(lagrangian)
    start = law.initial_state(0.0, *(reference(0.0, k) for k in (0, 1)), a=reference(0.0, 2), j=reference(0.0, 3))
    ts = np.linspace(0.0, 20.0, 41)
    path = ll.simulate(law, start, ts, rtol=1e-12)
    gate("q", path.q - reference(ts), 1e-9)
    gate("v", path.v - reference(ts, 1), 1e-9)
    gate("q⁗", path.s - reference(ts, 4), 1e-9)
    balanced(path)
