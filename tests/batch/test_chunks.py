"""How many lanes make a chunk."""

import diffrax
import jax
import numpy as np
import pytest

from lagrangian_learning.batch import chunks
from lagrangian_learning.batch.lanes import Inputs
from lagrangian_learning.costs import loop
from lagrangian_learning.simulate.inputs import checked_times
from lagrangian_learning.simulate.settings import Settings
from tests.laws import Motion, Oscillator


@pytest.fixture(scope="module")
def setting():
    times = checked_times(np.linspace(0, 1, 3), np.float64)
    law = Oscillator(2.0)
    _, plan = Settings(solver=diffrax.Heun(), dt0=0.1).prepared(law, times)
    shape = jax.ShapeDtypeStruct((1,), np.float64)
    return Inputs(law, Motion(shape, shape), None), times, plan


@pytest.mark.parametrize(
    ("one_core", "workers", "lanes", "size"),
    [
        (False, 1, 4096, 1024),
        (True, 1, 4096, 4096),
        (True, 2, 4096, 2048),
        (True, 2, 2**20, 2**13),
        (True, 2, 100, 100),
    ],
)
def test_engines_of_one_core_take_larger_chunks_and_one_a_worker(setting, one_core, workers, lanes, size, monkeypatch):
    monkeypatch.setattr(chunks, "device_memory", lambda: 2**34)
    assert chunks.chunk_size(None, lanes, 1, *setting, workers=workers, one_core=one_core) == size


def total(lane):
    return lane.kept + lane.loop


def test_few_fit_a_small_memory(setting, monkeypatch):
    monkeypatch.setattr(chunks, "device_memory", lambda: 100 * 2 * total(chunks.lane_memory(*setting)))
    assert (
        chunks.chunk_size(None, 4096, 1, *setting, workers=1, one_core=False) == 32
    )  # at most 50, of which two are held


def test_a_lane_is_measured_once(setting, monkeypatch):
    """And again when its records differ."""
    lane, times, plan = setting
    known = chunks.lane_memory(lane, times, plan)
    more = chunks.lane_memory(lane, checked_times(np.linspace(0, 1, 30), np.float64), plan)
    monkeypatch.setattr(loop, "evaluation_bytes", lambda *_: pytest.fail("compiled again"))
    assert chunks.lane_memory(lane, times * 2, plan) == known
    assert known.left < more.left
