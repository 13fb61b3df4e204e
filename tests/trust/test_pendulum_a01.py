"""Planar pendulum A01 of the multibody benchmark library: 2000 s from rest at the horizontal, by elliptic functions."""

import numpy as np
import pytest
from scipy.special import ellipj, ellipk

import lagrangian_learning as ll
from tests.problems import pendulum

GRAVITY, PERIOD = 9.81, 2.3678419475762
HIGH_PRECISION, REACHABLE = 1e-3, 7e-6


def reference(t):
    """sin(θ/2) = k cd(√g t, k), with k = sin 45° for a release at 90°."""
    modulus = 0.5
    _, cn, dn, _ = ellipj(np.sqrt(GRAVITY) * t, modulus)
    half = np.arcsin(np.sqrt(modulus) * cn / dn)
    return np.stack([np.sin(2 * half), -np.cos(2 * half)], axis=1)


def swing(ts, rtol):
    law = pendulum(GRAVITY, floor=-1)
    start = law.initial_state(0.0, np.array([1.0, 0.0]), np.zeros(2))
    return ll.simulate(law, start, ts, rtol=rtol)


def test_the_reference_has_the_published_period():
    np.testing.assert_allclose(4 * ellipk(0.5) / np.sqrt(GRAVITY), PERIOD, rtol=1e-13)
    np.testing.assert_allclose(reference(np.array([0.0, PERIOD / 2, PERIOD])), [[1, 0], [-1, 0], [1, 0]], atol=1e-12)


@pytest.mark.slow
def test_the_first_hundred_seconds(gate, balanced):
    ts = np.linspace(0.0, 100.0, 201)
    path = swing(ts, rtol=1e-12)
    gate("position", np.asarray(path.q) - reference(ts), REACHABLE * 100 / 2000)
    balanced(path)


@pytest.mark.slow
def test_two_thousand_seconds_at_four_thousand_outputs(gate, balanced):
    ts = np.linspace(0.0, 2000.0, 4001)
    path = swing(ts, rtol=1e-12)
    gate("position", np.asarray(path.q) - reference(ts), min(HIGH_PRECISION, REACHABLE))
    gate("constraint", path.stats["max_constraint_residual"], 1e-12)
    balanced(path)
