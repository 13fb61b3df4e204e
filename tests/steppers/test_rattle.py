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


# -- masses that vary, forces of velocity ------------------------------------------------------------------------------


def magnetic(t, q, v, args):
    """A field of strength q₀ across the plane: v̇₀ = q₀ v₁ − q₀/4, v̇₁ = −q₀ v₀ − q₁/4."""
    return v @ v / 2 + q[0] ** 2 / 2 * v[1] - q @ q / 8


def bead(t, q, v, args):
    """On the parabola y = q²: (1 + 4q²) q̈ = −2q − 4q q̇²."""
    return (1 + 4 * q[0] ** 2) * v[0] ** 2 / 2 - q[0] ** 2


def relativistic(t, q, v, args):
    """p = 4v/√(1 − v²) (1 + 0.3 sin t)."""
    return -4 * jnp.sqrt(1 - v @ v) * (1 + 0.3 * jnp.sin(t)) - q @ q / 2


def magnetic_rates(t, y):
    return [y[2], y[3], y[0] * y[3] - y[0] / 4, -y[0] * y[2] - y[1] / 4]


def bead_rates(t, y):
    return [y[1], (-2 * y[0] - 4 * y[0] * y[1] ** 2) / (1 + 4 * y[0] ** 2)]


def relativistic_rates(t, y):
    """In (q, p), with the decay 0.2 p and a drag −0.1 v."""
    p = y[1] / (4 * (1 + 0.3 * np.sin(t)))
    v = p / np.sqrt(1 + p**2)
    return [v, -y[0] - 0.2 * y[1] - 0.1 * v]


@eqx.filter_jit
def marched(law, state, h, steps):
    """That many steps of length h from t = 0; and whether all were solved."""
    terms, solver, zero = diffrax.ODETerm(law.vector_field), ll.Rattle(), jnp.zeros_like(h)

    def step(k, carry):
        state, inner, fine = carry
        t = k * h
        state, _, _, inner, result = solver.step(terms, t, t + h, state, None, inner, False)
        return state, inner, fine & (result == diffrax.RESULTS.successful)

    first = (state, solver.init(terms, zero, h, state, None), jnp.asarray(True))
    end, _, fine = jax.lax.fori_loop(0, steps, step, first)
    return end, fine


def law_of(density, theta=0.0, **kwargs):
    return ll.EulerLagrange(ll.Lagrangian(density, ll.ExponentialDissipation(theta)), **kwargs)


