"""The studies run on tiny sizes and say what they should; what they find is for their full runs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from benchmarks.studies.phase_diagram import Diagram, boundary
from benchmarks.studies.robustness import Outcome, agreement, laws, outcome, signals, summary

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Runs a study in a process of its own, in float32 as its users do; returns its numbers."""

    def run(name, drawn=True):
        folder = tmp_path_factory.mktemp(name)
        call = [
            sys.executable,
            str(ROOT / "benchmarks" / "studies" / f"{name}.py"),
            "--quick",
            "--json",
            "numbers.json",
        ]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
        done = subprocess.run(  # noqa: S603  # our own module
            call, cwd=folder, capture_output=True, text=True, timeout=600, check=False, env=environment
        )
        assert done.returncode == 0, done.stderr
        assert not drawn or (folder / f"{name}.png").stat().st_size > 10_000
        record = json.loads((folder / "numbers.json").read_text(encoding="utf-8"))
        assert f"{name}: " in done.stderr
        assert done.stdout.splitlines()[-1] == "numbers: numbers.json"
        assert record["question"].endswith("?")
        assert {"device", "cores", "versions"} <= record["environment"].keys()
        return record

    return run


@pytest.mark.parametrize("rising", [True, False])
def test_a_boundary_that_is_known_is_found(rising):
    """cos = 0.99 exactly at x = 3 y^1.5, linear in log x; reversed for a diagram that is faithful at the right."""
    across, up = np.geomspace(1e-2, 1e4, 61), np.geomspace(1, 50, 9)
    steps = np.log(across[None] / (3 * up[:, None] ** 1.5))
    cosine = 0.99 + (0.01 if rising else -0.01) * np.tanh(steps)
    found = boundary(Diagram(across, up, cosine, np.ones_like(cosine)))
    np.testing.assert_allclose(found.at, 3 * up**1.5, rtol=2e-3)
    assert found.slope == pytest.approx(1.5, abs=2e-3)
    assert found.place == pytest.approx(3, rel=5e-3)


def test_a_row_without_a_boundary_has_none():
    found = boundary(Diagram(np.arange(1.0, 4), np.arange(1.0, 4), np.array([[1, 1, 1], [1, 0, 0], [1, 1, 0.0]]), 0))
    assert np.isnan(found.at[0])
    assert np.all(np.isfinite(found.at[1:]))


def test_shares_of_lanes():
    """A lane that failed has learned nothing, whatever its loss."""
    ok, none = np.array([True, True, True, False]), np.zeros(4)
    again = np.array([False, True, True, False])
    ours = Outcome(np.array([0.01, 0.5, 0.05, 0.01]), ok, none, none, again, {"non_finite": 1})
    theirs = Outcome(np.array([0.02, 0.03, 2.0, 0.7]), np.ones(4, bool), none, none, ~ok & ok, {})
    shares = agreement({"ours": ours, "theirs": theirs})
    assert shares == {"both": 0.25, "action_alone": 0.25, "flow_alone": 0.25, "none": 0.25}
    assert summary(ours)["learned"] == 0.5
    assert summary(ours)["successful"] == 0.75
    assert summary(ours)["run_again_with_finer_steps"] == 0.5
    assert summary(ours)["learned_of_those"] == 0.5
    assert summary(theirs)["learned_of_those"] is None
    assert summary(theirs)["worse_than_at_the_start"] == 0.25


@pytest.mark.slow
def test_phase_diagram(study):
    found = study("phase_diagram")
    flow = found["continuous"]
    speed, ratio = np.array(flow["up"]), np.array(flow["ratio"])
    # Under an input that hardly moves the first layer has the stationary gain (1 + ϑ/c)^−L (docs/theory.md §7).
    np.testing.assert_allclose(ratio[1:, 0], (1 + 1 / speed[1:]) ** -3, rtol=0.05)
    assert flow["slope"] == pytest.approx(1, abs=0.15)
    assert np.array(flow["cosine"])[-1, 0] > 0.999
    assert np.array(found["discrete"]["cosine"])[:, -1].min() > 0.99


@pytest.mark.slow
def test_wave_delays(study):
    found = study("wave_delays", drawn=False)
    assert found["layers"] == [2, 3, 4]
    assert min(found["period"]) > 20  # medians over two networks, which need not grow from depth to depth
    assert found["slope"] > 0.5


@pytest.mark.slow
def test_identification(study):
    for case in study("identification")["cases"]:
        assert max(case["noiseless"]["errors"]) < 1e-4
        assert max(case["noisy"]["root_mean_square"]) < 0.05
        assert case["second_half"]["missed"] < 0.1 * case["second_half"]["staying"]


@pytest.mark.slow
def test_echo(study):
    found = study("echo", drawn=False)
    assert found["missed"] == []
    assert {one["method"] for one in found["outcomes"]} == {"echo", "reverse mode"}
    assert min(one["test"] for one in found["outcomes"]) > 0.4
    assert max(row["lost"] for row in found["frictions"]) < 1e-3
    short, longer = (row["bytes"] for row in found["costs"])
    assert longer["echo"] < 1.2 * short["echo"]
    assert longer["reverse mode"] > 3 * short["reverse mode"]


@pytest.mark.slow
def test_second_order(study):
    stable, unstable = study("second_order", drawn=False)["signs"]
    assert stable["growth"] < 0 < unstable["growth"]


@pytest.mark.slow
def test_predictive_coding(study):
    found = study("predictive_coding")
    assert found["rest"][0]["slope"] == pytest.approx(-1, abs=0.05)
    assert found["soft"][0]["slope"] == pytest.approx(-1, abs=0.05)
    assert found["relaxing"][0]["steps"][-1] <= 1.2 * found["relaxing"][0]["steps"][0]
    assert max(one["our_error"] * one["kappa"] for one in found["times"]) < 10


@pytest.mark.slow
def test_limit_study(study):
    for limit in study("limit_study")["limits"]:
        assert limit["slope"] == pytest.approx(1, abs=0.05)


@pytest.mark.slow
def test_stability_atlas(study):
    rules = study("stability_atlas")["rules"]
    assert max(rules["sign_flip"]["growth"]) < 0 < max(rules["forward"]["growth"])
    assert np.array(rules["sign_flip"]["cosine"]).min() > 0.99


@pytest.mark.slow
def test_robustness(study):
    laws = study("robustness")["laws"]
    for law in laws.values():
        assert law["successful"] == 1
        assert law["learned"] > 0.3
    assert laws["cognitive action"]["largest_residual"] < 5e-6
    assert laws["gradient flow"]["largest_residual"] == 0


@pytest.mark.slow
def test_lanes_that_constant_steps_do_not_resolve_are_run_again():
    """Three that run away late (of the full study's lanes), where steps ever finer go, beside two of the others."""
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"):
        lanes = np.array([0, 1158, 3175, 8966, 1])
        given = jax.tree.map(lambda leaf: leaf[lanes], signals(10_000))
        found = outcome(laws()["cognitive action"], given)
    np.testing.assert_array_equal(found.again, [False, True, True, True, False])
    assert found.successful.all()
    assert (found.before_projection < 1e-3).sum() >= 3
    assert (found.before_projection < 0.1).all()
    assert (found.residual < 5e-6).all()


@pytest.mark.slow
def test_learning_curves(study):
    for learner in study("learning_curves")["learners"].values():
        assert learner["held_out_mean"][0] < 0.4
        assert learner["held_out_mean"][-1] > 0.7
        assert learner["test_mean"] > 0.8
