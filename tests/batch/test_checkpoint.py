"""A batch that was cut off goes on after its last finished chunk, and ends with the same bits; nothing else is read."""

import errno
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from lagrangian_learning.batch import batch_run, checkpoint
from lagrangian_learning.files import whole
from tests.batches import CHUNK, FUSED, GRAVITY, LANES, NOTHING, assert_same_bits, released, run, statistics


class CutOffError(Exception):
    """Stands for whatever ends a process."""


def cut_off(monkeypatch, folder, chunks, **settings):
    """Runs the batch, and ends it after a number of chunks."""
    done = []

    def advance(self, lanes, failed):
        done.append(lanes)
        if len(done) == chunks:
            raise CutOffError

    with monkeypatch.context() as patch:
        patch.setattr(batch_run.Meter, "advance", advance)
        with pytest.raises(CutOffError):
            run(checkpoint=folder, **settings)


def lanes_computed(monkeypatch):
    """The sizes of the chunks that are computed from now on."""
    computed = []
    advance = batch_run.Meter.advance
    monkeypatch.setattr(
        batch_run.Meter, "advance", lambda self, lanes, failed: (computed.append(lanes), advance(self, lanes, failed))
    )
    return computed


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_batch_goes_on_where_it_was_cut_off(tmp_path, monkeypatch):
    folder = tmp_path / "runs" / "grid"
    cut_off(monkeypatch, folder, 2)
    assert names(folder) == ["lanes-000000000000-000000000004.arrays", "lanes-000000000004-000000000008.arrays"]
    (folder / "notes.txt").write_text("my own")
    computed = lanes_computed(monkeypatch)
    assert_same_bits(run(checkpoint=folder), run())
    assert computed == [3, 4, 4, 3]  # resumed, then whole
    assert (folder / "notes.txt").exists()


@pytest.mark.slow
def test_chunks_that_run_side_by_side_go_on_where_they_were_cut_off(tmp_path, monkeypatch):
    monkeypatch.setattr(batch_run, "usable_cores", lambda: 3)
    cut_off(monkeypatch, tmp_path, 2, engine=FUSED, chunk=2)
    computed = lanes_computed(monkeypatch)
    assert_same_bits(run(checkpoint=tmp_path, engine=FUSED, chunk=2), run(engine=FUSED, chunk=2))
    assert computed[:4] == [2, 2, 2, 1]


def test_a_finished_batch_is_read_again(tmp_path, monkeypatch, capfd):
    state = released()
    state.q[3] = np.nan
    first = run(state=state, checkpoint=tmp_path)
    computed = lanes_computed(monkeypatch)
    assert_same_bits(run(state=state, checkpoint=str(tmp_path), progress=True), first)
    assert not computed
    assert "11 lanes, all read from the checkpoint; 1 failed" in capfd.readouterr().err
    with pytest.raises(RuntimeError, match="run 3 of the batch failed"):
        run(state=state, checkpoint=tmp_path, throw=True)


def test_a_reduced_batch_goes_on(tmp_path, monkeypatch):
    reduce = (NOTHING, statistics)
    cut_off(monkeypatch, tmp_path, 2, reduce=reduce)
    assert len(names(tmp_path)) == 3
    resumed, whole = run(checkpoint=tmp_path, reduce=reduce), run(reduce=reduce)
    assert resumed.value == whole.value
    np.testing.assert_array_equal(resumed.stats["energy_min"], whole.stats["energy_min"])
    assert names(tmp_path)[-1] == "value-000000000011.arrays"
    (tmp_path / "value-000000000011.arrays").unlink()
    with pytest.raises(ValueError, match="has lost what its first 11 lanes were reduced to"):
        run(checkpoint=tmp_path, reduce=reduce)


def test_another_run_is_refused(tmp_path):
    run(checkpoint=tmp_path)
    moved = released()
    moved.v[0, 1] = 1e-300
    others = {
        "state": {"state": moved},
        "law": {"gravity": GRAVITY * (1 + 1e-15)},
        "tolerances": {"dt0": 0.0049},
        "program": {"max_steps": 10_000},
        "program ": {"save": lambda t, observables: observables["q"]},
        "program  ": {"chunk": 11},  # 6 pads to as many lanes as 4, and is the same program
        "reduce": {"reduce": (NOTHING, statistics)},
    }
    for what, other in others.items():
        with pytest.raises(ValueError, match=f"is of another run: it differs in {what.strip()}"):
            run(checkpoint=tmp_path, **other)


def test_the_chunk_of_a_checkpoint_is_kept(tmp_path, monkeypatch):
    """A machine with more memory or other cores would take another."""
    cut_off(monkeypatch, tmp_path, 1)
    computed = lanes_computed(monkeypatch)
    assert_same_bits(run(checkpoint=tmp_path, chunk=None), run())
    assert computed[:2] == [4, 3]


def test_python_on_the_host_is_refused_by_name(tmp_path):
    def noted(t, observables):
        height = jax.pure_callback(
            np.sin, jax.ShapeDtypeStruct((), np.float64), observables["q"][1], vmap_method="sequential"
        )
        return {"q": observables["q"], "sine": height}

    with pytest.raises(ValueError, match=r"law, args or save call Python functions on the host \(.*sin\)"):
        run(checkpoint=tmp_path, save=noted)

    def printed(total, path):
        jax.debug.callback(print, path.q[-1, 1])
        return total

    with pytest.raises(ValueError, match="reduce call Python functions on the host"):
        run(checkpoint=tmp_path, reduce=(0.0, printed))


