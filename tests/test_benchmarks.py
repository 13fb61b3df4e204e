"""Every benchmark with a threshold runs on tiny sizes and leaves JSON and a picture; full runs answer questions."""

import dataclasses
import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import compiled_text, device_gates, on_device, schedule
from lagrangian_learning.commands import classical
from lagrangian_learning.commands.digits import task as digits
from lagrangian_learning.commands.speech import task as speech
from tests import compiling

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
RESULTS = BENCHMARKS / "results"
SCRIPTS = {
    "right_hand_side": {"slopes", "rows"},
    "dense_against_structured": {"rows", "crossings"},
    "work_precision": {"networks"},
    "compile_and_memory": {"rows", "memory"},
    "mechanisms": {"rows"},
    "heavy_weights": {"rows"},
    "one_run": {"runs", "flows", "evaluations", "calls", "compiling"},
    "gradients": {"rows", "growth", "memory", "compiling", "recording", "lanes"},
    "digits": {"seeds", "evaluation"},
    "optimizers": {"tasks"},
    "xor_ensemble": {"rows", "others", "not_timed"},
    "scale": {"hardware", "points"},
    "scale_compiled": {"rows"},
    "on_device": {"accelerator", "budget", "omitted", "hardware", "measurements"},
}
# Budgets of compiled programs that are not kept: docs/accelerators.md gives the figures and the reasons.
MISSES = {
    ("tpu", "action", "13–32–9", "simulate", "launches"),
    ("tpu", "action, full coordinates", "13–32–9", "simulate", "temporaries"),
    ("tpu", "action, full coordinates", "13–32–9", "batch", "temporaries"),
    ("cuda", "action", "13–32–9", "simulate", "launches"),
    ("cuda", "action", "13–32–9", "gradient", "spilled"),
    ("cuda", "action", "1e6 weights", "simulate", "spilled"),
    ("cuda", "action, full coordinates", "13–32–9", "simulate", "temporaries"),
    ("cuda", "action, full coordinates", "13–32–9", "gradient", "spilled"),
    ("cuda", "action, full coordinates", "13–32–9", "batch", "spilled"),
}
READ_THEIR_PROGRAMS = {"compile_and_memory", "scale_compiled", "on_device"}
# Whose budgets are not all kept: docs/accelerators.md says which, and why.
KNOWN_TO_MISS = {"device_gates"}
SHORT = {"on_device": ["--budget", "30"]}  # what does not fit is skipped and recorded
ON_ACCELERATORS = {"on_device"}  # recorded where there is one
JUDGED = {*SCRIPTS, "stiffness"} - {name for name in ON_ACCELERATORS if not (RESULTS / f"{name}.json").exists()}
CHOICES = {"digits_constants": digits.Constants(), "speech_constants": speech.Constants()}
STUDIES = {
    "analog_yield", "echo", "identification", "learned_action", "learning_curves", "mechanics_by_gradient",
    "phase_diagram", "predictive_coding", "robustness", "wave_limits",
}  # fmt: skip
TUNED = {"tune_digits", "tune_drift", "tune_speech"}  # what commands wrote
BASELINES = {"classical", "lorenz"}


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_the_script_runs_and_writes_what_it_found(name, tmp_path):
    script = BENCHMARKS / f"{name}.py"
    call = [sys.executable, str(script), "--quick", "--results", str(tmp_path), *SHORT.get(name, [])]
    environment = compiling.in_full() if name in READ_THEIR_PROGRAMS else os.environ
    done = subprocess.run(  # noqa: S603  # our own script
        call, capture_output=True, text=True, timeout=850, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8"))
    assert record["question"].endswith("?")
    assert {"device", "cores", "versions"} <= record["environment"].keys()
    assert SCRIPTS[name] | {"missed"} <= record.keys()
    assert (tmp_path / f"{name}.png").stat().st_size > 10_000


def recorded(name):
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def test_every_recorded_result_is_judged_or_is_known_to_have_nothing_to_judge():
    assert {path.stem for path in RESULTS.glob("*.json")} == (
        JUDGED | KNOWN_TO_MISS | CHOICES.keys() | STUDIES | TUNED | BASELINES
    )


@pytest.mark.parametrize("name", sorted(JUDGED))
def test_no_recorded_result_misses_its_thresholds(name):
    assert recorded(name)["missed"] == []


def test_no_figure_of_a_cpu_is_recorded_as_one_of_a_device():
    assert "on_device" not in JUDGED or recorded("on_device")["accelerator"]


def scheduled(budget, measurements):
    """Rows of a schedule on a clock that only measurements move, and what was recorded after each change."""
    now, written = [0.0], []

    def taking(seconds, findings):
        def measure():
            now[0] += seconds
            if findings is None:
                raise ArithmeticError("not finite\nand more")
            return findings | {"summary": "done"}

        return measure

    made = [schedule.Measurement("kind", name, guess, taking(*taken)) for name, guess, *taken in measurements]
    record = lambda rows: written.append([row["status"] for row in rows])  # noqa: E731
    return schedule.Schedule(budget, record, lambda: now[0]).run(made), written


def test_a_schedule_measures_what_fits_its_time_at_the_pace_of_the_machine():
    rows, written = scheduled(100, [("a", 10, 30, {"x": 1}), ("long", 30, 5, {}), ("short", 20, 5, {})])
    assert [row["status"] for row in rows] == ["measured", "skipped", "measured"]
    assert rows[0]["x"] == 1
    assert rows[0]["seconds"] == 30
    assert "90 s" in rows[1]["why"]  # three times the guess, as the first took
    assert written[0] == ["under way", "waiting", "waiting"]
    assert written[1] == ["measured", "waiting", "waiting"]


def test_what_fails_is_recorded_and_the_next_is_measured():
    rows, _ = scheduled(100, [("a", 10, 10, None), ("b", 10, 10, {})])
    assert [row["status"] for row in rows] == ["failed", "measured"]
    assert rows[0]["why"] == "ArithmeticError: not finite"


def test_a_measurement_that_does_not_end_is_stopped_and_loses_nothing_else(tmp_path):
    code = f"""
import json, pathlib, sys, time
sys.path.insert(0, {str(BENCHMARKS)!r})
import schedule
record = lambda rows: pathlib.Path({str(tmp_path / "rows.json")!r}).write_text(json.dumps(rows))
made = [schedule.Measurement("kind", n, 0.1, f) for n, f in
        (("a", lambda: {{"summary": "x"}}), ("b", lambda: time.sleep(60)), ("c", dict))]
close = lambda rows: pathlib.Path({str(tmp_path / "closed")!r}).touch()
schedule.Schedule(1.0, record, close=close).run(made)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "rows.json").read_text(encoding="utf-8"))
    assert [row["status"] for row in rows] == ["measured", "stopped", "skipped"]
    assert (tmp_path / "closed").exists()  # a picture is drawn of what there is


def test_a_device_that_computes_otherwise_than_the_cpu_misses_a_gate():
    ends = iter([{"x": np.array([1.0, -4.0]), "y": np.ones(1)}, {"x": np.array([1.1, -5.0]), "y": np.ones(1)}])
    found = on_device.apart(lambda: next(ends))
    assert found == pytest.approx(0.2)
    row = {"kind": "agreement", "name": "one", "status": "measured", "apart": found, "dtype": "float64"}
    assert on_device.missed([row]) == ["agreement, one: 2.0e-01 apart from the CPU, threshold 1e-09"]
    assert on_device.missed([row | {"apart": np.nan}])
    assert not on_device.missed([row | {"apart": 1e-12}, {"kind": "XOR", "name": "two", "status": "skipped"}])


@pytest.mark.parametrize("name", CHOICES)
def test_a_command_takes_the_constants_that_the_recorded_search_chose(name):
    held = dataclasses.asdict(CHOICES[name])
    chosen = recorded(name)["chosen"]
    assert {constant: held[constant] for constant in chosen} == chosen


@pytest.mark.parametrize(("data", "printed"), [("speech", classical.SPEECH), ("digits", classical.DIGITS)])
def test_a_command_prints_the_recorded_baselines(data, printed):
    found = recorded("classical")[data]["accuracy"]
    assert printed == {name: round(100 * share, 1) for name, share in found.items()}


@pytest.mark.slow
def test_the_recorded_baselines_are_found_again(tmp_path):
    script = BENCHMARKS / "classical.py"
    subprocess.run([sys.executable, str(script), "--results", str(tmp_path)], check=True, timeout=850)  # noqa: S603  # our own script
    found = json.loads((tmp_path / "classical.json").read_text(encoding="utf-8"))
    for data in ("speech", "digits"):
        assert found[data]["accuracy"] == pytest.approx(recorded("classical")[data]["accuracy"], abs=3e-3)


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


# -- programs compiled without their device ----------------------------------------------------------------------------

# A loop over steps as XLA prints it: five launches and the one of its condition, a loop inside of three turns of two
# launches and its condition, one of unknown turns, a choice of branches of one and two launches, and a copy in halves.
HLO = """HloModule jit_simulate, is_scheduled=true

%fused_add (param_0: f32[32,13]) -> f32[32,13] {
  %param_0 = f32[32,13]{1,0} parameter(0)
  ROOT %add.1 = f32[32,13]{1,0} add(%param_0, %param_0)
}

%counted_body (at.1: (s32[], f32[9])) -> (s32[], f32[9]) {
  %at.1 = (s32[]{:T(128)}, f32[9]{0:T(128)}) parameter(0)
  %gte.1 = f32[9]{0:T(128)} get-tuple-element(%at.1), index=1
  %fusion.1 = f32[9]{0:T(128)} fusion(%gte.1), kind=kLoop, calls=%fused_add
  %sum.1 = s32[]{:T(128)} add(%gte.0, %gte.0)
  ROOT %tuple.1 = (s32[]{:T(128)}, f32[9]{0:T(128)}) tuple(%sum.1, %fusion.1)
}

%counted_condition (at.2: (s32[], f32[9])) -> pred[] {
  %at.2 = (s32[]{:T(128)}, f32[9]{0:T(128)}) parameter(0)
  ROOT %less.1 = pred[]{:T(512)} compare(%at.2, %at.2), direction=LT
}

%solver_body (at.3: (s32[], /*index=1*/f32[9])) -> (s32[], /*index=1*/f32[9]) {
  %at.3 = (s32[], /*index=1*/f32[9]{0}) parameter(0)
  %dot.1 = f32[9]{0} dot(%at.3, %at.3), lhs_contracting_dims={0}
  %view.1 = f32[3,3]{1,0} bitcast(%dot.1)
  ROOT %tuple.2 = (s32[], /*index=1*/f32[9]{0}) tuple(%at.3, %dot.1)
}

%solver_condition (at.4: (s32[], f32[9])) -> pred[] {
  %at.4 = (s32[], f32[9]{0}) parameter(0)
  ROOT %fusion.2 = pred[] fusion(%at.4), kind=kLoop, calls=%fused_add
}

%short (x.1: f32[9]) -> f32[9] {
  ROOT %copy.1 = f32[9]{0} copy(%x.1)
}

%long (x.2: f32[9]) -> f32[9] {
  %copy.2 = f32[9]{0} copy(%x.2)
  ROOT %call.1 = f32[9]{0} custom-call(%copy.2), custom_call_target="__cublas$gemm"
}

%step_body (at.5: (s32[], f32[9])) -> (s32[], f32[9]) {
  %at.5 = (s32[], f32[9]{0}) parameter(0)
  %zero.1 = s32[] constant(0)
  %fusion.3 = (f32[9]{0:T(8,128)S(1)}, /*index=1*/f32[]) fusion(%at.5), kind=kInput, calls=%fused_add
  %start.1 = (f32[9]{0}, f32[9]{0}, u32[]) copy-start(%at.5)
  %done.1 = f32[9]{0} copy-done(%start.1)
  %while.1 = (s32[], f32[9]{0}) while(%at.5), condition=%counted_condition, body=%counted_body, backend_config={"known_trip_count":{"n":"3"}}
  %while.2 = (s32[], f32[9]{0}) while(%at.5), condition=%solver_condition, body=%solver_body, metadata={op_name="jit(simulate)/solver/while"}
  %choice.1 = f32[9]{0} conditional(%zero.1, %at.5, %at.5), branch_computations={%short, %long}
  %one.1 = s32[] copy(%zero.1)
  ROOT %tuple.3 = (s32[], f32[9]{0}) tuple(%one.1, %done.1)
}

%step_condition (at.6: (s32[], f32[9])) -> pred[] {
  %at.6 = (s32[], f32[9]{0}) parameter(0)
  ROOT %less.2 = pred[] compare(%at.6, %at.6), direction=LT
}

ENTRY %main.1 (x.3: f32[9]) -> f32[9] {
  %x.3 = f32[9]{0} parameter(0)
  %fusion.4 = f32[9]{0} fusion(%x.3), kind=kLoop, calls=%fused_add
  ROOT %while.3 = (s32[], f32[9]{0}) while(%fusion.4), condition=%step_condition, body=%step_body, metadata={op_name="jit(simulate)/while"}
}
"""  # noqa: E501  # as XLA prints it


def test_launches_of_a_loop_are_those_counted_by_hand():
    """Fusion, copy in halves, the longer branch of two and the copy of a number: 5; condition 1; 3 times (2 + 1)."""
    (loop,) = compiled_text.Program(HLO).loops()
    (solver,) = loop.nested
    assert (loop.launches, loop.trips, loop.origin) == (5 + 1 + 3 * 3, None, "jit(simulate)/while")
    assert (solver.launches, solver.trips, solver.origin) == (2, None, "jit(simulate)/solver/while")
    assert loop.all_launches == 17


def test_single_numbers_start_nothing_where_the_device_has_a_unit_for_them():
    """The copy of a number, both comparisons and the sum: 1 + 1 + 3 · 2 launches less. A fusion reads arrays."""
    (loop,) = compiled_text.Program(HLO, scalar_unit=True).loops()
    assert loop.launches == 15 - 8
    assert [one.launches for one in loop.nested] == [2]


def test_text_that_is_no_program_is_refused():
    with pytest.raises(ValueError, match="no entry computation"):
        compiled_text.Program("HloModule nothing")
    with pytest.raises(ValueError, match="no registers or spills"):
        compiled_text.kernels("ptxas info : Compiling entry function 'one' for 'sm_90a'")


def test_registers_and_spills_are_those_that_ptxas_reports():
    report = """ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'loop_add_fusion' for 'sm_90a'
ptxas info    : Function properties for loop_add_fusion
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 12 registers, used 0 barriers
ptxas info    : Compiling entry function 'input_reduce_fusion_7' for 'sm_90a'
ptxas info    : Function properties for input_reduce_fusion_7
    48 bytes stack frame, 44 bytes spill stores, 56 bytes spill loads
ptxas info    : Used 255 registers, used 1 barriers
"""
    assert compiled_text.kernels(report) == [("loop_add_fusion", 12, 0), ("input_reduce_fusion_7", 255, 100)]


ASSIGNMENT = """BufferAssignment:
allocation 0: size 8192, parameter 3, shape |f32[32,13]| at ShapeIndex {}:
 value: <1 x @0> (size=8192,offset=0): f32[32,13]{0,1:T(8,128)}
allocation 1: size 512, thread-local:
 value: <2 y @0> (size=512,offset=0): f32[]
allocation 2: size 49152, preallocated-temp:
 value: <3 a @0> (size=512,offset=0): f32[9]
 value: <4 b @0> (size=1024,offset=256): f32[9,9]
 value: <5 c @0> (size=512,offset=16384): f32[9]
 value: <6 d @0> (size=100,offset=32768): f32[9]
allocation 3: size 4096, color 1, preallocated-temp:
 value: <7 e @0> (size=4096,offset=0): f32[8,128]{1,0:T(8,128)S(1)}

Total bytes used: 1
 value: <8 f @0> (size=7,offset=9999): f32[]
"""


def test_temporaries_are_the_bytes_that_values_cover():
    """Places shared count once, the room between them does not; parameters are as large as the device lays them."""
    assert compiled_text.covered(ASSIGNMENT) == (256 + 1024) + 512 + 100
    assert compiled_text.covered(ASSIGNMENT, color=1) == 4096
    assert compiled_text.parameter_bytes(ASSIGNMENT) == {3: 8192}


def compiled_row(**changed):
    saving = {"origin": "a/inner-loop/while", "trips": None, "launches": 8, "nested": []}
    solver = {"origin": "a/while", "trips": None, "launches": 11, "nested": []}
    step = {"origin": "a", "trips": None, "launches": 40, "nested": [solver, saving]}
    records = {"origin": "b", "trips": 2, "launches": 99, "nested": []}
    names = {"law": "action", "network": device_gates.SPEECH, "dtype": "float32", "program": "simulate"}
    sizes = {"state bytes": 5632, "covered bytes": 4 * 5632, "kernels": 9, "registers": 64, "spilled bytes": {}}
    return {**names, **sizes, "operations": 5e5, "bytes": 2e6, "loops": [records, step], **changed}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, None),
        ({"loops": [{"origin": "", "trips": None, "launches": 41, "nested": []}]}, "41 launches a step"),
        ({"spilled bytes": {"one": 16}}, "16 bytes spilled in 1 kernels of 9"),
        ({"spilled bytes": {"one": 16}, "dtype": "float64"}, None),
        ({"covered bytes": 23000}, "temporaries of 4.1 states"),
        ({"covered bytes": 23000, "state bytes": 48}, None),
        ({"covered bytes": 23000, "program": "gradient"}, None),
        ({"failed": "ValueError: why"}, "does not compile, ValueError: why"),
    ],
)
def test_a_budget_is_missed_beyond_its_figure_and_not_at_it(changed, words):
    found = list(device_gates.missed("cuda", compiled_row(**changed)))
    assert not found if words is None else words in found[0]


def test_launches_inside_a_step_are_listed_without_those_that_save():
    row = compiled_row()
    assert (device_gates.launches(row), device_gates.iterations(row)) == (40, [11])


def test_a_target_whose_compiler_is_missing_says_what_to_install(monkeypatch):
    monkeypatch.setattr(device_gates.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match=r"not installed here.*pip install \. && pip install .*jax-cuda12-plugin"):
        device_gates.check_installed("cuda")


def test_the_table_of_compiled_programs_is_that_of_the_result():
    """If not: python benchmarks/index.py."""
    index = runpy.run_path(str(BENCHMARKS / "index.py"))
    text = index["ACCELERATORS"].read_text(encoding="utf-8")
    assert index["accelerators_rewritten"](text) == text


def test_all_laws_are_compiled_for_both_devices_and_miss_no_budget_but_the_known_ones():
    every = {(case.law, case.network) for case in device_gates.CASES}
    missing = set()
    for target, found in recorded("device_gates")["targets"].items():
        assert {(row["law"], row["network"]) for row in found["rows"]} == every, target
        assert not any("failed" in row for row in found["rows"])
        missing |= {
            (
                target,
                row["law"],
                row["network"],
                row["program"],
                re.search("launches|spilled|temporaries", text).group(),
            )
            for row in found["rows"]
            for text in device_gates.missed(target, row)
        }
    assert missing == MISSES
    assert recorded("device_gates")["targets"].keys() == device_gates.TARGETS.keys()
