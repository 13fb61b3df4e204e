"""Times that decrease: back to the start, energy and work, what only goes forward."""

import diffrax
import jax.numpy as jnp
import numpy as np
import pytest

import lagrangian_learning as ll

LAW = ll.EulerLagrange(
    ll.Lagrangian(lambda t, q, v, args: v @ v / 2 - 9.81 * q[1], ll.ExponentialDissipation(0.3)),
    ll.Holonomic(lambda t, q, args: ((q[0] - 0.2 * jnp.sin(3 * t)) ** 2 + q[1] ** 2 - 1) / 2),
)


@pytest.mark.parametrize(
    ("settings", "accuracy"),
    [
        ({"rtol": 1e-11}, 1e-8),
        pytest.param({"dt0": 0.005, "solver": diffrax.Dopri5()}, 1e-8, marks=pytest.mark.slow),
    ],
    ids=["adaptive", "constant"],
)
def test_forward_and_back_again(settings, accuracy):
    """A damped pendulum whose support moves: the way back is the way there, its energy balanced."""
    start = LAW.initial_state(1.0, np.array([1 + 0.2 * np.sin(3), 0.0]), np.array([0.6 * np.cos(3), 0.5]))
    ts = np.array([1.0, 1.5, 2.0])
    there = ll.simulate(LAW, start, ts, **settings)
    back = ll.simulate(LAW, there.final_state, ts[::-1], **settings)
    np.testing.assert_array_equal(back.ts, ts[::-1])
    np.testing.assert_allclose(back.q[::-1], there.q, atol=accuracy)
    np.testing.assert_allclose(back.v[::-1], there.v, atol=10 * accuracy)
    np.testing.assert_allclose(back.energy[::-1], there.energy, atol=20 * accuracy)
    np.testing.assert_allclose(back.energy_balance, 0, atol=20 * accuracy)
    assert abs(float(there.energy[-1] - there.energy[0])) > 0.1
    assert back.stats["max_constraint_residual"] < 1e-13


def seen(t, observables):
    return t


@pytest.mark.slow
def test_save_and_resume_are_given_the_time_itself():
    law = ll.EulerLagrange(ll.Lagrangian(lambda t, q, v, args: v @ v / 2 + t * q[0]))
    state = law.initial_state(2.0, np.zeros(1), np.ones(1))
    path = ll.simulate(law, state, [2.0, 1.0], dt0=0.25, save=seen, solver=diffrax.Heun())
    np.testing.assert_array_equal(path.saved, [2.0, 1.0])
    assert path.carry.t == 1
    q, v = path.final_state.q[0], path.final_state.v[0]
    np.testing.assert_allclose(path.energy, [0.5, v**2 / 2 - 1.0 * q], rtol=1e-13)
    on = ll.simulate(law, None, [1.0, 0.5], dt0=0.25, save=seen, solver=diffrax.Heun(), resume=path)
    whole = ll.simulate(law, state, [2.0, 1.0, 0.5], dt0=0.25, save=seen, solver=diffrax.Heun())
    np.testing.assert_array_equal(on.final_state.q, whole.final_state.q)


def test_what_only_goes_forward_is_refused_by_name():
    start = LAW.initial_state(0.0, np.array([1.0, 0.0]), np.array([0.6, 0.0]))
    with pytest.raises(ValueError, match=r"ts decreases, and ll\.Rattle only goes forward"):
        ll.simulate(LAW, start, [0.0, -1.0], solver=ll.Rattle(), dt0=0.1)
    with pytest.raises(ValueError, match="ts decreases, and a stepper that takes out damping"):
        ll.simulate(LAW, start, [0.0, -1.0], solver=ll.ExponentialRK4())
    with pytest.raises(ValueError, match="ts decreases, and Baumgarte's method only goes forward"):
        ll.simulate(LAW, start, [0.0, -1.0], stabilisation=ll.Baumgarte(5.0, 5.0))
    with pytest.raises(ValueError, match="ts decreases, and kinks= only goes forward"):
        ll.simulate(LAW, start, [0.0, -1.0], kinks=[-0.5])
    with pytest.raises(ValueError, match="strictly"):
        ll.simulate(LAW, start, [0.0, -1.0, -0.5])
