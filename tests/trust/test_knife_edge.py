"""Knife edge on an inclined plane (Bloch): d'Alembert's rule gives a cycloid."""

import jax.numpy as jnp
import numpy as np

import lagrangian_learning as ll

M, J, GRAVITY, SLOPE, OMEGA = 1.25, 0.13, 9.81, 0.5, 0.8
PERIOD = 2 * np.pi / OMEGA
TIMES = np.linspace(0.0, PERIOD, 41)
LAGRANGIAN = ll.Lagrangian(
    lambda t, q, v, args: 0.5 * M * (v[0] ** 2 + v[1] ** 2) + 0.5 * J * v[2] ** 2 + M * GRAVITY * q[0] * np.sin(SLOPE)
)
REST, SPIN = np.zeros(3), np.array([0.0, 0.0, OMEGA])


def blade(t, q, v, args):
    return v[0] * jnp.sin(q[2]) - v[1] * jnp.cos(q[2])


def reference(t):
    turn, size = OMEGA * t, GRAVITY * np.sin(SLOPE) / (2 * OMEGA**2)
    return np.stack([size * np.sin(turn) ** 2, size * (turn - np.sin(2 * turn) / 2), turn], axis=1)


def test_the_cycloid_and_its_multiplier(gate, balanced):
    law = ll.EulerLagrange(LAGRANGIAN, ll.DAlembert(blade))
    path = ll.simulate(law, law.initial_state(0.0, REST, SPIN), TIMES, rtol=1e-10)
    gate("x, y, φ", path.q - reference(TIMES), 1e-9)
    gate("multiplier", path.multipliers - 2 * M * GRAVITY * np.sin(SLOPE) * np.sin(OMEGA * TIMES), 1e-9)
    balanced(path)
