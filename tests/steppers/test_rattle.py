"""RATTLE with exact dissipation: order, constraints, areas of phase space, reversibility, energy over long runs."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import lagrangian_learning as ll
from tests.laws import pendulum_at

GRAVITY, END = 9.81, 2.0


def density(t, q, v, args):
    return 0.5 * v @ v - GRAVITY * (q[1] + 3)


class Rod(eqx.Module):
    support: object

    def __call__(self, t, q, args):
        arm = q - jnp.stack([self.support * jnp.sin(3 * t), jnp.zeros_like(t)])
        return 0.5 * (arm @ arm - 1)


def pendulum(theta=0.0, support=0.0):
    """Of unit length and mass; energy 2g at the lowest point. Its support moves as (support sin 3t, 0)."""
    lagrangian = ll.Lagrangian(density, ll.ExponentialDissipation(theta))
    return ll.EulerLagrange(lagrangian, ll.Holonomic(Rod(jnp.asarray(support))))


def ends(law, state, steps, part=lambda state: state.q):
    paths = [ll.simulate(law, state, [0.0, END], solver=ll.Rattle(), dt0=END / n, save=nothing) for n in steps]
    return np.stack([part(path.final_state) for path in paths]), paths[-1]


def nothing(t, observables):
    return {}


def slopes(error):
    return -np.diff(np.log2(error))


@pytest.mark.slow
def test_a_damped_pendulum_whose_support_moves():
    """Second order, constraints to rounding, against SciPy on the angle: φ̈ = −s̈·τ − ϑ(ṡ·τ + φ̇) − g cos φ."""
    theta, support = 0.7, 0.2
    law = pendulum(theta, support)
    state = law.initial_state(0.0, np.array([1.0, 0.0]), np.array([3 * support, 0.0]))

    def rate(t, y):
        tangent = -np.sin(y[0])  # its component along the motion of the support
        driven = 9 * support * np.sin(3 * t) * tangent - theta * 3 * support * np.cos(3 * t) * tangent
        return [y[1], driven - theta * y[1] - GRAVITY * np.cos(y[0])]

    angle = solve_ivp(rate, (0, END), [0.0, 0.0], method="DOP853", rtol=1e-12, atol=1e-12).y[0, -1]
    exact = np.array([support * np.sin(3 * END) + np.cos(angle), np.sin(angle)])
    q, last = ends(law, state, [50, 100, 200])
    np.testing.assert_allclose(slopes(np.max(np.abs(q - exact), axis=1)), 2, atol=0.3)
    assert last.stats["max_constraint_residual"] < 1e-13
    assert last.stats["max_velocity_residual"] < 1e-13
    assert last.stats["max_energy_defect"] < 1e-3
    assert "kept by the stepper" in str(last)


@eqx.filter_jit
def stepped(law, angle, velocity, h):
    """One step in the angle and its velocity."""
    tangent = jnp.stack([-jnp.sin(angle), jnp.cos(angle)])
    state = ll.State(jnp.stack([jnp.cos(angle), jnp.sin(angle)]), velocity * tangent)
    terms, t0 = diffrax.ODETerm(law.vector_field), jnp.zeros_like(h)
    start = ll.Rattle().init(terms, t0, h, state, None)
    y = ll.Rattle().step(terms, t0, h, state, None, start, False)[0]
    tangent = jnp.stack([-y.q[1], y.q[0]])
    return jnp.arctan2(y.q[1], y.q[0]), y.v @ tangent


@pytest.mark.parametrize("theta", [pytest.param(0.0, marks=pytest.mark.slow), 0.8])
def test_areas_of_phase_space_shrink_by_the_dissipation_alone(theta):
    law, h, at = pendulum(theta), jnp.asarray(0.1), (jnp.asarray(0.3), jnp.asarray(-1.2))
    jacobian = np.array(jax.jacfwd(lambda at: stepped(law, *at, h))(at))
    np.testing.assert_allclose(np.linalg.det(jacobian), np.exp(-theta * 0.1), rtol=1e-12)
    assert abs(jacobian[0, 1] - 0.1 * np.exp(-theta * 0.05)) < 1e-2  # the step did move


@pytest.mark.slow
def test_without_dissipation_time_can_be_reversed():
    law, h = pendulum(), jnp.asarray(0.1)
    angle, velocity = stepped(law, *stepped(law, jnp.asarray(0.3), jnp.asarray(-1.2), h), h)
    back, turned = stepped(law, *stepped(law, angle, -velocity, h), h)
    np.testing.assert_allclose((back, -turned), (0.3, -1.2), atol=1e-14)


@pytest.mark.slow
def test_energy_does_not_drift_over_1e5_steps_and_the_period_is_met():
    """Release at rest from the horizontal: q by elliptic functions at 20 s, the energy's range in both halves."""
    law = pendulum()
    state = law.initial_state(0.0, np.array([1.0, 0.0]), np.zeros(2))
    ts = np.linspace(0.0, 2000.0, 2001)
    path = ll.simulate(law, state, ts, solver=ll.Rattle(), dt0=0.02, save=lambda t, observables: observables["q"])
    np.testing.assert_allclose(path.saved[:21], pendulum_at(ts[:21], GRAVITY)[0], atol=0.05)
    energy = np.asarray(path.energy) / (3 * GRAVITY) - 1
    early, late = energy[:1000], energy[1000:]
    assert np.max(np.abs(energy)) < 1e-3
    assert abs(np.mean(late) - np.mean(early)) < 1e-5
    np.testing.assert_allclose([early.min(), early.max()], [late.min(), late.max()], atol=1e-5)
    assert path.stats["num_steps"] == 100_000
    assert path.stats["max_constraint_residual"] < 1e-13


