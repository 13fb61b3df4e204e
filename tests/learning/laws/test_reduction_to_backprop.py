"""Section 'Reduction to Backpropagation': (12)–(17), against published numbers and closed forms."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lagrangian_learning as ll
from benchmarks.studies.limit_study import limit_study
from lagrangian_learning.learning.delta_errors import descent_force
from lagrangian_learning.networks import state_jacobian


def test_mazur_worked_example_to_every_printed_digit():
    """Mazur (2015): one step of backpropagation at rate 0.5, biases held."""
    network = ll.Layered((2, 2, 2), activation="logistic", bias=True)
    W = (
        (jnp.array([[0.15, 0.20], [0.25, 0.30]]), jnp.full(2, 0.35)),
        (jnp.array([[0.40, 0.45], [0.50, 0.55]]), jnp.full(2, 0.60)),
    )
    stimulus = ll.Stimulus(input=jnp.array([0.05, 0.10]), target=jnp.array([0.01, 0.99]))
    law = ll.GradientFlow(network, ll.SquaredError(), gamma=2.0)
    state = law.initial_state(0.0, W, args=stimulus)
    velocities, _ = law.velocities(0.0, state, stimulus)
    error = law.energy(0.0, state, stimulus)
    new = [matrix + change for (matrix, _), (change, _) in zip(W, velocities, strict=True)]
    assert f"{float(error):.9f}" == "0.298371109"
    hidden = [f"{w:.9f}" for w in np.ravel(new[0])]
    assert hidden[0] == "0.149780716"
    assert [f"{w:.8f}" for w in np.ravel(new[0])[1:]] == ["0.19956143", "0.24975114", "0.29950229"]
    outputs = np.ravel(new[1])
    assert f"{outputs[0]:.8f}" == "0.35891648"
    assert [f"{w:.9f}" for w in outputs[1:]] == ["0.408666186", "0.511301270", "0.561370121"]


def test_deep_linear_network_follows_its_closed_form():
    """Saxe et al. (2013): balanced weights u = v, x = u v, target a: x(t) = a e^{2at}/(e^{2at} − 1 + a/x0)."""
    a, u0 = 0.8, 0.3
    network = ll.Layered((1, 1, 1), activation="linear")
    stimulus = ll.Stimulus(input=jnp.array([1.0]), target=jnp.array([a]))
    law = ll.GradientFlow(network, ll.SquaredError(), gamma=1.0)
    W = (jnp.full((1, 1), u0), jnp.full((1, 1), u0))
    ts = jnp.linspace(0.0, 4.0, 9)
    path = ll.simulate(law, law.initial_state(0.0, W, args=stimulus), ts, stimulus, rtol=1e-11, atol=1e-12)
    grown = np.exp(2 * a * np.asarray(ts))
    np.testing.assert_allclose(path.x[-1][:, 0], a * grown / (grown - 1 + a / u0**2), atol=1e-8)
    assert float(path.stats["max_energy_defect"]) < 1e-8


def test_three_neurons_give_the_printed_matrix_and_deltas(key):
    """(17) on the paper's input–hidden–output chain: T, and δ3, δ2, δ1 as printed."""
    network = ll.Layered((1, 1, 1))
    w21, w32, u, y = 0.7, -1.3, 0.4, 0.9
    W = (jnp.array([[w21]]), jnp.array([[w32]]))
    x = network.forward(W, jnp.array([u]))
    x2 = np.tanh(w21 * u)
    s2, s3 = 1 - x2**2, 1 - np.tanh(w32 * x2) ** 2
    printed = np.array([[1, -s2 * w21, 0], [0, 1, -s3 * w32], [0, 0, 1]])
    np.testing.assert_allclose(state_jacobian(network, x, W).T, printed, atol=1e-15)
    delta = ll.delta_errors(network, ll.SquaredError(), x, W, jnp.array([y]))
    delta3 = y - np.tanh(w32 * x2)
    np.testing.assert_allclose(
        np.concatenate(delta), [s2 * w21 * s3 * w32 * delta3, s3 * w32 * delta3, delta3], atol=1e-15
    )


@pytest.mark.parametrize("bias", [False, True])
def test_multipliers_are_the_deltas_of_backprop_and_plus_descends(key, bias):
    """(15)–(17): δ = −dV/dx by `jax.grad`, and +σ′δx is −∂V/∂W: the sign printed in (15) is gradient ascent."""
    network = ll.Layered((3, 5, 4, 2), activation="softplus", bias=bias, output_activation="tanh")
    W = network.init(key)
    u, y = jnp.array([0.3, -0.2, 0.9]), jnp.array([0.1, -0.4])
    x = network.forward(W, u)
    delta = ll.delta_errors(network, ll.SquaredError(), x, W, y)

    def from_layer(level, value):
        rest = ll.Layered(network.sizes[level:], "softplus", bias, "tanh") if level < 3 else None
        output = value if rest is None else rest.output(rest.forward(W[level:], value))
        return ll.SquaredError()(output, y)

    for level in range(4):
        np.testing.assert_allclose(delta[level], -jax.grad(from_layer, 1)(level, x[level]), atol=1e-12)
    gradient = jax.grad(lambda W: ll.SquaredError()(network.output(network.forward(W, u)), y))(W)
    for force, slope in zip(
        jax.tree.leaves(descent_force(network, x, W, delta)), jax.tree.leaves(gradient), strict=True
    ):
        np.testing.assert_allclose(force, -slope, atol=1e-14)


@pytest.mark.slow
def test_the_action_reduces_at_first_order():
    """(13) → (14) and (8)–(10) → (14): slope 1 ± 0.05 in m_W, in m_x/m_W and in 1/ϑ."""
    for limit in limit_study():
        assert abs(limit.slope - 1) < 0.05, (limit.name, limit.slope, limit.error)


def test_damped_descent_is_the_action_without_neuron_mass(key):
    """(13) hand-written against (8)–(10) derived, at m_x = 0."""
    network = ll.Digraph(7, [(0, 3), (1, 3), (0, 2), (3, 4), (2, 5), (4, 5), (5, 6), (0, 6)], 2, 1)
    W, W_dot = network.init(key), 0.2 * network.init(jax.random.key(7))
    stimulus = ll.Stimulus(ll.Sinusoids(jnp.array([1.0, 2.0]), 1.0, jnp.array([0.1, 0.2])), jnp.array([0.3]))
    weight = ll.ScheduledDissipation(lambda t: 3 * t + 0.2 * jnp.sin(t))
    hand = ll.DampedDescent(network, ll.SquaredError(), 0.4, weight)
    derived = ll.CognitiveAction(network, mass_x=0.0, mass_W=0.4, dissipation=weight).law()
    left = hand.accelerations(0.3, hand.initial_state(0.3, W, W_dot, stimulus), stimulus)
    right = derived.accelerations(0.3, derived.initial_state(0.3, W, W_dot, stimulus), stimulus)
    for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


def test_masses_and_friction_out_of_range_are_refused():
    network = ll.Layered((2, 1))
    with pytest.raises(ValueError, match="gamma must be finite and > 0"):
        ll.GradientFlow(network, gamma=0.0)
    with pytest.raises(ValueError, match="mass_W must be finite and > 0"):
        ll.DampedDescent(network, mass_W=-1.0)
    with pytest.raises((ValueError, eqx.EquinoxRuntimeError), match="theta"):
        ll.DampedDescent(network, dissipation=ll.ExponentialDissipation(-1.0))
