"""Exponential steppers: order at any ϑ, the limit ϑ → ∞, honest errors; against closed forms and NumPy."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lagrangian_learning.mechanics import DampedMotion, ExponentialDissipation, ScheduledDissipation
from lagrangian_learning.mechanics.law import AbstractLaw, Rates
from lagrangian_learning.simulate import simulate
from lagrangian_learning.steppers import ExponentialMidpoint, ExponentialRK4, KickDrift
from tests.boundary.relaxing import START, Relaxing, force, from_rest, relaxing_at
from tests.laws import Motion, Oscillator, array, at_rest

THETAS = np.array([1.0, 1e3, 1e6, 1e8])
STEPS = np.array([20, 40, 80, 160])
END = 2.0


def ends(stepper, thetas=THETAS, steps=STEPS):
    """Where constant steps from rest end [thetas, steps], by diffrax.diffeqsolve on the law's vector field alone."""

    def run(theta, count):
        terms = diffrax.ODETerm(Relaxing(theta).vector_field)
        return diffrax.diffeqsolve(terms, stepper, 0.0, END, END / count, from_rest(), max_steps=200).ys

    rows = jax.vmap(jax.vmap(run, in_axes=(None, 0)), in_axes=(0, None))
    ys = jax.jit(rows)(jnp.asarray(thetas), jnp.asarray(steps, float))
    return np.asarray(ys.q[:, :, 0]), np.asarray(ys.v[:, :, 0])


def errors(q, thetas=THETAS):
    exact = np.stack([relaxing_at(END, theta)[0] for theta in thetas])
    return np.max(np.abs(q - exact[:, None]), axis=-1)


def slopes(error):
    return -np.diff(np.log2(error), axis=-1)


@pytest.fixture(scope="module")
def midpoint():
    return ends(ExponentialMidpoint())


@pytest.fixture(scope="module")
def fourth():
    return ends(ExponentialRK4())


def test_second_order_at_any_theta(midpoint):
    error = errors(midpoint[0])
    np.testing.assert_allclose(slopes(np.max(error, axis=0)), 2, atol=0.3)
    assert np.all(slopes(error) > 1.7)
    np.testing.assert_allclose(error[2], error[3], rtol=1e-3)  # and the same error where ϑh ≫ 1


def test_fourth_order_at_any_theta_from_rest(fourth):
    error = errors(fourth[0])
    np.testing.assert_allclose(slopes(np.max(error, axis=0)), 4, atol=0.3)
    assert np.all(slopes(error)[[0, 2, 3]] > 3.7)
    assert np.max(error[:, 0]) < 2e-6


def test_first_order_of_kick_and_drift():
    np.testing.assert_allclose(slopes(errors(ends(KickDrift())[0])), 1, atol=0.3)


def classical(rule, count):
    """Explicit steps for the gradient flow q̇ = g, the limit ϑ → ∞."""
    q, h = START, END / count
    for n in range(count):
        q = rule(n * h, q, h)
    return q


def midpoint_rule(t, q, h):
    return q + h * force(t + h / 2, q + h / 2 * force(t, q))


def classical_rk4(t, q, h):
    a = force(t, q)
    b = force(t + h / 2, q + h / 2 * a)
    c = force(t + h / 2, q + h / 2 * b)
    return q + h / 6 * (a + 2 * b + 2 * c + force(t + h, q + h * c))


def test_the_limit_of_the_midpoint_is_the_midpoint_rule_for_the_gradient_flow(midpoint):
    expected = np.stack([classical(midpoint_rule, n) for n in STEPS])
    np.testing.assert_allclose(midpoint[0][3], expected, atol=5e-8)  # 1/ϑ = 1e-8


