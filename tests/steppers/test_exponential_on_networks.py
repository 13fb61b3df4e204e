"""Exponential steppers on the laws they are for: constraints, masses, waves; order and limit at any ϑ and c."""

import diffrax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from scipy.integrate import solve_ivp

import lagrangian_learning as ll

END = 2.0
STEPS = np.array([20, 40, 80, 160])


def nothing(t, observables):
    return {}


def slopes(error):
    return -np.diff(np.log2(error))


def ends(law, state, args, stepper, part, steps=STEPS):
    """Where constant steps end; one compilation for all."""
    runs = [ll.simulate(law, state, [0.0, END], args, solver=stepper, dt0=END / n, save=nothing) for n in steps]
    return np.stack([np.asarray(ravel_pytree(part(run.final_state))[0]) for run in runs]), runs[-1]


def damped_pendulum(theta):
    """Of unit length, m = 1/ϑ, V = y + 0.3 x sin 2t."""

    def density(t, q, v, mass):
        return 0.5 * mass * v @ v - q[1] - 0.3 * jnp.sin(2 * t) * q[0]

    lagrangian = ll.Lagrangian(density, ll.ExponentialDissipation(theta))
    return ll.EulerLagrange(lagrangian, ll.Holonomic(lambda t, q, args: 0.5 * (q @ q - 1)))


def damped_pendulum_at(theta):
    """Its end from rest at the angle 0.3 above the horizontal, by SciPy on the angle."""

    def rate(t, y):
        angle, velocity = y
        return [velocity, theta * (-velocity - np.cos(angle) + 0.3 * np.sin(2 * t) * np.sin(angle))]

    angle = solve_ivp(rate, (0, END), [0.3, 0.0], method="Radau", rtol=1e-11, atol=1e-13).y[0, -1]
    return np.array([np.cos(angle), np.sin(angle)])


@pytest.mark.slow
@pytest.mark.parametrize(("stepper", "order"), [(ll.ExponentialMidpoint(), 2), (ll.ExponentialRK4(), 4)])
def test_a_damped_pendulum_in_full_coordinates_keeps_order_and_constraint(stepper, order):
    steps = [10, 20, 40]  # below 3e-9 the square of the transient shows, which no function of the fit stands for
    worst = np.zeros(len(steps))
    for theta in (1.0, 1e3, 1e6):
        law, mass = damped_pendulum(theta), jnp.asarray(1 / theta)
        state = law.initial_state(0.0, jnp.array([np.cos(0.3), np.sin(0.3)]), jnp.zeros(2), mass)
        q, last = ends(law, state, mass, stepper, lambda state: state.q, steps)
        worst = np.maximum(worst, np.max(np.abs(q - damped_pendulum_at(theta)), axis=1))
        assert last.stats["max_constraint_residual"] < 1e-15
    np.testing.assert_allclose(slopes(worst), order, atol=0.3)


@pytest.fixture(scope="module")
def network():
    return ll.Layered((2, 3, 1))


@pytest.fixture(scope="module")
def stimulus():
    return ll.Stimulus(
        ll.Sinusoids(jnp.array([1.0, 2.0]), jnp.array([1.0, 0.7]), jnp.array([0.3, 0.0])),
        ll.Sinusoids(jnp.array([1.5]), jnp.array([0.5]), jnp.array([0.0])),
    )


@pytest.fixture(scope="module")
def W():
    rng = np.random.default_rng(20191204)
    return tuple(jnp.asarray(rng.normal(size=shape) / np.sqrt(shape[1])) for shape in ((3, 2), (1, 3)))


@pytest.fixture(scope="module")
def flow(network, stimulus, W):
    """Weights at the end of the gradient flow."""
    law = ll.GradientFlow(network, ll.SquaredError(), 1.0)
    path = ll.simulate(law, law.initial_state(0.0, W, args=stimulus), [0.0, END], stimulus, save=nothing, rtol=1e-12)
    return np.asarray(ravel_pytree(path.final_state.q)[0])


