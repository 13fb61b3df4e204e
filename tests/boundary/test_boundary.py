"""`solve_boundary`: (20) and the equations before it with a natural condition at the end."""

import diffrax
import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
import scipy.integrate
from jax.flatten_util import ravel_pytree

import lagrangian_learning as ll
from lagrangian_learning.boundary import Newton, Sweeps, solve_boundary
from lagrangian_learning.simulate import RESULTS

NETWORK = ll.Layered((2, 3, 1))
PHASE = np.array([0.1, 0.7])
TARGET = 0.3
TS = jnp.linspace(0.0, 3.0, 16)


@pytest.fixture(scope="module")
def stimulus():
    return ll.Stimulus(ll.Sinusoids(jnp.array([1.0, 2.0]), 1.0, jnp.asarray(PHASE)), jnp.array([TARGET]))


@pytest.fixture(scope="module")
def weights():
    return NETWORK.init(jax.random.key(1))


def diffusion(gamma=1.0, speed=10.0, theta=1.0, network=NETWORK):
    return ll.BackpropDiffusion(network, ll.SquaredError(), gamma, speed, theta, costate="forward")


def massive(speed=5.0, theta=2.0, mass_x=0.05, mass_W=0.5):
    dissipation = ll.ExponentialDissipation(theta)
    return ll.CognitiveAction(NETWORK, mass_x=mass_x, mass_W=mass_W, dissipation=dissipation, speed=speed).law()


@pytest.fixture(scope="module")
def solved(weights, stimulus):
    return solve_boundary(diffusion(), weights, TS, stimulus)


@pytest.fixture(scope="module")
def solved_massive(weights, stimulus):
    W_dot = jax.tree.map(lambda leaf: 0.1 * leaf, weights)
    return solve_boundary(massive(), weights, TS, stimulus, W_dot=W_dot)


# -- independent equations -----------------------------------------------------------------------------------------


def handwritten(t, y, c, theta, gamma=None, masses=None):
    """(20), or with masses the equations before it, for tanh layers (2, 3, 1) in NumPy; y [n, times]."""
    x0, x1, x2 = y[:2], y[2:5], y[5:6]
    W1, W2 = y[6:12].reshape(3, 2, -1), y[12:15].reshape(1, 3, -1)
    W_dot, rest = (y[15:24], y[24:]) if masses else (None, y[15:])
    d0, d1, d2 = rest[:2], rest[2:5], rest[5:6]
    rates = np.array([1.0, 2.0])[:, None]
    e, e_dot = np.sin(rates * t + PHASE[:, None]), rates * np.cos(rates * t + PHASE[:, None])
    z1, z2 = np.tanh(np.einsum("ijt,jt->it", W1, x0)), np.tanh(np.einsum("ijt,jt->it", W2, x1))
    s1, s2 = 1 - z1**2, 1 - z2**2
    v0, v1, v2 = c * (e - x0), c * (z1 - x1), c * (z2 - x2)
    force = np.concatenate([(s1 * d1)[:, None] * x0[None], (s2 * d2)[:, None] * x1[None]], axis=None).reshape(9, -1)
    g0 = d0 - np.einsum("ijt,it->jt", W1, s1 * d1)
    g1 = d1 - np.einsum("ijt,it->jt", W2, s2 * d2)
    g2 = d2 + x2 - TARGET
    if masses is None:
        pull = c * np.concatenate([g0, g1, g2]) - theta * rest
        return np.concatenate([v0, v1, v2, force / gamma, pull])
    m_x, m_W = masses
    U1, U2 = W_dot[:6].reshape(3, 2, -1), W_dot[6:].reshape(1, 3, -1)
    a0 = c * (e_dot - v0)
    a1 = c * (s1 * (np.einsum("ijt,jt->it", U1, x0) + np.einsum("ijt,jt->it", W1, v0)) - v1)
    a2 = c * (s2 * (np.einsum("ijt,jt->it", U2, x1) + np.einsum("ijt,jt->it", W2, v1)) - v2)
    inertia = m_x * (np.concatenate([a0, a1, a2]) + theta * np.concatenate([v0, v1, v2]))
    pull = c * (inertia + np.concatenate([g0, g1, g2])) - theta * rest
    return np.concatenate([v0, v1, v2, W_dot, force / m_W - theta * W_dot, pull])


