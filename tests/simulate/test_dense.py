"""`path.at(t)`: the state between saved times."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lagrangian_learning as ll

OSCILLATOR = ll.EulerLagrange(ll.Lagrangian(lambda t, q, v, k: (v @ v - k * q @ q) / 2))
TS = jnp.array([0.0, 1.0, 3.0])


def run(k=4.0, **settings):
    state = OSCILLATOR.initial_state(0.0, jnp.array([1.0]), args=k)
    return ll.simulate(OSCILLATOR, state, TS, k, dense=True, **({"max_steps": 200} | settings))


@pytest.mark.slow
@pytest.mark.parametrize(("settings", "error"), [({}, 1e-8), ({"solver": diffrax.Heun(), "dt0": 0.02}, 3e-3)])
def test_the_state_at_any_time(settings, error):
    path, t = run(**settings), jnp.linspace(0.0, 3.0, 50).reshape(2, 25)
    state = path.at(t)
    assert state.q.shape == (2, 25, 1)
    np.testing.assert_allclose(state.q[..., 0], np.cos(2 * t), atol=error)
    np.testing.assert_allclose(state.v[..., 0], -2 * np.sin(2 * t), atol=2 * error)
    np.testing.assert_allclose(path.at(TS).q, path.q, atol=1e-14)


@pytest.mark.slow
def test_it_can_be_differentiated():
    by_k = jax.grad(lambda k: run(k).at(1.7).q[0])(4.0)
    assert by_k == pytest.approx(-1.7 * np.sin(2 * 1.7) / 4, abs=1e-7)


def test_outside_the_run_it_is_nan():
    assert np.isnan(run().at(jnp.array([-0.1, 3.1])).q).all()


@pytest.mark.slow
def test_what_has_no_state_between_its_times_says_so():
    rod = ll.EulerLagrange(ll.Lagrangian(lambda t, q, v, k: v @ v / 2), ll.Holonomic(lambda t, q, k: q @ q - 1))
    state = rod.initial_state(0.0, jnp.array([1.0, 0.0]))
    with pytest.raises(ValueError, match="NoStabilisation"):
        ll.simulate(rod, state, TS, dense=True, max_steps=100)
    with pytest.raises(ValueError, match="give max_steps"):
        run(max_steps=2**20)
    with pytest.raises(ValueError, match="interpolates"):
        run(solver=ll.Rattle(), dt0=0.1)
    with pytest.raises(AttributeError, match="dense=True"):
        ll.simulate(rod, state, TS).at(0.5)