DAMAGE = {
    "flipped byte": lambda data: data[:-9] + bytes([data[-9] ^ 1]) + data[-8:],
    "flipped byte in the first line": lambda data: data.replace(b'"float64"', b'"float32"', 1),
    "altered shape": lambda data: data.replace(b'"shape": [4', b'"shape": [5', 1),
    "trailing junk": lambda data: data + b"\0",
    "cut short": lambda data: data[:-100],
    "no first line": lambda data: data.split(b"\n", 1)[1],
    "empty": lambda data: b"",
    "another version": lambda data: data.replace(b'"version": 2', b'"version": 1', 1),
    "another class": lambda data: data.replace(b"finished lanes of a batch", b"something else", 1),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_refused(tmp_path, damage, monkeypatch):
    cut_off(monkeypatch, tmp_path, 1)
    (path,) = tmp_path.iterdir()
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    with pytest.raises(ValueError, match=r"lanes-000000000000-000000000004.arrays cannot be used: .*Delete it"):
        run(checkpoint=tmp_path)


def test_lanes_of_another_place_are_refused(tmp_path, monkeypatch):
    cut_off(monkeypatch, tmp_path, 2)
    first, second = (tmp_path / name for name in names(tmp_path))
    content = second.read_bytes()
    second.write_bytes(first.read_bytes())
    with pytest.raises(ValueError, match="cannot be used: it holds other lanes or arrays"):
        run(checkpoint=tmp_path)
    second.write_bytes(content)
    first.unlink()  # what follows a gap is computed again
    computed = lanes_computed(monkeypatch)
    run(checkpoint=tmp_path)
    assert computed == [4, 4, 3]


def test_a_file_is_no_folder(tmp_path):
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(ValueError, match=r"checkpoint must be a folder, and .* is a file"):
        run(checkpoint=path)


def test_bytes_in_another_form_are_refused(tmp_path, monkeypatch):
    """Files of NumPy say their own order: with a checksum computed anew a forged one would be read transposed."""
    cut_off(monkeypatch, tmp_path, 1)
    (path,) = tmp_path.iterdir()
    line, payload = path.read_bytes().split(b"\n", 1)
    header = json.loads(line)
    del header["sha256"]
    forged = io.BytesIO()
    np.save(forged, np.asfortranarray(np.frombuffer(payload[: 16 * (len(payload) // 16)]).reshape(2, -1)))
    header["sha256"] = checkpoint._digest(header, forged.getbuffer())
    path.write_bytes(checkpoint._line(header) + forged.getvalue())
    with pytest.raises(ValueError, match="its arrays have another size than its first line says"):
        run(checkpoint=tmp_path)


def test_a_pipe_in_the_folder_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "lanes-000000000000-000000000004.arrays")
    with pytest.raises(ValueError, match="is no regular file"):
        run(checkpoint=tmp_path)


def test_two_runs_at_once_are_refused(tmp_path):
    with (
        checkpoint.Checkpoint(tmp_path, {}).held(),
        pytest.raises(ValueError, match="is in use by another run: wait for its end"),
    ):
        run(checkpoint=tmp_path)
    run(checkpoint=tmp_path)


def test_folders_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    for folder, message in (
        ("", "must be the name of a folder"),
        (tmp_path / "file" / "in", "cannot be made: Not a dir"),
    ):
        with pytest.raises(ValueError, match=message):
            run(checkpoint=folder)


def test_a_full_disk_ends_in_one_sentence_and_the_run_goes_on(tmp_path, monkeypatch):
    cut_off(monkeypatch, tmp_path, 1)

    def full(number):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(whole.os, "fsync", full)
        with pytest.raises(OSError, match=r"lanes-0+4-0+8\.arrays was not written.*No space left"):
            run(checkpoint=tmp_path)
    assert len(names(tmp_path)) == 1
    assert_same_bits(run(checkpoint=tmp_path), run())


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, None), (signal.SIGTERM, 143)])
def test_what_is_kept_is_said_when_it_is_stopped(tmp_path, monkeypatch, capfd, number, code):
    advance, done = batch_run.Meter.advance, []

    def stopped(self, lanes, failed):
        advance(self, lanes, failed)
        done.append(lanes)
        if len(done) == 2:
            os.kill(os.getpid(), number)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a process in the background may ignore it
    with monkeypatch.context() as patch:
        patch.setattr(batch_run.Meter, "advance", stopped)
        with pytest.raises(KeyboardInterrupt if code is None else SystemExit) as caught:
            run(checkpoint=tmp_path)
    signal.signal(signal.SIGINT, before)
    assert getattr(caught.value, "code", None) == code
    said = capfd.readouterr().err.strip().splitlines()[-1]
    assert (
        said == f"simulate_batch: stopped; 8 of 11 lanes are kept in {tmp_path}, and the same call goes on from there."
    )
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert_same_bits(run(checkpoint=tmp_path), run())


KILLED = """
import sys, time
import jax
jax.config.update("jax_enable_x64", True)
from lagrangian_learning.batch import batch_run
from tests.batches import run
advance = batch_run.Meter.advance
def slowly(self, lanes, failed):
    advance(self, lanes, failed)
    time.sleep(60)
batch_run.Meter.advance = slowly
run(checkpoint=sys.argv[1])
"""


@pytest.mark.slow
def test_a_killed_process_leaves_a_batch_that_goes_on(tmp_path, monkeypatch):
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    call = [sys.executable, "-c", KILLED, str(tmp_path)]
    process = subprocess.Popen(call, cwd=root, env=environment)  # noqa: S603  # our own code
    deadline = time.monotonic() + 120
    while not any(name.startswith("lanes") for name in names(tmp_path)):
        assert process.poll() is None, "it ended by itself"
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    computed = lanes_computed(monkeypatch)
    assert_same_bits(run(checkpoint=tmp_path), run())
    assert sum(computed) == LANES - CHUNK + LANES
