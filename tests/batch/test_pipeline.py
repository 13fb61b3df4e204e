"""Chunks that run at once leave the order, the bits and the errors as they are."""

import threading

import jax
import numpy as np
import pytest

from lagrangian_learning.batch import batch_run
from lagrangian_learning.batch.batch_run import prefetch, threaded_map
from lagrangian_learning.simulate import RESULTS
from tests.batches import FUSED, assert_same_bits, run


def test_results_come_in_order_and_several_are_under_way_at_once():
    both = threading.Barrier(2, timeout=30)

    def function(k):
        both.wait()  # breaks unless two run at the same time
        return np.asarray(k)

    assert [int(k) for k in threaded_map(function, range(6), 2)] == list(range(6))


def test_no_more_are_started_than_are_to_be_held():
    started = []
    results = threaded_map(lambda k: started.append(k) or np.asarray(k), range(9), 2)
    assert int(next(results)) == 0
    assert len(started) <= 3
    results.close()
    assert len(started) <= 3


def test_an_error_is_raised_in_its_turn():
    def function(k):
        if k == 1:
            raise ValueError("of the second")
        return np.asarray(k)

    results = threaded_map(function, range(4), 2)
    assert int(next(results)) == 0
    with pytest.raises(ValueError, match="of the second"):
        next(results)


def test_one_ahead_is_launched_before_its_forerunner_is_taken():
    launched = []
    results = prefetch(launched.append(k) or k for k in range(3))
    assert next(results) == 0
    assert launched == [0, 1]
    assert list(results) == [1, 2]


@pytest.mark.slow
def test_fused_chunks_have_the_same_bits_on_any_number_of_cores(monkeypatch):
    paths = []
    for cores in (1, 3):
        monkeypatch.setattr(batch_run, "usable_cores", lambda: cores)  # noqa: B023  # called in this turn
        paths.append(run(engine=FUSED, chunk=2))
    assert_same_bits(*paths)


@pytest.mark.slow
def test_threads_keep_the_precision_of_the_caller(monkeypatch):
    """A thread does not see the caller's `with jax.enable_x64(True)`."""
    monkeypatch.setattr(batch_run, "usable_cores", lambda: 2)
    jax.config.update("jax_enable_x64", False)
    try:
        with jax.enable_x64(True):
            path = run(engine=FUSED, chunk=4)
    finally:
        jax.config.update("jax_enable_x64", True)
    assert path.q.dtype == np.float64
    assert (path.result == RESULTS.successful).all()