@pytest.mark.slow
@pytest.mark.parametrize("coordinates", ["reduced", "full"])
def test_the_cognitive_action_at_large_theta_in_both_coordinates(network, stimulus, W, coordinates):
    """Against the same law in reduced coordinates by Kvaerno5, an implicit method of Diffrax."""
    stiff = ll.CognitiveAction(network, mass_x=1e-6, mass_W=1e-3, dissipation=ll.ExponentialDissipation(1e3))
    reduced, law = stiff.law("reduced"), stiff.law(coordinates)
    start = reduced.initial_state(0.0, W, args=stimulus)
    exact = ll.simulate(
        reduced, start, [0.0, END], stimulus, solver=diffrax.Kvaerno5(), rtol=1e-9, atol=1e-11, save=nothing
    )
    exact = np.asarray(ravel_pytree(exact.final_state.q)[0])
    weights = (lambda state: state.q) if coordinates == "reduced" else (lambda state: state.q[1])
    state = law.initial_state(0.0, W, args=stimulus)
    found, _ = ends(law, state, stimulus, ll.ExponentialRK4(), weights, steps=[10, 20, 40])
    error = np.max(np.abs(found - exact), axis=1)
    assert np.all(slopes(error) > 3.7)
    assert error[-1] < 2e-7


@pytest.mark.slow
def test_damped_descent_at_theta_1e8_is_the_gradient_flow(network, stimulus, W, flow):
    theta = 1e8
    law = ll.DampedDescent(network, ll.SquaredError(), 1 / theta, ll.ExponentialDissipation(theta))
    state = law.initial_state(0.0, W, args=stimulus)
    path = ll.simulate(law, state, [0.0, END], stimulus, solver=ll.ExponentialRK4(), rtol=1e-8)
    np.testing.assert_allclose(ravel_pytree(path.final_state.q)[0], flow, atol=2e-7)
    assert path.stats["max_energy_defect"] < 1e-4


@pytest.mark.slow
def test_waves_of_finite_speed(network, stimulus, W, flow):
    """Order 4 at c = 1; at c = 10⁸ the weights of the gradient flow, with an error that falls as h."""
    law = ll.BackpropDiffusion(network, ll.SquaredError(), 1.0, 1.0)
    state = law.initial_state(0.0, W, args=stimulus)
    exact = ll.simulate(law, state, [0.0, END], stimulus, rtol=1e-12, save=nothing).final_state.q[1]
    found, _ = ends(law, state, stimulus, ll.ExponentialRK4(), lambda state: state.q[1])
    np.testing.assert_allclose(slopes(np.max(np.abs(found - ravel_pytree(exact)[0]), axis=1)), 4, atol=0.3)
    fast = ll.BackpropDiffusion(network, ll.SquaredError(), 1.0, 1e8)
    found, _ = ends(
        fast, state, stimulus, ll.ExponentialMidpoint(), lambda state: state.q[1], steps=[80, 160, 320, 640]
    )
    error = np.max(np.abs(found - flow), axis=1)
    np.testing.assert_allclose(slopes(error), 1, atol=0.3)
    assert error[-1] < 1e-2


@pytest.mark.slow
def test_the_equations_before_20(network, stimulus, W):
    """ϑ = 30 > c = 10: order 4 against Dopri8."""
    action = ll.CognitiveAction(
        network, mass_x=1e-2, mass_W=1.0, dissipation=ll.ExponentialDissipation(30.0), speed=10.0
    )
    law = action.law()
    state = law.initial_state(0.0, W, args=stimulus)
    exact = ll.simulate(law, state, [0.0, END], stimulus, rtol=1e-12, save=nothing).final_state
    found, _ = ends(law, state, stimulus, ll.ExponentialRK4(), lambda state: (state.q, state.multipliers))
    exact = ravel_pytree((exact.q, exact.multipliers))[0]
    error = np.max(np.abs(found - exact), axis=1)
    assert np.all(slopes(error) > 3.7), error
