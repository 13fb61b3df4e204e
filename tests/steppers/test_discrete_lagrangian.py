"""Derivatives of a step of the discrete Lagrangian of the trapezoidal rule; the rest is in test_rattle.py."""

import jax
import jax.numpy as jnp
import numpy as np

import lagrangian_learning as ll
from lagrangian_learning.steppers.discrete_lagrangian import discrete_step


def magnetic(t, q, v, args):
    """A field of strength q₀ across the plane, and a spring."""
    return v @ v / 2 + q[0] ** 2 / 2 * v[1] - q @ q / 8


def test_a_step_differentiates_as_its_differences_do():
    law = ll.EulerLagrange(ll.Lagrangian(magnetic), ll.Holonomic(lambda t, q, args: (q @ q - 1) / 2))

    @jax.jit
    def after(turn):
        q = jnp.stack([jnp.cos(turn), jnp.sin(turn)])
        v = jnp.stack([-q[1], q[0]])
        decays = (jnp.asarray(0.9), jnp.asarray(0.8))
        end, found = discrete_step(law, jnp.asarray(0.0), jnp.asarray(0.1), ll.State(q, v), None, decays)
        return jnp.concatenate([end.q, end.v]), found

    assert bool(after(0.3)[1])
    found = jax.jacfwd(lambda turn: after(turn)[0])(0.3)
    differences = (after(0.3 + 1e-5)[0] - after(0.3 - 1e-5)[0]) / 2e-5
    np.testing.assert_allclose(found, differences, rtol=1e-8, atol=1e-9)
