"""Accelerations and multipliers in full coordinates are those of (8)–(10) by hand; without G_ττ … they are not."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

import lagrangian_learning as ll
from lagrangian_learning.learning.laws.action_law import weights_state
from lagrangian_learning.verify.handwritten import HandEquations, Moment, on_edges

MASS_X, MASS_W, TIME, GOAL = 0.25, 0.8, 0.6, 0.3
# Neurons 0 and 1 are inputs, 2, 3 and 4 are not numbered along the edges.
EDGES = ((0, 3), (1, 3), (3, 2), (0, 2), (3, 4), (2, 4))
FREQUENCY = np.array([1.0, 2.0])
W, W_DOT = np.array([0.7, -0.4, 1.2, 0.5, -0.9, 0.8]), np.array([0.3, 0.6, -0.5, 0.2, 0.9, -0.7])


def by_hand(**kwargs):
    """ẍ, Ẅ and δ, all divided by ϖ = exp(t + sin(t)/2), whose rate is neither constant nor linear in t."""
    network = on_edges(EDGES, 5, 2, 1)
    u, u_dot, u_ddot = (FREQUENCY**n * np.sin(FREQUENCY * TIME + n * np.pi / 2) for n in range(3))
    x = network.settle(W, u)
    at = Moment(x, W, network.rates(x, W, W_DOT, u_dot), W_DOT, u_ddot, weight_dot=1 + np.cos(TIME) / 2)
    return HandEquations(network, MASS_X, MASS_W).accelerations(
        at, -network.outputs(x[-1:] - GOAL), np.zeros(6), **kwargs
    )


@pytest.fixture(scope="module")
def found():
    action = ll.CognitiveAction(
        ll.Digraph(5, EDGES, 2, 1),
        mass_x=MASS_X,
        mass_W=MASS_W,
        dissipation=ll.ScheduledDissipation(lambda t: t + jnp.sin(t) / 2),
    )
    stimulus = ll.Stimulus(ll.Sinusoids(FREQUENCY), jnp.array([GOAL]))
    law = action.law("full")
    state = law.initial_state(TIME, jnp.asarray(W), jnp.asarray(W_DOT), stimulus)
    (x_ddot, W_ddot), delta = eqx.filter_jit(law.accelerations)(TIME, state, stimulus)
    return x_ddot, W_ddot, delta


def test_accelerations_and_multipliers_are_those_by_hand(found):
    for ours, expected in zip(found, by_hand(), strict=True):
        assert np.max(np.abs(ours - expected)) < 1e-12 * np.max(np.abs(expected))


def test_without_the_second_derivatives_of_the_constraints_they_are_not(found):
    """What a test of (10) must notice: γ₂ = D²G at zero acceleration is not small."""
    for ours, wrong in zip(found, by_hand(gamma_2=False), strict=True):
        assert np.max(np.abs(ours - wrong)) > 0.05 * np.max(np.abs(ours))


def test_the_cauchy_data_of_the_paper_allow_rounding_and_no_more():
    action = ll.CognitiveAction(ll.Layered((2, 1)))
    W, still = (jnp.ones((1, 2)),), ll.Stimulus(jnp.ones(2), jnp.ones(1))
    law = action.law()
    law.initial_state(0.0, W, (jnp.full((1, 2), 1e-13),), still, cauchy="paper")
    with pytest.raises(ValueError, match=r"the Cauchy data \(11\)"):
        law.initial_state(0.0, W, (jnp.full((1, 2), 1e-9),), still, cauchy="paper")


def test_weights_of_a_second_order_action_start_with_accelerations_and_jerks():
    bending = ll.Term(lambda t, x, x_dot, x_ddot, W, W_dot, W_ddot, args: jnp.sum(W_ddot[0] ** 2), order=2)
    network, stimulus = ll.Layered((2, 1)), ll.Stimulus(jnp.ones(2), jnp.ones(1))
    W, W_ddot = (jnp.ones((1, 2)),), (jnp.array([[0.3, -0.2]]),)
    second, first = ll.CognitiveAction(network, terms=bending).law("full"), ll.CognitiveAction(network).law()
    state = weights_state(second, 0.0, W, None, stimulus, "general", W_ddot, None)
    np.testing.assert_array_equal(state.a[0], W_ddot[0])
    np.testing.assert_array_equal(state.j[0], 0 * W_ddot[0])
    with pytest.raises(ValueError, match="a first-order action determines its accelerations"):
        weights_state(first, 0.0, W, None, stimulus, "general", W_ddot, None)
