"""Caldirola–Kanai oscillator: ℓ = ½v² − ½κq² under ϖ = e^{ϑt} is q̈ + ϑq̇ + κq = 0."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lagrangian_learning as ll

KAPPA, START, RATE = 2.0, 0.7, -0.3
THETAS = np.array([0.0, 0.1, 1.0, 4.0])  # undamped, under-damped twice, over-damped


def reference(theta, t):
    """e^{−ϑt/2} (q₀ cos ωt + (v₀ + ϑq₀/2) sin ωt/ω), ω² = κ − ϑ²/4 of either sign."""
    omega = np.sqrt(complex(KAPPA - theta**2 / 4))
    slope = RATE + theta * START / 2
    return np.real(np.exp(-theta * t / 2) * (START * np.cos(omega * t) + slope * np.sin(omega * t) / omega))


@pytest.mark.slow
def test_against_the_closed_form(gate, balanced):
    ts = np.linspace(0.0, 20.0, 41)

    def run(theta):
        dissipation = ll.ExponentialDissipation(theta)
        law = ll.EulerLagrange(ll.Lagrangian(lambda t, q, v, args: 0.5 * v**2 - 0.5 * KAPPA * q**2, dissipation))
        return ll.simulate(law, law.initial_state(0.0, START, RATE), ts, rtol=1e-12)

    paths = jax.jit(jax.vmap(run))(jnp.asarray(THETAS))
    for i, theta in enumerate(THETAS):
        path = jax.tree.map(lambda leaf, i=i: leaf[i], paths)
        gate(f"q at ϑ = {theta}", path.q - reference(theta, ts), 1e-9)
        balanced(path)
