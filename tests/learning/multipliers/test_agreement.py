"""|D²G| at the solution of (10), and every solver of (10) against every other: they share only the system itself."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import lagrangian_learning as ll
from lagrangian_learning.learning.multipliers import ConjugateGradients, NetworkSchur
from tests.helpers import mostly_slow, relative

MASS_W, THETA, TIME = 0.5, 2.0, 0.3
# 2 → 5 → 2 is a cycle; neuron 1 feeds it and 3, 4 hang on it.
CYCLE = ((0, 3), (1, 2), (2, 3), (3, 4), (2, 5), (4, 5), (5, 2), (0, 5))
NETWORKS = {
    "layered with bias": ll.Layered((2, 3, 2), bias=True),
    "feedforward digraph": ll.networks.xor_network("softplus"),
    "cyclic digraph": ll.Digraph(6, CYCLE, 2, 1),
}


def solvers(network):
    structured = {"Schur complement of the network": NetworkSchur()}
    if network.feedforward:
        structured["conjugate gradients"] = ConjugateGradients()
    if isinstance(network, ll.Layered):
        structured["block tridiagonal"] = ll.multipliers.BlockTridiagonal()
        structured["low rank"] = ll.multipliers.LowRankElimination()
    return structured | {
        "dense saddle point": ll.multipliers.DenseSaddlePoint(),
        "dense Schur complement": ll.multipliers.DenseSchur(),
    }


def problem(network, key, mass_x, dtype=None, moving=True):
    n = network.num_inputs
    action = ll.CognitiveAction(
        network, mass_x=mass_x, mass_W=MASS_W, dissipation=ll.ExponentialDissipation(THETA), terms=ll.WeightDecay(0.1)
    )
    still = jnp.linspace(0.2, 0.9, n)
    signal = ll.Sinusoids(jnp.arange(1.0, n + 1), 1.0, jnp.arange(n)) if moving else still
    stimulus = ll.Stimulus(signal, jnp.full(network.num_outputs, 0.3))
    W = network.init(key, dtype)
    return action, stimulus, W, jax.tree.map(lambda w: 0.4 * jnp.cos(3 * w) if moving else 0 * w, W)


def twice_differentiated(network, t, state, top, stimulus):
    """D²G by differentiating along the Taylor path, and its largest single term; no code of `mechanics`."""
    (x, W), (x_dot, W_dot), (x_ddot, W_ddot) = state.q, state.v, top

    def along(tau):
        path = jax.tree.map(lambda q, v, a: q + tau * v + tau**2 * a / 2, (x, W), (x_dot, W_dot), (x_ddot, W_ddot))
        return ravel_pytree(network.constraint(*path, stimulus.input(t + tau)))[0]

    terms = jax.jvp(lambda *q: ravel_pytree(network.constraint(*q, stimulus.input(t)))[0], (x, W), (x_ddot, W_ddot))[1]
    zero = jnp.zeros_like(t)
    return jax.jacfwd(jax.jacfwd(along))(zero), jnp.maximum(jnp.max(jnp.abs(terms)), jnp.max(jnp.abs(x_ddot[0])))


@eqx.filter_jit
def solved(action, multiplier_solvers, W, W_dot, stimulus):
    """One start, and accelerations and multipliers by each solver, compiled together."""
    state = action.law("full").initial_state(TIME, W, W_dot, stimulus)
    laws = {name: action.law("full", solver) for name, solver in multiplier_solvers.items()}
    return state, {name: law.accelerations(TIME, state, stimulus) for name, law in laws.items()}


@eqx.filter_jit
def left_over(action, state, top, delta, stimulus):
    """Relative defects of the Euler–Lagrange and the closing equations, and D²G relative to its largest term."""
    t = jnp.asarray(TIME, jax.tree.leaves(state)[0].dtype)
    equations = action.law("full").equations
    closing, scale = twice_differentiated(action.network, t, state, top, stimulus)
    return *equations.defect(t, state, top, delta, stimulus).relative, jnp.max(jnp.abs(closing)) / scale


@pytest.mark.parametrize("name", mostly_slow(NETWORKS, "layered with bias", "cyclic digraph"))
def test_solvers_agree_and_leave_nothing_over(name, key):
    network = NETWORKS[name]
    action, stimulus, W, W_dot = problem(network, key, mass_x=0.1)
    state, found = solved(action, solvers(network), W, W_dot, stimulus)
    top, delta = found["dense saddle point"]
    for other in found.values():
        assert relative(other[0], top) < 1e-10
        assert relative(other[1], delta) < 1e-10
        assert max(left_over(action, state, *other, stimulus)) < 1e-12


SWEEPS_AND_DENSE = {"sweeps": ConjugateGradients(), "dense": ll.multipliers.DenseSaddlePoint()}


@pytest.mark.slow
def test_solvers_agree_in_float32(key):
    network = NETWORKS["layered with bias"]
    action, stimulus, W, W_dot = problem(network, key, 0.1, jnp.float32)
    state, found = solved(action, SWEEPS_AND_DENSE, W, W_dot, stimulus)
    assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {jnp.dtype("float32")}
    assert relative(found["sweeps"], found["dense"]) < 1e-4
    assert max(left_over(action, state, *found["sweeps"], stimulus)) < 1e-5


def test_sweeps_at_rest_under_a_constant_input(key):
    """Only the outputs push, every other entry of the right side is zero: a residual scaled entry by entry sees 0/0."""
    network = ll.Layered((3, 4, 3, 2))
    action, stimulus, W, W_dot = problem(network, key, mass_x=1.0, moving=False)
    _, found = solved(action, SWEEPS_AND_DENSE, W, W_dot, stimulus)
    assert relative(found["sweeps"], found["dense"]) < 1e-10


def test_sweeps_without_any_force(key):
    """Output on target, input at rest: nothing moves, and nothing is divided by zero."""
    network = ll.Layered((2, 3, 1))
    action, stimulus, W, _ = problem(network, key, mass_x=1.0, moving=False)
    action = eqx.tree_at(lambda a: a.terms, action, ())
    target = network.output(network.forward(W, stimulus.input(0.0)))
    law = action.law()
    stimulus = ll.Stimulus(stimulus.input, target)
    top, delta = eqx.filter_jit(law.accelerations)(TIME, law.initial_state(TIME, W, args=stimulus), stimulus)
    assert np.all(ravel_pytree((top, delta))[0] == 0)


def test_sweeps_at_zero_mass_and_nearly_zero_mass(key):
    """m_x = 0 is regular: the limit of small masses. The dense solver agrees, but loses digits as m_W/m_x grows."""
    network = NETWORKS["feedforward digraph"]
    found = []
    for mass_x in (0.0, 1e-9):
        action, stimulus, W, W_dot = problem(network, key, mass_x)
        state, solutions = solved(action, SWEEPS_AND_DENSE, W, W_dot, stimulus)
        assert relative(solutions["sweeps"], solutions["dense"]) < (1e-10 if mass_x == 0 else 1e-6)
        assert max(left_over(action, state, *solutions["sweeps"], stimulus)) < 1e-12
        found.append(solutions["sweeps"])
    assert 0 < relative(*found) < 1e-7


def test_network_schur_divides_by_the_mass_of_neurons(key):
    network = NETWORKS["feedforward digraph"]
    action, stimulus, W, W_dot = problem(network, key, 0.0)
    law = action.law("full", NetworkSchur())
    state = law.initial_state(TIME, W, W_dot, stimulus)
    with pytest.raises(RuntimeError, match=r"divides by mass_x, which is 0. Give neurons a mass.*ConjugateGradients"):
        eqx.filter_jit(law.accelerations)(TIME, state, stimulus)


@pytest.mark.parametrize(
    ("network", "mass_x", "terms", "expected"),
    [
        (ll.Layered((2, 2, 1)), 0.1, (), ConjugateGradients),
        (ll.Layered((2, 2, 1)), 0.0, ll.WeightDecay(0.1), ConjugateGradients),
        (ll.Layered((2, 2, 1)), 20.0, (), ConjugateGradients),
        (ll.networks.xor_network(), 20.0, (), ConjugateGradients),
        (NETWORKS["cyclic digraph"], 0.1, (), NetworkSchur),
        (NETWORKS["cyclic digraph"], 0.0, (), NetworkSchur),
        (
            ll.Layered((2, 2, 1)),
            0.1,
            ll.Term(lambda t, x, xd, xdd, W, Wd, Wdd, s: Wd[0][0, 0] ** 2),
            ll.multipliers.DenseSaddlePoint,
        ),
    ],
)
def test_the_solver_is_chosen_by_structure_and_reported(network, mass_x, terms, expected):
    law = ll.CognitiveAction(network, mass_x=mass_x, terms=terms).law("full")
    assert isinstance(law.multiplier_solver, expected)
    assert law.description["multipliers"] == expected.name


@pytest.mark.parametrize("mass_x", [0.0, 1e-4, 20.0])
@pytest.mark.parametrize("network", NETWORKS.values())
def test_a_traced_mass_chooses_the_solver_of_a_known_one(network, mass_x):
    def chosen(mass_x):
        return ll.CognitiveAction(network, mass_x=mass_x).law().multiplier_solver

    assert eqx.filter_eval_shape(chosen, jnp.asarray(mass_x)) == chosen(mass_x)


@pytest.mark.slow
def test_conjugate_gradients_differentiate_as_the_dense_solve_does(key):
    """d/d(m_x, W) of a number made of accelerations and multipliers, through `ConjugateGradients` and through LU."""
    network = ll.Layered((2, 3, 1))
    _, stimulus, W, W_dot = problem(network, key, 0.1)

    def number(constants, dense):
        mass_x, weights = constants
        action = ll.CognitiveAction(network, mass_x=mass_x, mass_W=MASS_W)
        law = action.law("full", ll.multipliers.DenseSaddlePoint() if dense else None)
        state = law.initial_state(TIME, weights, W_dot, stimulus)
        flat = ravel_pytree(law.accelerations(TIME, state, stimulus))[0]
        return flat @ jnp.cos(jnp.arange(flat.size))

    gradient = jax.jit(jax.grad(number), static_argnums=1)
    at = (jnp.asarray(0.1), W)
    assert relative(gradient(at, False), gradient(at, True)) < 1e-10


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (ll.multipliers.DenseSaddlePoint, (1e-9, 1)),
        (ll.multipliers.DenseSchur, (1e-9, 1)),
        (ll.multipliers.DenseByStructure, (1e-9, 1)),
        (ConjugateGradients, (1e-9, 7)),
        (ll.multipliers.LowRankElimination, (3, 1e-9, 7)),
    ],
)
def test_settings_of_solvers_are_no_leaves(kind, settings):
    """A law's leaves are its physical constants; what a solver is set to is known when it is compiled."""
    assert jax.tree.leaves(kind(*settings)) == []
