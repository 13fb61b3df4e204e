"""What do derivatives through constrained motion do for a mechanic: constants, a published gradient, a swing-up?

Run it in a checkout: lagrangian-learning study mechanics_by_gradient
"""

if __name__ == "__main__":  # a file does not know its checkout: it is run as a command of the package
    from lagrangian_learning.commands.study import run_file

    run_file(__file__)

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lagrangian_learning.commands.files import Files
from lagrangian_learning.commands.output import Line, check_counts
from lagrangian_learning.commands.progress import progress

from . import mechanics_arm as arm, mechanics_linkage as linkage
from .identification import LEAST, MOST
from .mechanics_crank import INTEGRAL, crank_gradients
from .mechanics_picture import draw
from .study import begun, ended, print_table

FILES = Files(Path("mechanics_by_gradient.png"))
QUESTION = "Do derivatives through constrained motion find constants, agree with published ones, and swing an arm up?"
EXACT = 1e-6  # what is asked of constants found without noise, of gradients among themselves, and of places at the end
PUBLISHED_TO = 1e-4
UP = 0.01  # m and m/s from upright at rest


def study(
    seed: int = 0, runs: int = 100, seeds: int = 3, gradients: int = 300, quick: bool = False, files: Files = FILES
) -> None:
    """Constants of a linkage, a published gradient and a swing-up, by derivatives through constrained motion.

    Args:
        seed: Draws the noise and the first torques.
        runs: Fits of the linkage, each with noise of its own.
        seeds: First torques of the arm.
        gradients: Gradients that each search for torques may take; others get as many runs as these cost.
        quick: Tiny sizes, to see that the study runs.
        files: Where the picture and the numbers go.
    """
    line = begun("mechanics_by_gradient", seed, files)
    check_counts("study mechanics_by_gradient", runs=runs, seeds=seeds, gradients=gradients)
    jax.config.update("jax_enable_x64", True)
    if quick:  # compiling takes longer than all that is computed
        jax.config.update("jax_disable_most_optimizations", True)
    rng = np.random.default_rng(seed)
    runs, seeds, gradients, lanes = (4, 1, 20, 5) if quick else (runs, seeds, gradients, linkage.LANES)
    with progress("mechanics_by_gradient", "parts") as report:
        report(0, 4, now="a linkage")
        pushed, free = (linkage.linkage_case(force) for force in (linkage.FORCE, 0.0))
        constants = [linkage.intervals(case, runs, rng, lanes) | {"name": case.name} for case in (pushed, free)]
        report(1, 4, now="noise")
        regression = linkage.against_regression(pushed, max(1, runs // 8), rng, lanes)
        report(2, 4, now="a slider-crank")
        crank = crank_gradients(1 if quick else 7)
        report(3, 4, now="an arm")
        swing = swing_up(rng, seeds, gradients, quick)
        report(4, 4)
    _print_constants(line, constants, regression)
    _print_crank(line, crank)
    _print_swing(line, swing)
    missed = [] if quick else misses(constants, crank, swing)
    for miss in missed:
        line(f"  missed: {miss}")

    def picture_at(path: Path) -> None:
        draw(path, constants[0], regression, swing)

    kept = {name: value for name, value in swing.items() if name not in {"best", "strobe"}}
    kept["searches"] = {name: _thinned(search) for name, search in swing["searches"].items()}
    ended(line, files, picture_at, QUESTION, seed=seed, runs=runs, linkage=constants, noise=linkage.JUDGED,
          regression=regression, slider_crank=crank, swing_up=kept, missed=missed)  # fmt: skip


def swing_up(rng: np.random.Generator, seeds: int, gradients: int, quick: bool) -> dict[str, Any]:
    """Each search from the same first torques, the derivative-free ones with as many runs as the gradients cost."""
    slope, difference, still = arm.along_a_direction(rng)
    cost = arm.cost_of_gradient(1 if quick else 7)
    starts = arm.FIRST * rng.normal(size=(seeds, 2 * arm.KNOTS))
    searches: dict[str, dict[str, Any]] = {}
    best: arm.Found | None = None
    ways: list[tuple[str, Callable, Callable, int]] = [
        *((name, how, arm.value_and_slope, gradients) for name, how in arm.BY_GRADIENT.items()),
        *((name, how, arm.value, round(gradients * cost)) for name, how in arm.WITHOUT.items()),
    ]
    for name, how, call, most in ways:
        found = [arm.searched(how, call, start, most, rng) for start in starts]
        searches[name] = {
            "ends": [arm.judged(one) for one in found],
            "runs": [one.calls * (cost if name in arm.BY_GRADIENT else 1) for one in found],
            "least": [one.least for one in found],
        }
        nearest = min(found, key=lambda one: one.least[-1])
        best = nearest if best is None or nearest.least[-1] < best.least[-1] else best
    assert best is not None
    torques = np.asarray(arm.torques_of(jnp.asarray(best.unknowns)))
    return {
        "slope": slope,
        "difference": difference,
        "at_rest": still,
        "cost": cost,
        "searches": searches,
        "best": torques,
        "strobe": np.asarray(arm.precisely(jnp.asarray(torques)).q),
        "times": arm.TIMES,
    }


def _thinned(search: dict[str, Any]) -> dict[str, Any]:
    """Of the course of each search some forty runs, closer at first."""
    few = [np.unique(np.geomspace(1, len(runs), 40).astype(int)) - 1 for runs in search["runs"]]
    courses = {
        name: [np.asarray(one)[at] for one, at in zip(search[name], few, strict=True)] for name in ("runs", "least")
    }
    return search | courses


def misses(constants: list[dict[str, Any]], crank: dict[str, Any], swing: dict[str, Any]) -> list[str]:
    """What is not as asked."""
    best = min((end for one in swing["searches"].values() for end in one["ends"]), key=lambda end: end["loss"])
    asked = [
        *(
            (exact <= EXACT, f"{one['name']}: {name} without noise is {exact:.1e} off")
            for one in constants
            for name, exact in zip(one["constants"], one["noiseless"], strict=True)
        ),
        *(
            (LEAST <= hit <= MOST, f"{one['name']}: {100 * hit:.0f} % of the intervals hold {name}")
            for one in constants
            for name, hit in zip(one["constants"], one["hit"], strict=True)
        ),
        *(
            (error <= PUBLISHED_TO, f"slider-crank: {name} is {error:.1e} from the published gradient")
            for name, error in crank["from_published"].items()
        ),
        (crank["apart"] <= EXACT, f"slider-crank: gradients are {crank['apart']:.1e} apart"),
        (abs(swing["slope"] / swing["difference"] - 1) <= EXACT, "arm: the gradient is not the central difference"),
        (
            max(best["distance"], best["speed"]) <= UP,
            f"arm: it ends {best['distance']:.1e} m and {best['speed']:.1e} m/s from upright at rest",
        ),
        (best["apart"] <= EXACT, f"arm: SciPy in two angles ends {best['apart']:.1e} elsewhere"),
    ]
    return [miss for held, miss in asked if not held]


# -- what is printed ---------------------------------------------------------------------------------------------------


def _print_constants(line: Line, constants: list[dict[str, Any]], regression: dict[str, Any]) -> None:
    draws = len(constants[0]["errors"])
    line(
        f"[bold]Constants of a four-bar linkage from its motion[/]  noise of {1e3 * linkage.JUDGED:g} mm, {draws} fits"
    )
    rows = [
        (
            f"{one['name']}: {name}", f"{one['truth'][k]:.4g}", f"{one['noiseless'][k]:.0e}",
            f"{one['stated'][k]:.1e}", f"{one['root_mean_square'][k]:.1e}", f"{100 * one['hit'][k]:.0f} %",
        )
        for one in constants
        for k, name in enumerate(one["constants"])
    ]  # fmt: skip
    heads = ("constant", "truth", "relative error\nwithout noise", "with noise:\nstated", "root mean\nsquare",
             "90 % intervals\nthat hold it")  # fmt: skip
    print_table(line, heads, rows)
    names = [*linkage.CONSTANTS, "angle"]
    for one in constants:
        parts = " ".join(f"{part:+.2f} {name}" for part, name in zip(one["least"], names, strict=True))
        line(f"  {one['name']}: condition number {one['condition']:.1e}; least seen in logarithms: {parts}")
    line(f"  free, ratios to m_A alone: condition number {constants[1]['condition_of_ratios']:.0f}")
    line()
    line("[bold]Fits of runs, against regression of derivatives of what is seen[/]  "
         f"relative errors of m_A, m_B, k, c; medians of {regression['draws']}")  # fmt: skip
    rows = [
        (f"{1e3 * noise:g} mm", *(" ".join(f"{error:.0e}" for error in part[k])
                                  for part in map(regression.get, ("fitted", "smoothed", "differences"))),
         f"{regression['window'][k]}")
        for k, noise in enumerate(regression["noise"])
    ]  # fmt: skip
    print_table(line, ("noise", "fit of runs", "smoothed regression", "central differences", "best window"), rows)
    line("  regression without noise: " + " ".join(f"{e:.0e}" for e in regression["regressed_without_noise"]))
    line()


def _print_crank(line: Line, crank: dict[str, Any]) -> None:
    line(f"[bold]Slider-crank, dG/d(k, c)[/]  G = {crank['integral']:.7f}, converged {INTEGRAL}")
    rows = [
        (name, *(f"{part:.7f}" for part in gradient), f"{crank['from_published'][name]:.0e}",
         f"{crank['from_converged'][name]:.0e}", f"{crank['cost'][name]:.1f}")
        for name, gradient in crank["gradients"].items()
    ]  # fmt: skip
    print_table(line, ("", "by k", "by c", "from\npublished", "from\nconverged", "cost\nin runs"), rows)
    line(f"  largest relative difference among them {crank['apart']:.1e}, of the two modes {crank['modes_apart']:.1e}; "
         f"a run takes {1e3 * crank['run_seconds']:.1f} ms")  # fmt: skip
    line()


def _print_swing(line: Line, swing: dict[str, Any]) -> None:
    line(f"[bold]Swing-up of an arm by {2 * arm.KNOTS} numbers[/]  within {arm.BOUNDS[0]:g} and {arm.BOUNDS[1]:g} N m "
         f"in {arm.END:g} s; medians over first torques, and the range of the loss")  # fmt: skip
    rows = []
    for name, one in swing["searches"].items():
        middle = {key: np.median([end[key] for end in one["ends"]]) for key in SHOWN}
        losses = [end["loss"] for end in one["ends"]]
        rows.append((
            name, f"{middle['loss']:.1e}", f"{min(losses):.0e} to {max(losses):.0e}", f"{middle['distance']:.1e}",
            f"{middle['speed']:.1e}", f"{middle['effort']:.0f}", f"{middle['calls']:.0f}", f"{middle['seconds']:.1f}",
            f"{max(end['residual'] for end in one['ends']):.0e}", f"{max(end['apart'] for end in one['ends']):.0e}",
        ))  # fmt: skip
    heads = ("", "loss", "", "from\nupright, m", "speed\nm/s", "∫τ²\nN²m²s", "gradients\nor runs", "seconds",
             "largest\n|G|", "from SciPy\nin angles")  # fmt: skip
    print_table(line, heads, rows)
    line(f"  a gradient costs {swing['cost']:.1f} runs; along a direction {swing['slope']:.9f}, "
         f"by a central difference {swing['difference']:.9f}")  # fmt: skip
    line(f"  from no torque at all nothing begins: the gradient there has the norm {swing['at_rest']:.0e}, by symmetry")


SHOWN = ("loss", "distance", "speed", "effort", "calls", "seconds")
