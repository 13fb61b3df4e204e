"""Cartesian pendulum of SUNDIALS (cvPendulum_dns): period exactly 2, so that after 30 s it is where it began."""

import jax.numpy as jnp
import numpy as np
import pytest

import lagrangian_learning as ll
from tests.problems import pendulum

# Chosen by SUNDIALS so that the period is 2; cvPendulum_dns.c, its table for tolerance 1e-9 with projection.
GRAVITY = 13.750371636040745654980191559621114395801712
CVODE = {"x": 1.60e-12, "y": 1.79e-06, "vx": 1.39e-10, "vy": 7.79e-05}
LAW = pendulum(GRAVITY, floor=-1)


def run(rtol):
    start = LAW.initial_state(0.0, np.array([1.0, 0.0]), np.zeros(2))
    return ll.simulate(LAW, start, jnp.linspace(0.0, 30.0, 31), rtol=rtol)


@pytest.mark.slow
def test_no_worse_than_cvode_in_each_column(gate, balanced):
    at_its_tolerance, at_ours = run(1e-9), run(1e-10)
    end = np.concatenate([at_its_tolerance.final_state.q, at_its_tolerance.final_state.v])
    for (name, bound), value, exact in zip(CVODE.items(), end, [1.0, 0.0, 0.0, 0.0], strict=True):
        gate(name, value - exact, bound)
    balanced(at_ours)
