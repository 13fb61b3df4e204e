"""What `tune` prints, and its numbers."""

from typing import Any

import numpy as np

from lagrangian_learning.commands.output import Line, print_rows

from .physics import Physics
from .search import Found
from .task import CASES, JUDGED, Task

WHOLE, WINDOWED = "action, gradient of whole runs", "action, gradient of windows"
CONSTANTS, ALL_NUMBERS = "action, random constants", "action, random schedules"
WAY, LOSS, WORSE, SEEDS = 32, 10, 30, 9


def print_experiment(line: Line, task: Task, runs: int) -> None:
    """What is tuned, on what, and at which price."""
    sizes = " → ".join(map(str, task.network.sizes))
    rows = {
        "task": f"{task.about}; {sizes}",
        "tuned": f"on {CASES} runs of {task.frames:,} frames each, together; score: {task.score}",
        "judged": f"on {JUDGED} runs with first weights and an order of frames of their own",
        "price": f"{runs} times all tuned runs for every way; a gradient counts as measured below",
    }
    print_rows(line, "Physics of learning, tuned by the gradient through whole runs of learning", rows)


def print_results(line: Line, found: list[Found], price: float) -> None:
    """A line a way, the best first; the physics that the gradient found."""
    ours = whole_runs(found)
    line()
    heads = f"{'':<{WAY}}{'tuned':>{LOSS}}{'judged':>{LOSS}}{'worse than the gradient by':>{WORSE}}{'seeds':>{SEEDS}}"
    line(f"  [bold]{heads}[/]")
    for way in sorted(found, key=lambda way: way.judged.mean()):
        line(f"  {way.name:<{WAY}}{way.tuned:>{LOSS}.4f}{way.judged.mean():>{LOSS}.4f}{_against(way, ours)}")
    line(f"  judged: mean of {len(ours.judged)} seeds; worse by: mean of their differences ± its standard error;")
    line("  seeds: in how many of them the gradient's physics is better")
    line(f"  spread of the seeds (standard deviation): {ours.judged.std(ddof=1):.4f} by the gradient's physics")
    line()
    line("[bold]The physics that the gradient found[/]")
    _print_physics(line, ours.numbers)
    line(f"  a gradient through all tuned runs takes {price:.1f} times the runs alone")


def whole_runs(found: list[Found]) -> Found:
    """The way by the gradient of whole runs."""
    return next(way for way in found if way.name == WHOLE)


def _against(way: Found, ours: Found) -> str:
    if way is ours:
        return ""
    worse = way.judged - ours.judged
    error = worse.std(ddof=1) / np.sqrt(len(worse))
    return f"{f'{worse.mean():+.4f} ± {error:.4f}':>{WORSE}}{f'{np.sum(worse > 0)} of {len(worse)}':>{SEEDS}}"


def _print_physics(line: Line, physics: Physics) -> None:
    line("  ϑ over the run     " + "  ".join(f"{theta:.3g}" for theta in np.asarray(physics.thetas)))
    line("  m_W of each layer  " + "  ".join(f"{mass:.3g}" for mass in np.asarray(physics.masses)))
    line(f"  m_x                {float(physics.mass_x):.2g}")


def as_dict(task: Task, found: list[Found], price: float) -> dict[str, Any]:
    """All numbers, of standard types."""
    ours = whole_runs(found)
    physics = ours.numbers
    return {
        "task": task.name,
        "frames": task.frames,
        "score": task.score,
        "gradient_over_run": price,
        "ways": [_way(way, ours) for way in found],
        "physics": {
            "thetas": _listed(physics.thetas),
            "masses": _listed(physics.masses),
            "mass_x": float(physics.mass_x),
        },
    }


def _way(way: Found, ours: Found) -> dict[str, Any]:
    few = np.unique(np.geomspace(1, len(way.course), 40).astype(int))
    return {
        "name": way.name,
        "runs": len(way.course),
        "tuned": way.tuned,
        "judged": _listed(way.judged),
        "judged_mean": float(way.judged.mean()),
        "judged_spread": float(way.judged.std(ddof=1)),
        "worse_than_the_gradient": float((way.judged - ours.judged).mean()),
        "after_runs": few.tolist(),
        "lowest_score": _listed(way.course[few - 1]),
        "seconds": round(way.seconds, 1),
    }


def _listed(values: Any) -> list[float]:
    return [float(f"{value:.5g}") for value in np.asarray(values)]
