"""The XOR network's own equations given to SUNDIALS IDA as a differential-algebraic system written in NumPy.

y = (x, w, ẋ, ẇ, δ), residuals ẋ, ẇ, (8), (9) and D²G = 0: index 1, algebraic in δ. Nothing of the package is in it.
"""

import jax.numpy as jnp
import numpy as np
import pytest
from sksundae.ida import IDA

import lagrangian_learning as ll
from benchmarks.network_dae import NetworkDAE
from tests.problems import XOR_WEIGHTS, xor_action

MASS_X, MASS_W, THETA, END, TOLERANCE = 0.05, 0.5, 0.7, 5.0, 1e-9
WEIGHTS = XOR_WEIGHTS
RATES = np.array([0.2, -0.4, 0.3, 0.1, 0.5, -0.3])
TIMES = np.linspace(0.0, END, 11)
FREQUENCY, PHASE = np.array([1.0, 1.7]), np.array([0.3, 1.1])
DAE = NetworkDAE((2, 2, 1), WEIGHTS, RATES, MASS_X, MASS_W, THETA, FREQUENCY, PHASE)


@pytest.fixture(scope="module")
def reference():
    solver = IDA(DAE.residual, algebraic_idx=DAE.algebraic, rtol=TOLERANCE, atol=TOLERANCE, max_num_steps=100_000)
    solution = solver.solve(TIMES, *DAE.start())
    assert solution.success
    return solution.y


def test_the_system_starts_on_the_equations_by_hand():
    """Layer by layer, as IDA gets them, and neuron by neuron, as the start was found: (8), (9) and D²G vanish."""
    assert np.max(np.abs(DAE.residual(0.0, *DAE.start()))) < 1e-14


@pytest.mark.parametrize("coordinates", ["reduced", pytest.param("full", marks=pytest.mark.slow)])
def test_trajectories_are_those_of_ida(coordinates, reference):
    action = xor_action(MASS_X, MASS_W, THETA)
    stimulus = ll.Stimulus(ll.Sinusoids(FREQUENCY, 1.0, PHASE), ll.Sinusoids(jnp.array([1.0]), 0.4))
    law = action.law(coordinates)
    state = law.initial_state(0.0, jnp.asarray(WEIGHTS), jnp.asarray(RATES), stimulus)
    path = ll.simulate(law, state, TIMES, stimulus, rtol=TOLERANCE, atol=TOLERANCE)
    assert np.max(np.abs(reference[-1, DAE.W] - WEIGHTS)) > 0.1, "nothing moved"
    pairs = ((path.x, DAE.X), (path.W, DAE.W), (path.x_dot, DAE.V), (path.W_dot, DAE.U), (path.multipliers, DAE.D))
    for found, part in pairs:
        assert np.max(np.abs(found - reference[:, part])) < 1e-6
    assert float(path.stats["max_energy_defect"]) < 1e-8