def test_at_theta_1e8_no_more_steps_than_the_gradient_flow_at_equal_error(fourth):
    """The classical method takes four evaluations a step and this one six: 3/2 as many steps are as much work."""
    expected = np.stack([classical(classical_rk4, 3 * n // 2) for n in STEPS])
    flow = classical(classical_rk4, 4000)
    error = np.max(np.abs(expected - flow), axis=-1)
    assert np.all(errors(fourth[0])[3] < error + 5e-8)


def test_velocities_follow_at_every_theta(fourth):
    exact = np.stack([relaxing_at(END, theta)[1] for theta in THETAS])
    assert np.max(np.abs(fourth[1][:, -1] - exact)) < 3e-7


@pytest.mark.parametrize("stepper", [ExponentialMidpoint(), ExponentialRK4()], ids=["two", "four"])
def test_the_error_estimate_does_not_understate(stepper):
    """One step from rest and one from the slow motion, over ϑ and h; the larger of errors of q and v is compared."""

    @jax.jit
    def step(theta, h, start):
        terms = diffrax.ODETerm(Relaxing(theta).vector_field)
        first = stepper.init(terms, 0.0, h, start, None)
        y1, error, _, _, _ = stepper.step(terms, jnp.asarray(0.0), h, start, None, first, False)
        return y1, error

    grid = [
        (theta, h, slow) for theta in (1, 10, 30, 100, 1e3, 1e5, 1e8) for h in (0.2, 0.05, 0.0125) for slow in (0, 1)
    ]
    for theta, h, slow in grid:
        v0 = slow * (force(0.0, START) - np.array([3.0, -1.5]) / theta)
        y1, error = step(jnp.asarray(float(theta)), jnp.asarray(h), Motion(jnp.asarray(START), jnp.asarray(v0)))
        exact = relaxing_at(h, theta, START, v0)
        true = max(np.max(np.abs(y1.q - exact[0])), np.max(np.abs(y1.v - exact[1])))
        estimated = max(np.max(error.q), np.max(error.v))
        rounding = 1e-14
        assert estimated > true / 3 - rounding, (theta, h, slow, estimated, true)


@pytest.mark.slow
def test_steps_between_saved_times_are_interpolated_as_well_as_taken():
    """θh = 100: cubic interpolation from the slopes would miss by more than 1."""
    times = np.linspace(0.1, END, 39)
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(Relaxing(array(2e3)).vector_field),
        ExponentialRK4(),
        0.0,
        END,
        0.05,
        from_rest(),
        saveat=diffrax.SaveAt(ts=times),
    )
    exact = np.stack([relaxing_at(t, 2e3)[0] for t in times])
    np.testing.assert_allclose(solution.ys.q, exact, atol=2e-6)
    exact = np.stack([relaxing_at(t, 2e3)[1] for t in times])
    np.testing.assert_allclose(solution.ys.v, exact, atol=2e-4)


@pytest.mark.slow
def test_adaptive_steps_do_not_see_theta():
    tolerance = 1e-7
    counts = []
    for theta in (1e5, 1e8):
        path = simulate(Relaxing(array(theta)), from_rest(), [0.0, END], solver=ExponentialRK4(), rtol=tolerance)
        np.testing.assert_allclose(path.q[-1], relaxing_at(END, theta)[0], atol=5 * tolerance)
        counts.append(int(path.stats["num_steps"]))
    assert abs(counts[1] - counts[0]) < 5
    assert max(counts) < 100


@pytest.mark.slow
def test_float32_at_theta_1e8():
    """−ϑv and the force nearly cancel in v̇: what that leaves of digits must not reach q."""
    path = simulate(
        Relaxing(array(1e8, jnp.float32)), from_rest(jnp.float32), [0.0, END], solver=ExponentialRK4(), rtol=1e-5
    )
    np.testing.assert_allclose(path.q[-1], relaxing_at(END, 1e8)[0], atol=5e-6)
    assert path.q.dtype == jnp.float32


def test_a_law_without_a_linear_part_is_refused_with_a_remedy():
    for stepper in (ExponentialMidpoint(), ExponentialRK4(), KickDrift()):
        with pytest.raises(ValueError, match=r"this law has none .*Oscillator.*diffrax\.Tsit5"):
            simulate(Oscillator(array(1.0)), at_rest(), [0.0, 1.0], solver=stepper, dt0=0.1)
    with pytest.raises(ValueError, match="finds no law in these terms"):
        diffrax.diffeqsolve(diffrax.ODETerm(lambda t, y, args: -y), ExponentialRK4(), 0.0, 1.0, 0.1, jnp.ones(2))


def test_backward_in_time_is_refused():
    terms = diffrax.ODETerm(Relaxing(array(1.0)).vector_field)
    with pytest.raises(eqx.EquinoxRuntimeError, match="forward in time only"):
        diffrax.diffeqsolve(terms, KickDrift(), 1.0, 0.0, -0.1, from_rest())


@pytest.mark.slow
def test_a_scheduled_weight():
    """r = 40(1 + ½ cos 5t), log ϖ = 40(t + sin 5t/10): the order is that of the method, against DOP853."""
    from scipy.integrate import solve_ivp

    class Scheduled(Relaxing):
        def rates(self, t, state, args):
            rate = 40 * (1 + 0.5 * jnp.cos(5 * t))
            return (
                Relaxing(self.theta)
                .rates(t, state, args)
                ._replace(state=Motion(state.v, -rate * state.v + 40 * self.force(t, state.q)))
            )

        @property
        def linear_part(self):
            return DampedMotion(ScheduledDissipation(lambda t: 40 * (t + jnp.sin(5 * t) / 10)))

    def rate(t, y):
        return np.concatenate([y[2:], -40 * (1 + 0.5 * np.cos(5 * t)) * y[2:] + 40 * force(t, y[:2])])

    start = np.concatenate([START, np.zeros(2)])
    exact = solve_ivp(rate, (0, END), start, method="DOP853", rtol=1e-12, atol=1e-13).y[:2, -1]
    for stepper, order in ((ExponentialMidpoint(), 2), (ExponentialRK4(), 4)):
        run = jax.jit(
            lambda h, stepper=stepper: diffrax.diffeqsolve(
                diffrax.ODETerm(Scheduled(array(40.0)).vector_field), stepper, 0.0, END, h, from_rest(), max_steps=400
            ).ys.q[0]
        )
        error = [np.max(np.abs(run(END / n) - exact)) for n in (40, 80, 160, 320)]
        assert np.all(slopes(np.array(error)) > order - 0.3), (stepper, error)


@pytest.mark.slow
def test_vmap_and_gradients_with_respect_to_theta():
    """∂q(T)/∂ϑ through adaptive steps against differences of the closed form."""

    def end(theta):
        path = simulate(Relaxing(theta), from_rest(), [0.0, END], solver=ExponentialRK4(), rtol=1e-9, max_steps=4096)
        return path.q[-1, 0]

    thetas = jnp.array([3.0, 50.0, 2e3])
    value, slope = jax.vmap(jax.value_and_grad(end))(thetas)
    exact = [relaxing_at(END, theta)[0][0] for theta in np.asarray(thetas)]
    np.testing.assert_allclose(value, exact, atol=1e-8)
    for theta, found in zip(np.asarray(thetas), slope, strict=True):
        d = 1e-4 * theta
        expected = (relaxing_at(END, theta + d)[0][0] - relaxing_at(END, theta - d)[0][0]) / (2 * d)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-10)


def test_the_linear_part_can_be_given():
    part = DampedMotion(ExponentialDissipation(1e4))
    terms = diffrax.ODETerm(lambda t, y, args: Relaxing(args).vector_field(t, y, None))
    solution = diffrax.diffeqsolve(terms, KickDrift(part), 0.0, END, END / 400, from_rest(), array(1e4))
    np.testing.assert_allclose(solution.ys.q[0], relaxing_at(END, 1e4)[0], atol=5e-3)


@pytest.mark.parametrize(
    ("stepper", "tolerance"), [(ExponentialMidpoint(), 5e-6), (ExponentialRK4(), 1e-7)], ids=["midpoint", "RK4"]
)
def test_a_step_is_interpolated_between_its_ends(stepper, tolerance):
    """θh = 100: by e^{σhA} and the slopes of the step, so that the transient is met too."""
    terms, y0, begin, end = diffrax.ODETerm(Relaxing(array(2e3)).vector_field), from_rest(), array(0.0), array(0.05)
    kept = stepper.init(terms, begin, end, y0, None)
    y1, _, dense, *_ = stepper.step(terms, begin, end, y0, None, kept, False)
    between = stepper.interpolation_cls(t0=begin, t1=end, **dense)
    for t, y in ((begin, y0), (end, y1)):
        np.testing.assert_allclose(between.evaluate(t).q, y.q, rtol=1e-13)
        np.testing.assert_allclose(between.evaluate(t).v, y.v, rtol=1e-11, atol=1e-12)
    q, v = relaxing_at(0.002, 2e3)
    np.testing.assert_allclose(between.evaluate(array(0.002)).q, q, atol=tolerance)
    np.testing.assert_allclose(between.evaluate(array(0.002)).v, v, atol=1e3 * tolerance)
    apart = between.evaluate(begin, array(0.002))
    np.testing.assert_allclose(apart.q, between.evaluate(array(0.002)).q - y0.q, rtol=1e-12)


class Forced(AbstractLaw):
    """q̇ = v, v̇ = (sin 3t, cos 2t)."""

    def rates(self, t, state, args):
        return Rates(Motion(state.v, jnp.stack([jnp.sin(3 * t), jnp.cos(2 * t)])), None)

    @property
    def linear_part(self):
        return DampedMotion(ExponentialDissipation(0.0))


def test_the_error_estimate_of_the_midpoint_is_what_a_parabola_would_change():
    """Without damping (h/6) |N₀ − 2 N½ + N₁| in the velocities."""
    terms, stepper, h = diffrax.ODETerm(Forced().vector_field), ExponentialMidpoint(), 0.3
    kept = stepper.init(terms, array(0.0), array(h), from_rest(), None)
    error = stepper.step(terms, array(0.0), array(h), from_rest(), None, kept, False)[1]
    slopes = [np.array([np.sin(3 * t), np.cos(2 * t)]) for t in (0.0, h / 2, h)]
    np.testing.assert_allclose(error.v, h / 6 * np.abs(slopes[0] - 2 * slopes[1] + slopes[2]), rtol=1e-12)
