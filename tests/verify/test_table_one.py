"""Table 1 filled in from a run."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lagrangian_learning as ll
from lagrangian_learning.simulate import NotSavedError


@pytest.mark.slow
def test_a_run_fills_in_the_table():
    network = ll.Layered((2, 3, 1))
    action = ll.CognitiveAction(network, mass_x=0.2, mass_W=0.5, dissipation=ll.ExponentialDissipation(0.8))
    stimulus = ll.Stimulus(ll.Sinusoids(jnp.array([1.0, 2.0]), 1.0, jnp.array([0.1, 0.5])), jnp.array([0.4]))
    law, ts = action.law(), jnp.linspace(0.0, 0.5, 11)
    path = ll.simulate(law, law.initial_state(0.0, network.init(jax.random.key(4)), args=stimulus), ts, stimulus)
    table = ll.verify.table_one(path, action, stimulus)
    np.testing.assert_allclose(table.action, action(path, stimulus), rtol=1e-12)
    np.testing.assert_allclose(table.action, table.action_normalised * np.exp(0.8 * 0.5), rtol=1e-12)
    assert table.coordinates == (path.W, path.x)
    assert table.velocities == (path.W_dot, path.x_dot)
    assert "9 of weights, 6 of neurons, at 11 times" in str(table)


def test_a_run_that_did_not_save_what_the_table_needs_is_named():
    action = ll.CognitiveAction(ll.Layered((1, 1)))
    stimulus = ll.Stimulus(jnp.ones(1), jnp.ones(1))
    law = action.law()
    state = law.initial_state(0.0, (jnp.ones((1, 1)),), args=stimulus)
    path = ll.simulate(law, state, [0.0, 0.1], stimulus, save=lambda t, observables: {"W": observables["W"]})
    with pytest.raises(NotSavedError):
        ll.verify.table_one(path, action, stimulus)
