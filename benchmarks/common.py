"""What the benchmarks share: interleaved timings, where they were measured, results as JSON, pictures.

A benchmark asks one question. It times compiled calls, side by side in one run, and reports ratios of medians:

    run, seconds_to_compile = compiled(function, *arguments)
    times = interleaved({"ours": lambda: run(*arguments), "theirs": lambda: other(*arguments)})
    ratio(times, "theirs", "ours")
    write("name", question=__doc__.splitlines()[0], rows=[...])

which makes benchmarks/results/name.json. Start XLA with the threads that the question is about.
"""

import argparse
import gc
import importlib.metadata
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np

from lagrangian_learning._palette import COLOURS as NAMED, CYCLE

RESULTS = Path(__file__).parent / "results"
PACKAGES = (
    "lagrangian-learning",
    "jax",
    "jaxlib",
    "diffrax",
    "equinox",
    "optax",
    "lineax",
    "numpy",
    "scipy",
    "scikit-learn",
)
COLOURS, GREY = CYCLE[:6], NAMED["muted"]


# -- command line ------------------------------------------------------------------------------------------------------


def options(description: str, redraw: tuple[str, Callable[[dict], Any]] | None = None) -> bool:
    """Whether --quick was asked for: tiny sizes, no thresholds. Its results go to --results, or to a temporary folder.

    redraw: (name, draw(record)): with --redraw draws the record of that name in the folder of results again, and ends.
    """
    parser = arguments(description)
    if redraw is not None:
        parser.add_argument("--redraw", action="store_true", help="draw the picture again from the figures on record")
    given = chosen(parser)
    if redraw is not None and given.redraw:
        name, draw = redraw
        draw(json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8")))
        raise SystemExit(0)
    return given.quick


def arguments(description: str) -> argparse.ArgumentParser:
    """The arguments that every benchmark has, for one that adds its own."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="tiny sizes, no thresholds, to see that the script runs")
    parser.add_argument("--results", type=Path, help="where to write, instead of benchmarks/results")
    return parser


def chosen(parser: argparse.ArgumentParser, *, recorded: bool = True) -> argparse.Namespace:
    """What the command line says. Results of a quick run, and such as are not to be `recorded`, go to --results or to a
    temporary folder.
    """
    global RESULTS  # noqa: PLW0603  # one folder a process, chosen on its command line
    given = parser.parse_args()
    if given.results is not None:
        RESULTS = given.results
    elif given.quick or not recorded:
        RESULTS = Path(tempfile.mkdtemp(prefix="benchmarks-"))
    return given


# -- timing ------------------------------------------------------------------------------------------------------------


def compiled(function: Callable, *arguments: Any) -> tuple[Callable, float]:
    """The function compiled for these arguments (any pytrees, modules too), and the seconds that took."""
    start = time.perf_counter()
    run = eqx.filter_jit(function).lower(*arguments).compile()
    return run, time.perf_counter() - start


def interleaved(
    calls: Mapping[str, Callable[[], Any]], rounds: int = 11, warmup: int = 1, least: float = 0.02
) -> dict[str, list[float]]:
    """Seconds a call of each, one after the other in every round, so that all see the same state of the machine.

    Calls shorter than `least` seconds are repeated within a round until they fill it; least = 0: one call a round.
    Blocks on what a call returns.
    """
    repeats = {name: _repeats(call, warmup, least) for name, call in calls.items()}
    times: dict[str, list[float]] = {name: [] for name in calls}
    gc.collect()
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(_seconds(call, repeats[name]))
    return times


def _repeats(call: Callable[[], Any], warmup: int, least: float) -> int:
    for _ in range(warmup):
        jax.block_until_ready(call())
    if least <= 0:
        return 1
    return max(1, int(np.ceil(least / max(_seconds(call, 1), 1e-9))))


def _seconds(call: Callable[[], Any], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        jax.block_until_ready(call())
    return (time.perf_counter() - start) / repeats


def median(times: Sequence[float]) -> float:
    return statistics.median(times)


def ratio(times: Mapping[str, Sequence[float]], name: str, over: str) -> float:
    """The median over rounds of time(name)/time(over), both taken in the same round."""
    return statistics.median(a / b for a, b in zip(times[name], times[over], strict=True))


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """The slope of log y against log x."""
    return float(np.polyfit(np.log(np.asarray(x, float)), np.log(np.asarray(y, float)), 1)[0])


# -- records -----------------------------------------------------------------------------------------------------------


def environment() -> dict[str, Any]:
    """Device, cores, precision and versions: what a reader needs to know of where figures come from."""
    device = jax.devices()[0]
    return {
        "device": f"{device.platform}: {device.device_kind}",
        "devices": jax.device_count(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "x64": bool(jax.config.read("jax_enable_x64")),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "versions": {"python": platform.python_version(), **_versions()},
    }


def write(name: str, *, question: str, **findings: Any) -> Path:
    """results/name.json: the question, where it was measured, and what was found, floats to four digits."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    record = {"question": question, "environment": environment(), **findings}
    part = path.with_suffix(".part")  # a script that is killed while it writes leaves the earlier file
    part.write_text(json.dumps(plain(record), indent=1, ensure_ascii=False) + "\n")
    return part.replace(path)


def plain(value: Any) -> Any:
    """Numbers as JSON has them: lists for arrays, four digits, null for what is not finite."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float):
        return float(f"{value:.4g}") if np.isfinite(value) else None
    return value


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


# -- pictures ----------------------------------------------------------------------------------------------------------


def figure(title: str, columns: int = 1, rows: int = 1) -> tuple[Any, Any]:
    """A figure in the package's style, which this process keeps, and its axes [rows, columns]."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from lagrangian_learning.plot import heading, use_style

    use_style()
    made = Figure(figsize=(5.6 * columns + 0.4, 4.2 * rows + 0.6))
    FigureCanvasAgg(made)
    heading(made, title)
    return made, made.subplots(rows, columns, squeeze=False)


def finish(ax: Any, title: str, x: str, y: str, *, legend: bool = True) -> None:
    """Title, labels, a light grid, no box."""
    ax.set(xlabel=x, ylabel=y)
    ax.set_title(title)
    ax.grid(visible=True)
    if legend:
        ax.legend()


def save(made: Any, name: str) -> Path:
    """results/name.png."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.png"
    made.savefig(path)
    return path
