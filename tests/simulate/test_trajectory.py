"""What a trajectory holds, says, and refuses to make up."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lagrangian_learning.simulate import Baumgarte, NoStabilisation, NotSavedError, simulate
from tests.laws import BlowUp, Oscillator, Pendulum, array, at_rest, released

TS = np.linspace(0, 1, 3)


def test_names_and_aliases():
    path = simulate(Oscillator(array(2.0)), at_rest(), TS, dt0=0.1)
    np.testing.assert_array_equal(path.W, path.q)  # the law calls q also W
    assert path.constraint_residual.shape == path.energy.shape == path.energy_balance.shape == TS.shape
    assert set(path.saved) == {"q", "v"}
    assert not hasattr(path, "multipliers")


def test_what_was_not_saved_is_a_named_error():
    path = simulate(Oscillator(array(2.0)), at_rest(), TS, dt0=0.1, save=lambda t, o: {"size": jnp.sum(o["W"] ** 2)})
    np.testing.assert_allclose(path.size, np.cos(2 * TS) ** 2, rtol=1e-9)
    with pytest.raises(NotSavedError, match="kept size"):
        _ = path.q
    with pytest.raises(NotSavedError, match='observables\\["W"\\]'):
        _ = path.W
    assert path.stats["energy_max"] > 0  # extrema are kept anyway
    assert path.energy.shape == TS.shape


def test_a_save_that_asks_for_what_the_law_does_not_record():
    with pytest.raises(ValueError, match="save asks for 'loss', and this law records W, q, v, x"):
        simulate(Oscillator(array(2.0)), at_rest(), TS, dt0=0.1, save=lambda t, o: o["loss"])


def test_a_save_that_returns_no_dict():
    path = simulate(Oscillator(array(2.0)), at_rest(), TS, dt0=0.1, save=lambda t, o: o["q"])
    assert path.saved.shape == (3, 1)
    with pytest.raises(NotSavedError, match=r"path\.saved"):
        _ = path.q


def test_a_save_that_returns_empty_tuples():
    path = simulate(Oscillator(array(2.0)), at_rest(), TS, dt0=0.1, save=lambda t, o: ((), o["q"], None))
    assert path.saved[::2] == ((), None)
    np.testing.assert_allclose(path.saved[1][:, 0], np.cos(2 * TS), rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("nothing", [(), None, {}])
def test_a_save_that_returns_nothing(nothing):
    path = simulate(Oscillator(array(2.0)), at_rest(), TS, dt0=0.1, save=lambda t, o: nothing)
    assert path.saved == nothing
    assert "saved           nothing" in str(path)


def test_a_law_without_energy_says_so():
    path = simulate(BlowUp(), at_rest(0.1), TS, dt0=0.1)
    with pytest.raises(NotSavedError, match="no energy"):
        _ = path.energy
    with pytest.raises(NotSavedError, match="no energy or no power"):
        _ = path.energy_balance


def test_prints_what_a_reader_asks():
    text = str(simulate(Pendulum(array(9.81)), released(), TS, dt0=0.1))
    for word in ("Pendulum", "Dopri8", "projection", "dt0 0.1", "10 steps", "max |G|", "energy", "successful"):
        assert word in text
    assert repr(simulate(Pendulum(array(9.81)), released(), TS, dt0=0.1)) == text


@pytest.mark.slow
def test_prints_in_a_batch_and_under_jit(capsys):
    law = Oscillator(array(2.0))
    path = jax.vmap(lambda q: simulate(law, type(at_rest())(q, q * 0), TS, dt0=0.1))(jnp.ones((4, 1)))
    assert "a batch of 4 runs" in str(path)
    assert "all 4 successful" in str(path)
    jax.jit(lambda q: print(simulate(law, type(at_rest())(q, q * 0), TS, dt0=0.1)))(jnp.ones(1))
    assert "traced" in capsys.readouterr().out


@pytest.mark.slow
def test_residuals_without_projection_grow_and_are_told():
    ts = np.linspace(0, 5, 6)
    kept = simulate(Pendulum(array(9.81)), released(), ts, dt0=0.05)
    loose = simulate(Pendulum(array(9.81)), released(), ts, dt0=0.05, stabilisation=NoStabilisation())
    tied = simulate(Pendulum(array(9.81)), released(), ts, dt0=0.05, stabilisation=Baumgarte(5.0, 5.0))
    worst = [float(path.stats["max_constraint_residual"]) for path in (kept, tied, loose)]
    assert worst[0] < 1e-15 < worst[1] < worst[2]
    assert float(loose.constraint_residual[-1]) == worst[2] or float(loose.constraint_residual[-1]) < worst[2]
    assert kept.stats["max_constraint_residual_before_projection"] > worst[0]


def test_progress_prints(capfd):
    simulate(Oscillator(array(2.0)), at_rest(), TS, dt0=0.1, progress=True)
    jax.effects_barrier()
    assert "100.00%" in capfd.readouterr().out
