"""Results are written whole, or said to be elsewhere; what cannot be written is known before the work; what stops a
command says in one line what is kept."""

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from lagrangian_learning._interrupts import Terminated, none_lost, terminations_raised
from lagrangian_learning.commands import cli, output, waves, xor
from lagrangian_learning.commands.digits import command as digits
from lagrangian_learning.commands.speech import command as speech

COMMANDS = (("learn", "speech"), ("learn", "digits"), ("simulate", "xor"))
WORK = ((speech, "speech_command"), (digits, "digits_command"), (xor, "xor_command"))


@pytest.mark.parametrize("command", COMMANDS, ids="-".join)
@pytest.mark.parametrize(
    ("option", "place", "message"),
    [
        ("--output", "", "it is a folder; name a file in it"),
        ("--output", ".", "it is a folder; name a file in it"),
        ("--output", "None", "ends in .png, .pdf, .svg or .jpg; for none: --no-picture"),
        ("--output", "-", "the name of a picture ends in"),
        ("--output", "picture", "the name of a picture ends in .png, .pdf, .svg or .jpg"),
        ("--output", "picture.txt", "the name of a picture ends in"),
        ("--output", "file/such/a.png", "file is a file; give another name"),
        ("--output", "pipe.png", "it is a pipe or a device"),
        ("--output", "/proc/a.png", "nothing can be written into /proc"),
        ("--json", "", "it is a folder; name a file in it"),
        ("--json", ".", "it is a folder; name a file in it"),
        ("--json", "/dev/null", "it is a pipe or a device"),
        ("--json", "file/a.json", "file is a file; give another name"),
        ("--json", "/proc/a.json", "nothing can be written into /proc"),
    ],
)
def test_a_place_that_cannot_be_written_is_refused_before_the_work(
    command, option, place, message, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe.png")
    Path("file").touch()
    with pytest.raises(SystemExit) as caught:
        cli.main([*command, option, place])
    said = str(caught.value)
    assert said.startswith(f"{' '.join(command)}: {option} cannot be ")
    assert message in said
    assert "\n" not in said
    assert len(said) < 200


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is full")
def test_a_disk_that_is_full_beforehand_is_refused_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: Path("/dev/full").open("wb"))  # noqa: SIM115
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        cli.main(["simulate", "xor", "--duration", "8"])
    assert f"nothing can be written into .: {os.strerror(errno.ENOSPC)}" in str(caught.value)


def test_waves_look_at_their_folder_first(tmp_path):
    (tmp_path / "file").touch()
    places = ((tmp_path / "file", "is a file"), (tmp_path / "file" / "a", "is a file"), ("/proc/a/b", "into /proc"))
    for folder, message in places:
        with pytest.raises(SystemExit, match=message):
            cli.main(["waves", "--folder", str(folder)])


