"""Time weights: log ϖ(0) = 0, r = d/dt log ϖ, and no rate that would feed energy in unnoticed."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lagrangian_learning.mechanics import ExponentialDissipation, NoDissipation, ScheduledDissipation

DISSIPATIONS = [
    NoDissipation(),
    ExponentialDissipation(1.3),
    ExponentialDissipation(2),
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