def oracle(start, c, theta, **constants):
    """SciPy's collocation on the handwritten equations."""
    causal, n = start.size, start.size + 6
    m_x = constants["masses"][0] if "masses" in constants else 0.0

    def ends(first, last):
        rates = handwritten(np.array([float(TS[-1])]), last[:, None], c, theta, **constants)[:6, 0]
        return np.concatenate([first[:causal] - start, last[causal:] - c * m_x * rates])

    mesh = np.linspace(0, float(TS[-1]), 200)
    guess = np.repeat(np.concatenate([start, np.zeros(6)])[:, None], mesh.size, axis=1)
    assert guess.shape[0] == n
    found = scipy.integrate.solve_bvp(
        lambda t, y: handwritten(t, y, c, theta, **constants), ends, mesh, guess, tol=1e-8, max_nodes=20000
    )
    assert found.success, found.message
    return found.sol(np.asarray(TS)).T


def rows(*trees):
    return np.asarray(jax.vmap(lambda tree: ravel_pytree(tree)[0])(trees))


@pytest.mark.slow
def test_massless_solution_equals_scipy(solved, weights):
    start = rows(solved.x, solved.W)[0]
    np.testing.assert_array_equal(start[6:], ravel_pytree(weights)[0])
    hand = oracle(start, 10.0, 1.0, gamma=1.0)
    np.testing.assert_allclose(rows(solved.x, solved.W, solved.multipliers), hand, atol=1e-7)


@pytest.mark.slow
def test_solution_of_finite_mass_equals_scipy(solved_massive):
    path = solved_massive
    hand = oracle(rows(path.x, path.W, path.W_dot)[0], 5.0, 2.0, masses=(0.05, 0.5))
    np.testing.assert_allclose(rows(path.x, path.W, path.W_dot, path.multipliers), hand, atol=1e-7)


# -- what it must satisfy ------------------------------------------------------------------------------------------


def pieces(law, path, stimulus):
    """Each interval between saved times integrated as an initial-value problem, from the record at its start."""
    term = diffrax.ODETerm(law.vector_field)

    def piece(t0, t1, q, v, delta):
        state = ll.State(q, v, multipliers=delta)
        controller = diffrax.PIDController(rtol=1e-12, atol=1e-13)
        solution = diffrax.diffeqsolve(
            term, diffrax.Dopri8(), t0, t1, None, state, stimulus, stepsize_controller=controller
        )
        return jax.tree.map(lambda leaf: leaf[0], solution.ys)

    v = path.v if isinstance(law, ll.laws.FiniteSpeedDynamics) else None
    cut = jax.tree.map(lambda leaf: leaf[:-1], (path.q, v, path.multipliers))
    return jax.vmap(piece)(TS[:-1], TS[1:], *cut)


@pytest.mark.slow
def test_every_equation_and_the_natural_condition_hold(solved, solved_massive, stimulus):
    """To 1e-8: between mesh points by the law's own rates, from record to record by another integrator, at both ends.

    An error at the start of a piece grows by e^{0.2 (c − ϑ)} = 6 along it.
    """
    for law, path in ((diffusion(), solved), (massive(), solved_massive)):
        assert path.result == RESULTS.successful
        assert path.max_defect < 1e-8
        assert path.max_jump < 1e-12
        assert path.boundary_residual < 1e-12
        after = pieces(law, path, stimulus)
        ours = jax.tree.map(lambda leaf: leaf[1:], (path.q, path.multipliers))
        for ahead, record in zip(jax.tree.leaves((after.q, after.multipliers)), jax.tree.leaves(ours), strict=True):
            np.testing.assert_allclose(ahead, record, atol=1e-8)
    for delta in solved.multipliers:
        np.testing.assert_array_equal(delta[-1], 0.0)
    for delta, velocity in zip(solved_massive.multipliers, solved_massive.x_dot, strict=True):
        np.testing.assert_allclose(delta[-1], 5.0 * 0.05 * velocity[-1], atol=1e-13)
    assert "boundary values" in str(solved)
    assert "between mesh points" in str(solved)