VARYING = {
    "magnetic": (law_of(magnetic), [0.0, 0.0], [1.0, 0.5], magnetic_rates, [1.0, 0.5]),
    "mass of q": (law_of(bead), [0.0], [1.0], bead_rates, [1.0]),
    "momentum not linear in v, drag": (
        law_of(relativistic, 0.2, forces=lambda t, q, v, args: -0.1 * v), [1.0], [0.0], relativistic_rates, [0.0]
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", VARYING)
def test_varying_masses_and_forces_of_velocity_are_of_second_order(case):
    """Against SciPy on equations written by hand."""
    law, q, v, rates, p = VARYING[case]
    exact = solve_ivp(rates, (0, END), [*q, *p], method="DOP853", rtol=1e-12, atol=1e-12).y[: len(q), -1]
    start, error = ll.State(jnp.array(q), jnp.array(v)), []
    for steps in (40, 80, 160):
        end, solved = marched(law, start, jnp.asarray(END / steps), steps)
        assert bool(solved)
        error.append(np.max(np.abs(end.q - exact)))
    assert error[0] > 1e-6
    np.testing.assert_allclose(slopes(np.array(error)), 2, atol=0.1)


def test_a_step_back_undoes_a_step_and_energy_does_not_drift():
    """The bead, whose mass varies by a factor of three: 10⁴ steps."""
    law, start = law_of(bead), ll.State(jnp.array([0.2]), jnp.array([1.0]))
    there, _ = marched(law, start, jnp.asarray(0.1), 1)
    back, _ = marched(law, there, jnp.asarray(-0.1), 1)
    np.testing.assert_allclose([*back.q, *back.v], [0.2, 1.0], atol=1e-14)

    def energies(state, count):
        found = []
        for _ in range(count):
            state, solved = marched(law, state, jnp.asarray(0.05), 7)
            assert bool(solved)
            found.append(float((1 + 4 * state.q[0] ** 2) * state.v[0] ** 2 / 2 + state.q[0] ** 2))
        return np.array(found), state

    early, state = energies(start, 100)
    state, _ = marched(law, state, jnp.asarray(0.05), 9000)
    late, _ = energies(state, 100)
    assert np.ptp(early) > 1e-5  # it does vary within a period
    np.testing.assert_allclose([late.min(), late.max()], [early.min(), early.max()], atol=1e-5)
    np.testing.assert_allclose(late.mean(), early.mean(), atol=2e-5)


@pytest.mark.slow
def test_a_charge_on_a_sphere_in_a_magnetic_field_and_its_gradient():
    """Constraint and field together, of second order against Dopri8; the derivative against differences."""

    def density(t, q, v, args):
        return v @ v / 2 + 2 * (q[0] * v[1] - q[1] * v[0]) - q[2]

    law = ll.EulerLagrange(ll.Lagrangian(density), ll.Holonomic(lambda t, q, args: (q @ q - 1) / 2))
    start = law.initial_state(0.0, np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.5, 0.3]))
    exact = ll.simulate(law, start, [0.0, END], rtol=1e-12, save=nothing).final_state.q
    q, last = ends(law, start, [50, 100, 200])
    np.testing.assert_allclose(slopes(np.max(np.abs(q - exact), axis=1)), 2, atol=0.1)
    assert last.stats["max_constraint_residual"] < 1e-14

    def height(speed):
        state = ll.State(start.q, speed * start.v)
        path = ll.simulate(law, state, [0.0, 0.5], solver=ll.Rattle(), dt0=0.05, save=nothing, max_steps=16)
        return path.final_state.q[2]

    difference = (height(1 + 1e-5) - height(1 - 1e-5)) / 2e-5
    np.testing.assert_allclose(jax.grad(height)(1.0), difference, rtol=1e-7)


def test_separable_systems_take_explicit_steps_and_others_do_not():
    terms = {name: diffrax.ODETerm(case[0].vector_field) for name, case in VARYING.items()}
    state = ll.State(jnp.array([0.3, 0.4]), jnp.array([0.1, 0.2]))
    assert ll.Rattle().init(terms["magnetic"], 0.0, 0.1, state, None) is None
    for law in (pendulum(0.5, 0.2), law_of(lambda t, q, v, args: v @ v / 2 - jnp.cos(t) * jnp.sin(q[0]) * q[1])):
        assert ll.Rattle().init(diffrax.ODETerm(law.vector_field), 0.0, 0.1, state, None) is not None


def test_explicit_steps_are_those_of_the_leapfrog_to_the_bit():
    law = law_of(lambda t, q, v, args: v @ v / 2 - jnp.sum(jnp.cosh(q)))

    @jax.jit
    def leapfrog(q, v, h):
        v = v + h / 2 * -jnp.sinh(q)
        q = q + h * v
        return q, v + h / 2 * -jnp.sinh(q)

    q, v, h = jnp.array([0.3, -1.2, 0.7]), jnp.array([0.1, 0.5, -0.4]), jnp.asarray(0.03)
    end, _ = marched(law, ll.State(q, v), h, 1)
    expected = leapfrog(q, v, h)
    np.testing.assert_array_equal(end.q, expected[0])
    np.testing.assert_array_equal(end.v, expected[1])


def test_a_step_that_has_no_solution_ends_the_run():
    """A speed over that of light: there is no momentum."""
    law = law_of(relativistic)
    state = ll.State(jnp.array([30.0]), jnp.array([0.5]))
    path = ll.simulate(law, state, [0.0, 50.0], solver=ll.Rattle(), dt0=50.0, throw=False)
    assert bool(path.result != ll.RESULTS.successful)
