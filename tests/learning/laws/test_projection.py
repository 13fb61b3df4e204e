"""A network in full coordinates stays on its constraints: with projection, at every step; without, it does not."""

import diffrax
import jax.numpy as jnp
import pytest

import lagrangian_learning as ll

STEP, NUM_STEPS = 0.02, 100_000
GATE = {jnp.float64: 1e-12, jnp.float32: 5e-6}


def run(dtype, stabilisation, **settings):
    """The XOR network under sinusoids, at constant steps in full coordinates."""
    action = ll.CognitiveAction(
        ll.Layered((2, 2, 1)), mass_x=0.02, mass_W=1.0, dissipation=ll.ExponentialDissipation(1.0)
    )
    stimulus = ll.Stimulus(ll.Sinusoids(jnp.array([1.0, 1.6]), 0.7, jnp.array([0.0, 0.5])), jnp.array([0.4]))
    W = tuple(jnp.asarray(w, dtype) for w in ([[0.5, -0.8], [0.3, 1.1]], [[-0.6, 0.9]]))
    law = action.law("full")
    state = law.initial_state(0.0, W, tuple(0.3 * w for w in W), stimulus)
    ts = jnp.asarray([0.0, STEP * NUM_STEPS], dtype)
    return ll.simulate(
        law, state, ts, stimulus, solver=diffrax.Heun(), dt0=0.999 * STEP, stabilisation=stabilisation,
        max_steps=2**20, **settings,
    )  # fmt: skip


def largest(path):
    return max(float(path.stats["max_constraint_residual"]), float(path.stats["max_velocity_residual"]))


@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32])
@pytest.mark.slow
def test_projection_keeps_what_is_lost_without(dtype):
    projected = run(dtype, ll.Projection())
    assert projected.ts.dtype == dtype
    assert int(projected.stats["num_accepted_steps"]) >= NUM_STEPS
    assert largest(projected) <= GATE[dtype]
    drifted = run(dtype, ll.NoStabilisation(), throw=False)
    assert largest(drifted) > GATE[dtype], "no drift to be kept from"
