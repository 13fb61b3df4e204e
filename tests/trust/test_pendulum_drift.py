"""Drift over 1e5 steps: with projection under the gate, without it over the gate."""

import diffrax
import jax.numpy as jnp
import numpy as np
import pytest

import lagrangian_learning as ll
from tests.problems import pendulum

STEPS, STEP = 100_000, 0.002
GATES = {jnp.float64: 1e-12, jnp.float32: 5e-6}


@pytest.mark.slow
@pytest.mark.parametrize("dtype", GATES)
def test_a_pendulum_over_1e5_steps(dtype, gate):
    law = pendulum()
    start = law.initial_state(0.0, np.array([1, 0], dtype), np.array([0, 0.5], dtype))
    ts = np.linspace(0.0, STEPS * STEP, 5, dtype=dtype)

    def drift(stabilisation):
        path = ll.simulate(law, start, ts, solver=diffrax.Heun(), dt0=STEP, stabilisation=stabilisation)
        assert abs(int(path.stats["num_accepted_steps"]) - STEPS) <= 4
        return path.stats["max_constraint_residual"], path.stats["max_velocity_residual"]

    position, velocity = drift(ll.Projection())
    gate("max|G|", position, GATES[dtype])
    gate("max|DG|", velocity, GATES[dtype])
    assert min(drift(ll.NoStabilisation())) > GATES[dtype]
