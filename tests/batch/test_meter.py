"""What a batch says of its progress."""

from lagrangian_learning.batch import batch_run
from lagrangian_learning.batch.batch_run import Meter


def said(monkeypatch, capsys, ends, restored=0):
    """The lines of a meter of 2,000 lanes whose chunks of 1,000 end at these seconds."""
    clock = iter([0.0, *ends])
    monkeypatch.setattr(batch_run.time, "perf_counter", lambda: next(clock))
    meter = Meter(2000, shown=True)
    if restored:
        meter.restored(restored, 0)
    for _ in ends:
        meter.advance(1000, 0)
    return capsys.readouterr().err


def test_a_rate_of_chunks_that_overlapped_is_not_said(monkeypatch, capsys):
    assert "2,000 lanes in 50 s, compiling included" in said(monkeypatch, capsys, [49.9, 50.0])


def test_a_rate_of_chunks_one_after_the_other_is_said(monkeypatch, capsys):
    assert "100 a second" in said(monkeypatch, capsys, [40.0, 50.0])


def test_a_batch_that_goes_on_says_what_it_read(monkeypatch, capsys):
    assert "1,000 of 2,000 lanes read from the checkpoint" in said(monkeypatch, capsys, [10.0], restored=1000)