@pytest.mark.slow
def test_sweeps_agree_with_newton(solved, weights, stimulus):
    """Two discretisations: adaptive explicit runs with an interpolated costate, and collocation."""
    swept = solve_boundary(diffusion(), weights, TS, stimulus, method=Sweeps())
    assert swept.iterations < 60
    assert swept.max_defect < 1e-8
    np.testing.assert_allclose(
        rows(swept.x, swept.W, swept.multipliers), rows(solved.x, solved.W, solved.multipliers), atol=1e-9
    )


@pytest.mark.slow
def test_fast_learning_needs_continuation(weights, stimulus):
    """γ = 0.1 over t₁ = 5: sweeps end by name; Newton gets there from slower learning."""
    law, ts = diffusion(0.1, 10.0, 0.0), jnp.linspace(0.0, 5.0, TS.size)
    swept = solve_boundary(law, weights, ts, stimulus, method=Sweeps(max_iterations=60), throw=False)
    assert swept.result == RESULTS.boundary_not_converged
    assert np.isnan(swept.W[0]).all()
    path = solve_boundary(law, weights, ts, stimulus)
    assert path.iterations > 5
    assert path.max_defect < 1e-8


@pytest.mark.slow
def test_tends_to_backprop_as_one_over_c(weights, stimulus):
    """Away from the layer at t₁ and ϑ = 1: weights against gradient flow, slope −1."""
    flow = ll.GradientFlow(NETWORK, ll.SquaredError(), 1.0)
    reference = ll.simulate(flow, flow.initial_state(0.0, weights, args=stimulus), TS, stimulus).W
    errors = []
    for speed in (10.0, 100.0, 1000.0):
        path = solve_boundary(diffusion(1.0, speed, 1.0), weights, TS, stimulus)
        gaps = jax.tree.map(lambda a, b: jnp.max(jnp.abs(a - b)[: TS.size // 2]), path.W, reference)
        errors.append(float(max(gaps)))
        assert path.max_defect < 1e-8
    assert errors[0] < 0.2
    np.testing.assert_allclose(np.diff(np.log10(errors)), -1, atol=0.15)


@pytest.mark.slow
def test_stationary_gains_in_the_interior(weights):
    """Frozen weights and a constant input: δ settles at (1 − ϑ/c)^{−(L−l+1)} of backprop's between the layers."""
    still = ll.Stimulus(ll.Sinusoids(jnp.zeros(2), 1.0, jnp.asarray(PHASE)), jnp.array([TARGET]))
    path = solve_boundary(diffusion(1e14, 20.0, 4.0), weights, TS, still)
    backprop = ll.delta_errors(
        NETWORK,
        ll.SquaredError(),
        NETWORK.forward(weights, still.input(jnp.asarray(0.0))),
        weights,
        jnp.array([TARGET]),
    )
    for delta, reference, gain in zip(path.multipliers, backprop, (1 - 4 / 20) ** -np.arange(3.0, 0, -1), strict=True):
        np.testing.assert_allclose(delta[1], gain * reference, rtol=1e-8, atol=1e-12)


# -- transformations -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_derivatives_are_those_of_the_solution(weights, stimulus):
    """Implicit function theorem, forward and reverse, against central differences; inside jit."""

    def final(log_gamma, speed, shift):
        law = diffusion(jnp.exp(log_gamma), speed, 1.0)
        W = jax.tree.map(lambda leaf: leaf + shift, weights)
        path = solve_boundary(law, W, TS, stimulus, tol=1e-9)
        return jnp.sum(path.W[0][-1] ** 2) + jnp.sum(path.multipliers[1][4])

    at = (jnp.asarray(0.1), jnp.asarray(8.0), jnp.asarray(0.05))
    value, gradient = jax.jit(jax.value_and_grad(final, (0, 1, 2)))(*at)
    for k, (slope, step) in enumerate(zip(gradient, (1e-4, 1e-3, 1e-4), strict=True)):
        ahead, back = (final(*at[:k], at[k] + sign * step, *at[k + 1 :]) for sign in (1, -1))
        np.testing.assert_allclose(slope, (ahead - back) / (2 * step), rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(final(*at), value, rtol=1e-9)


@pytest.mark.slow
def test_cycles(stimulus):
    edges = [(0, 3), (1, 2), (2, 3), (3, 4), (2, 5), (4, 5), (5, 2), (4, 4)]
    network = ll.Digraph(6, edges, 2, 1)
    law = diffusion(1.0, 10.0, 1.0, network)
    newton, swept = (
        solve_boundary(law, 0.5 * network.init(jax.random.key(2)), TS, stimulus, method=method)
        for method in (Newton(), Sweeps())
    )
    np.testing.assert_allclose(newton.W, swept.W, atol=1e-9)
    np.testing.assert_allclose(newton.multipliers, swept.multipliers, atol=1e-9)


@pytest.mark.slow
def test_sweeps_of_finite_mass_agree_with_newton(solved_massive, weights, stimulus):
    W_dot = jax.tree.map(lambda leaf: 0.1 * leaf, weights)
    swept = solve_boundary(massive(), weights, TS, stimulus, W_dot=W_dot, method=Sweeps())
    np.testing.assert_allclose(
        rows(swept.W, swept.multipliers), rows(solved_massive.W, solved_massive.multipliers), atol=1e-9
    )


@pytest.mark.slow
def test_float32(weights, stimulus, solved):
    single = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), (weights, stimulus))
    path = solve_boundary(diffusion(), single[0], TS, single[1])
    np.testing.assert_allclose(path.W[0], solved.W[0], atol=1e-4)


# -- refusals ------------------------------------------------------------------------------------------------------


def test_a_mesh_too_coarse_is_told(weights, stimulus):
    law = diffusion(1.0, 100.0, 1.0)
    path = solve_boundary(law, weights, TS, stimulus, tol=1e-12, throw=False)
    assert path.result == RESULTS.boundary_mesh_too_coarse
    assert int(path.intervals_needed) > int(path.num_intervals)
    assert np.isfinite(path.W[0]).all()
    assert "FAILED" in str(path)
    with pytest.raises(Exception, match="Give more intervals"):
        solve_boundary(law, weights, TS, stimulus, tol=1e-12)


REFUSED = {
    "ϑ ≥ c": (lambda: diffusion(1.0, 2.0, 2.0), {}, r"theta < speed \(theta = 2, speed = 2\).*c − ϑ"),
    "ϑ ≥ c, finite mass": (lambda: massive(1.0, 3.0), {}, "theta < speed"),
    "sign flip": (lambda: ll.BackpropDiffusion(NETWORK), {}, 'sign_flip" is causal'),
    "parity": (lambda: ll.BackpropDiffusion(NETWORK, theta=20.0, costate="parity"), {}, "theta > speed"),
    "no costate": (lambda: ll.GradientFlow(NETWORK), {}, "costate known at the end"),
    "method": (diffusion, {"method": "shooting"}, r"method must be ll.boundary.Newton\(\) or ll.boundary.Sweeps\(\)"),
    "tolerance": (diffusion, {"tol": 1e-15}, "tol must be at least"),
    "intervals": (diffusion, {"intervals": 0}, "intervals must be a positive integer"),
    "one time": (diffusion, {"ts": jnp.array([0.0])}, "at least two times"),
    "times that fall": (diffusion, {"ts": jnp.array([1.0, 0.0])}, "increase strictly"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name, weights, stimulus):
    law, settings, message = REFUSED[name]
    arguments = {"ts": TS} | settings
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        with pytest.raises(ValueError, match=message):
            solve_boundary(law(), weights, arguments.pop("ts"), stimulus, **arguments)
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"relaxation": 1.5}, r"relaxation must be in \(0, 1\]"),
        ({"relaxation": 0.0}, "relaxation must be finite and > 0"),
        ({"max_iterations": 0}, "max_iterations must be a positive integer"),
    ],
)
def test_settings_of_sweeps_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        Sweeps(**settings)


def test_velocities_of_massless_weights_are_refused(weights, stimulus):
    with pytest.raises(ValueError, match="leave W_dot out"):
        solve_boundary(diffusion(), weights, TS, stimulus, W_dot=weights)


def test_weights_that_are_nan_are_refused(weights, stimulus):
    with pytest.raises(Exception, match="NaN or inf"):
        solve_boundary(diffusion(), jax.tree.map(lambda leaf: leaf * jnp.nan, weights), TS, stimulus)


@pytest.mark.slow
def test_a_target_that_becomes_nan_is_told(weights, stimulus):
    target = ll.Stimulus(stimulus.input, lambda t: jnp.where(t < 1, 0.3, jnp.nan)[None])
    path = solve_boundary(diffusion(), weights, TS, target, intervals=20, throw=False)
    assert path.result == RESULTS.non_finite
