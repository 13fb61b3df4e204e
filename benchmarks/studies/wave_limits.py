"""Where do waves fail? The border of their gradient, by Newton's method through the run.

Run it in a checkout: lagrangian-learning study wave_limits

The waves (18)–(20) of networks whose weights stand still form a gradient, which lags behind an input that moves. The
border is the input's frequency ω at which the least cosine of a layer with backpropagation's gradient is 0.99. The
derivative by log ω, or by the log of the speed c, goes through the run in forward mode. As 1 − cosine is nearly
proportional to ω², Newton's method is applied to log √(1 − cosine), which is nearly a straight line in log ω.

Two runs measure the cosine: that of the study `phase_diagram`, to compare with its recorded border, and for the depths
one over whole periods of the faster input without the dissipation ϑ, where only ω/c can matter.
"""

if __name__ == "__main__":  # a file does not know its checkout: it is run as a command of the package
    from lagrangian_learning.commands.study import run_file

    run_file(__file__)

import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import brentq

from lagrangian_learning.commands.files import Files
from lagrangian_learning.commands.output import check_counts
from lagrangian_learning.commands.progress import progress

from . import phase_diagram
from .phase_diagram import FAITHFUL, NETWORK, NUM_NETWORKS, THETA
from .study import begun, ended, recorded
from .wave_border import AIM, begun_at, border, depth_run, diagram_run, distances, drawn, linearised
from .wave_limits_picture import draw, tables

FILES = Files(Path("wave_limits.png"))
QUESTION = "Where do waves fail, by a derivative through the run?"
RECORDED = Path(__file__).parents[1] / "results" / "phase_diagram.json"
DEPTHS = (2, 3, 4, 5, 6, 7, 8)
ROWS = range(14, 48, 4)  # of the recorded diagram: c from 8 on
FAR = 1.5  # times the frequency from which Newton begins elsewhere
SWEPT, GRIDS = (0.01, 1.0), (6, 12, 24, 48)  # ω/c of sweeps with three layers, and how many frequencies they have
H = 1e-4  # of central differences
AGREED = 0.03  # between the border interpolated in the recorded diagram and Newton's
EXACT, DERIVED, SINGLE = 1e-8, 1e-6, 1e-5  # asked of borders and of the law in ω/c, of derivatives, of float32


def against_record(rows: range, record: dict[str, Any], *, checked: bool) -> dict[str, Any]:
    """The border of the diagram's run beside the one recorded, at some of its speeds; medians over its networks.

    cosine: what the run of `phase_diagram` itself, in float32, has there; NaN where it is not checked.
    """
    speeds = record["up"][np.array(rows)]
    one = drawn(NETWORK, NUM_NETWORKS, 0, THETA)
    lanes = jax.tree.map(lambda leaf: jnp.tile(leaf, (len(speeds), *(1,) * (leaf.ndim - 1))), one)
    begin = begun_at(lanes, len(NETWORK.sizes) - 1, np.repeat(speeds, NUM_NETWORKS)) + np.log([FAR, 1.0])
    found = border(diagram_run(), lanes, begin, together=NUM_NETWORKS)
    omega = np.exp(found.at[::NUM_NETWORKS, 0])
    there = np.full(len(omega), np.nan)
    if checked:
        with jax.enable_x64(False):
            there = np.diag(phase_diagram.continuous(omega, speeds).cosine)
    return {
        "c": speeds,
        "omega": omega,
        "cosine": there,
        "recorded": record["at"][np.array(rows)],
        "exponent": found.exponent[::NUM_NETWORKS],
        "runs": found.runs[::NUM_NETWORKS],
        "error": float(found.error.max()),
        "cell": float(record["across"][1] / record["across"][0] - 1),
        "paths": found.path[:, ::NUM_NETWORKS],
    }


def at_depth(depth: int, count: int, seed: int) -> dict[str, Any]:
    """ω/c of random networks by Newton's method over ω and over c, and the derivative beside central differences."""
    run = depth_run(depth)
    lanes = drawn(run.network, count, depth + seed * phase_diagram.STRIDE)
    begin = begun_at(lanes, depth)
    by_omega, by_c = border(run, lanes, begin), border(run, lanes, begin - begin[:, :1], moved=1)
    ahead = np.array([1.0, 0.0])
    up, down = (np.asarray(linearised(run, by_omega.at + step * ahead, ahead, lanes)[0]) for step in (H, -H))
    return {
        "layers": depth,
        "ratio": by_omega.ratio,
        "runs": by_omega.runs,
        "runs_by_c": by_c.runs,
        "error": float(max(by_omega.error.max(), by_c.error.max())),
        "off_by_c": float(np.max(np.abs(by_c.ratio / by_omega.ratio - 1))),
        "off_differences": float(np.max(np.abs((up - down) / (2 * H) / by_omega.slope - 1))),
    }


