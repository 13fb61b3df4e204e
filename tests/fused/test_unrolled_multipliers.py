"""Unrolled elimination against the dense saddle point, which shares with it only the system itself."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import lagrangian_learning as ll
from lagrangian_learning.fused import UnrolledMultipliers
from lagrangian_learning.fused.unrolled_multipliers import eliminated, unrolled
from tests.helpers import mostly_slow

NETWORKS = {
    "layered with bias": ll.Layered((2, 3, 2), bias=True),
    "feedforward digraph": ll.networks.xor_network("softplus"),
}


def problem(network, mass_x, key):
    n = network.num_inputs
    action = ll.CognitiveAction(
        network, mass_x=mass_x, mass_W=0.5, dissipation=ll.ExponentialDissipation(2.0), terms=ll.WeightDecay(0.1)
    )
    stimulus = ll.Stimulus(ll.Sinusoids(jnp.arange(1.0, n + 1), 1.0, jnp.arange(n)), jnp.full(network.num_outputs, 0.3))
    W = network.init(key)
    return action, stimulus, W, jax.tree.map(lambda w: 0.4 * jnp.cos(3 * w), W)


def difference(left, right):
    left, right = ravel_pytree(left)[0], ravel_pytree(right)[0]
    return float(jnp.max(jnp.abs(left - right)) / jnp.max(jnp.abs(right)))


@eqx.filter_jit
def accelerations(action, solver, W, W_dot, stimulus):
    law = action.law("full", solver)
    return law.accelerations(0.3, law.initial_state(0.3, W, W_dot, stimulus), stimulus)


@pytest.mark.slow
@pytest.mark.parametrize("mass_x", [0.1, 0.0])
@pytest.mark.parametrize("name", mostly_slow(NETWORKS, "layered with bias"))
def test_equal_to_the_dense_saddle_point(name, mass_x, key):
    network = NETWORKS[name]
    action, stimulus, W, W_dot = problem(network, mass_x, key)
    solver = UnrolledMultipliers()
    top, delta = accelerations(action, solver, W, W_dot, stimulus)
    dense_top, dense_delta = accelerations(action, ll.multipliers.DenseSaddlePoint(), W, W_dot, stimulus)
    assert difference(top, dense_top) < 1e-12
    assert difference(delta, dense_delta) < 1e-12


@pytest.mark.slow
def test_differentiates_as_the_dense_solve_does(key):
    network = ll.networks.xor_network()
    _, stimulus, W, W_dot = problem(network, 0.1, key)

    def number(constants, dense):
        mass_x, weights = constants
        action = ll.CognitiveAction(network, mass_x=mass_x, mass_W=0.5)
        solver = ll.multipliers.DenseSaddlePoint() if dense else UnrolledMultipliers()
        law = action.law("full", solver)
        flat = ravel_pytree(law.accelerations(0.3, law.initial_state(0.3, weights, W_dot, stimulus), stimulus))[0]
        return flat @ jnp.cos(jnp.arange(flat.size))

    gradient = jax.jit(jax.grad(number), static_argnums=1)
    at = (jnp.asarray(0.1), W)
    assert difference(gradient(at, False), gradient(at, True)) < 1e-10


def test_a_batch_is_elementwise(key):
    """No factorisation, no loop, no product of matrices is left in what vmap compiles."""
    network = ll.networks.xor_network()
    _, stimulus, W, _ = problem(network, 0.1, key)
    linearised = network.linearised(network.forward(W, stimulus.input(0.3)), W)
    solver = UnrolledMultipliers()
    loads = jnp.ones((7, network.num_neurons))
    jaxpr = jax.make_jaxpr(jax.vmap(lambda load: solver.solve(linearised, load, jnp.asarray(0.2))))(loads)
    names = {equation.primitive.name for equation in jaxpr.eqns}
    assert not names & {"cholesky", "triangular_solve", "dot_general", "while", "scan", "custom_linear_solve"}


def test_elimination_against_numpy():
    a = np.random.default_rng(3).normal(size=(6, 6))
    a, b = a @ a.T + np.eye(6), np.arange(6.0)
    np.testing.assert_allclose(eliminated(jnp.asarray(a), jnp.asarray(b)), np.linalg.solve(a, b), rtol=1e-12)


def test_the_law_of_a_batch_uses_it_where_it_can():
    small, large = (
        ll.CognitiveAction(ll.networks.xor_network()).law(),
        ll.CognitiveAction(ll.Layered((30, 30, 1))).law(),
    )
    assert unrolled(small).multiplier_solver.name == UnrolledMultipliers.name
    assert unrolled(large).multiplier_solver.name == large.multiplier_solver.name


@pytest.mark.parametrize(
    ("network", "message"),
    [(ll.Layered((30, 3)), "at most 32 neurons"), (ll.Digraph(3, ((0, 1), (1, 2), (2, 1)), 1, 1), "cycles")],
)
def test_what_it_cannot_do_is_refused(network, message):
    with pytest.raises(ValueError, match=message):
        UnrolledMultipliers().check_network(network)
