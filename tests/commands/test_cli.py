import dataclasses
import importlib.util
import inspect
import json
import platform
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from rich.console import Console
from scipy import integrate

import lagrangian_learning as ll
from lagrangian_learning.commands import cli, progress, verify, xor
from lagrangian_learning.commands.digits import command as digits_run, task as digits
from lagrangian_learning.commands.speech import command as speech_command
from lagrangian_learning.verify import verification
from tests import compiling

ENVIRONMENT = compiling.in_full() | {"PYTHONPATH": str(Path(__file__).parents[2])}
PNG = b"\x89PNG\r\n\x1a\n"


def command(*args, cwd):
    """A command in a fresh process, as a newcomer runs it: float32, no strict promotion."""
    call = [sys.executable, "-m", "lagrangian_learning", *args]
    return subprocess.run(  # noqa: S603  # our own command
        call, cwd=cwd, capture_output=True, text=True, timeout=850, check=False, env=ENVIRONMENT
    )


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("speech")
    options = ("--passes", "1", "--recordings", "4", "--seeds", "2", "--output", "a.png", "--json", "a.json")
    return folder, command("learn", "speech", *options, cwd=folder)


def test_learn_speech_prints_its_results(tiny):
    folder, done = tiny
    assert done.returncode == 0, done.stderr
    spoken = [line for line in done.stdout.splitlines() if "accuracy" in line]
    numbers = json.loads((folder / "a.json").read_text())
    assert spoken[0].startswith(f"test accuracy  {100 * numbers['test_accuracy']:.1f} %  mean of 2 seeds, ±")
    words = ("plain backprop", "(8) neurons", "(9) weights", "D²G = 0", "cosine", "steps in")
    for word in (*words, "LDA 96.2 %, logistic 97.0 %, QDA 97.8 %"):
        assert word in done.stdout
    assert "training, seed 1: " in done.stderr
    assert "left" not in done.stdout
    assert (folder / "a.png").read_bytes().startswith(PNG)


def test_a_few_recordings_are_learned_and_the_equations_hold(tiny):
    folder, done = tiny
    assert done.returncode == 0, done.stderr
    numbers = json.loads((folder / "a.json").read_text())
    assert [seed["seed"] for seed in numbers["seeds"]] == [0, 1]
    assert numbers["test_accuracy"] > 0.5
    assert max(numbers["relative_residuals"].values()) < 5e-6
    for layer in numbers["multipliers_against_delta_errors"].values():
        assert layer["cosine"] > 0.98
        assert layer["norm_ratio"] == pytest.approx(1, abs=0.05)
    assert 0 < numbers["neuron_mass_ratio"] < 1


@pytest.mark.slow
def test_the_default_seed_beats_the_published_hidden_markov_model(tmp_path):
    done = command("learn", "speech", "--json", "a.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    numbers = json.loads((tmp_path / "a.json").read_text())
    assert numbers["test_accuracy"] >= 0.962
    assert numbers["test_accuracy"] >= numbers["backprop_test_accuracy"] - 0.01
    assert max(numbers["relative_residuals"].values()) < 5e-6
    assert (tmp_path / "speech.png").read_bytes().startswith(PNG)


@pytest.mark.slow
def test_simulate_xor(tmp_path, capsys):
    files = ["--output", str(tmp_path / "x.png"), "--json", str(tmp_path / "x.json")]
    cli.main(["simulate", "xor", "--duration", "60", *files])
    printed = capsys.readouterr().out
    numbers = json.loads((tmp_path / "x.json").read_text())
    assert "Trajectory" in printed
    assert ("XOR is learned" in printed) == numbers["learned"]
    assert numbers["energy_balance"] < 1e-7
    assert max(numbers["relative_residuals"].values()) < 1e-11
    assert (tmp_path / "x.png").read_bytes().startswith(PNG)


@pytest.mark.slow
def test_xor_is_learned(tmp_path, capsys):
    cli.main(["simulate", "xor", "--output", str(tmp_path / "x.png"), "--json", str(tmp_path / "x.json")])
    assert "XOR is learned" in capsys.readouterr().out
    numbers = json.loads((tmp_path / "x.json").read_text())
    assert numbers["learned"]
    assert numbers["energy_balance"] < 1e-8


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setattr(cli, "NEEDED", ("no_such_package_anywhere",))
    with pytest.raises(SystemExit, match=r'pip install "\.\[cli\]"'):
        cli.main(["learn", "speech"])


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["learn", "speech", "--seeds", "0"], "--seeds must be at least 1"),
        (["learn", "speech", "--passes", "0"], "--passes must be at least 1"),
        (["learn", "speech", "--recordings", "31"], "--recordings must be between 1 and 30"),
        (["learn", "speech", "--output", "/proc/folder/a.png"], "nothing can be written into /proc"),
        (["learn", "digits", "--passes", "0"], "--passes must be at least 1"),
        (["simulate", "xor", "--duration", "0"], "--duration must be at least 4"),
        (["simulate", "xor", "--duration", "nan"], "--duration must be at least 4"),
    ],
)
def test_bad_options_are_refused_before_anything_runs(args, message):
    with pytest.raises(SystemExit, match=message):
        cli.main(args)


