import jax
import jax.numpy as jnp
import pytest
from jax.flatten_util import ravel_pytree

import lagrangian_learning as ll

SIZES = (2, 3, 1)


@pytest.fixture
def stimulus():
    e = ll.Sinusoids(jnp.array([1.0, 2.3]), jnp.array([1.0, 0.7]), jnp.array([0.2, 0.5]))
    return ll.Stimulus(input=e, target=jnp.array([0.4]))


def law_and_state(stimulus, key, mass_x, coordinates="reduced", theta=0.7):
    network = ll.Layered(SIZES)
    action = ll.CognitiveAction(network, mass_x=mass_x, mass_W=1.3, dissipation=ll.ExponentialDissipation(theta))
    law = action.law(coordinates, multiplier_solver=ll.multipliers.DenseSaddlePoint())
    first, second = jax.random.split(key)
    return law, law.initial_state(0.3, network.init(first), network.init(second), stimulus)


@pytest.mark.slow
def test_the_two_forces_are_the_right_side_of_the_wave_equation(key, stimulus):
    # (I + m_x G⁻¹ Δ G⁻ᵀ) μ = −V_ξ + m_x G⁻¹ (γ₂ + r G_t), μ = Gᵀδ, with δ of the dense saddle point and G_ξ by jacfwd.
    law, state = law_and_state(stimulus, key, 0.4)
    force, loss = (ravel_pytree(part)[0] for part in ll.learning.neuron_mass_force(law, 0.3, state, stimulus))
    full = law.full_state(0.3, state, stimulus)
    delta = ravel_pytree(law.accelerations(0.3, state, stimulus)[1])[0]
    flat_x, unravel_x = ravel_pytree(full.q[0])
    flat_W, unravel_W = ravel_pytree(full.q[1])

    def residual(x, W):
        return ravel_pytree(law.network.constraint(unravel_x(x), unravel_W(W), stimulus.input(jnp.asarray(0.3))))[0]

    G_x, G_W = jax.jacfwd(residual, (0, 1))(flat_x, flat_W)
    left = G_x.T @ delta + 0.4 / 1.3 * jnp.linalg.solve(G_x, G_W @ G_W.T @ delta)
    assert jnp.allclose(left, -loss + force, rtol=1e-11, atol=1e-12)
    ratio = ll.learning.neuron_mass_ratio(law, 0.3, state, stimulus)
    assert jnp.allclose(ratio, jnp.linalg.norm(force) / jnp.linalg.norm(loss), rtol=1e-13)


@pytest.mark.slow
def test_both_coordinates_tell_the_same(key, stimulus):
    ratios = []
    for coordinates in ("reduced", "full"):
        law, state = law_and_state(stimulus, key, 0.4, coordinates)
        ratios.append(ll.learning.neuron_mass_ratio(law, 0.3, state, stimulus))
    assert jnp.allclose(*ratios, rtol=1e-12)


@pytest.mark.slow
def test_without_mass_there_is_no_such_force(key, stimulus):
    law, state = law_and_state(stimulus, key, 0.0)
    assert ll.learning.neuron_mass_ratio(law, 0.3, state, stimulus) == 0


def test_it_grows_with_the_square_of_the_speed_of_the_input(key):
    # At rest and without dissipation γ₂ is that of the input alone, ë and ė²: both go as the square of its speed.
    ratios = []
    for speed in (1.0, 3.0):
        phase = jnp.array([0.2, 0.5]) - 0.3 * speed * jnp.array([1.0, 2.3])
        e = ll.Sinusoids(speed * jnp.array([1.0, 2.3]), jnp.array([1.0, 0.7]), phase)
        drive = ll.Stimulus(input=e, target=jnp.array([0.4]))
        network = ll.Layered(SIZES)
        law = ll.CognitiveAction(network, mass_x=0.4, dissipation=ll.ExponentialDissipation(0.0)).law()
        ratios.append(
            ll.learning.neuron_mass_ratio(law, 0.3, law.initial_state(0.3, network.init(key), args=drive), drive)
        )
    assert jnp.allclose(ratios[1] / ratios[0], 9, rtol=1e-9)


def test_cycles_are_refused(key, stimulus):
    network = ll.Digraph(4, ((0, 2), (1, 2), (2, 3), (3, 2)), 2, 1)
    law = ll.CognitiveAction(network, mass_x=0.4).law("full")
    state = law.initial_state(0.3, network.init(key) / 2, args=stimulus)
    with pytest.raises(ValueError, match="cycles"):
        ll.learning.neuron_mass_ratio(law, 0.3, state, stimulus)
