"""The XOR network's own equations given to SUNDIALS IDA as a differential-algebraic system written in NumPy.

y = (x, w, ẋ, ẇ, δ), residuals ẋ, ẇ, (8), (9) and D²G = 0: index 1, algebraic in δ. Nothing of the package is in it.
"""

import jax.numpy as jnp
import numpy as np
import pytest
from sksundae.ida import IDA

import lagrangian_learning as ll

MASS_X, MASS_W, THETA, END, TOLERANCE = 0.05, 0.5, 0.7, 5.0, 1e-9
WEIGHTS = np.array([0.5, -0.8, 0.3, 1.1, -0.6, 0.9])
RATES = np.array([0.2, -0.4, 0.3, 0.1, 0.5, -0.3])
TIMES = np.linspace(0.0, END, 11)
FREQUENCY, AMPLITUDE, PHASE = np.array([1.0, 1.7]), np.array([1.0, 0.8]), np.array([0.3, 1.1])
SOURCE, TARGET = np.array([0, 1, 0, 1, 2, 3]), np.array([2, 2, 3, 3, 4, 4])
X, W, V, U, D = (slice(*ends) for ends in ((0, 5), (5, 11), (11, 16), (16, 22), (22, 27)))


def into(values):
    """Σ over the edges that enter each neuron."""
    return np.bincount(TARGET, values, minlength=5)


def constraint_terms(t, x, w):
    """σ′ and σ″ at the activities, 1 and 0 at inputs, where the activity is e(t)."""
    y = np.tanh(into(w * x[SOURCE]))
    slope = 1 - y**2
    return slope, -2 * y * slope


def second_derivative(t, y, x_ddot, w_ddot):
    """D²G, G_j = x_j − σ(a_j), a = Σ w x: ẍ − σ″ȧ² − σ′ä."""
    x, w, v, u = y[X], y[W], y[V], y[U]
    slope, bend = constraint_terms(t, x, w)
    a_dot = into(u * x[SOURCE] + w * v[SOURCE])
    a_ddot = into(w_ddot * x[SOURCE] + 2 * u * v[SOURCE] + w * x_ddot[SOURCE])
    total = x_ddot - bend * a_dot**2 - slope * a_ddot
    total[:2] = x_ddot[:2] + FREQUENCY**2 * AMPLITUDE * np.sin(FREQUENCY * t + PHASE)
    return total


def residual(t, y, rates, out):
    x, w, v, u, delta = (y[part] for part in (X, W, V, U, D))
    slope, _ = constraint_terms(t, x, w)
    pushed = slope[TARGET] * delta[TARGET]
    back = delta - np.bincount(SOURCE, w * pushed, minlength=5)  # G_ξᵀ δ
    V_x = np.array([0, 0, 0, 0, x[4] - 0.4 * np.sin(t)])
    out[X] = rates[X] - v
    out[W] = rates[W] - u
    out[V] = MASS_X * (rates[V] + THETA * v) + V_x + back
    out[U] = MASS_W * (rates[U] + THETA * u) - pushed * x[SOURCE]
    out[D] = second_derivative(t, y, rates[V], rates[U])


def forward(t, w):
    x = np.concatenate([AMPLITUDE * np.sin(FREQUENCY * t + PHASE), np.zeros(3)])
    for _ in range(2):
        x[2:] = np.tanh(into(w * x[SOURCE]))[2:]
    return x


def start():
    """y and ẏ at t = 0: x and ẋ by the forward pass and its complex step, ẍ, ẅ, δ from the linear residual."""
    h = 1e-30
    moved = np.concatenate([AMPLITUDE * np.sin(1j * h * FREQUENCY + PHASE), np.zeros(3)])
    w = WEIGHTS + 1j * h * RATES
    for _ in range(2):
        a = np.array([np.sum((w * moved[SOURCE])[j == TARGET]) for j in range(5)])
        moved[2:] = np.tanh(a)[2:]
    y = np.concatenate([forward(0.0, WEIGHTS), WEIGHTS, moved.imag / h, RATES, np.zeros(5)])

    def left(unknown):  # (ẍ, ẅ, δ)
        out = np.zeros(27)
        rates = np.concatenate([y[V], y[U], unknown[:11], np.zeros(5)])
        residual(0.0, np.concatenate([y[:22], unknown[11:]]), rates, out)
        return out[11:]

    matrix = np.stack([left(e) - left(np.zeros(16)) for e in np.eye(16)], axis=1)
    unknown = np.linalg.solve(matrix, -left(np.zeros(16)))
    y[D] = unknown[11:]
    return y, np.concatenate([y[V], y[U], unknown[:11], np.zeros(5)])


@pytest.fixture(scope="module")
def reference():
    solver = IDA(residual, algebraic_idx=list(range(22, 27)), rtol=TOLERANCE, atol=TOLERANCE, max_num_steps=100_000)
    solution = solver.solve(TIMES, *start())
    assert solution.success
    return solution.y


def action_and_stimulus():
    action = ll.CognitiveAction(
        ll.networks.xor_network(), mass_x=MASS_X, mass_W=MASS_W, dissipation=ll.ExponentialDissipation(THETA)
    )
    return action, ll.Stimulus(ll.Sinusoids(FREQUENCY, AMPLITUDE, PHASE), ll.Sinusoids(jnp.array([1.0]), 0.4))


@pytest.mark.parametrize("coordinates", ["reduced", pytest.param("full", marks=pytest.mark.slow)])
def test_trajectories_are_those_of_ida(coordinates, reference):
    action, stimulus = action_and_stimulus()
    law = action.law(coordinates)
    state = law.initial_state(0.0, jnp.asarray(WEIGHTS), stimulus, jnp.asarray(RATES))
    path = ll.simulate(law, state, TIMES, stimulus, rtol=TOLERANCE, atol=TOLERANCE)
    assert np.max(np.abs(reference[-1, W] - WEIGHTS)) > 0.1, "nothing moved"
    for found, part in ((path.x, X), (path.W, W), (path.x_dot, V), (path.W_dot, U), (path.multipliers, D)):
        assert np.max(np.abs(found - reference[:, part])) < 1e-6
    assert float(path.stats["max_energy_defect"]) < 1e-8
