"""x eliminated: ℓ(t, W, Ẇ) = ½ m_x |ḟ|² + ½ m_W |Ẇ|² − V(f(t, W)) gives what full and reduced coordinates give.

Two oracles, neither of them (8)–(10): no constraint is left. The first is written by hand from a forward pass of its
own, the mass matrix m_W I + m_x JᵀJ and `jax.jacfwd`, and shares nothing with the package. The second gives the
eliminated Lagrangian to `EulerLagrange` without a constraint: it shares the functional derivative with what it tests,
but no constraint, no multiplier.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import lagrangian_learning as ll
from tests.helpers import mostly_slow, relative

THETA, MASS_W, DECAY, TIME = 1.7, 0.6, 0.2, 0.4
TOLERANCE = 1e-11


class Case(NamedTuple):
    network: ll.networks.AbstractNetwork
    activations: tuple  # of the hidden and of the output neurons, written out
    potential: ll.AbstractPotential
    loss: object
    mass_x: float


def squared_error(out, target):
    return 0.5 * jnp.sum((out - target) ** 2)


def cross_entropy(out, target):
    return -jnp.sum(target * (out - jnp.log(jnp.sum(jnp.exp(out)))))


def logistic(a):
    return 1 / (1 + jnp.exp(-a))


def random_digraph(num_neurons, num_inputs, num_outputs, seed, **kwargs):
    """Acyclic along a hidden random order of the neurons that are no inputs, so that most edges point both ways."""
    rng = np.random.default_rng(seed)
    order = np.concatenate([np.arange(num_inputs), num_inputs + rng.permutation(num_neurons - num_inputs)])
    pairs = [(i, j) for j in range(num_inputs, num_neurons) for i in range(j) if rng.random() < 0.5 or i == j - 1]
    edges = [(int(order[i]), int(order[j])) for i, j in pairs]
    assert any(source > target for source, target in edges)
    return ll.Digraph(num_neurons, [edges[k] for k in rng.permutation(len(edges))], num_inputs, num_outputs, **kwargs)


CASES = {
    "layered": Case(ll.Layered((3, 4, 3, 2)), (jnp.tanh, jnp.tanh), ll.SquaredError(), squared_error, 0.3),
    "layered with bias": Case(
        ll.Layered((2, 4, 3), "softplus", bias=True, output_activation="identity"),
        (lambda a: jnp.log1p(jnp.exp(a)), lambda a: a),
        ll.CrossEntropy(),
        cross_entropy,
        2.0,
    ),
    "digraph": Case(
        random_digraph(8, 2, 2, 1, activation="logistic"), (logistic, logistic), ll.SquaredError(), squared_error, 0.05
    ),
    "digraph, massless neurons": Case(
        random_digraph(7, 3, 1, 5, output_activation=jnp.sin),
        (jnp.tanh, jnp.sin),
        ll.SquaredError(),
        squared_error,
        0.0,
    ),
}


def hand_written_forward(case, W, u, injected):
    """x with `injected` added to every neuron: neither levels nor sweeps, only (4) repeated until it has settled."""
    network, (hidden, last) = case.network, case.activations
    if isinstance(network, ll.Layered):
        x = [u + injected[: u.size]]
        for layer, weights in enumerate(W):
            a = weights[0] @ x[-1] + weights[1] if network.bias else weights @ x[-1]
            start = sum(network.sizes[: layer + 1])
            x.append((last if layer == len(W) - 1 else hidden)(a) + injected[start : start + a.size])
        return jnp.concatenate(x)
    n, inputs, outputs = network.num_neurons, network.num_inputs, network.num_outputs
    matrix = jnp.zeros((n, n)).at[network.edges[:, 1], network.edges[:, 0]].set(W)
    x = jnp.zeros(n)
    for _ in range(n):
        a = matrix @ x
        x = jnp.concatenate([u, hidden(a[inputs : n - outputs]), last(a[n - outputs :])]) + injected
    return x


def hand_written(case, W, W_dot, stimulus):
    """(Ẅ, ẍ, δ), flat. m_W Ẅ + m_x Jᵀẍ + ϑ (m_W Ẇ + m_x Jᵀẋ) + U_W = 0 and δ_j = −p·∂x/∂(injection into neuron j)."""
    w, unravel = ravel_pytree(W)
    w_dot = ravel_pytree(W_dot)[0]
    zero = jnp.zeros(case.network.num_neurons)

    def neurons(t, w, injected=zero):
        return hand_written_forward(case, unravel(w), stimulus.input(t), injected)

    def potential(w):
        out = neurons(TIME, w)[-case.network.num_outputs :]
        return case.loss(out, stimulus.target(TIME)) + 0.5 * DECAY * w @ w

    def along(tau):
        return neurons(TIME + tau, w + tau * w_dot)

    x_dot, bias = jax.jacfwd(along)(0.0), jax.jacfwd(jax.jacfwd(along))(0.0)
    jacobian = jax.jacfwd(lambda w: neurons(TIME, w))(w)
    mass = MASS_W * jnp.eye(w.size) + case.mass_x * jacobian.T @ jacobian
    momentum = MASS_W * w_dot + case.mass_x * jacobian.T @ x_dot
    right = -(case.mass_x * jacobian.T @ bias + THETA * momentum + jax.grad(potential)(w))
    w_ddot = jnp.linalg.solve(mass, right)
    x_ddot = jacobian @ w_ddot + bias
    inertial = case.mass_x * (x_ddot + THETA * x_dot)

    def pushed(injected):
        x = neurons(TIME, w, injected)
        return inertial @ x + case.loss(x[-case.network.num_outputs :], stimulus.target(TIME))

    return w_ddot, x_ddot, -jax.grad(pushed)(zero)


def eliminated(case, action, W, W_dot, stimulus):
    """Ẅ from the eliminated Lagrangian without a constraint."""

    def density(t, W, W_dot, stimulus):
        def forward(t, W):
            return hand_written_forward(case, W, stimulus.input(t), jnp.zeros(case.network.num_neurons))

        x, x_dot = jax.jvp(forward, (t, W), (jnp.ones_like(t), W_dot))
        w, w_dot = ravel_pytree(W)[0], ravel_pytree(W_dot)[0]
        kinetic = 0.5 * case.mass_x * x_dot @ x_dot + 0.5 * MASS_W * w_dot @ w_dot
        loss = case.loss(x[-case.network.num_outputs :], stimulus.target(t))
        return kinetic - loss - 0.5 * DECAY * w @ w

    law = ll.EulerLagrange(ll.Lagrangian(density, ll.ExponentialDissipation(THETA)))
    return law.accelerations(TIME, ll.State(W, W_dot), stimulus)[0]


def problem(case, key):
    network = case.network
    action = ll.CognitiveAction(
        network, case.potential, case.mass_x, MASS_W, ll.ExponentialDissipation(THETA), ll.WeightDecay(DECAY)
    )
    n = network.num_inputs
    target = jax.nn.softmax(jnp.arange(1.0, network.num_outputs + 1))
    stimulus = ll.Stimulus(ll.Sinusoids(jnp.arange(1.0, n + 1), 0.8, jnp.arange(n), 0.3), target)
    keys = jax.random.split(key)
    flat, unravel = ravel_pytree(network.init(keys[0]))
    W = unravel(flat + 0.3 * jax.random.normal(keys[0], flat.shape))  # biases too
    W_dot = unravel(jax.random.normal(keys[1], flat.shape))
    return action, stimulus, W, W_dot


@eqx.filter_jit
def everything(case, action, stimulus, W, W_dot):
    full, reduced = action.law("full"), action.law()
    (x_ddot, W_ddot), delta = full.accelerations(TIME, full.initial_state(TIME, W, W_dot, stimulus), stimulus)
    reduced_top = reduced.accelerations(TIME, reduced.initial_state(TIME, W, W_dot, stimulus), stimulus)
    found = {"full": (W_ddot, x_ddot, delta), "reduced": reduced_top}
    found["eliminated"] = eliminated(case, action, W, W_dot, stimulus)
    return found, hand_written(case, W, W_dot, stimulus)


@pytest.mark.parametrize("name", mostly_slow(CASES, "layered"))
def test_full_reduced_and_eliminated_agree_with_the_hand_written_equations(name, key):
    case = CASES[name]
    action, stimulus, W, W_dot = problem(case, key)
    found, (W_ddot, x_ddot, delta) = everything(case, action, stimulus, W, W_dot)
    for part, expected in zip(found["full"], (W_ddot, x_ddot, delta), strict=True):
        assert relative(part, expected) < TOLERANCE
    for part, expected in zip(found["reduced"], (W_ddot, delta), strict=True):
        assert relative(part, expected) < TOLERANCE
    assert relative(found["eliminated"], W_ddot) < TOLERANCE


@pytest.mark.parametrize("sizes", [(3, 5, 2)])
def test_massless_neurons_have_the_delta_errors_of_backprop_as_multipliers(sizes, key):
    """δ_j = −dV/dx_j after the activation, by `jax.grad` through a forward pass of the test."""
    network = ll.Layered(sizes)
    case = Case(network, (jnp.tanh, jnp.tanh), ll.SquaredError(), squared_error, 0.0)
    action, stimulus, W, W_dot = problem(case, key)
    law = action.law()
    _, delta = eqx.filter_jit(law.accelerations)(TIME, law.initial_state(TIME, W, W_dot, stimulus), stimulus)

    def loss(injected):
        x = hand_written_forward(case, W, stimulus.input(TIME), injected)
        return squared_error(x[-network.num_outputs :], stimulus.target(TIME))

    errors = -jax.grad(loss)(jnp.zeros(network.num_neurons))
    assert relative(delta, errors) < 1e-12
