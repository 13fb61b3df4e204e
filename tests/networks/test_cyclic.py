import equinox as eqx
import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest

from lagrangian_learning.networks import Digraph, state_jacobian, weight_vjp
from lagrangian_learning.networks.digraph_linearisation import MAX_CYCLIC_NEURONS


def random_cyclic(seed, num_neurons=30, num_edges=120, **options):
    rng = np.random.default_rng(seed)
    edges = np.unique(rng.integers(0, num_neurons, (num_edges, 2)), axis=0)
    return Digraph(num_neurons, rng.permutation(edges[edges[:, 1] >= 3]), 3, 2, **options)


def loop(**options):
    """x1 = tanh(w0 u + w1 x1): a neuron that feeds itself."""
    return Digraph(2, [(0, 1), (1, 1)], 1, 1, **options)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_forward_solves_the_constraint(dtype):
    network = random_cyclic(0)
    assert not network.feedforward
    W, u = network.init(jax.random.key(0), dtype), jnp.ones(3, dtype)
    x = jax.jit(network.forward)(W, u)
    assert x.dtype == dtype
    assert jnp.max(jnp.abs(network.constraint(x, W, u))) < 20 * jnp.finfo(dtype).eps


def test_sweeps_and_gradient_agree_with_the_dense_jacobian():
    network = random_cyclic(1, output_activation="linear")
    kW, kx, kr = jax.random.split(jax.random.key(1), 3)
    W, x, r = network.init(kW), jax.random.normal(kx, (30,)), jax.random.normal(kr, (30,))
    jacobian = np.asarray(state_jacobian(network, x, W))
    np.testing.assert_allclose(network.solve_forward(x, W, r), np.linalg.solve(jacobian, r), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(network.solve_backward(x, W, r), np.linalg.solve(jacobian.T, r), rtol=1e-12, atol=1e-13)


def test_reverse_mode_is_implicit():
    network = random_cyclic(0)
    W, u = network.init(jax.random.key(0)), jnp.ones(3)
    x = network.forward(W, u)
    gradient = jax.grad(lambda W: jnp.sum(network.output(network.forward(W, u))))(W)
    delta = network.solve_backward(x, W, jnp.zeros(30).at[-2:].set(1.0))
    np.testing.assert_allclose(gradient, -weight_vjp(network, x, W, delta), rtol=1e-11, atol=1e-13)


@pytest.mark.slow
def test_forward_differentiates_four_times_along_a_path():
    def path(t):
        W = jnp.stack([jnp.asarray(0.9), 0.5 + 0.3 * t])
        return loop().output(loop().forward(W, jnp.sin(t)[None]))[0]

    def by_hand(t):
        weight = mp.mpf(0.5) + mp.mpf(0.3) * t
        return mp.findroot(lambda x: x - mp.tanh(mp.mpf(0.9) * mp.sin(t) + weight * x), mp.mpf("0.5"))

    with mp.workdps(50):
        expected = [float(mp.diff(by_hand, mp.mpf(0.4), n, h=mp.mpf("1e-9"))) for n in range(5)]
    derivatives = [path]
    for _ in range(4):
        inner = derivatives[-1]
        derivatives.append(lambda t, f=inner: jax.jvp(f, (t,), (jnp.ones_like(t),))[1])
    got = jax.jit(lambda t: [f(t) for f in derivatives])(jnp.asarray(0.4))
    np.testing.assert_allclose(got, expected, rtol=1e-6)  # the difference quotient of order 4 is good to 1e-8


def test_a_batch_equals_each_alone():
    network = loop()
    W = jnp.array([[0.9, 0.5], [0.2, -1.5], [1.0, 0.0]])
    x = jax.vmap(network.forward, (0, None))(W, jnp.array([0.7]))
    for lane in range(3):
        np.testing.assert_allclose(network.forward(W[lane], jnp.array([0.7])), x[lane], rtol=1e-14)


def test_no_root_is_an_error_or_nan():
    # x = exp(x) has no real root.
    network = Digraph(2, [(0, 1), (1, 1)], 1, 1, jnp.exp)
    W, u = jnp.array([0.0, 1.0]), jnp.array([1.0])
    with pytest.raises(RuntimeError, match=r"no x with x = sigma\(Wx\) found in 256 Newton steps.*smaller weights"):
        jax.block_until_ready(eqx.filter_jit(network.forward)(W, u))
    silent = Digraph(2, [(0, 1), (1, 1)], 1, 1, jnp.exp, throw=False)
    assert jnp.isnan(silent.forward(W, u)).all()


def test_a_singular_sweep_is_an_error_or_nan():
    x, W, r = jnp.zeros(2), jnp.array([1.0, 1.0]), jnp.ones(2)
    for sweep in ("solve_forward", "solve_backward"):
        with pytest.raises(RuntimeError, match=r"G_xi is singular on a cycle.*guard_rank"):
            jax.block_until_ready(eqx.filter_jit(getattr(loop(), sweep))(x, W, r))
        assert jnp.isnan(getattr(loop(throw=False), sweep)(x, W, r)).all()


def test_one_bad_lane_leaves_the_others_alone():
    network = Digraph(2, [(0, 1), (1, 1)], 1, 1, jnp.exp, throw=False)
    W = jnp.array([[0.0, 1.0], [1.0, -1.0]])
    x = jax.vmap(network.forward, (0, None))(W, jnp.array([0.5]))
    assert jnp.isnan(x[0]).all()
    np.testing.assert_allclose(x[1, 1], np.exp(0.5 - float(x[1, 1])), rtol=1e-13)


def test_too_many_neurons_for_dense_solves_says_the_remedy():
    n = MAX_CYCLIC_NEURONS + 1
    network = Digraph(n, [(0, 1), (1, 1)], 1, 1)
    for call in (lambda: network.forward(jnp.ones(2), jnp.ones(1)), lambda: network.solve_forward(*_ones(n))):
        with pytest.raises(ValueError, match=rf"{n} neurons needs dense solves, which end at {n - 1}: give.* speed"):
            call()


def _ones(n):
    return jnp.ones(n), jnp.ones(2), jnp.ones(n)
