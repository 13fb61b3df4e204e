"""Two runs joined by resume= are the one run they replace."""

import diffrax
import jax
import numpy as np
import pytest

from lagrangian_learning.simulate import NoStabilisation, simulate
from tests.helpers import mostly_slow
from tests.laws import Motion, Oscillator, Pendulum, array, at_rest, released

TS = np.linspace(0, 2, 5)
LAW = Pendulum(array(9.81))
SETTINGS = {
    "projection": {"dt0": 0.013, "solver": diffrax.Tsit5()},
    "first same as last": {"dt0": 0.013, "solver": diffrax.Tsit5(), "stabilisation": NoStabilisation()},
    "adaptive": {},
}


@pytest.mark.parametrize("name", mostly_slow(SETTINGS, "projection"))
def test_bitwise(name):
    settings = SETTINGS[name]
    whole = simulate(LAW, released(), TS, **settings)
    first = simulate(LAW, released(), TS[:3], **settings)
    second = simulate(LAW, None, TS[2:], resume=first, **settings)
    for attribute in ("q", "v", "a", "energy", "energy_balance", "constraint_residual"):
        np.testing.assert_array_equal(getattr(second, attribute), getattr(whole, attribute)[2:])
    for extremum in ("max_constraint_residual_before_projection", "energy_min", "energy_max", "max_energy_defect"):
        np.testing.assert_array_equal(second.stats[extremum], whole.stats[extremum])
    given = simulate(LAW, first.final_state, TS[2:], resume=first, **settings)
    np.testing.assert_array_equal(given.q, second.q)


@pytest.mark.slow
def test_a_run_cut_off_by_max_steps_goes_on():
    whole = simulate(LAW, released(), TS)
    cut = simulate(LAW, released(), TS, max_steps=20, throw=False)
    ts = np.concatenate([[cut.carry.t], TS[float(cut.carry.t) < TS]])
    rest = simulate(LAW, None, ts, resume=cut)
    np.testing.assert_array_equal(rest.final_state.q, whole.final_state.q)


def test_refusals():
    first = simulate(LAW, released(), TS[:3], dt0=0.1)
    with pytest.raises(ValueError, match=r"ts\[0\] must be the time"):
        simulate(LAW, None, TS[1:], resume=first, dt0=0.1)
    with pytest.raises(ValueError, match="final_state"):
        simulate(LAW, released(), TS[2:], resume=first, dt0=0.1)
    with pytest.raises(ValueError, match="constant steps"):
        simulate(LAW, None, TS[2:], resume=first)
    with pytest.raises(ValueError, match="another solver"):
        simulate(LAW, None, TS[2:], resume=first, dt0=0.1, solver=diffrax.Heun())


@pytest.mark.slow
def test_batched():
    law = Oscillator(array(2.0))
    starts = Motion(np.array([[1.0], [2.0]]), np.zeros((2, 1)))
    settings = {"dt0": 0.1}
    whole = jax.vmap(lambda s: simulate(law, s, TS, **settings))(starts)
    first = jax.vmap(lambda s: simulate(law, s, TS[:3], **settings))(starts)
    second = jax.vmap(lambda path: simulate(law, None, TS[2:], resume=path, **settings))(first)
    np.testing.assert_array_equal(second.q, whole.q[:, 2:])
    assert simulate(law, at_rest(), TS, **settings).q.shape == (5, 1)
