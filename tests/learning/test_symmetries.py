"""Symmetries of networks and their charges (docs/theory.md §12): by runs, against formulas written in NumPy."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lagrangian_learning as ll
from tests.helpers import mostly_slow, relative

THETA, MASS = 0.8, 0.7
TIMES = np.linspace(0.0, 2.0, 9)
FRICTION = ll.ExponentialDissipation(THETA)
SIGNAL = ll.Stimulus(ll.Sinusoids(jnp.array([1.0, 1.7]), 1.0, jnp.array([0.3, 1.1])), jnp.array([0.6, -0.4]))
LINEAR = ll.Layered((2, 3, 2), activation="identity")
BIASED = ll.Layered((2, 3, 2), activation="identity", bias=True)


def weights(network, seed=0):
    """Weights of size one, all of them different, and rates of theirs."""
    W = network.init(jax.random.key(seed))
    leaves, tree = jax.tree.flatten(W)
    keys = jax.random.split(jax.random.key(seed + 1), 2 * len(leaves))
    made = [jax.random.normal(key, leaf.shape) / 2 for key, leaf in zip(keys, leaves * 2, strict=True)]
    return jax.tree.unflatten(tree, made[: len(leaves)]), jax.tree.unflatten(tree, made[len(leaves) :])


def descent(network, potential=None, seed=0):
    law = ll.DampedDescent(network, ll.SquaredError() if potential is None else potential, MASS, FRICTION)
    return law, law.initial_state(0.0, *weights(network, seed), SIGNAL)


def massive(network, potential=None, coordinates=None, mass_x=0.3, **kwargs):
    potential = ll.SquaredError() if potential is None else potential
    action = ll.CognitiveAction(network, potential, mass_x, MASS, FRICTION, **kwargs)
    law = action.law(coordinates)
    return law, law.initial_state(0.0, *weights(network), SIGNAL)


def kept(law, state, generator, **kwargs):
    path = ll.simulate(law, state, TIMES, SIGNAL, charges={"Q": ll.charge(law, generator)}, **kwargs)
    return path, path.charges["Q"]


# -- generators --------------------------------------------------------------------------------------------------------

NORMALISED = ll.Chain([eqx.nn.Linear(2, 4, key=jax.random.key(0)), eqx.nn.LayerNorm(4, eps=0.0)])
LINEAR_CHAIN = ll.Chain(
    [eqx.nn.Linear(2, 3, key=jax.random.key(0)), jax.nn.relu, eqx.nn.Linear(3, 2, key=jax.random.key(1))]
)
SOFTMAX = ll.Layered((2, 3, 2), bias=True, output_activation="identity")
RELU = ll.Layered((2, 3, 2), activation="relu", bias=True, output_activation="identity")

SYMMETRIES = {
    "rescaling, linear": (BIASED, None, ll.Rescaling(0)),
    "rescaling, relu": (RELU, None, ll.Rescaling(0)),
    "rescaling, one unit": (RELU, None, ll.Rescaling(0, unit=1)),
    "rescaling, chain": (LINEAR_CHAIN, None, ll.Rescaling(0, unit=2)),
    "scaling before a normalisation": (NORMALISED, None, ll.Scaling(0)),
    "translation": (SOFTMAX, ll.CrossEntropy(), ll.Translation()),
    "translation, direction": (SOFTMAX, ll.CrossEntropy(), ll.Translation(direction=np.array([1.0, -2.0, 0.5, 3.0]))),
    "rotation": (BIASED, None, ll.Rotation(0, 2)),
}


@pytest.mark.parametrize("name", SYMMETRIES)
def test_generators_leave_the_potential_as_it_is(name):
    """V_W·g = 0 by a jvp of the forward pass, and not along g with other factors; g = Φ_W of its primitive."""
    network, potential, generator = SYMMETRIES[name]
    potential = ll.SquaredError() if potential is None else potential
    W, _ = weights(network)
    u, y = jnp.array([0.8, -0.5]), jnp.linspace(0.2, 0.8, network.num_outputs)

    def value(W):
        return potential(network.output(network.forward(W, u)), y)

    g = generator(0.0, W, None)
    sizes = [float(jnp.max(jnp.abs(leaf))) for leaf in jax.tree.leaves(g)]
    assert max(sizes) > 0.1
    change = jax.jvp(value, (W,), (g,))[1]
    uneven = jax.tree.map(lambda leaf: leaf * jnp.cos(jnp.arange(leaf.size)).reshape(leaf.shape), g)
    other = jax.jvp(value, (W,), (uneven,))[1]
    assert abs(float(change)) < 1e-14
    assert abs(float(other)) > 1e-3
    if isinstance(generator, ll.mechanics.AbstractGradientGenerator):
        slope = jax.grad(lambda W: generator.primitive(0.0, W, None))(W)
        assert relative(slope, g) < 1e-14


# -- kept up to friction -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("coordinates", ["reduced", pytest.param("full", marks=pytest.mark.slow)])
def test_rotation_of_hidden_units_is_kept_up_to_friction(coordinates):
    law, state = massive(LINEAR, coordinates=coordinates)
    path, spin = kept(law, state, ll.Rotation(0, 2))
    (W1, W2), (V1, V2) = (tuple(map(np.asarray, pair)) for pair in (path.W, path.W_dot))
    h, h_dot = (np.asarray(pair[1]) for pair in (path.x, path.x_dot))
    across = lambda a, b, axis: np.take(b, 2, axis) * np.take(a, 0, axis) - np.take(b, 0, axis) * np.take(a, 2, axis)  # noqa: E731
    value = MASS * (across(W1, V1, 1).sum(-1) + across(W2, V2, 2).sum(-1)) + 0.3 * across(h, h_dot, 1)
    np.testing.assert_allclose(spin.value, value, rtol=1e-12)
    np.testing.assert_allclose(spin.value, spin.value[0] * np.exp(-THETA * TIMES), rtol=0, atol=1e-9)
    np.testing.assert_allclose(spin.balance, 0, atol=1e-9)
    assert abs(float(spin.value[0])) > 0.05


def test_translation_of_softmax_outputs_is_kept_by_weights_on_massless_neurons():
    law, state = descent(SOFTMAX, ll.CrossEntropy())
    path, moved = kept(law, state, ll.Translation())
    total = MASS * sum(np.asarray(leaf).reshape(len(TIMES), -1).sum(-1) for leaf in path.W_dot[1])
    np.testing.assert_allclose(moved.value, total, rtol=1e-13)
    np.testing.assert_allclose(moved.value, moved.value[0] * np.exp(-THETA * TIMES), rtol=0, atol=1e-9)
    np.testing.assert_allclose(moved.balance, 0, atol=1e-9)
    np.testing.assert_allclose(moved.parts.potential, 0, atol=1e-14)


@pytest.mark.slow
def test_translation_is_broken_by_the_mass_of_the_neurons_alone():
    """Q = m_W Σ Ẇ + m_x Σ ẋ_out (Σ h + 1), moved by m_x Σ ẋ_out Σ ḣ, where h are the units below."""
    law, state = massive(SOFTMAX, ll.CrossEntropy())
    path, moved = kept(law, state, ll.Translation())
    h, h_dot, out_dot = (np.asarray(v) for v in (path.x[1], path.x_dot[1], path.x_dot[2]))
    total = MASS * sum(np.asarray(leaf).reshape(len(TIMES), -1).sum(-1) for leaf in path.W_dot[1])
    value = total + 0.3 * out_dot.sum(-1) * (h.sum(-1) + 1)
    np.testing.assert_allclose(moved.value, value, rtol=1e-12)
    np.testing.assert_allclose(moved.parts.kinetic, 0.3 * out_dot.sum(-1) * h_dot.sum(-1), rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(moved.parts.potential, 0, atol=1e-14)
    np.testing.assert_allclose(moved.parts.constraint, 0, atol=0)
    np.testing.assert_allclose(moved.balance, 0, atol=1e-9)
    assert np.max(np.abs(moved.value - moved.value[0] * np.exp(-THETA * TIMES))) > 1e-2


# -- broken by kinetic energy ------------------------------------------------------------------------------------------


def test_rescaling_of_two_linear_layers_is_moved_by_their_kinetic_energies():
    """The trace by the charge; the matrix m (Ẇ₂ᵀW₂ − W₁Ẇ₁ᵀ) by differences along a fine run."""
    law, state = descent(LINEAR)
    step = 2e-3
    ts = np.linspace(0.0, 40 * step, 41)
    charge = ll.charge(law, ll.Rescaling(0))
    path = ll.simulate(law, state, ts, SIGNAL, dt0=step, charges={"Q": charge})
    (W1, W2), (V1, V2) = (tuple(map(np.asarray, pair)) for pair in (path.q, path.v))
    matrix = MASS * (np.einsum("tki,tkj->tij", V2, W2) - np.einsum("tik,tjk->tij", W1, V1))
    source = MASS * (np.einsum("tki,tkj->tij", V2, V2) - np.einsum("tik,tjk->tij", V1, V1))
    slope = (matrix[:-4] - 8 * matrix[1:-3] + 8 * matrix[3:-1] - matrix[4:]) / (12 * step)
    np.testing.assert_allclose(slope + THETA * matrix[2:-2], source[2:-2], rtol=1e-9, atol=1e-9)
    found = path.charges["Q"]
    np.testing.assert_allclose(found.value, -np.trace(matrix, axis1=1, axis2=2), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(found.rate[2:-2], -np.trace(slope, axis1=1, axis2=2), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.parts.kinetic, -np.trace(source, axis1=1, axis2=2), rtol=1e-12)
    np.testing.assert_allclose(found.balance, 0, atol=1e-12)


@pytest.mark.slow
def test_scaling_before_a_normalisation_is_moved_by_twice_the_kinetic_energy():
    stimulus = ll.Stimulus(SIGNAL.input, jnp.array([0.3, -0.2, 0.6, 0.1]))
    law = ll.DampedDescent(NORMALISED, ll.SquaredError(), MASS, FRICTION)
    state = law.initial_state(0.0, *weights(NORMALISED), stimulus)
    path = ll.simulate(law, state, TIMES, stimulus, charges={"Q": ll.charge(law, ll.Scaling(0))})
    found, layer = path.charges["Q"], path.W_dot[0]
    twice = MASS * (np.sum(np.asarray(layer.weight) ** 2, (1, 2)) + np.sum(np.asarray(layer.bias) ** 2, 1))
    np.testing.assert_allclose(found.rate + THETA * found.value, twice, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(found.balance, 0, atol=1e-9)


# -- gradient flow -----------------------------------------------------------------------------------------------------


def flow(activation):
    network = ll.Layered((2, 3, 2), activation=activation, output_activation="identity")
    law = ll.GradientFlow(network, gamma=2.0)
    return law, law.initial_state(0.0, weights(network)[0], None, SIGNAL)


def balance_matrix(path):
    """W₂ᵀW₂ − W₁W₁ᵀ."""
    W1, W2 = map(np.asarray, path.W)
    return np.einsum("tki,tkj->tij", W2, W2) - np.einsum("tik,tjk->tij", W1, W1)


def test_gradient_flow_keeps_the_balance_of_linear_layers():
    law, state = flow("identity")
    skew = ll.GradientOf(lambda t, W, args: jnp.sum(W[0][0] * W[0][2]) - jnp.sum(W[1][:, 0] * W[1][:, 2]))
    charges = {"all": ll.charge(law, ll.Rescaling(0)), "pair": ll.charge(law, skew)}
    path = ll.simulate(law, state, TIMES, SIGNAL, dt0=1e-2, charges=charges)
    matrix = balance_matrix(path)
    assert np.max(np.abs(matrix - matrix[0])) < 2e-14 * np.max(np.abs(matrix))
    np.testing.assert_allclose(path.charges["all"].value, -np.trace(matrix, axis1=1, axis2=2), rtol=1e-13)  # γ/2 = 1
    np.testing.assert_allclose(path.charges["pair"].value, -2 * matrix[:, 0, 2], rtol=1e-13)
    for found in path.charges.values():
        np.testing.assert_allclose(found.value, found.value[0], rtol=2e-14)
        np.testing.assert_allclose(found.rate, 0, atol=1e-14)
    assert np.max(np.abs(np.asarray(path.W[0]) - np.asarray(path.W[0])[0])) > 0.1


@pytest.mark.slow
def test_gradient_flow_keeps_the_diagonal_alone_with_relu():
    law, state = flow("relu")
    charges = {f"unit {k}": ll.charge(law, ll.Rescaling(0, unit=k)) for k in range(3)}
    path = ll.simulate(law, state, TIMES, SIGNAL, charges=charges)
    matrix = balance_matrix(path)
    moved = np.abs(matrix - matrix[0]).max(0)
    assert np.max(np.diag(moved)) < 1e-9
    assert np.max(moved) > 1e-3
    for k in range(3):
        np.testing.assert_allclose(path.charges[f"unit {k}"].value, -matrix[:, k, k], rtol=1e-12)


@pytest.mark.slow
def test_a_charge_of_the_gradient_flow_that_is_not_kept_moves_by_the_slope():
    """Φ = t |W|²/2: γ Φ moves by γ |W|²/2 − t V_W·W."""
    law, state = flow("tanh")
    generator = ll.GradientOf(lambda t, W, args: t * sum(jnp.sum(leaf**2) for leaf in W) / 2)
    path, found = kept(law, state, generator)
    squares = sum(np.sum(np.asarray(leaf) ** 2, (1, 2)) for leaf in path.W)
    np.testing.assert_allclose(found.value, TIMES * squares, rtol=1e-12)
    np.testing.assert_allclose(found.balance, 0, atol=1e-9)
    np.testing.assert_allclose(found.parts.kinetic, squares, rtol=1e-12)
    slope = [np.sum(np.asarray(w) * np.asarray(v), (1, 2)) for w, v in zip(path.W, path.W_dot, strict=True)]
    np.testing.assert_allclose(found.parts.potential, 2 * TIMES * sum(slope), rtol=1e-11, atol=1e-14)


# -- every law ---------------------------------------------------------------------------------------------------------


def crooked(t, W, stimulus):
    """A generator that is no symmetry of anything, of time, weights and stimulus."""
    size = jnp.sin(t) + stimulus.input(t)[0]
    return jax.tree.map(lambda leaf: size * jnp.cos(leaf) + leaf**2, W)


def crooked_potential(t, W, stimulus):
    size = jnp.sin(t) + stimulus.input(t)[0]
    return sum(jnp.sum(size * jnp.sin(leaf) + leaf**3 / 3) for leaf in jax.tree.leaves(W))


def pulled(t, x, x_dot, x_ddot, W, W_dot, W_ddot, args):
    return 0.1 * jnp.sin(t) * sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves((x_dot, W)))


def loop():
    return ll.Digraph(4, [(0, 2), (1, 2), (0, 3), (2, 3), (3, 2)], 2, 2)


CURVED = ll.Layered((2, 3, 2), bias=True)
LAWS = {
    "reduced": lambda: massive(CURVED),
    "full": lambda: massive(CURVED, coordinates="full"),
    "reduced, derived, with terms": lambda: massive(CURVED, terms=(ll.Term(pulled, order=1, weighted=False),)),
    "full with a cycle": lambda: massive(loop()),
    "damped descent": lambda: descent(CURVED),
    "gradient flow": lambda: (ll.GradientFlow(CURVED, gamma=1.7), ll.State(weights(CURVED)[0], None)),
}


@pytest.mark.parametrize("name", mostly_slow(LAWS, "reduced"))
def test_the_rate_is_the_derivative_of_the_charge_along_the_vector_field(name):
    law, state = LAWS[name]()
    generator = ll.GradientOf(crooked_potential) if name == "gradient flow" else crooked
    assert_rate(law, state, generator)


def assert_rate(law, state, generator):
    charge, t = ll.charge(law, generator), jnp.asarray(0.4)

    @eqx.filter_jit
    def along(law, state):
        rates = law.rates(t, state, SIGNAL).state
        return jax.jvp(lambda s, y: charge.reading(s, y, SIGNAL), (t, state), (jnp.ones_like(t), rates))

    read, change = along(law, state)
    np.testing.assert_allclose(read.rate, change.value, rtol=1e-10)
    np.testing.assert_allclose(sum(read.parts), read.rate, rtol=1e-12)
    assert abs(float(read.rate)) > 0.1


@pytest.mark.slow
def test_finite_speed():
    """Vakonomic: multipliers of the state are part of the momentum."""
    law = ll.CognitiveAction(
        CURVED, mass_x=0.3, mass_W=MASS, dissipation=ll.ExponentialDissipation(9.0), speed=4.0
    ).law()
    state = law.initial_state(0.0, *weights(CURVED), SIGNAL)
    delta = jax.tree.map(lambda leaf: jnp.cos(jnp.arange(leaf.size, dtype=leaf.dtype)), state.multipliers)
    assert_rate(law, eqx.tree_at(lambda s: s.multipliers, state, delta), crooked)


@pytest.mark.slow
def test_full_and_reduced_coordinates_have_one_charge():
    reduced, state = massive(CURVED)
    full, whole = massive(CURVED, coordinates="full")
    found = [ll.charge(law, crooked)(0.0, s, SIGNAL) for law, s in ((reduced, state), (full, whole))]
    np.testing.assert_allclose(*(read.value for read in found), rtol=1e-13)
    np.testing.assert_allclose(*(read.rate for read in found), rtol=1e-12)


# -- refusals ----------------------------------------------------------------------------------------------------------


def test_refusals(unchecked):
    law, state = flow("identity")
    with pytest.raises(ValueError, match="GradientFlow has no momentum"):
        ll.charge(law, ll.Rotation(0, 1))
    with pytest.raises(ValueError, match="no Lagrangian"):
        ll.charge(ll.BackpropDiffusion(LINEAR), ll.Rescaling(0))
    second = ll.CognitiveAction(LINEAR, terms=ll.Term(lambda *args: 0.0 * args[6][0][0, 0], order=2)).law()
    with pytest.raises(ValueError, match="second order"):
        ll.charge(second, ll.Rescaling(0))
    digraph, there = massive(loop())
    with pytest.raises(ValueError, match="no tuple of layers"):
        ll.charge(digraph, ll.Rescaling(0))(0.0, there, SIGNAL)
    wrong = [
        (ll.Rescaling(1), "last one with weights"),
        (ll.Rescaling(4), "W has 2 layers"),
        (ll.Rescaling(0, unit=7), "unit 7 is none"),
        (ll.Rescaling(0, unit=0, following=0), "no inputs of layer 0"),
        (ll.Translation(direction=np.ones(5)), r"array \[3\]"),
        (ll.Rotation(0, 9), "unit 9 is none"),
    ]
    for generator, message in wrong:
        with pytest.raises(ValueError, match=message):
            generator(0.0, state.q, None)
    with pytest.raises(ValueError, match="layer must be an integer"):
        ll.Rescaling(0.5)
    with pytest.raises(ValueError, match="is no linear map"):
        ll.Translation(0)(0.0, (eqx.nn.Lambda(jnp.tanh),), None)


def test_charges_of_soft_constraints_balance():
    law, start = massive(LINEAR, stiffness=50.0)
    charges = {"rotation": ll.charge(law, ll.Rotation(0, 1, 0)), "rescaling": ll.charge(law, ll.Rescaling(0))}
    path = ll.simulate(law, start, TIMES, SIGNAL, rtol=1e-11, atol=1e-13, charges=charges)
    assert max(np.max(np.abs(kept.balance)) for kept in path.charges.values()) < 1e-10