def power_law(found: list[dict[str, Any]]) -> dict[str, float]:
    """ω L/c and its exponent: least squares of log ω/c over log L, all networks, with the standard error."""
    layers = np.concatenate([np.full(len(one["ratio"]), np.log(one["layers"])) for one in found])
    ratios = np.log(np.concatenate([one["ratio"] for one in found]))
    off = layers - layers.mean()
    slope = float(off @ ratios / (off @ off))
    left = ratios - ratios.mean() - slope * off
    error = float(np.sqrt(left @ left / (len(left) - 2) / (off @ off)))
    return {"exponent": slope, "error": error, "at_one_layer": float(np.exp(ratios.mean() - slope * layers.mean()))}


def other_ways(ratio: np.ndarray, count: int, seed: int, grids: tuple[int, ...] = GRIDS) -> dict[str, Any]:
    """Sweeps and Brent's method for three layers: runs, and relative errors against Newton's ω/c (medians)."""
    run = depth_run(3)
    lanes = drawn(run.network, count, 3 + seed * phase_diagram.STRIDE)

    def at(log_omega: float) -> np.ndarray:
        return np.asarray(distances(run, np.tile([log_omega, 0.0], (count, 1)), lanes))

    errors, calls, ends = [], [], []
    for number in grids:
        sweep = np.geomspace(*SWEPT, number)
        cosine = 1 - np.exp(2 * np.array([at(np.log(omega)) for omega in sweep]).T)
        crossed = np.array([phase_diagram._crossing(sweep, row) for row in cosine])  # noqa: SLF001  # a study's
        errors.append(float(np.nanmedian(np.abs(crossed / ratio - 1))))
    for k in range(count):
        root, told = brentq(lambda log_omega, k=k: at(log_omega)[k] - AIM, *np.log(SWEPT), xtol=1e-10, full_output=True)
        calls.append(told.function_calls)
        ends.append(abs(np.exp(root) / ratio[k] - 1))
    return {"grids": np.array(grids), "errors": np.array(errors), "brent_runs": float(np.median(calls)),
            "brent_error": float(np.median(ends))}  # fmt: skip


def cost(count: int, seed: int) -> float:
    """What a linearised run takes over a plain one, three layers, both compiled; the least of three times."""
    run = depth_run(3)
    lanes = drawn(run.network, count, 3 + seed * phase_diagram.STRIDE)
    logs = begun_at(lanes, 3)

    def seconds(call: Any) -> float:
        begin = time.perf_counter()
        jax.block_until_ready(call())
        return time.perf_counter() - begin

    calls = lambda: distances(run, logs, lanes), lambda: linearised(run, logs, np.array([1.0, 0.0]), lanes)
    plain, both = (min([seconds(call) for _ in range(4)][1:]) for call in calls)
    return both / plain


def study(seed: int = 0, networks: int = 8, quick: bool = False, files: Files = FILES) -> None:
    """Where do waves fail, found by a derivative through the run, and how does that fall with depth?

    Args:
        seed: Draws the networks of each depth, and the phases of their signals.
        networks: How many of each depth.
        quick: Tiny sizes, to see that the study runs.
        files: Where the picture and the numbers go.
    """
    line = begun("wave_limits", seed, files)
    check_counts("study wave_limits", networks=networks)
    jax.config.update("jax_enable_x64", True)
    record = recorded("phase_diagram", RECORDED)["continuous"]
    depths, rows = ((2, 3), ROWS[::4]) if quick else (DEPTHS, ROWS)
    networks = 2 if quick else networks
    found = []
    with progress("wave_limits", "parts") as report:
        parts = len(depths) + 2
        report(0, parts, now="the recorded diagram")
        diagram = against_record(rows, record, checked=not quick)
        for depth in depths:
            report(1 + len(found), parts, now=f"{depth} layers")
            found.append(at_depth(depth, networks, seed))
        report(parts - 1, parts, now="sweeps")
        others = other_ways(found[1]["ratio"], networks, seed, GRIDS[: 1 if quick else None]) | {
            "linearised_over_plain": cost(networks, seed)
        }
        report(parts, parts)
    law = power_law(found)
    tables(line, diagram, found, law, others)
    missed = [] if quick else misses(diagram, found)
    for miss in missed:
        line(f"  missed: {miss}")
    ended(
        line, files, lambda path: draw(path, record, diagram, found, law), QUESTION, seed=seed, networks=networks,
        diagram={name: value for name, value in diagram.items() if name != "paths"}, depths=found, law=law,
        other_ways=others, missed=missed,
    )  # fmt: skip


def misses(diagram: dict[str, Any], found: list[dict[str, Any]]) -> list[str]:
    """What is not as asked: the recorded border met, the law in ω/c, the derivative."""
    off = float(np.max(np.abs(diagram["omega"] / diagram["recorded"] - 1)))
    missed = [f"the recorded border is {100 * off:.1f} % off"] if off > AGREED else []
    there = float(np.max(np.abs(diagram["cosine"] - FAITHFUL)))
    if not there < SINGLE:
        missed.append(f"the diagram's own run has a cosine {there:.1e} off at Newton's border")
    for one in found:
        for name, most in (("error", EXACT), ("off_by_c", EXACT), ("off_differences", DERIVED)):
            if not one[name] < most:
                missed.append(f"{one['layers']} layers: {name} is {one[name]:.1e}")
    return missed