@pytest.mark.slow
def test_a_network_in_full_coordinates_against_reduced_ones_by_dopri8():
    network = ll.Layered((2, 3, 1))
    stimulus = ll.Stimulus(
        ll.Sinusoids(jnp.array([1.0, 2.0]), jnp.array([1.0, 0.7]), jnp.array([0.3, 0.0])),
        ll.Sinusoids(jnp.array([1.5]), jnp.array([0.5]), jnp.array([0.0])),
    )
    action = ll.CognitiveAction(network, mass_x=0.1, mass_W=1.0, dissipation=ll.ExponentialDissipation(0.5))
    W = network.init(jax.random.key(1))
    reduced, law = action.law("reduced"), action.law("full")
    exact = ll.simulate(
        reduced, reduced.initial_state(0.0, W, args=stimulus), [0.0, END], stimulus, save=nothing
    ).final_state
    state = law.initial_state(0.0, W, args=stimulus)
    runs = [
        ll.simulate(law, state, [0.0, END], stimulus, solver=ll.Rattle(), dt0=END / n, save=nothing)
        for n in (40, 80, 160)
    ]
    error = [max(np.max(np.abs(a - b)) for a, b in zip(run.final_state.q[1], exact.q, strict=True)) for run in runs]
    np.testing.assert_allclose(slopes(np.array(error)), 2, atol=0.3)
    assert runs[-1].stats["max_constraint_residual"] < 1e-13


@pytest.mark.slow
def test_gradients_go_through_a_run():
    """∂x(T)/∂ϑ against differences of runs."""

    def end(theta):
        law = pendulum(theta)
        state = ll.State(jnp.array([1.0, 0.0]), jnp.zeros(2))
        return ll.simulate(
            law, state, [0.0, 0.5], solver=ll.Rattle(), dt0=0.05, save=nothing, max_steps=16
        ).final_state.q[0]

    value, slope = jax.jit(jax.value_and_grad(end))(0.5)
    difference = (end(0.5 + 1e-5) - end(0.5 - 1e-5)) / 2e-5
    assert jnp.isfinite(value)
    np.testing.assert_allclose(slope, difference, rtol=1e-6)


def test_what_it_cannot_keep_is_refused():
    law = pendulum()
    state = law.initial_state(0.0, np.array([1.0, 0.0]), np.zeros(2))
    with pytest.raises(ValueError, match="keeps the constraints itself"):
        ll.simulate(law, state, [0.0, 1.0], solver=ll.Rattle(), dt0=0.1, stabilisation=ll.Projection())
    with pytest.raises(ValueError, match="no error estimate"):
        ll.simulate(law, state, [0.0, 1.0], solver=ll.Rattle(), rtol=1e-6)
    with pytest.raises(ValueError, match="iterations must be a positive integer"):
        ll.Rattle(iterations=0)
    network = ll.Layered((1, 1))
    flow = ll.GradientFlow(network)
    stimulus = ll.Stimulus(ll.Constant(jnp.ones(1)), ll.Constant(jnp.ones(1)))
    start = flow.initial_state(0.0, network.init(jax.random.key(0)), args=stimulus)
    with pytest.raises(ValueError, match=r"ll.Rattle moves coordinates and velocities.*gradient flow \(14\)"):
        ll.simulate(flow, start, [0.0, 1.0], stimulus, solver=ll.Rattle(), dt0=0.1)


def drag(t, q, v, args):
    return -0.1 * v


@pytest.mark.parametrize(
    "law",
    [
        ll.EulerLagrange(ll.Lagrangian(lambda t, q, v, args: 0.5 * v @ v), forces=drag),
        ll.EulerLagrange(ll.Lagrangian(lambda t, q, v, args: 0.5 * (1 + q[0] ** 2) * v @ v)),
        ll.EulerLagrange(ll.Lagrangian(lambda t, q, v, args: 0.5 * (1 + t) * v @ v)),
    ],
    ids=["drag", "mass of q", "mass of t"],
)
def test_varying_masses_and_forces_that_depend_on_velocities_are_refused(law):
    state = ll.State(jnp.array([1.0, 0.5]), jnp.zeros(2))
    with pytest.raises(ValueError, match="masses that are constant and forces that depend on t and q alone"):
        ll.Rattle().init(diffrax.ODETerm(law.vector_field), 0.0, 0.1, state, None)
