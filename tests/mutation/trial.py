"""One mutant against the tests that execute its statement: those that mirror its file first, the fastest first."""

import json
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from . import child
from .mutants import Mutant

# The tests that mirror a file whose name they do not bear.
MIRRORS = {
    "mechanics/constraint.py": ("mechanics/test_constraints.py",),
    "mechanics/dependence.py": ("mechanics/test_multipliers.py", "mechanics/test_lagrangian.py"),
    "mechanics/equations.py": ("mechanics/test_euler_lagrange.py",),
    "mechanics/law.py": ("mechanics/test_euler_lagrange.py", "mechanics/test_transformations.py"),
    "mechanics/lagrangian.py": (
        "mechanics/test_lagrangian.py",
        "mechanics/test_lagrangian_variation.py",
        "mechanics/test_lagrangian_jets.py",
    ),
    "mechanics/method.py": ("mechanics/test_transformations.py",),
    "mechanics/state.py": ("mechanics/test_cauchy.py",),
    "learning/abstract_action.py": ("learning/test_action.py",),
    "learning/potential.py": ("learning/test_action.py", "learning/test_bad_input.py"),
    "learning/laws/action_law.py": ("learning/laws/test_one_set_of_constants.py", "learning/laws/test_equation_10.py"),
    "learning/laws/full.py": ("learning/laws/test_equation_10.py", "learning/laws/test_projection.py"),
    "learning/laws/reduced.py": ("learning/laws/test_reduced.py", "learning/laws/test_equation_10.py"),
    "learning/laws/limits.py": ("learning/laws/test_reduction_to_backprop.py",),
    "learning/laws/backprop_diffusion.py": ("learning/laws/test_finite_speed.py", "boundary/test_boundary.py"),
    "learning/multipliers/choice.py": ("learning/multipliers/test_agreement.py",),
    "learning/multipliers/direct.py": ("learning/multipliers/test_agreement.py",),
    "learning/multipliers/network_solver.py": ("learning/multipliers/test_agreement.py",),
    "learning/multipliers/preconditioned_gradients.py": ("learning/multipliers/test_agreement.py",),
    "steppers/discrete_lagrangian.py": ("steppers/test_rattle.py",),
    "steppers/kick_drift.py": ("steppers/test_exponential.py", "optimizers/test_kick_drift.py"),
    "steppers/terms.py": ("steppers/test_exponential.py",),
}


class Plan(NamedTuple):
    """Tests with their seconds, in the order in which they run; how many were left out to keep within the budget."""

    tests: dict[str, float]
    left_out: int


def planned(mutant: Mutant, reach: dict[str, dict[str, Any]], budget: float) -> Plan:
    """The tests that execute the statement, mirroring ones first, up to `budget` seconds, and at least one."""
    place = f"{mutant.file}:{mutant.statement}"
    reached = sorted(
        (not _mirrors(name, mutant.file), test["seconds"], name)
        for name, test in reach.items()
        if name != "import" and _executes(test["lines"], place, mutant)
    )
    tests: dict[str, float] = {}
    for _, seconds, name in reached:
        if not tests or sum(tests.values()) + seconds <= budget:
            tests[name] = seconds
    return Plan(tests, len(reached) - len(tests))


def _executes(lines: list[str], place: str, mutant: Mutant) -> bool:
    return place in lines if mutant.inside else any(line.startswith(f"{mutant.file}:") for line in lines)


def _mirrors(test: str, file: str) -> bool:
    room, _, name = file.rpartition("/")
    own = (f"{room}/test_{name}", *MIRRORS.get(file, ()))
    return test.partition("::")[0].removeprefix("tests/") in own


def tried(mutant: Mutant, plan: Plan, *, at_import: bool) -> dict[str, Any]:
    """What became of a mutant; `at_import`: its code runs, or is looked at, while the package is imported."""
    if not plan.tests:
        return {"outcome": "not reached", "seconds": 0.0}
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        limit = 300 + 20 * sum(plan.tests.values())
        status = child.forked(lambda: _run(mutant, plan, report, at_import=at_import), limit)
        found = json.loads(report.read_text()) if report.exists() else {}
    seconds = round(time.perf_counter() - begin, 1)
    return {"outcome": _outcome(status), "seconds": seconds, "tests": len(plan.tests), **found}


def _outcome(status: int) -> str:
    if status == 0:
        return "survived"
    if status == -signal.SIGALRM:
        return "timeout"
    if status in {5, 70, 71}:
        raise RuntimeError(f"the trial itself failed ({status}); MUTATION_LOG=FILE keeps what it printed.")
    return "killed"


def _run(mutant: Mutant, plan: Plan, report: Path, *, at_import: bool) -> int:
    path = child.ROOT / child.PACKAGE / mutant.file
    source = mutant.applied(path.read_bytes())
    if at_import:
        child.change_sources(lambda this, _: source if this == path else None)
    else:
        module = sys.modules[".".join((child.PACKAGE, *Path(mutant.file).with_suffix("").parts))]
        if child.swap_code(module, source) == 0:
            return 71
    chosen = child.Chosen(plan.tests)
    files = dict.fromkeys(str(child.ROOT / name.partition("::")[0]) for name in plan.tests)
    status = child.run_tests(files, chosen)
    report.write_text(json.dumps({"by": chosen.failed, "ran": chosen.ran}))
    return status
