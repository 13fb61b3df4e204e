"""`lagrangian-learning tune`: the constants of an action, by the gradient through whole runs of learning."""

from pathlib import Path

import numpy as np

from lagrangian_learning.commands.output import (
    check_counts,
    check_files,
    check_seed,
    console_beside,
    line_printer,
    save,
)
from lagrangian_learning.commands.progress import Report, progress

from .physics import KNOTS
from .picture import draw
from .report import ALL_NUMBERS, CONSTANTS, WHOLE, WINDOWED, as_dict, print_experiment, print_results, whole_runs
from .rivals import RIVALS
from .search import PRICE, Found, by_gradient, by_random_physics, by_rival, price_of_a_gradient
from .task import TASKS, Task

WINDOWS = 10
BEGINNING = 6  # a share of the runs: random constants to begin with
LEAST = 2 * BEGINNING * PRICE


def tune_command(
    name: str, runs: int, frames: int, seed: int, output: Path | None, numbers: Path | None
) -> list[Found]:
    """Tunes, judges, prints and draws; see `lagrangian_learning.commands.cli`. Returns what each way found."""
    command = f"tune {name}"
    check_counts(command, runs=runs, frames=frames)
    check_seed(command, seed)
    check_files(command, output, numbers)
    if runs < LEAST:
        raise SystemExit(f"{command}: --runs must be at least {LEAST}: a few gradients, and as many random constants.")
    if frames < 10 * WINDOWS:
        raise SystemExit(f"{command}: --frames must be at least {10 * WINDOWS}.")
    try:
        task = TASKS[name](seed, frames)
    except ModuleNotFoundError as error:
        raise SystemExit(f"{command}: {error}") from None
    line = line_printer(console_beside(numbers))
    print_experiment(line, task, runs)
    with progress(f"tuning on {name}", "ways") as report:
        found = ways_of_tuning(task, runs, np.random.default_rng(seed), report)
    price = price_of_a_gradient(task, whole_runs(found).numbers)
    print_results(line, found, price)
    save(line, output, lambda path: draw(task, found, path), numbers, as_dict(task, found, price))
    return found


def ways_of_tuning(task: Task, runs: int, rng: np.random.Generator, report: Report) -> list[Found]:
    """All ways, each at the price of so many runs.

    report(ways done, ways in all, now=…) is called before each.
    """
    found: list[Found] = []
    total = len(RIVALS) + 4

    def now(what: str) -> str:
        report(len(found), total, now=what)
        return what

    for rival in RIVALS:
        found += [by_rival(now(rival.name), rival, task, runs, rng)]
    found += [by_random_physics(now(CONSTANTS), task, runs, rng)]
    found += [by_random_physics(now(ALL_NUMBERS), task, runs, rng, knots=KNOTS, each_layer=True)]
    begin = by_random_physics(WHOLE, task, runs // BEGINNING, rng)
    steps = (runs - runs // BEGINNING) // PRICE
    for name, windows in ((WINDOWED, WINDOWS), (WHOLE, 1)):

        def step_begun(step: int, name: str = name) -> None:
            now(f"{name}, step {step + 1} of {steps}")

        found += [by_gradient(name, task, begin, steps, windows, step_begun)]
    report(total, total)
    return found
