"""Actions of second order: a term ½ μ (|ẍ|² + |Ẅ|²) inside the weight, D⁴G = 0 closes the system."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import lagrangian_learning as ll

MU, THETA, TIME = 0.3, 0.6, 0.2


def squares(*trees):
    return sum(jnp.sum(leaf**2) for tree in trees for leaf in jax.tree.leaves(tree))


def bending(t, x, x_dot, x_ddot, W, W_dot, W_ddot, stimulus):
    return MU * squares(x_ddot, W_ddot) / 2


def problem(network=None, term=bending):
    network = ll.Layered((2, 2, 1)) if network is None else network
    action = ll.CognitiveAction(
        network,
        mass_x=0.2,
        mass_W=0.7,
        dissipation=ll.ExponentialDissipation(THETA),
        terms=ll.Term(term, order=2, weighted=True),
    )
    stimulus = ll.Stimulus(ll.Sinusoids(jnp.array([1.0, 1.6]), 0.8, jnp.array([0.2, 1.0])), jnp.array([0.3]))
    return action, stimulus


def initial(law, stimulus, key):
    shapes = law.network.init(key)
    flat, unravel = ravel_pytree(shapes)
    W, W_dot, W_ddot, W_dddot = (unravel(row) for row in 0.6 * jax.random.normal(key, (4, flat.size)))
    return law.initial_state(TIME, W, W_dot, stimulus, a=W_ddot, j=W_dddot)


@pytest.mark.slow
def test_fourth_derivative_of_the_constraints_vanishes(key):
    """D⁴G along the Taylor path of our solution, by `jax.jacfwd` in τ: independent of the jets of `mechanics`."""
    action, stimulus = problem()
    law = action.law("full")

    @eqx.filter_jit
    def evaluated(law, stimulus):
        state = initial(law, stimulus, key)
        top, delta = law.accelerations(TIME, state, stimulus)
        defect = law.equations.defect(TIME, state, top, delta, stimulus).relative
        levels = (state.q, state.v, state.a, state.j, top)

        def along(tau):
            q = jax.tree.map(lambda *d: sum(d[k] * tau**k / float(np.prod(range(1, k + 1))) for k in range(5)), *levels)
            return ravel_pytree(law.network.constraint(*q, stimulus.input(TIME + tau)))[0]

        derivative = along
        tower = [along(jnp.asarray(0.0))]
        for _ in range(4):
            derivative = jax.jacfwd(derivative)
            tower.append(derivative(jnp.asarray(0.0)))
        return top, defect, tower

    top, defect, tower = evaluated(law, stimulus)
    scale = float(jnp.max(jnp.abs(ravel_pytree(top)[0])))
    assert scale > 0.1
    assert max(float(jnp.max(jnp.abs(level))) for level in tower) < 1e-10 * scale
    assert max(float(value) for value in defect) < 1e-10


@pytest.mark.slow
def test_equations_of_the_eliminated_action(key):
    """x = f(t, W) put into the action: an unconstrained second-order Lagrangian of W (it shares the derivative)."""
    action, stimulus = problem(ll.Layered((2, 1)))
    law = action.law()

    def density(t, W, W_dot, W_ddot, stimulus):
        def neurons(t, W):
            return stimulus.input(t), jnp.tanh(W[0] @ stimulus.input(t))

        def rates(t, W, W_dot):
            return jax.jvp(neurons, (t, W), (jnp.ones_like(t), W_dot))[1]

        x_dot, x_ddot = jax.jvp(rates, (t, W, W_dot), (jnp.ones_like(t), W_dot, W_ddot))
        kinetic = 0.2 * squares(x_dot) / 2 + 0.7 * squares(W_dot) / 2 + MU * squares(x_ddot, W_ddot) / 2
        return kinetic - squares(neurons(t, W)[1] - 0.3) / 2

    @eqx.filter_jit
    def evaluated(law, stimulus):
        state = initial(law, stimulus, key)
        free = ll.EulerLagrange(ll.Lagrangian(density, ll.ExponentialDissipation(THETA), order=2))
        return law.accelerations(TIME, state, stimulus)[0], free.accelerations(TIME, state, stimulus)[0]

    found, expected = (ravel_pytree(top)[0] for top in evaluated(law, stimulus))
    np.testing.assert_allclose(found, expected, rtol=1e-10)


@pytest.mark.slow
def test_it_runs_and_keeps_its_constraints(key):
    action, stimulus = problem(ll.Layered((2, 1)))
    law = action.law()
    state = eqx.filter_jit(lambda law, s: initial(law, s, key))(law, stimulus)
    path = ll.simulate(
        law, state, jnp.array([TIME, TIME + 0.1, TIME + 0.2]), stimulus, solver=diffrax.Tsit5(), dt0=0.02
    )
    whole = law.full_state(path.ts[-1], path.final_state, stimulus)
    residual = law.equations.residual(path.ts[-1], whole, stimulus)
    assert float(residual.position) < 1e-13
    assert float(residual.velocity) < 1e-10
    assert float(path.stats["max_energy_defect"]) < 1e-8
    assert float(jnp.max(jnp.abs(path.W[0][-1] - path.W[0][0]))) > 1e-2


@pytest.mark.slow
def test_acceleration_of_neurons_alone_is_singular(key):
    """Six weights, rank ∂x/∂W at most three: Ẅ is not determined by an F of ẍ (docs/theory.md §2)."""
    action, stimulus = problem(term=lambda t, x, v, a, W, V, A, s: squares(a) / 2)
    for coordinates in ("full", "reduced"):
        with pytest.raises(ValueError, match=r"singular at the start.*Give a mass to every coordinate"):
            initial(action.law(coordinates), stimulus, key)


def test_what_a_second_order_action_needs(key):
    action, stimulus = problem()
    rough = ll.Stimulus(ll.Patterns(jnp.ones((2, 2)), 1.0, 0.2), stimulus.target)
    with pytest.raises(ValueError, match=r"differentiates the input 4 times.*Patterns is only C2.*smoothness=4"):
        initial(action.law(), rough, key)
    with pytest.raises(ValueError, match=r"use ll.multipliers.DenseSaddlePoint"):
        action.law(multiplier_solver=ll.multipliers.ConjugateGradients())
