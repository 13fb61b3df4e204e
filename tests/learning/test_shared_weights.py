"""Weight sharing, by convolutions and by batches, against weights tied by hand, dense solves, NumPy and `jax.grad`."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import lagrangian_learning as ll
from tests.helpers import flat, relative

KEYS = jax.random.split(jax.random.key(7), 4)
MASS_X, MASS_W, THETA, TIME = 0.3, 0.7, 1.5, 0.3
BATCH = 3


def conv_chain():
    modules = [eqx.nn.Conv1d(1, 2, 2, key=KEYS[0]), jnp.tanh, jnp.ravel, eqx.nn.Linear(4, 1, key=KEYS[1])]
    return ll.Chain(modules, (1, 3))


NETWORKS = {
    "chain": conv_chain(),
    "batch of a layered network, kernels known": ll.Batched(ll.Layered((2, 3, 2), bias=True), BATCH),
    "batch of a layered network, larger than its layers": ll.Batched(ll.Layered((1, 2, 1), bias=True), 5),
    "batch of a digraph": ll.Batched(ll.networks.xor_network("softplus"), BATCH),
    "batch of a chain": ll.Batched(conv_chain(), 2),
}
SLOW = ("batch of a digraph", "batch of a chain")
NAMES = [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in NETWORKS]


def weights_of(network, seed=0):
    rng = np.random.default_rng(seed)
    like = jax.eval_shape(network.init, jax.random.key(0))
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), like)


def moving(network, target=0.3):
    phases = jnp.asarray(np.arange(float(network.num_inputs)).reshape(network.input_shape))
    return ll.Stimulus(ll.Sinusoids(1 + phases / 3, 1.0, phases), jnp.full(network.output_shape, target))


def law_of(network, solver=None, mass_x=MASS_X, **settings):
    action = ll.CognitiveAction(
        network, mass_x=mass_x, mass_W=MASS_W, dissipation=ll.ExponentialDissipation(THETA), **settings
    )
    return action.law(multiplier_solver=solver)


@eqx.filter_jit
def accelerations(law, state, stimulus):
    return law.accelerations(TIME, state, stimulus)


@pytest.mark.parametrize("name", NAMES)
def test_sweeps_agree_with_the_dense_saddle_point(name):
    """G_M G_Mᵀ couples neurons or examples; the dense saddle point forms it by differentiating the constraint."""
    network = NETWORKS[name]
    W = weights_of(network)
    state = ll.State(W, jax.tree.map(jnp.cos, W))
    stimulus = moving(network)
    found = accelerations(law_of(network), state, stimulus)
    dense = accelerations(law_of(network, ll.multipliers.DenseSaddlePoint()), state, stimulus)
    assert relative(found[0], dense[0]) < 1e-10
    assert relative(found[1], dense[1]) < 1e-10


@pytest.mark.slow
def test_the_schur_complement_takes_shared_weights():
    network = NETWORKS["batch of a layered network, kernels known"]
    W = weights_of(network)
    state = ll.State(W, jax.tree.map(jnp.cos, W))
    solver = ll.multipliers.NetworkSchur()
    found = accelerations(law_of(network, solver), state, moving(network))
    assert relative(found, accelerations(law_of(network), state, moving(network))) < 1e-10


def test_a_chain_without_sharing_is_the_layered_network():
    """Each `Sequential` is one layer, so that activations before σ are no neurons and have no mass."""
    layers = [
        eqx.nn.Sequential([eqx.nn.Linear(n, m, key=KEYS[2]), eqx.nn.Lambda(jnp.tanh)]) for n, m in ((3, 4), (4, 2))
    ]
    chain, layered = ll.Chain(layers), ll.Layered((3, 4, 2), bias=True)
    W = weights_of(layered)
    V = jax.tree.unflatten(jax.tree.structure(jax.eval_shape(chain.init, KEYS[0])), jax.tree.leaves(W))
    stimulus = moving(layered)
    ours = accelerations(law_of(chain), ll.State(V, jax.tree.map(jnp.cos, V)), stimulus)
    theirs = accelerations(law_of(layered), ll.State(W, jax.tree.map(jnp.cos, W)), stimulus)
    np.testing.assert_allclose(flat(ours), flat(theirs), rtol=1e-12, atol=1e-12)


def test_a_batch_is_a_digraph_whose_weights_are_tied_by_hand():
    """Unconnected copies of the XOR network as one digraph, and one w for all of them in the Lagrangian."""
    one = ll.networks.xor_network()
    shift = one.num_neurons

    # In a digraph inputs come first and outputs last: copy b has neuron k at place[b, k].
    place = np.array([[2 * b, 2 * b + 1, 6 + 2 * b, 7 + 2 * b, 12 + b] for b in range(BATCH)])
    edges = np.concatenate([place[b][one.edges] for b in range(BATCH)])
    copies = ll.Digraph(BATCH * shift, edges, 2 * BATCH, BATCH)
    shared = ll.Batched(one, BATCH)
    w = weights_of(one)
    stimulus = moving(shared)

    def density(t, q, v, args):
        kinetic = MASS_X * jnp.vdot(v[0], v[0]) + MASS_W * jnp.vdot(v[1], v[1])
        return kinetic / 2 - jnp.sum((copies.output(q[0]) - 0.3) ** 2) / 2

    def tied(t, q, args):
        return copies.constraint(q[0], jnp.tile(q[1], BATCH), stimulus.input(t).ravel())

    by_hand = ll.EulerLagrange(
        ll.Lagrangian(density, ll.ExponentialDissipation(THETA)),
        ll.Holonomic(tied),
        multiplier_solver=ll.multipliers.DenseSaddlePoint(),
    )

    @jax.jit
    def both(w):
        law = law_of(shared)
        state = ll.State(w, jnp.cos(w))
        full = law.full_state(jnp.asarray(TIME), state, stimulus)
        x, x_dot = (leaf.ravel()[np.argsort(place.ravel())] for leaf in (full.q[0], full.v[0]))
        (_, w_ddot), delta = by_hand.accelerations(TIME, ll.State((x, w), (x_dot, jnp.cos(w))), None)
        return law.accelerations(TIME, state, stimulus), (w_ddot, delta[place])

    ours, theirs = both(w)
    assert relative(ours, theirs) < 1e-10


def test_without_neuron_mass_it_is_the_gradient_of_the_mini_batch():
    """m_W Ẅ = −∇ of the mean loss, by `jax.grad` of functions that share no code with the network, and by NumPy."""
    rng = np.random.default_rng(3)
    u, y = rng.normal(size=(4, 3)), rng.normal(size=(4, 2))
    network = ll.Layered((3, 5, 2))
    A, B = W = weights_of(network)
    law = law_of(ll.Batched(network, 4), mass_x=0.0, potential=ll.BatchMean(ll.SquaredError()))
    state = ll.State(W, jax.tree.map(jnp.zeros_like, W))
    W_ddot, _ = accelerations(law, state, ll.Stimulus(u, y))
    A, B = np.asarray(A), np.asarray(B)
    hidden = np.tanh(u @ A.T)
    out = np.tanh(hidden @ B.T)
    above = (out - y) * (1 - out**2) / 4
    below = above @ B * (1 - hidden**2)
    np.testing.assert_allclose(W_ddot[0], -below.T @ u / MASS_W, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(W_ddot[1], -above.T @ hidden / MASS_W, rtol=1e-11, atol=1e-12)


def test_a_batch_of_images_has_the_gradient_of_its_modules():
    """The gradient through the Equinox modules themselves; damped descent and gradient flow agree."""
    chain = conv_chain()
    W = weights_of(chain)
    network = ll.Batched(chain, 2)
    rng = np.random.default_rng(4)
    u, y = rng.normal(size=(2, 1, 3)), rng.normal(size=(2, 1))

    def loss(weights):
        def one(x, target):
            for module in chain.modules(weights):
                x = module(x)
            return jnp.sum((x - target) ** 2) / 2

        return jnp.sum(jax.vmap(one)(u, y))

    @jax.jit
    def everything(W):
        state = ll.State(W, jax.tree.map(jnp.zeros_like, W))
        stimulus = ll.Stimulus(u, y)
        action = law_of(network, mass_x=0.0).accelerations(TIME, state, stimulus)[0]
        descent = ll.DampedDescent(network, mass_W=MASS_W).accelerations(TIME, state, stimulus)[0]
        flow = ll.GradientFlow(network, gamma=MASS_W).velocities(TIME, state, stimulus)[0]
        return jax.grad(loss)(W), (action, descent, flow)

    gradient, moved = everything(W)
    for acceleration in moved:
        np.testing.assert_allclose(-MASS_W * flat(acceleration), flat(gradient), rtol=1e-11, atol=1e-12)


def test_potentials_of_a_batch():
    rows, ones = np.arange(6.0).reshape(3, 2), np.ones((3, 2))
    codes = np.eye(2)[[0, 1, 1]]
    square, entropy = ll.SquaredError(), ll.CrossEntropy()
    potentials = (square, ll.BatchSum(square), ll.BatchMean(square)), (entropy, ll.BatchMean(entropy))

    @jax.jit
    def values(x, y, codes):
        return [v(x, y) for v in potentials[0]] + [v(x, codes) for v in potentials[1]]

    squared = np.sum((rows - ones) ** 2) / 2
    logs = np.sum(np.log(np.exp(rows).sum(1)) - rows[[0, 1, 2], [0, 1, 1]])
    expected = [squared, squared, squared / 3, logs, logs / 3]
    np.testing.assert_allclose(values(rows, ones, codes), expected, rtol=1e-13)
    with pytest.raises(ValueError, match="one first axis for both, one entry an example"):
        ll.BatchMean(square)(jnp.asarray(rows), jnp.ones((2, 2)))


def test_only_a_network_has_a_batch(unchecked):
    with pytest.raises(ValueError, match=r"must be a network, as in ll.Batched\(ll.Layered"):
        ll.Batched(jnp.tanh, 2)  # pyright: ignore[reportArgumentType]


def test_signals_of_the_wrong_batch_are_refused():
    network = ll.Batched(ll.Layered((2, 1)), 4)
    W = weights_of(network)
    law = law_of(network)
    with pytest.raises(ValueError, match=r"must have shape \(4, 2\), but it has shape \(2,\).*ll.Batched"):
        law.initial_state(0.0, W, args=ll.Stimulus(np.ones(2), np.ones((4, 1))))
    with pytest.raises(ValueError, match=r"outputs have shape \(4, 1\) and the target \(1,\)"):
        law.initial_state(0.0, W, args=ll.Stimulus(np.ones((4, 2)), np.ones(1)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["batch of a layered network, kernels known", "batch of a chain"])
def test_derivatives_of_accelerations_and_multipliers(name):
    """In m_x and along the weights, by reverse mode under vmap, against finite differences."""
    network = NETWORKS[name]
    W, stimulus = weights_of(network), moving(network)
    direction = jax.tree.map(jnp.sin, W)

    def number(mass_x, along):
        weights = jax.tree.map(lambda w, d: w + along * d, W, direction)
        state = ll.State(weights, jax.tree.map(jnp.cos, W))
        found = ravel_pytree(law_of(network, mass_x=mass_x).accelerations(TIME, state, stimulus))[0]
        return found @ jnp.cos(jnp.arange(found.size).astype(float))

    run = jax.jit(jax.vmap(jax.value_and_grad(number, argnums=(0, 1))))
    step = 1e-5
    masses, along = (
        jnp.full(5, MASS_X).at[:2].add(jnp.array([step, -step])),
        jnp.zeros(5).at[2:4].set(jnp.array([step, -step])),
    )
    values, (by_mass, by_weights) = run(masses, along)
    np.testing.assert_allclose(by_mass[4], (values[0] - values[1]) / (2 * step), rtol=1e-6)
    np.testing.assert_allclose(by_weights[4], (values[2] - values[3]) / (2 * step), rtol=1e-6)
    # Along the weights alone nothing moves the input's layer of the load.
    np.testing.assert_allclose(jax.jit(jax.grad(number, argnums=1))(MASS_X, 0.0), by_weights[4], rtol=1e-9)


@pytest.mark.slow
def test_a_run_its_gradient_and_a_batch_of_runs():
    """A batch of images through simulate, grad and vmap: derivatives in m_x against finite differences."""
    network = NETWORKS["batch of a chain"]
    W = weights_of(network)

    def end(mass_x, target):
        law = law_of(network, mass_x=mass_x)
        stimulus = moving(network, target)
        path = ll.simulate(law, law.initial_state(0.0, W, args=stimulus), [0.0, 0.2], stimulus, dt0=0.1, max_steps=4)
        return jnp.sum(network.output(network.forward(path.final_state.q, stimulus.input(0.0))) ** 2)

    run = jax.jit(jax.vmap(jax.value_and_grad(end), (0, None)))
    step = 1e-5
    values, slopes = run(jnp.array([0.3 - step, 0.3, 0.3 + step]), 0.3)
    np.testing.assert_allclose(slopes[1], (values[2] - values[0]) / (2 * step), rtol=1e-6)
