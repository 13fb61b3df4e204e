"""Energy and power: closed forms, and dE/dt along the motion by automatic differentiation of the energy."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lagrangian_learning.mechanics import (
    EulerLagrange,
    ExponentialDissipation,
    Holonomic,
    Lagrangian,
    ScheduledDissipation,
    State,
    energy,
    momenta,
    power,
)


def rate_and_power(law, t, state, args):
    """dE/dt along the vector field by jvp, and the power of the energy balance."""

    @eqx.filter_jit
    def both(law, t, state, args):
        rates = law.rates(t, state, args)
        _, change = jax.jvp(lambda s, y: law.energy(s, y, args), (t, state), (jnp.ones_like(t), rates.state))
        return change, rates.power

    return both(law, jnp.asarray(t), state, args)


def test_energy_of_a_pendulum(pendulum):
    q, v = jnp.array([0.6, -0.8]), jnp.array([1.6, 1.2])
    np.testing.assert_allclose(pendulum.energy(0.0, State(q, v), None), 2.0 - 0.8 * 9.81, rtol=1e-15)
    assert abs(pendulum.rates(0.0, State(q, v), None).power) < 1e-14  # −δ·DG, and DG = 0 to rounding


def test_momenta_of_ostrogradsky():
    """ℓ = ½a² − ½bv² with ϖ = e^{ϑt}: p₂ = a, p₁ = −bv − j − ϑa, E = p₁v + p₂a − ℓ."""
    theta, b = 0.7, 1.9
    lagrangian = Lagrangian(
        lambda t, q, v, a, args: 0.5 * a**2 - 0.5 * b * v**2, ExponentialDissipation(theta), order=2
    )
    q, v, a, j = (jnp.asarray(x) for x in (0.3, -1.1, 0.4, 2.0))
    t = jnp.asarray(0.2)
    p1, p2 = momenta(lagrangian, t, (q, v, a, j), None)
    np.testing.assert_allclose(p2, a)
    np.testing.assert_allclose(p1, -b * v - j - theta * a, rtol=1e-15)
    value = energy(lagrangian, t, (q, v, a, j), None)
    np.testing.assert_allclose(value, p1 * v + p2 * a - (a**2 - b * v**2) / 2, rtol=1e-15)


def test_dissipation_takes_r_times_twice_the_kinetic_energy():
    law = EulerLagrange(Lagrangian(lambda t, q, v, args: 1.5 * v @ v, ExponentialDissipation(0.3)))
    v = jnp.array([2.0, 1.0])
    np.testing.assert_allclose(law.rates(0.0, State(v, v), None).power, -0.3 * 3.0 * 5.0, rtol=1e-15)


def test_first_order_balance_with_everything_in_it(driven, driven_start, driven_args):
    """Dissipation, forces, a density and a constraint that depend on time: dE/dt is the power."""
    state = driven.initial_state(0.3, *driven_start, driven_args, consistent="project")
    change, rate = rate_and_power(driven, 0.3, state, driven_args)
    np.testing.assert_allclose(rate, change, rtol=1e-12)
    assert abs(rate) > 0.1


def test_first_order_balance_holds_off_the_constraint_too(driven, driven_start, driven_args):
    change, rate = rate_and_power(driven, 0.3, State(*driven_start), driven_args)
    np.testing.assert_allclose(rate, change, rtol=1e-12)


@pytest.mark.parametrize("constrained", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_second_order_balance(constrained, rng):
    """The same for order 2, with a scheduled weight, a term outside it and a moving constraint."""

    def density(t, q, v, a, args):
        return 0.5 * a @ a + 0.5 * q[0] ** 2 * v @ v + jnp.sin(t) * q[0] * q[1] + 0.1 * a[0] * v[1] * q[2]

    def outside(t, q, v, a, args):
        return 0.3 * a @ a + jnp.cos(t) * q[0] ** 2

    lagrangian = Lagrangian(
        density, ScheduledDissipation(lambda t: 0.4 * t + 0.1 * jnp.sin(t)), order=2, unweighted=outside
    )
    constraint = Holonomic(lambda t, q, args: q[2] - q[0] * q[1] - jnp.sin(2 * t)) if constrained else None
    law = EulerLagrange(lagrangian, constraint, forces=lambda t, q, v, args: -0.2 * v * q)
    q, v, a, j = (jnp.asarray(rng.normal(size=3)) for _ in range(4))
    state = law.initial_state(0.4, q, v, a=a, j=j, consistent="project")
    change, rate = rate_and_power(law, 0.4, state, None)
    np.testing.assert_allclose(rate, change, rtol=1e-11)


def test_the_work_of_a_moving_constraint_is_delta_times_its_motion():
    """A lift: G = q − ½ct², so the cable's force m(c + g) does work at rate force times speed; δ = −force."""
    m, g, c, t = 2.0, 9.81, 0.5, 3.0
    lagrangian = Lagrangian(lambda t, q, v, args: 0.5 * m * v**2 - m * g * q)
    law = EulerLagrange(lagrangian, Holonomic(lambda t, q, args: q - 0.5 * c * t**2))
    state = law.initial_state(t, jnp.asarray(0.5 * c * t**2), jnp.asarray(c * t))
    _, delta = law.accelerations(t, state)
    np.testing.assert_allclose(delta, -m * (c + g), rtol=1e-13)
    np.testing.assert_allclose(law.rates(t, state, None).power, m * (c + g) * c * t, rtol=1e-13)
    np.testing.assert_allclose(
        power(lagrangian, law.constraint, jnp.asarray(t), (state.q, state.v), None, delta, None),
        m * (c + g) * c * t,
        rtol=1e-13,
    )
