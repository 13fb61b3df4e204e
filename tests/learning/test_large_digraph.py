"""A sparse digraph of a hundred thousand neurons and a million edges, against SciPy's sparse algebra."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import sparse
from scipy.sparse.linalg import splu

import lagrangian_learning as ll

NEURONS, EDGES, INPUTS, OUTPUTS, LEVELS = 100_000, 1_000_000, 100, 10, 20
MASS_X, MASS_W, THETA, TIME = 1e-3, 2.0, 0.7, 0.3


def edges_between_levels():
    """Random edges from lower levels to higher ones."""
    rng = np.random.default_rng(0)
    inner = np.sort(rng.integers(1, LEVELS, NEURONS - INPUTS - OUTPUTS))
    level = np.concatenate([np.zeros(INPUTS, int), inner, np.full(OUTPUTS, LEVELS)])
    pairs = rng.integers(0, NEURONS, (3 * EDGES, 2))
    pairs = np.unique(pairs[level[pairs[:, 0]] < level[pairs[:, 1]]], axis=0)
    return rng.permutation(pairs)[:EDGES]


@pytest.mark.slow
def test_accelerations_and_multipliers_of_a_million_edges():
    edges = edges_between_levels()
    network = ll.Digraph(NEURONS, edges, num_inputs=INPUTS, num_outputs=OUTPUTS)
    action = ll.CognitiveAction(network, mass_x=MASS_X, mass_W=MASS_W, dissipation=ll.ExponentialDissipation(THETA))
    law, frequency = action.law(), np.linspace(0.5, 2, INPUTS)
    stimulus = ll.Stimulus(ll.Sinusoids(jnp.asarray(frequency)), jnp.full(OUTPUTS, 0.3))
    state = ll.State(network.init(jax.random.key(0)), network.init(jax.random.key(1)))
    evaluate = jax.jit(lambda state: (law.accelerations(TIME, state, stimulus), law.full_state(TIME, state, stimulus)))
    (W_ddot, delta), full = jax.tree.map(np.asarray, evaluate(state))
    (x, W), (x_dot, W_dot) = full.q, full.v

    source, target = np.asarray(network.edges).T
    inner = np.arange(NEURONS) >= INPUTS

    def collected(values):
        return np.bincount(target, values, NEURONS)

    # The forward pass and its rate, as they must be.
    value = np.where(
        inner, np.tanh(collected(W * x[source])), np.sin(frequency * TIME).tolist() + [0] * (NEURONS - INPUTS)
    )
    np.testing.assert_allclose(x, value, atol=1e-13)
    slope, bend = inner * (1 - x**2), inner * -2 * x * (1 - x**2)
    a_dot = collected(W_dot * x[source] + W * x_dot[source])
    np.testing.assert_allclose(x_dot[INPUTS:], (slope * a_dot)[INPUTS:], atol=1e-12)

    # (10), G_xi by a sparse factorisation.
    coupling = sparse.coo_array((slope[target] * W, (target, source)), (NEURONS, NEURONS))
    jacobian = (sparse.identity(NEURONS) - coupling).tocsc()
    G_xi = splu(jacobian, permc_spec="NATURAL", diag_pivot_thresh=0.0)
    closing = -(bend * a_dot**2 + 2 * slope * collected(W_dot * x_dot[source]))
    closing[:INPUTS] = frequency**2 * np.sin(frequency * TIME) - THETA * frequency * np.cos(frequency * TIME)
    force = np.zeros(NEURONS)
    force[-OUTPUTS:] = 0.3 - x[-OUTPUTS:]
    load = force + MASS_X * G_xi.solve(closing)
    coupled = MASS_X / MASS_W * G_xi.solve(slope**2 * collected(x[source] ** 2) * delta)
    waves = np.linalg.norm(G_xi.solve(load - coupled, "T") - delta) / np.linalg.norm(delta)
    assert waves < 1e-10
    assert np.linalg.norm(coupled) > 1e-4 * np.linalg.norm(load), "the coupling is felt"
    np.testing.assert_allclose(W_ddot, -THETA * W_dot + slope[target] * delta[target] * x[source] / MASS_W, atol=1e-12)
