"""The equations written as sweeps against those derived by differentiation: no code in common but the network's."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import lagrangian_learning as ll

TIME = 0.3
NETWORKS = {
    "layered with bias": ll.Layered((2, 3, 2), bias=True, output_activation="softplus"),
    "feedforward digraph": ll.networks.xor_network("softplus"),
}


def moving_target(t):
    return jnp.stack([jnp.sin(2 * t), jnp.cos(t)])


def pulled(t, x, x_dot, x_ddot, W, W_dot, W_ddot, args):
    return -jnp.sin(t) * sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves((x, W)))


@pytest.mark.parametrize("name", NETWORKS)
def test_rates_power_and_observables_are_those_derived(name, key):
    network = NETWORKS[name]
    n = network.num_inputs
    action = ll.CognitiveAction(
        network,
        mass_x=0.2,
        mass_W=0.7,
        dissipation=ll.ScheduledDissipation(lambda t: t + t**2 / 3),
        terms=(ll.WeightDecay(0.1), ll.Term(pulled, order=0, weighted=False)),
    )
    stimulus = ll.Stimulus(
        ll.Sinusoids(jnp.arange(1.0, n + 1), 1.0, jnp.arange(n)), lambda t: moving_target(t)[: network.num_outputs]
    )
    W = network.init(key)
    state = ll.State(W, jax.tree.map(lambda w: jnp.cos(3 * w), W))

    @eqx.filter_jit
    def everything(law):
        return law.rates(TIME, state, stimulus), law.observables(TIME, state, stimulus)

    by_sweeps, derived = (
        everything(action.law()),
        everything(action.law(multiplier_solver=ll.multipliers.DenseSaddlePoint())),
    )
    assert jax.tree.structure(by_sweeps) == jax.tree.structure(derived)
    np.testing.assert_allclose(ravel_pytree(by_sweeps)[0], ravel_pytree(derived)[0], rtol=1e-11, atol=1e-12)
