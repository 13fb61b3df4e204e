"""Every benchmark with a gate runs on tiny sizes and leaves JSON and a picture; what it finds is for its full run."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SCRIPTS = {
    "right_hand_side": {"slopes", "rows"},
    "dense_against_structured": {"rows", "crossings"},
    "work_precision": {"networks"},
    "compile_and_memory": {"rows", "memory"},
    "digits": {"seeds", "evaluation"},
    "xor_ensemble": {"rows", "others", "not_timed"},
    "scale": {"hardware", "points"},
}


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


@pytest.mark.parametrize("path", sorted((BENCHMARKS / "results").glob("*.json")), ids=lambda path: path.stem)
def test_no_recorded_result_misses_its_gates(path):
    assert json.loads(path.read_text(encoding="utf-8")).get("missed", []) == []


@pytest.mark.parametrize("page", ["benchmarks/README.md", "README.md"])
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
