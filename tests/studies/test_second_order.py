"""A second-order action that learns, and the sign that does not (benchmarks/studies/second_order.py)."""

import numpy as np
import pytest

from benchmarks.studies.second_order import MASS, THETA, characteristic_roots, learn


@pytest.mark.parametrize("mu", [-0.05, 0.05])
def test_characteristic_roots_solve_the_linear_equation(mu):
    """−(D + r) m Ẇ + (D + r)² μ Ẅ − κ W = 0 at W = e^{st}: (s + ϑ)² s² μ − (s + ϑ) s m − κ = 0."""
    s = characteristic_roots(mu, MASS, THETA, 0.2)
    assert len(s) == 4
    left = mu * (s + THETA) ** 2 * s**2 - MASS * (s + THETA) * s - 0.2
    np.testing.assert_allclose(np.abs(left), 0, atol=1e-9)


@pytest.mark.slow
def test_one_sign_learns_and_the_other_runs_away():
    stable, unstable = learn(-0.05), learn(0.05)
    assert stable.growth < 0 < unstable.growth
    assert stable.successful
    assert stable.loss_end < 0.01 * stable.loss_start
    assert stable.largest_weight < 10
    assert unstable.largest_weight > 1e6
