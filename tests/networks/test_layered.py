import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from lagrangian_learning.networks import Layered, state_jacobian, weight_jacobian, weight_jvp, weight_vjp

NETWORKS = [
    Layered((2, 1)),
    Layered((3, 4, 2)),
    Layered((3, 4, 5, 2), "logistic", bias=True),
    Layered((2, 3, 2), "sin", bias=True, output_activation="linear"),
]


def flat(tree):
    return ravel_pytree(tree)[0]


def off_the_constraint(network, seed, dtype=None):
    """Weights with nonzero biases and neurons that solve nothing: the identities hold at every point."""
    kW, kb, kx, kr = jax.random.split(jax.random.key(seed), 4)
    W = network.init(kW, dtype)
    vector, unravel = ravel_pytree(W)
    W = unravel(vector + 0.3 * jax.random.normal(kb, vector.shape, vector.dtype))
    x = network.forward(W, jnp.ones(network.num_inputs, vector.dtype))
    vector, unravel = ravel_pytree(x)
    x, r = (unravel(jax.random.normal(k, vector.shape, vector.dtype)) for k in (kx, kr))
    return x, W, r


def test_forward_is_written_out_in_numpy():
    network = NETWORKS[3]
    _, W, _ = off_the_constraint(network, 0)
    u = np.array([0.4, -1.2])
    (A, a), (B, b) = jax.tree.map(np.asarray, W)
    hidden = np.sin(A @ u + a)
    x = network.forward(W, jnp.asarray(u))
    for got, expected in zip(x, (u, hidden, B @ hidden + b), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-14)
    np.testing.assert_array_equal(network.output(x), x[-1])


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_forward_solves_the_constraint(network):
    _, W, _ = off_the_constraint(network, 1)
    u = jnp.arange(1.0, network.num_inputs + 1)
    assert jnp.max(jnp.abs(flat(network.constraint(network.forward(W, u), W, u)))) < 1e-15


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_sweeps_solve_with_the_dense_jacobian(network):
    x, W, r = off_the_constraint(network, 2)
    jacobian = np.asarray(state_jacobian(network, x, W))
    assert jacobian.shape == (network.num_neurons, network.num_neurons)
    forward = np.linalg.solve(jacobian, np.asarray(flat(r)))
    backward = np.linalg.solve(jacobian.T, np.asarray(flat(r)))
    np.testing.assert_allclose(flat(network.solve_forward(x, W, r)), forward, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(flat(network.solve_backward(x, W, r)), backward, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_weight_products_and_gram_are_those_of_the_dense_jacobian(network):
    x, W, r = off_the_constraint(network, 3)
    jacobian = np.asarray(weight_jacobian(network, x, W))
    assert jacobian.shape == (network.num_neurons, network.num_weights)
    np.testing.assert_allclose(flat(weight_jvp(network, x, W, W)), jacobian @ flat(W), rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(flat(weight_vjp(network, x, W, r)), jacobian.T @ flat(r), rtol=1e-13, atol=1e-13)
    gram = np.diag(np.asarray(flat(network.weight_gram(x, W))))
    np.testing.assert_allclose(gram, jacobian @ jacobian.T, rtol=1e-13, atol=1e-14)


def test_the_adjoint_sweep_is_backprop():
    network = Layered((3, 4, 5, 2), "logistic", bias=True)
    _, W, _ = off_the_constraint(network, 4)
    u, y = jnp.array([0.2, -0.5, 1.0]), jnp.array([1.0, 0.0])
    x = network.forward(W, u)
    zeros = jax.tree.map(jnp.zeros_like, x)
    delta = network.solve_backward(x, W, (*zeros[:-1], y - x[-1]))
    gradient = jax.grad(lambda W: 0.5 * jnp.sum((network.output(network.forward(W, u)) - y) ** 2))(W)
    np.testing.assert_allclose(flat(weight_vjp(network, x, W, delta)), flat(gradient), rtol=1e-12, atol=1e-15)


def test_counts():
    network = Layered((12, 32, 9), bias=True)
    assert (network.num_inputs, network.num_outputs, network.num_neurons) == (12, 9, 53)
    assert network.num_weights == 12 * 32 + 32 + 32 * 9 + 9 == flat(network.init(jax.random.key(0))).size
    assert network.feedforward
    assert network.cycles == ()
    assert Layered((2, 2, 1), "relu", output_activation="tanh").smoothness == 0
    assert Layered((2, 1), "relu", output_activation="tanh").smoothness == np.inf  # relu acts on nothing


def test_networks_have_no_leaves_and_equal_networks_are_equal():
    assert jax.tree.leaves(Layered((2, 2, 1))) == []
    assert Layered([2, np.int64(2), 1]) == Layered((2, 2, 1))
    assert hash(Layered((2, 2, 1))) == hash(Layered((2, 2, 1)))


def test_init_is_lecun_normal(key):
    (matrix, bias), _ = Layered((400, 500, 2), bias=True).init(key)
    assert abs(float(jnp.std(matrix)) * 20 - 1) < 0.01
    assert abs(float(jnp.mean(matrix))) < 1e-3
    assert not jnp.any(bias)
    assert jnp.max(jnp.abs(matrix)) * 20 > 4  # not truncated
    assert matrix.dtype == jnp.float64


@pytest.mark.parametrize("network", NETWORKS[-1:], ids=str)
def test_float32_twin(network):
    x, W, r = off_the_constraint(network, 5, jnp.float32)
    u = jnp.ones(network.num_inputs, jnp.float32)
    jacobian = np.asarray(state_jacobian(network, x, W), np.float64)
    for got in (network.forward(W, u), network.solve_forward(x, W, r), network.solve_backward(x, W, r)):
        assert flat(got).dtype == jnp.float32
    np.testing.assert_allclose(
        jacobian.T @ np.asarray(flat(network.solve_backward(x, W, r)), np.float64), flat(r), rtol=1e-5, atol=1e-5
    )
    assert flat(network.weight_gram(x, W)).dtype == jnp.float32


def test_a_batch_of_weights_equals_each_alone(key):
    network = Layered((3, 4, 2), bias=True)
    W = jax.vmap(network.init)(jax.random.split(key, 5))
    x = jax.vmap(network.forward, (0, None))(W, jnp.ones(3))
    r = jax.vmap(network.solve_backward)(x, W, x)
    for lane in range(5):
        x_lane, W_lane, r_lane = jax.tree.map(lambda leaf: leaf[lane], (x, W, r))  # noqa: B023
        np.testing.assert_allclose(flat(network.forward(W_lane, jnp.ones(3))), flat(x_lane), rtol=1e-14)
        np.testing.assert_allclose(flat(network.solve_backward(x_lane, W_lane, x_lane)), flat(r_lane), rtol=1e-13)
