"""A motion that relaxes to a gradient flow within 1/ϑ, hand-written, with its closed form."""

import jax.numpy as jnp
import numpy as np

from lagrangian_learning.mechanics import DampedMotion, ExponentialDissipation
from lagrangian_learning.mechanics.law import AbstractLaw, Rates
from tests.laws import Motion, array

STIFFNESS = np.array([[2.0, 0.5], [0.5, 1.0]])
DRIVE, FREQUENCY = np.array([1.0, -0.5]), 3.0
START = np.array([1.2, -0.7])


class Relaxing(AbstractLaw):
    """q̈ = −ϑ (q̇ − g), g = −K q + a sin ωt: damped descent with γ = 1, in the limit q̇ = g; no energy but a power."""

    theta: object

    def force(self, t, q):
        stiffness, drive = (jnp.asarray(constant, q.dtype) for constant in (STIFFNESS, DRIVE))
        return drive * jnp.sin(FREQUENCY * t) - jnp.matmul(stiffness, q, precision="highest")

    def rates(self, t, state, args):
        theta = jnp.asarray(self.theta, state.q.dtype)
        return Rates(Motion(state.v, -theta * (state.v - self.force(t, state.q))), None)

    @property
    def linear_part(self):
        return DampedMotion(ExponentialDissipation(self.theta))


class Buckling(Relaxing):
    """The same with g = (−q₁³ + sin t + q₂/2, −q₂ e^{−q₁} + q₁ cos 2t)."""

    def force(self, t, q):
        first = -(q[0] ** 3) + jnp.sin(t) + 0.5 * q[1]
        return jnp.stack([first, -q[1] * jnp.exp(-q[0]) + q[0] * jnp.cos(2 * t)])


def buckling_force(t, q):
    return np.array([-(q[0] ** 3) + np.sin(t) + 0.5 * q[1], -q[1] * np.exp(-q[0]) + q[0] * np.cos(2 * t)])


def force(t, q):
    return DRIVE * np.sin(FREQUENCY * t) - STIFFNESS @ q


def from_rest(dtype=jnp.float64):
    return Motion(array(START, dtype), array(np.zeros(2), dtype))


def relaxing_at(t, theta, q0=START, v0=(0.0, 0.0)):
    """q and q̇ at t, mode by mode: two exponentials and the forced oscillation."""
    values, modes = np.linalg.eigh(STIFFNESS)
    ends = [_mode(t, theta, k, *(modes[:, j] @ x for x in (q0, np.asarray(v0), DRIVE))) for j, k in enumerate(values)]
    return modes @ [q for q, _ in ends], modes @ [v for _, v in ends]


def _mode(t, theta, k, q0, v0, drive):
    forced = theta * drive / (-(FREQUENCY**2) + 1j * FREQUENCY * theta + theta * k)
    fast = -(theta + np.sqrt(complex(theta**2 - 4 * theta * k))) / 2
    slow = theta * k / fast  # by the product of the roots: their difference would lose every digit
    left, left_v = q0 - forced.imag, v0 - (1j * FREQUENCY * forced).imag
    of_fast = (left_v - slow * left) / (fast - slow)
    of_slow = left - of_fast
    turning = forced * np.exp(1j * FREQUENCY * t)
    q = of_fast * np.exp(fast * t) + of_slow * np.exp(slow * t)
    v = of_fast * fast * np.exp(fast * t) + of_slow * slow * np.exp(slow * t)
    return q.real + turning.imag, v.real + (1j * FREQUENCY * turning).imag
