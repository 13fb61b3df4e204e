"""Every benchmark with a gate runs on tiny sizes and leaves JSON and a picture; what it finds is for its full run."""

import dataclasses
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lagrangian_learning.commands.digits import task as digits
from lagrangian_learning.commands.speech import task as speech

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
RESULTS = BENCHMARKS / "results"
SCRIPTS = {
    "right_hand_side": {"slopes", "rows"},
    "dense_against_structured": {"rows", "crossings"},
    "work_precision": {"networks"},
    "compile_and_memory": {"rows", "memory"},
    "mechanisms": {"rows"},
    "one_run": {"runs", "flows", "evaluations", "calls", "compiling"},
    "digits": {"seeds", "evaluation"},
    "xor_ensemble": {"rows", "others", "not_timed"},
    "scale": {"hardware", "points"},
    "scale_compiled": {"rows"},
}
GATED = {*SCRIPTS, "stiffness"}
CHOICES = {"digits_constants": digits.Constants(), "speech_constants": speech.Constants()}
STUDIES = {"phase_diagram", "robustness", "learning_curves"}


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_the_script_runs_and_writes_what_it_found(name, tmp_path):
    script = BENCHMARKS / f"{name}.py"
    call = [sys.executable, str(script), "--quick", "--results", str(tmp_path)]
    done = subprocess.run(  # noqa: S603  # our own script
        call, capture_output=True, text=True, timeout=850, check=False, env=os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8"))
    assert record["question"].endswith("?")
    assert {"device", "cores", "versions"} <= record["environment"].keys()
    assert SCRIPTS[name] | {"missed"} <= record.keys()
    assert (tmp_path / f"{name}.png").stat().st_size > 10_000


def recorded(name):
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def test_every_recorded_result_has_gates_or_is_known_to_have_none():
    assert {path.stem for path in RESULTS.glob("*.json")} == GATED | CHOICES.keys() | STUDIES


@pytest.mark.parametrize("name", sorted(GATED))
def test_no_recorded_result_misses_its_gates(name):
    assert recorded(name)["missed"] == []


@pytest.mark.parametrize("name", CHOICES)
def test_a_command_takes_the_constants_that_the_recorded_search_chose(name):
    held = dataclasses.asdict(CHOICES[name])
    chosen = recorded(name)["chosen"]
    assert {constant: held[constant] for constant in chosen} == chosen


def test_the_recorded_phase_diagram_has_the_slope_of_the_delays():
    """All delays of (18)–(20) are 1/c: the frequency of a given cosine is proportional to c."""
    found = recorded("phase_diagram")
    assert found["continuous"]["slope"] == pytest.approx(1, abs=0.05)
    assert found["discrete"]["slope"] == pytest.approx(found["discrete_by_delays_alone"]["slope"], abs=0.05)


def test_the_recorded_robustness_lost_no_lane_and_kept_the_constraints():
    found = recorded("robustness")
    assert sum(found["learned_by"].values()) == pytest.approx(1, abs=1e-3)
    for law in found["laws"].values():
        assert law["successful"] == 1
        assert law["largest_residual"] < 5e-6


def test_the_recorded_learning_curves_are_level_with_backpropagation():
    ours, theirs = (recorded("learning_curves")["learners"][name] for name in ("cognitive action", "backpropagation"))
    for learner in (ours, theirs):
        assert learner["test_mean"] == pytest.approx(np.mean(learner["test"]), abs=1e-3)
    assert abs(ours["test_mean"] - theirs["test_mean"]) < 2 * theirs["test_deviation"]


@pytest.mark.parametrize("page", ["benchmarks/README.md", "docs/performance.md"])
def test_tables_of_figures_are_those_of_the_results(page):
    """If not: python benchmarks/index.py."""
    text = (BENCHMARKS.parent / page).read_text(encoding="utf-8")
    index = runpy.run_path(str(BENCHMARKS / "index.py"))
    assert index["rewritten"](text, index["PAGES"][BENCHMARKS.parent / page]) == text


def test_the_table_of_estimates_is_that_of_the_result():
    """If not: python benchmarks/index.py."""
    index = runpy.run_path(str(BENCHMARKS / "index.py"))
    text = index["SCALE"].read_text(encoding="utf-8")
    assert index["scale_rewritten"](text) == text
