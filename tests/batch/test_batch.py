"""Many runs in one call: each is the motion that its closed form says, and depends on no other."""

import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lagrangian_learning.batch import batch_run as meter, simulate_batch
from lagrangian_learning.simulate import RESULTS, NotSavedError, simulate
from tests.batches import (
    CHUNK,
    DIFFRAX,
    FUSED,
    GRAVITY,
    LANES,
    NOTHING,
    RECORDS,
    SETTINGS,
    TS,
    assert_same_bits,
    released,
    run,
    statistics,
)
from tests.laws import Motion, Oscillator, Pendulum, array, pendulum_at, released as one_released


@pytest.fixture(scope="module")
def batch():
    return run()


def test_lanes_follow_their_closed_forms(batch):
    for lane, gravity in enumerate(GRAVITY):
        q, v = pendulum_at(TS, gravity)
        np.testing.assert_allclose(batch.q[lane], q, atol=1e-8)
        np.testing.assert_allclose(batch.v[lane], v, atol=1e-7)
    assert (batch.result == RESULTS.successful).all()
    np.testing.assert_array_equal(batch.stats["num_accepted_steps"], 400)
    assert (batch.stats["max_constraint_residual"] < 1e-12).all()


def test_results_are_on_the_host_with_lanes_first(batch):
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(batch))
    assert batch.ts.shape == batch.energy.shape == batch.energy_balance.shape == (LANES, len(TS))
    assert batch.q.shape == (LANES, len(TS), 2)
    assert batch.final_state.q.shape == (LANES, 2)


def test_a_lane_is_the_run_alone(batch):
    # Not to the bit: XLA contracts products and sums of one run otherwise than those of many.
    alone = simulate(Pendulum(array(GRAVITY[3])), one_released(), TS, **SETTINGS)
    for name in RECORDS:
        np.testing.assert_allclose(getattr(batch, name)[3], getattr(alone, name), atol=1e-12)
    np.testing.assert_array_equal(batch.stats["num_steps"][3], alone.stats["num_steps"])


def test_the_order_of_lanes_is_nothing_but_an_order(batch):
    order = np.random.default_rng(1).permutation(LANES)
    assert_same_bits(run(GRAVITY[order]), batch, others=order)


def test_a_bad_lane_leaves_the_others_untouched(batch):
    state, gravity = released(), GRAVITY.copy()
    state.q[1], state.q[5], gravity[6], gravity[10] = np.nan, [1.1, 0.0], np.inf, np.nan
    bad = run(gravity, state)
    good = np.setdiff1d(np.arange(LANES), [1, 5, 6, 10])
    assert_same_bits(bad, batch, good, good)
    assert (bad.result == RESULTS.inconsistent_start)[5]
    np.testing.assert_array_equal(np.flatnonzero(bad.result == RESULTS.non_finite), [1, 6, 10])
    assert np.isnan(bad.q[1]).all()
    text = str(bad)
    assert "7 of 11 successful" in text
    assert "run 5: The initial state is off the constraints" in text
    assert "runs 1, 6, 10: A NaN or an infinity appeared" in text


def test_chunks_change_nothing(batch):
    assert_same_bits(run(chunk=None), batch)


@pytest.mark.slow
def test_many_chunks_change_nothing(batch):
    for chunk in (2, 3, 5, 6, 7):
        assert_same_bits(run(chunk=chunk), batch)
    assert_same_bits(run(GRAVITY[:1], chunk=1), batch, others=slice(0, 1))  # padded, since a lone lane rounds otherwise


