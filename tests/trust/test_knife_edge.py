"""Knife edge on an inclined plane (Bloch): d'Alembert's rule gives a cycloid, the multiplier rule does not."""

import numpy as np
import pytest

import lagrangian_learning as ll
from tests.problems import KNIFE_EDGE_START, OMEGA, cycloid, knife_edge

TIMES = np.linspace(0.0, 2 * np.pi / OMEGA, 41)


@pytest.mark.slow
def test_the_cycloid_and_its_multiplier(gate, balanced):
    law = knife_edge(ll.DAlembert)
    path = ll.simulate(law, law.initial_state(0.0, *KNIFE_EDGE_START), TIMES, rtol=1e-10)
    q, multiplier = cycloid(TIMES)
    gate("x, y, φ", path.q - q, 1e-9)
    gate("multiplier", path.multipliers - multiplier, 1e-9)
    balanced(path)


@pytest.mark.slow
def test_under_the_multiplier_rule_the_blade_does_not_slide_back(gate):
    """The vakonomic motion from zero multiplier is at x = 7.99 after one turn; the cycloid is back at 0."""
    law = knife_edge(ll.Vakonomic)
    state = law.initial_state(0.0, *KNIFE_EDGE_START, multipliers=np.asarray(0.0))
    path = ll.simulate(law, state, TIMES[[0, -1]], rtol=1e-10, atol=1e-10)
    gate("x after one turn", path.q[-1, 0] - 7.99, 5e-3)