def test_learn_digits_names_what_it_needs(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "sklearn" else found(name))
    with pytest.raises(SystemExit, match=r'pip install "\.\[digits\]"'):
        cli.main(["learn", "digits"])


@pytest.mark.slow
def test_learn_digits(tmp_path):
    done = command("learn", "digits", "--passes", "3", "--json", "a.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    numbers = json.loads((tmp_path / "a.json").read_text())
    assert numbers["test_accuracy"]["mean"] > 0.85
    assert numbers["test_accuracy"]["mean"] == pytest.approx(numbers["sgd_test_accuracy"]["mean"], abs=0.04)
    assert numbers["seeds"][0]["cosine"] > 0.99  # not 1: at the chosen m_x/m_W the neurons' mass is felt
    assert f"test accuracy  {100 * numbers['test_accuracy']['mean']:.1f} %" in done.stdout
    assert "1,008,970 weights" in done.stdout
    assert "1-NN 96.5 %, SVC 96.5 %, logistic 92.3 %" in done.stdout
    assert (tmp_path / "digits.png").read_bytes().startswith(PNG)


@pytest.mark.slow
def test_digits_without_neuron_mass_are_learned_as_by_sgd():
    """Weights after two passes against descent with momentum written out, its ϑ integrated over each step by NumPy."""
    train, test = digits.digits()
    network = digits.convolutional(2, 8)
    task = digits.make_task(0, network, train.select(slice(128)), test, passes=2)
    constants = digits.Constants(rate=0.03, mass_ratio=0.0, rate_sgd=0.03)
    run = digits_run.run_digits(0, task, constants)
    steps = len(task.batches) - 1
    friction, ends = constants.friction(steps), np.arange(steps + 1.0)
    grid = np.union1d(ends, friction.times)
    values = np.interp(grid, friction.times, friction.thetas)
    thetas = np.diff(np.interp(ends, grid, integrate.cumulative_trapezoid(values, grid, initial=0)))
    rates = 0.03 * -np.log(0.9) / 0.1 * -np.expm1(-thetas) / thetas

    @jax.jit
    def step(W, velocity, images, targets, momentum, rate):
        def loss(W):
            outputs = jax.vmap(lambda u: network.output(network.forward(W, u)))(images)
            return jnp.mean(optax.softmax_cross_entropy(outputs, targets))

        velocity = jax.tree.map(lambda v, g: momentum * v - rate * g, velocity, jax.grad(loss)(W))
        return jax.tree.map(jnp.add, W, velocity), velocity

    W, velocity = task.W, jax.tree.map(jnp.zeros_like, task.W)
    for k in range(steps):
        given = task.batches[k], task.targets[k], np.float32(np.exp(-thetas[k])), np.float32(rates[k])
        W, velocity = step(W, velocity, *given)
    for ours, theirs, start in zip(*map(jax.tree.leaves, (run.W, W, task.W)), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
        assert np.max(np.abs(ours - start)) > 1e-3
    assert run.accuracies == run.accuracies_sgd


@pytest.mark.parametrize("args", [["--help"], ["learn", "speech", "--help"], ["simulate", "xor", "--help"]])
def test_help(args, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(args)
    assert ended.value.code == 0
    assert "lagrangian-learning" in capsys.readouterr().out


def test_nothing_is_imported_before_it_is_needed():
    shown = "print([name for name in ('tyro', 'rich', 'matplotlib') if name in sys.modules])"
    code = f"import sys, lagrangian_learning.commands.cli; {shown}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603  # our own code
    assert done.stdout.strip() == "[]"


def test_progress_is_printed_in_lines_where_there_is_no_terminal(capsys):
    with progress.progress("training, seed 3") as report:
        report(0, 100, 0.0)
        report(50, 100, 5.0)
        report(100, 100, 10.0)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines() == [
        "training, seed 3: 0 of 100 frames",
        "training, seed 3: 100 of 100 frames, 10 s",
    ]


def test_lines_of_progress_come_at_a_pace():
    """A tenth more or another thing under way is news after three seconds; what is silent for thirty is alive."""
    now, said = [0.0], []
    lines = progress.Lines(said.append, "verify", "checks", lambda: now[0])

    def at(seconds, *reported, **names):
        now[0] = seconds
        if reported:
            lines.report(*reported, **names)
        lines.beat()
        found, said[:] = list(said), []
        return found

    assert at(0.0) == []
    assert at(0.0, 0, 50, now="a") == ["verify: 0 of 50 checks; now a"]
    assert at(2.0, 1, 50, now="b") == []
    assert at(3.0) == ["verify: 1 of 50 checks, 3 s, 98 s left; now b"]
    assert at(4.0, 2, 50, now="b") == []
    assert at(32.0) == []
    assert at(34.0, 3, 50, now="b") == ["verify: 3 of 50 checks, 34 s, 9 min left; now b"]
    assert at(36.0, 20, 50, now="b") == []
    assert at(37.0) == ["verify: 20 of 50 checks, 37 s, 54 s left; now b"]
    assert at(37.5, 50, 50) == ["verify: 50 of 50 checks, 38 s"]
    assert at(99.0) == []


def test_a_terminal_has_a_bar(monkeypatch, capsys):
    monkeypatch.setattr(progress, "Console", lambda stderr: Console(stderr=stderr, force_terminal=True, width=120))
    with progress.progress("verify", "checks") as report:
        report(10, 50, 4.0, now="energy")
    printed = capsys.readouterr()
    assert printed.out == ""
    for word in ("verify", "10/50", "checks", "16 s left; now energy"):
        assert word in printed.err


def test_some_recordings_of_each_speaker():
    some = speech_command.some_recordings(ll.data.japanese_vowels("train"), 2)
    assert np.bincount(some.labels).tolist() == [2] * 9


def test_verify_prints_a_table_and_exits_with_0(capsys):
    cli.main(["verify", "--equation", "three-neuron example"])
    printed = capsys.readouterr().out
    for word in ("(17)", "three-neuron", "holds", "all as documented"):
        assert word in printed


def test_verify_prints_json_and_nothing_else(capsys):
    cli.main(["verify", "--json", "-", "--equation", "three-neuron example"])
    printed = capsys.readouterr()
    rows = json.loads(printed.out)
    assert [row["equation"] for row in rows] == ["17", "three-neuron example"]
    assert "all as documented" in printed.err


def test_verify_says_on_a_pipe_which_check_is_running_and_writes_json(tmp_path, capsys):
    cli.main(["verify", "--json", str(tmp_path / "a.json"), "--equation", "three-neurons"])
    printed = capsys.readouterr()
    assert printed.err.splitlines()[0] == "verify: 0 of 1 checks; now three-neurons"
    assert printed.err.splitlines()[-1].startswith("verify: 1 of 1 checks")
    assert {row["check"] for row in json.loads((tmp_path / "a.json").read_text())} == {"three-neurons"}


def test_verify_refuses_a_file_that_cannot_be_written_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(verify, "run", None)
    with pytest.raises(SystemExit, match=r"verify: --json cannot be .* nothing can be written into"):
        cli.main(["verify", "--json", "/proc/none/a.json"])
    with pytest.raises(SystemExit) as ended:
        cli.main(["verify", "--json"])
    assert ended.value.code == 2


def test_the_version_names_package_python_and_jax(capsys):
    cli.main(["--version"])
    versions = f"{ll.__version__}, Python {platform.python_version()}, JAX {jax.__version__}"
    assert capsys.readouterr().out == f"lagrangian-learning {versions}\n"


def test_verify_exits_with_1_when_a_claim_surprises(monkeypatch, capsys):
    surprise = dataclasses.replace(ll.verify.claim("three-neurons"), tolerance=-1.0)
    monkeypatch.setattr(verification, "CLAIMS", (surprise,))
    with pytest.raises(SystemExit) as ended:
        cli.main(["verify"])
    assert ended.value.code == 1
    assert "NOT as documented: three-neurons" in capsys.readouterr().out


def test_verify_names_what_there_is_for_an_unknown_equation():
    with pytest.raises(SystemExit, match=r"no check is about '99'. There are checks about: 1, 2, 3, .*Erratum 1"):
        cli.main(["verify", "--equation", "99"])


def test_the_defaults_are_those_of_the_commands():
    """The command line writes them out, since it imports nothing before it is needed."""
    defaults = {name: inspect.signature(getattr(cli, name)).parameters for name in ("speech", "digits", "xor")}
    assert defaults["speech"]["passes"].default == speech_command.PASSES
    assert defaults["speech"]["recordings"].default == np.bincount(ll.data.japanese_vowels("train").labels).min()
    assert defaults["digits"]["passes"].default == digits.PASSES
    assert defaults["xor"]["duration"].default == xor.DURATION
