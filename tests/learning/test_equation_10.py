"""Formula (10), written out from gradients and Hessians of (4), gives the multipliers; without G_ττ … it does not.

With F = −ϖ V and everything divided by ϖ, (10) reads, for every constraint i,

    δ_j (G^i_ξa G^j_ξa/m_x + G^i_m G^j_m/m_W)
        = G^i_ττ + 2 (G^i_τξa ẋ_a + G^i_τm ẇ_m + G^i_ξam ẋ_a ẇ_m) + G^i_ξaξb ẋ_a ẋ_b + G^i_mm′ ẇ_m ẇ_m′
          − (ϖ̇/ϖ) (ẋ_a G^i_ξa + ẇ_m G^i_m) − V_ξa G^i_ξa/m_x.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lagrangian_learning as ll

MASS_X, MASS_W, TIME = 0.25, 0.8, 0.6
# Neurons 0 and 1 are inputs, 2, 3 and 4 are not numbered along the edges.
EDGES = ((0, 3), (1, 3), (3, 2), (0, 2), (3, 4), (2, 4))


def rate(t):
    """r of ϖ = exp(t + sin(t)/2): neither constant nor a constant times t."""
    return 1 + np.cos(t) / 2


def constraint(t, x, w):
    """(4), written for these edges."""
    a2, a3, a4 = w[2] * x[3] + w[3] * x[0], w[0] * x[0] + w[1] * x[1], w[4] * x[3] + w[5] * x[2]
    return jnp.stack([
        x[0] - jnp.sin(t), x[1] - jnp.cos(2 * t),
        x[2] - jnp.tanh(a2), x[3] - jnp.tanh(a3), x[4] - jnp.tanh(a4),
    ])  # fmt: skip


def written_out(state):
    """The matrix of (10), γ₂ alone, and all else on its right side, in NumPy."""
    (x, w), (x_dot, w_dot) = ([np.asarray(part) for part in pair] for pair in (state.q, state.v))
    at = (jnp.asarray(TIME), jnp.asarray(x), jnp.asarray(w))
    _, G_x, G_w = (np.asarray(g) for g in jax.jacfwd(constraint, (0, 1, 2))(*at))
    (G_tt, G_tx, G_tw), (_, G_xx, G_xw), (_, _, G_ww) = jax.jacfwd(jax.jacfwd(constraint, (0, 1, 2)), (0, 1, 2))(*at)
    gamma_2 = (
        G_tt
        + 2 * (G_tx @ x_dot + G_tw @ w_dot + np.einsum("iab,a,b", G_xw, x_dot, w_dot))
        + np.einsum("iab,a,b", G_xx, x_dot, x_dot)
        + np.einsum("iab,a,b", G_ww, w_dot, w_dot)
    )
    V_x = np.array([0, 0, 0, 0, x[4] - 0.3])
    rest = -rate(TIME) * (G_x @ x_dot + G_w @ w_dot) - G_x @ V_x / MASS_X
    return G_x @ G_x.T / MASS_X + G_w @ G_w.T / MASS_W, gamma_2, rest


@pytest.fixture(scope="module")
def found():
    action = ll.CognitiveAction(
        ll.Digraph(5, EDGES, 2, 1),
        mass_x=MASS_X,
        mass_W=MASS_W,
        dissipation=ll.ScheduledDissipation(lambda t: t + jnp.sin(t) / 2),
    )
    stimulus = ll.Stimulus(lambda t: jnp.stack([jnp.sin(t), jnp.cos(2 * t)]), jnp.array([0.3]))
    law = action.law("full")
    W, W_dot = jnp.array([0.7, -0.4, 1.2, 0.5, -0.9, 0.8]), jnp.array([0.3, 0.6, -0.5, 0.2, 0.9, -0.7])
    state = law.initial_state(TIME, W, stimulus, W_dot)
    _, delta = eqx.filter_jit(law.accelerations)(TIME, state, stimulus)
    return state, np.asarray(delta)


def test_multipliers_are_those_of_formula_10(found):
    state, delta = found
    matrix, gamma_2, rest = written_out(state)
    expected = np.linalg.solve(matrix, gamma_2 + rest)
    assert np.max(np.abs(delta - expected)) < 1e-12 * np.max(np.abs(expected))


def test_without_the_second_derivatives_of_the_constraints_they_are_not(found):
    """What a test of (10) must notice: γ₂ = D²G at zero acceleration is not small."""
    state, delta = found
    matrix, _, rest = written_out(state)
    assert np.max(np.abs(delta - np.linalg.solve(matrix, rest))) > 0.1 * np.max(np.abs(delta))
