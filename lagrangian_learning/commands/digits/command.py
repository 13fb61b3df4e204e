"""`lagrangian-learning learn digits`."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console

from lagrangian_learning.commands.files import check_folders
from lagrangian_learning.commands.options import check_counts
from lagrangian_learning.commands.output import Line, line_printer, print_rows, progress, save

from .picture import draw
from .run import Run, run_digits
from .task import BATCH, PASSES, Constants, Task, convolutional, digits, make_task


def digits_command(seeds: int, seed: int, output: Path | None, numbers: Path | None, passes: int | None) -> list[Run]:
    """Runs, prints and draws the experiment; see `lagrangian_learning.commands.cli.digits`. Returns the runs."""
    passes = PASSES if passes is None else passes
    check_counts("learn digits", seeds=seeds, passes=passes)
    check_folders("learn digits", output, numbers)
    try:
        train, test = digits()
    except ModuleNotFoundError as error:
        raise SystemExit(f"learn digits: {error}") from None
    console, constants, network, runs = Console(), Constants(), convolutional(), []
    line = line_printer(console)
    for number in range(seed, seed + seeds):
        task = make_task(number, network, train, test, passes)
        if not runs:
            _print_experiment(line, task, len(train.labels), passes, constants)
        with progress(console, f"seed {number}", "batches") as report:
            runs.append(run_digits(number, task, constants, report))
    _print_results(line, runs)
    save(line, output, lambda path: draw(runs, test, network, path), numbers, as_dict(runs))
    return runs


def as_dict(runs: list[Run]) -> dict[str, Any]:
    """All numbers of the runs, of standard types."""
    ours, theirs = (np.array([getattr(run, name) for run in runs]) for name in ("accuracy", "accuracy_sgd"))
    fields = [field.name for field in dataclasses.fields(Run) if field.name not in ("W", "constants")]
    return {
        "constants": dataclasses.asdict(runs[0].constants),
        "test_accuracy": {"mean": ours.mean(), "spread": _spread(ours)},
        "sgd_test_accuracy": {"mean": theirs.mean(), "spread": _spread(theirs)},
        "seeds": [{name: getattr(run, name) for name in fields} for run in runs],
    }


def _spread(values: np.ndarray) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else 0.0


def _print_experiment(line: Line, task: Task, images: int, passes: int, constants: Constants) -> None:
    motion = f"m_W = {constants.mass_W:.3g}, m_x/m_W = {constants.mass_ratio:g}, ϑ = {constants.theta:.3g}"
    rows = {
        "images": f"{images:,} handwritten digits of 8 x 8 pixels, {passes} shuffled passes in batches of {BATCH}",
        "network": f"2 convolutions, pooling, 2 dense layers; {task.network.num_weights:,} weights, shared by a batch",
        "motion": f"Euler–Lagrange equations (8)–(10): {motion}, a batch a unit of time",
        "solver": f"KickDrift, a step a batch, float32, on {jax.devices()[0].device_kind}",
    }
    print_rows(line, "Learning to read digits by the motion of a cognitive action", rows)


def _print_results(line: Line, runs: list[Run]) -> None:
    found = as_dict(runs)
    line()
    for name, key in (("test accuracy", "test_accuracy"), ("SGD", "sgd_test_accuracy")):
        mean, spread = 100 * found[key]["mean"], 100 * found[key]["spread"]
        over = f"  mean of {len(runs)} seeds, ± {spread:.1f} %" if len(runs) > 1 else ""
        line(f"{name:<14} {mean:.1f} %{over}")
    judged = "600 images that were not learned from, most by other writers"
    line(f"  of {judged}; SGD: the same momentum, batches and weights to begin with")
    last = runs[-1]
    line("\nAre the multipliers backprop's delta errors?")
    line(f"  cosine {last.cosine:.5f}, norm ratio {last.norm_ratio:.5f}, all neurons of the last batch together")
    line(f"  neurons' mass beside the loss: |m_x G_ξ⁻¹(γ₂ + r G_t)| / |V_ξ| = {last.mass_force:.1e}")
    ours, theirs = 1e3 * last.seconds_a_step, 1e3 * last.seconds_a_step_sgd
    line(f"\n{last.steps:,} steps of {ours:.1f} ms; a step of SGD takes {theirs:.1f} ms")
