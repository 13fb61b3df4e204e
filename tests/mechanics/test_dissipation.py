"""Time weights: log ϖ(0) = 0, r = d/dt log ϖ, and no rate that would feed energy in unnoticed."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

import lagrangian_learning as ll
from lagrangian_learning.mechanics import (
    ExponentialDissipation,
    NoDissipation,
    PiecewiseLinearDissipation,
    ScheduledDissipation,
)

DISSIPATIONS = [
    NoDissipation(),
    ExponentialDissipation(1.3),
    ExponentialDissipation(2),
    PiecewiseLinearDissipation([-0.5, 0.5, 1.0], [0.3, 2.0, 0.7]),
    ScheduledDissipation(lambda t: 5.0 + jnp.log1p(t**2)),
]


@pytest.mark.parametrize("dissipation", DISSIPATIONS)
def test_rate_is_the_derivative_of_the_log_weight(dissipation):
    assert dissipation.log_weight(jnp.asarray(0.0)) == 0
    t, step = jnp.asarray(0.8), 1e-5
    difference = (dissipation.log_weight(t + step) - dissipation.log_weight(t - step)) / (2 * step)
    np.testing.assert_allclose(dissipation.rate(t), difference, atol=1e-9)


@pytest.mark.parametrize("dissipation", DISSIPATIONS)
def test_takes_the_dtype_of_time(dissipation):
    t = jnp.asarray(0.8, jnp.float32)
    assert dissipation.rate(t).dtype == dissipation.log_weight(t).dtype == jnp.float32


@pytest.mark.parametrize("theta", [-1.0, -1e-300, np.nan, np.inf])
def test_a_rate_that_no_weight_has_is_an_error_with_its_remedy(theta):
    with pytest.raises(ValueError, match=r"theta must be finite and >= 0.*ScheduledDissipation"):
        ExponentialDissipation(theta)


def test_the_same_when_traced():
    make = eqx.filter_jit(lambda theta: ExponentialDissipation(theta).rate(jnp.asarray(0.0)))
    assert make(jnp.asarray(2.0)) == 2
    with pytest.raises(Exception, match="theta must be finite and >= 0"):
        make(jnp.asarray(-2.0))


@pytest.mark.usefixtures("unchecked")
def test_a_schedule_must_be_callable():
    with pytest.raises(ValueError, match="log_weight_fn must be callable"):
        ScheduledDissipation(3.0)  # pyright: ignore[reportArgumentType]


def test_a_module_as_schedule_keeps_its_arrays():
    class Slope(eqx.Module):
        slope: jax.Array

        def __call__(self, t):
            return self.slope * t

    rate = jax.grad(lambda s: ScheduledDissipation(Slope(s)).rate(jnp.asarray(1.0)))(jnp.asarray(2.0))
    assert rate == 1


TIMES, THETAS = (0.0, 1.0, 3.0), (1.0, 2.0, 0.5)


@pytest.mark.parametrize("ends", [(-1.0, 0.5), (0.2, 2.7), (2.9, 7.0), (-3.0, -2.0), (5.0, 9.0), (1.0, 3.0)])
def test_a_piecewise_weight_grows_by_the_integral_of_its_theta(ends):
    begin, end = (jnp.asarray(t) for t in ends)
    growth = PiecewiseLinearDissipation(TIMES, THETAS).log_growth
    integral = scipy.integrate.quad(lambda t: np.interp(t, TIMES, THETAS), *ends, points=TIMES)[0]
    np.testing.assert_allclose(growth(begin, end), integral, rtol=1e-12)
    np.testing.assert_allclose(growth(end, begin), -integral, rtol=1e-12)


def test_a_piecewise_weight_keeps_the_digits_of_a_late_step():
    times = np.array([0.0, 1e6])
    one = PiecewiseLinearDissipation(times, [3.0, 3.0]).log_growth(jnp.float32(999_999.0), jnp.float32(1e6))
    assert one == 3


def test_its_gradient_by_thetas_is_the_share_of_each():
    late = [jnp.asarray(t) for t in (0.2, 5.0)]
    shares = jax.grad(lambda thetas: PiecewiseLinearDissipation(TIMES, thetas).log_growth(*late))(jnp.array(THETAS))
    np.testing.assert_allclose(shares, [0.32, 1.48, 3.0], rtol=1e-12)  # hats integrated by hand


@pytest.mark.parametrize(
    ("times", "thetas", "message"),
    [
        ([1.0, 0.0], [1.0, 1.0], "times must increase strictly"),
        ([0.0, 1.0], [1.0], r"equally many numbers.*got shapes \(2,\) and \(1,\)"),
        ([0.0, 1.0], [1.0, -1.0], "thetas must be >= 0"),
        ([0.0, np.nan], [1.0, 1.0], "times contains NaN"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_a_piecewise_weight_refuses_what_is_none(times, thetas, message):
    with pytest.raises(ValueError, match=message):
        PiecewiseLinearDissipation(times, thetas)


def test_thetas_that_an_optimiser_made_negative_are_refused_by_the_run():
    dissipation = PiecewiseLinearDissipation(TIMES, THETAS)
    changed = eqx.tree_at(lambda one: one.thetas, dissipation, jnp.array([1.0, -2.0, 0.5]))
    law = ll.EulerLagrange(ll.Lagrangian(lambda t, q, v, args: v @ v / 2, changed))
    with pytest.raises(ValueError, match=r"thetas must be finite and >= 0: it was changed after Piecewise.* was built"):
        ll.simulate(law, law.initial_state(0.0, jnp.ones(2)), jnp.array([0.0, 1.0]))