def test_a_folder_of_waves_is_made_with_those_above_it(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(waves, "_computed", lambda seed: ((("runs", seed),) * 3, {}))
    monkeypatch.setattr(waves, "_drawn", lambda line, folder, runs, errors: drawn.append((folder, *runs[0])) or True)
    for printer in ("_print_constant", "_print_mismatches", "_print_errors", "as_dict"):
        monkeypatch.setattr(waves, printer, lambda *arguments: {})
    monkeypatch.setattr(waves, "REFERENCES", {})
    cli.main(["waves", "--folder", str(tmp_path / "a" / "b"), "--seed", "5"])
    assert drawn == [(tmp_path / "a" / "b", "runs", 5)]
    cli.main(["waves", "--folder", str(tmp_path / "a" / "b"), "--no-picture"])
    assert len(drawn) == 1


def test_pictures_that_cannot_be_written_are_one_line(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(waves, "draw_wave_figures", full)
    assert not waves._drawn(said.append, tmp_path, ("a", "b", "c"), {})
    assert said == [f"pictures: {tmp_path} could not be written (No space left on device)"]


@pytest.mark.parametrize(("command", "work"), list(zip(COMMANDS, WORK, strict=True)), ids=list(map("-".join, COMMANDS)))
@pytest.mark.parametrize("options", [["--no-picture"], ["--output", "a.svg"]])
def test_a_picture_is_drawn_unless_it_is_left_out(command, work, options, monkeypatch):
    """What reaches the command: where the picture goes, and where the numbers."""
    reached = []
    monkeypatch.setattr(work[0], work[1], lambda *arguments: reached.extend(arguments))
    cli.main([*command, *options, "--json", "-"])
    assert Path("-") in reached
    assert (Path("a.svg") in reached) == (options[0] == "--output")
    assert (None in reached) == (options[0] == "--no-picture")


def test_numbers_for_standard_output_are_alone_there(capsys):
    line = output.line_printer(output.console_beside(Path("-")))
    line("for readers")
    output.save(line, None, full, Path("-"), {"rows": [[1, 2], [3, 4]]})
    printed = capsys.readouterr()
    assert printed.out == '{\n "rows": [\n  [1, 2],\n  [3, 4]\n ]\n}\n'
    assert printed.err == "for readers\n"


def test_one_name_for_two_files_is_refused(tmp_path):
    same = str(tmp_path / "a.png")
    with pytest.raises(SystemExit, match="the same file"):
        cli.main(["learn", "speech", "--output", same, "--json", same])


@pytest.mark.parametrize("seed", ["-1", str(2**40)])
def test_seeds_that_no_generator_takes_are_refused(seed):
    for command in COMMANDS:
        with pytest.raises(SystemExit, match="--seed must be at least 0, and below"):
            cli.main([*command, "--seed", seed])


def full(*arguments):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_does_not_lose_the_numbers(tmp_path, monkeypatch, capsys):
    """They go to another folder; where that is full too, they are printed."""
    said, elsewhere, asked = [], tmp_path / "elsewhere", tmp_path / "asked"
    elsewhere.mkdir()
    asked.mkdir()
    monkeypatch.setattr(output.tempfile, "gettempdir", lambda: str(elsewhere))
    write = output.write_json
    monkeypatch.setattr(
        output, "write_json", lambda found, path: (full if path.parent == asked else write)(found, path)
    )
    with pytest.raises(SystemExit) as caught:
        output.save(said.append, asked / "a.png", full, asked / "a.json", {"accuracy": 0.5})
    assert caught.value.code == 1
    assert json.loads((elsewhere / "a.json").read_text()) == {"accuracy": 0.5}
    assert said[-2] == f"numbers: {asked / 'a.json'} could not be written (No space left on device)"
    assert said[-1] == f"numbers: {elsewhere / 'a.json'}"
    assert list(asked.iterdir()) == []
    monkeypatch.setattr(output, "write_json", full)
    capsys.readouterr()
    with pytest.raises(SystemExit):
        output.save(said.append, None, full, asked / "a.json", {"accuracy": 0.5})
    assert json.loads(capsys.readouterr().out) == {"accuracy": 0.5}


@pytest.mark.parametrize(("stop", "code"), [(KeyboardInterrupt(), 130), (Terminated(143), 143)])
def test_seeds_that_were_finished_are_kept(stop, code, capsys):
    def run(number):
        if number == 5:
            raise stop
        return number

    found, end = output.of_each_seed("learn speech", 3, 4, run)
    assert found == [3, 4]
    with pytest.raises(SystemExit) as caught:
        end()
    assert caught.value.code == code
    last = "the seeds before 5 are kept: go on with --seed 5 --seeds 2."
    assert capsys.readouterr().err.strip() == f"learn speech: stopped; {last}"
    with pytest.raises(SystemExit):
        output.of_each_seed("learn speech", 5, 2, run)
    assert "no seed was finished, and nothing is kept: go on with --seed 5 --seeds 2." in capsys.readouterr().err


def test_a_command_that_is_stopped_ends_in_one_line(monkeypatch, capsys, tmp_path):
    def stopped(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(speech, "run_speech", stopped)
    with pytest.raises(SystemExit) as caught:
        cli.main(["learn", "speech", "--passes", "1", "--recordings", "1", "--output", str(tmp_path / "a.png")])
    assert caught.value.code == 130
    assert capsys.readouterr().err.strip() == (
        "learn speech: stopped; no seed was finished, and nothing is kept: go on with --seed 0 --seeds 1."
    )


@pytest.mark.parametrize(("number", "kind"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)])
def test_a_signal_that_arrives_in_a_finaliser_is_not_lost(number, kind):
    class Finalised:
        def __del__(self):
            signal.raise_signal(number)

    def waits():
        made = Finalised()
        del made
        time.sleep(10)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(kind), terminations_raised(), none_lost():
            waits()
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_process_in_one_line(number, code, tmp_path):
    call = [sys.executable, "-u", "-m", "lagrangian_learning", "simulate", "xor", "--duration", "1e6"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    # A shell starts what runs in the background with SIGINT ignored, and children inherit that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(  # noqa: S603  # our own command
            call, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
    finally:
        signal.signal(signal.SIGINT, before)
    assert process.stdout is not None
    while "compiling and integrating" not in process.stdout.readline():
        assert process.poll() is None
    time.sleep(1)
    said = _stopped_by(process, number)
    assert process.returncode == code
    assert said.strip().splitlines()[-1].startswith("lagrangian-learning: stopped; ")
    assert "Traceback" not in said


def _stopped_by(process, number):
    """What a process says that is asked to stop, and asked again: C code of others may swallow an exception too."""
    for _ in range(5):
        process.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=60)[1]
    process.kill()
    return process.communicate()[1]


def test_a_missing_folder_is_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cli.main(["verify", "--json", "new/numbers/a.json", "--equation", "three-neurons"])
    assert (tmp_path / "new" / "numbers" / "a.json").exists()


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_a_pipe_that_knows_no_greek_keeps_the_run(encoding):
    call = [sys.executable, "-m", "lagrangian_learning", "verify", "--equation", "three-neurons"]
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    done = subprocess.run(call, capture_output=True, env=environment, check=False)  # noqa: S603  # our own code
    assert done.returncode == 0, done.stderr
    assert b"residual" in done.stdout