def test_a_second_batch_compiles_nothing(batch):
    compiled = []
    handler = logging.Handler()
    handler.emit = lambda record: compiled.append(record.getMessage())
    with jax.log_compiles(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(logging.getLogger("jax"), "handlers", [handler])
        run(GRAVITY + 1)
    assert not [message for message in compiled if "Compiling" in message], compiled


def test_reduce_folds_lane_after_lane_without_padding(batch):
    reduced = run(reduce=(NOTHING, statistics))
    total = 0.0
    for height in batch.q[:, -1, 1]:
        total = total + height
    assert reduced.value == {"lanes": LANES, "height": total}
    np.testing.assert_array_equal(reduced.stats["energy_max"], batch.stats["energy_max"])
    assert (reduced.result == RESULTS.successful).all()
    assert "['lanes'] 11" in str(reduced)
    assert "all 11 successful" in str(reduced)


def test_reduce_sees_how_a_lane_ended():
    state = released()
    state.q[2] = np.nan
    reduced = run(state=state, reduce=(NOTHING, statistics))
    assert reduced.value["lanes"] == LANES - 1
    assert np.isfinite(reduced.value["height"])
    assert "10 of 11 successful" in str(reduced)


def bad_where_heavy(total, path):
    """NaN out of lanes that are fine, those of gravity above 12.5."""
    return total + jnp.log(12.5 - jnp.max(jnp.abs(path.a[0])))


def test_a_nan_out_of_reduce_is_named():
    """a = −g at rest on the side: log(12.5 − g) is NaN from g = 13 on, lane 8 of 5, 6, …, 15."""
    reduced = run(reduce=(0.0, bad_where_heavy))
    assert np.isnan(reduced.value)
    assert reduced.nan_from == 8
    assert "NaN FROM RUN 8 ON" in str(reduced)
    with pytest.raises(RuntimeError, match="reduce holds NaN from run 8 on"):
        run(reduce=(0.0, bad_where_heavy), throw=True)


def test_a_nan_that_reduce_forgets_is_none():
    """0, NaN after the first lane, 1 after the others."""
    reduced = run(reduce=(0.0, lambda last, path: jnp.where(last == 0, jnp.nan, 1.0)))
    assert reduced.nan_from is None
    assert reduced.value == 1


def test_throw_names_the_lane():
    state = released()
    state.q[6] = np.nan
    with pytest.raises(RuntimeError, match="run 6 of the batch failed: A NaN"):
        run(state=state, throw=True)


def test_progress_tells_rate_and_time_left(capfd, monkeypatch):
    monkeypatch.setattr(meter, "_EVERY_SECONDS", 0.0)
    run(progress=True)
    out, told = capfd.readouterr()
    lines = told.splitlines()
    assert lines[0].startswith("simulate_batch: 4 of 11 lanes")
    assert "8 of 11 lanes" in lines[1]
    assert "a second" in lines[1]
    assert "s left" in lines[1]
    assert lines[2].startswith("simulate_batch: 11 lanes in")
    assert not out


def test_progress_is_sparse(capfd):
    run(progress=True)
    assert len(capfd.readouterr().err.splitlines()) == 1
    run()
    assert not capfd.readouterr().err


def test_prints_as_a_batch(batch):
    for words in ("a batch of 11 runs", "engine          diffrax", "400 steps", "all 11 successful"):
        assert words in str(batch)
    with pytest.raises(NotSavedError, match="there is no multipliers"):
        _ = batch.multipliers


@pytest.mark.slow
def test_states_and_args_alone():
    amplitudes, forces = np.array([1.0, 2.0, -1.0]), np.array([0.0, 0.5, 1.0])
    starts = Motion(amplitudes[None, :], np.zeros((1, 3)))  # lanes last, as in_axes tells
    path = simulate_batch(Oscillator(array(2.0)), starts, TS, forces, in_axes=(None, -1, 0), progress=False)
    for lane in range(3):  # about the shifted rest position f/ω²
        rest = forces[lane] / 4
        exact = rest + (amplitudes[lane] - rest) * np.cos(2 * TS)
        np.testing.assert_allclose(path.q[lane, :, 0], exact, atol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("engine", [DIFFRAX, FUSED])
def test_laws_states_and_args_together(engine):
    """Each with an axis of its own: the constants of the law first, lanes of states last, forces in a dict."""

    class Pushed(Oscillator):
        def rates(self, t, state, args):
            return Oscillator.rates(self, t, state, args["force"] * args["share"])

    omega, amplitudes, forces = np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, -1.0]), np.array([0.0, 0.5, 1.0])
    path = simulate_batch(
        Pushed(array(omega)), Motion(amplitudes[None, :], np.zeros((1, 3))), TS, {"force": forces, "share": array(0.5)},
        in_axes=(Pushed(0, None), -1, {"force": 0, "share": None}), engine=engine, dt0=0.01, progress=False,
    )  # fmt: skip
    for lane in range(3):
        rest = forces[lane] / 2 / omega[lane] ** 2
        exact = rest + (amplitudes[lane] - rest) * np.cos(omega[lane] * TS)
        np.testing.assert_allclose(path.q[lane, :, 0], exact, atol=1e-8)


@pytest.mark.slow
def test_adaptive_lanes_in_lockstep_depend_on_no_other():
    gravity = np.geomspace(0.1, 100, LANES)
    settings = {"dt0": None, "rtol": 1e-8, "chunk": None}
    batch = run(gravity, **settings)
    order = np.random.default_rng(2).permutation(LANES)
    assert_same_bits(run(gravity[order], **settings), batch, others=order)
    assert_same_bits(run(gravity, **{**settings, "chunk": 4}), batch)
    steps = batch.stats["num_accepted_steps"]
    assert steps.max() > 3 * steps.min()  # or nothing was shown
    for lane, g in enumerate(gravity):
        np.testing.assert_allclose(batch.q[lane], pendulum_at(TS, g)[0], atol=1e-5)


@pytest.mark.slow
def test_a_batch_resumed_in_time_is_the_batch(batch):
    half = len(TS) // 2
    law = Pendulum(jnp.asarray(GRAVITY))
    axes = (Pendulum(0), 0, 0)
    first = simulate_batch(law, released(), TS[: half + 1], in_axes=axes, chunk=CHUNK, **SETTINGS)
    second = simulate_batch(law, None, TS[half:], in_axes=axes, chunk=CHUNK, resume=first, **SETTINGS)
    np.testing.assert_array_equal(second.q, batch.q[:, half:])
    np.testing.assert_array_equal(second.energy_balance, batch.energy_balance[:, half:])
    wrong = simulate_batch(law, None, TS[half:] + 1, in_axes=axes, chunk=CHUNK, resume=first, **SETTINGS)
    assert (wrong.result == RESULTS.refused_start).all()
    assert "did not end at ts[0]" in str(wrong)
