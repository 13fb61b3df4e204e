"""Runs what is missing of the sample, and prints the table."""

import argparse
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

from . import child
from .mutants import Mutant, mutants_of
from .reach import reach, short, sources
from .trial import planned, tried

HERE = Path(__file__).parent
RESULTS, REASONS = HERE / "results.jsonl", HERE / "reasons.json"


def main() -> None:
    arguments = _arguments()
    sample = _sample(arguments.number, arguments.seed)
    if not arguments.table:
        _run(sample, arguments)
    print(table(_records()))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--table", action="store_true", help="only print the table of what there is")
    parser.add_argument("--number", type=int, default=300, help="size of the sample")
    parser.add_argument("--seed", type=int, default=20191204)
    parser.add_argument("--budget", type=float, default=120.0, help="seconds of tests for each mutant")
    parser.add_argument("--survivors", action="store_true", help="try survivors without a reason once more")
    parser.add_argument("--reach", action="store_true", help="only measure which tests execute which statements")
    return parser.parse_args()


def _sample(number: int, seed: int) -> list[Mutant]:
    """Drawn one after the other, so that a larger sample begins with a smaller one."""
    everything = [mutant for path in sources() for mutant in mutants_of(path, short(path))]
    random.Random(seed).shuffle(everything)  # noqa: S311  # a sample, no secret
    return everything[:number]


def _records() -> dict[str, list[dict[str, Any]]]:
    """What became of each mutant, time after time."""
    records: dict[str, list[dict[str, Any]]] = {}
    if RESULTS.exists():
        for line in RESULTS.read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            records.setdefault(record["mutant"], []).append(record)
    return records


def _reasons() -> dict[str, list[str]]:
    """Survivor to the kind of its reason, and the reason."""
    return json.loads(REASONS.read_text(encoding="utf-8")) if REASONS.exists() else {}


def _run(sample: list[Mutant], arguments: argparse.Namespace) -> None:
    known = reach()
    if arguments.reach:
        return
    given = _reasons()
    done, early = _records(), set(known["import"]["lines"])
    waiting = []
    for mutant in sample:
        before = done.get(mutant.key)
        if before is None or (arguments.survivors and not _is_killed(before[-1]) and mutant.key not in given):
            waiting.append((mutant, not mutant.inside or f"{mutant.file}:{mutant.statement}" in early))
    # Those that act at import need a process without the package, so they come first.
    for at_import in (True, False):
        if not at_import:
            child.with_hook()
            child.import_package()
        for mutant, acts_early in waiting:
            if acts_early == at_import:
                plan = planned(mutant, known, arguments.budget)
                _write(mutant, tried(mutant, plan, at_import=at_import) | {"left_out": plan.left_out})


def _write(mutant: Mutant, found: dict[str, Any]) -> None:
    line = {"mutant": mutant.key, "file": mutant.file, "operator": mutant.operator, **found}
    with RESULTS.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(line, ensure_ascii=False) + "\n")
    print(f"{found['outcome']:12} {found['seconds']:6.1f} s  {mutant.key}", flush=True)


def table(records: dict[str, list[dict[str, Any]]]) -> str:
    """Of each file, and of all: mutants, those killed at their first and at their last trial, and why others live."""
    reasons = _reasons()
    counts: dict[str, Counter] = {}
    for name, trials in records.items():
        for row in (trials[0]["file"], "all"):
            count = counts.setdefault(row, Counter())
            count.update(["mutants"] + ["first"] * _is_killed(trials[0]) + ["last"] * _is_killed(trials[-1]))
            if not _is_killed(trials[-1]):
                count[reasons.get(name, ["open"])[0]] += 1
    kinds = sorted({kind for count in counts.values() for kind in count} - {"mutants", "first", "last"})
    lines = [
        "| file | mutants | killed at first | killed | " + " | ".join(kinds) + " |",
        "|---" * (4 + len(kinds)) + "|",
    ]
    for row in sorted(counts, key=lambda row: (row == "all", row)):
        numbers = (counts[row][column] for column in ("mutants", "first", "last", *kinds))
        lines.append(f"| {row} | " + " | ".join(map(str, numbers)) + " |")
    return "\n".join(lines)


def _is_killed(record: dict[str, Any]) -> bool:
    return record["outcome"] in {"killed", "timeout"}


main()
