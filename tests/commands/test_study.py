"""Studies are commands where there is a checkout; a package that stands alone has none, and says so."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from benchmarks.studies import robustness, second_order
from benchmarks.studies.study import print_table
from lagrangian_learning.commands import cli, study

ROOT = Path(__file__).parents[2]
NAMES = {
    "analog_yield", "echo", "identification", "learned_action", "learning_curves", "limit_study",
    "mechanics_by_gradient", "phase_diagram", "predictive_coding", "robustness", "second_order", "stability_atlas",
    "wave_delays", "wave_limits",
}  # fmt: skip


def test_every_study_of_the_checkout_is_listed(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["study", "--help"])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert set(study.studies(ROOT)) == NAMES
    assert all(name.replace("_", "-") in printed for name in NAMES)


def test_a_study_is_among_the_commands(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    assert "study" in capsys.readouterr().out


def test_the_checkout_is_where_one_stands_or_where_the_package_is(tmp_path):
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    assert study.checkout(inside) == ROOT
    (tmp_path / "lagrangian_learning").mkdir()
    (tmp_path / study.WHERE).mkdir(parents=True)
    (tmp_path / study.WHERE / "study.py").touch()
    assert study.checkout(inside) == tmp_path


def test_a_package_without_a_checkout_says_where_studies_are(monkeypatch, capsys):
    monkeypatch.setattr(study, "checkout", lambda: None)
    for name in ([], ["robustness"], ["--help"]):
        with pytest.raises(SystemExit, match=r"^study: studies are in benchmarks/studies of the repository, not in"):
            cli.main(["study", *name])


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--json", "/proc/such/a.json"], "study robustness: --json cannot be .*nothing can be written into /proc"),
        (["--output", "a.txt"], "study robustness: --output cannot be .*--no-picture"),
        (["--seed", "-1"], "study robustness: --seed must be at least 0"),
    ],
)
def test_options_are_refused_before_the_work(option, message, monkeypatch):
    monkeypatch.setattr(robustness, "signals", None)
    with pytest.raises(SystemExit, match=message):
        cli.main(["study", "robustness", *option])


@pytest.mark.parametrize("name", ["second_order", "second-order"])
def test_a_study_takes_its_options(name, monkeypatch, tmp_path, capsys):
    asked = []

    def learn(mu, end, seed):
        asked.append((end, seed))
        return second_order.Verdict(mu, mu, 1.0, 0.5, 2.0, successful=True)

    monkeypatch.setattr(second_order, "learn", learn)
    cli.main(["study", name, "--quick", "--seed", "7", "--json", str(tmp_path / "a.json")])
    assert asked == [(6.0, 7), (6.0, 7)]
    printed = capsys.readouterr()
    assert [line.split()[-1] for line in printed.out.splitlines()[3:5]] == ["learns", "away"]
    assert printed.err.startswith("second_order: 0 of 2 signs; now μ = -0.05")
    assert (tmp_path / "a.json").exists()
    assert jax.config.read("jax_enable_x64")


def test_a_file_of_a_study_has_the_same_grammar(tmp_path):
    for call in ([str(ROOT / study.WHERE / "robustness.py")], ["-m", "lagrangian_learning", "study", "robustness"]):
        done = subprocess.run(  # noqa: S603  # our own file
            [sys.executable, *call, "--folder", "x"], cwd=tmp_path, capture_output=True, text=True, check=False,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert done.returncode == 2
        assert "--folder (applied to lagrangian-learning study robustness)" in done.stderr + done.stdout


def test_a_table_is_aligned():
    said = []
    print_table(said.append, ("rule", "growth\nrate"), [("a", "1.0"), ("longer", "-2")])
    assert said == ["          growth", "  rule      rate", "  a          1.0", "  longer      -2"]
