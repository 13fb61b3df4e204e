"""What commands print and write, and where they may."""

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

import lagrangian_learning as ll


def recorded(path: ll.Trajectory) -> tuple[PyTree, ...]:
    """What `relative_residuals` needs of a trajectory: x, W, their velocities and accelerations, the multipliers."""
    return (path.x, path.W, path.x_dot, path.W_dot, path.x_ddot, path.W_ddot, path.multipliers)


def relative_residuals(law: Any, t: Array, record: tuple[PyTree, ...], stimulus: ll.Stimulus) -> Float[Array, "3"]:
    """What (8), (9) and D²G = 0 leave over at one instant, each relative to its own largest term.

    Terms under eps of the dtype, as where the motion rests, count as eps.
    """
    x, W, x_dot, W_dot, x_ddot, W_ddot, delta = record
    state, top = ll.State((x, W), (x_dot, W_dot)), (x_ddot, W_ddot)
    defect = law.equations.defect(t, state, top, delta, stimulus)
    system, force, closing = law.equations.system(t, state, stimulus)
    terms = [force, system.inertia(top), system.reaction(delta)]
    still_x, still_W = (jax.tree.map(jnp.zeros_like, part) for part in top)
    closing_terms = [closing, system.jacobian((x_ddot, still_W)), system.jacobian((still_x, W_ddot))]
    left = [*defect.euler_lagrange, defect.closing]
    scales = [_largest([term[0] for term in terms]), _largest([term[1] for term in terms]), _largest(closing_terms)]
    least = jnp.finfo(t.dtype).eps
    return jnp.stack([_largest(part) / jnp.maximum(scale, least) for part, scale in zip(left, scales, strict=True)])


def _largest(tree: PyTree) -> Array:
    return jnp.max(jnp.stack([jnp.max(jnp.abs(leaf)) for leaf in jax.tree.leaves(tree)]))


def check_folders(command: str, *files: Path | None) -> None:
    """Ends the command now, not after minutes of work, when a file could not be written."""
    for file in files:
        if file is not None and not file.parent.is_dir():
            raise SystemExit(f"{command}: there is no folder {file.parent} to write {file.name} into; make it first.")


def write_json(numbers: Any, path: Path) -> None:
    """The numbers as indented JSON that ends with a line break."""
    path.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")


def check_counts(command: str, **counts: int) -> None:
    """Ends the command when one of these options is not at least 1."""
    for name, value in counts.items():
        if value < 1:
            raise SystemExit(f"{command}: --{name} must be at least 1.")


Line = Callable[..., None]
Report = Callable[[int, int, float], None]  # how many are done, how many there are, seconds spent on them
SECONDS_A_LINE = 3


def line_printer(console: Console) -> Line:
    """line(text): prints it as it is, with rich's markup, without wrapping or highlighting."""

    def line(text: str = "") -> None:
        console.print(text, highlight=False, soft_wrap=True)

    return line


def print_rows(line: Line, title: str, rows: dict[str, str]) -> None:
    """A bold title and a few named rows."""
    line(f"[bold]{title}[/]")
    for name, text in rows.items():
        line(f"  {name:<9}{text}")


def save(line: Line, output: Path | None, draw: Callable[[Path], Any], numbers: Path | None, found: Any) -> None:
    """Draws the picture and writes the numbers where they are asked for, and prints where they are."""
    if output is not None:
        draw(output)
        line(f"picture: {output}")
    if numbers is not None:
        write_json(found, numbers)
        line(f"numbers: {numbers}")


@contextlib.contextmanager
def progress(console: Console, title: str, unit: str = "frames") -> Iterator[Report]:
    """A function that takes reports of progress: a bar in a terminal, a few lines elsewhere."""
    if not console.is_terminal:
        yield _lines(console, title, unit)
        return
    columns = (
        TextColumn("  {task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(f"{unit}  {{task.fields[rate]}}"),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(f"training, {title}", total=None, rate="compiling")

        def report(done: int, total: int, seconds: float) -> None:
            bar.update(task, completed=done, total=total, rate=f"{done / seconds:,.0f}/s" if done else "")

        yield report


def _lines(console: Console, title: str, unit: str) -> Report:
    line, printed = line_printer(console), 0.0

    def report(done: int, total: int, seconds: float) -> None:
        nonlocal printed
        if done == 0 or (seconds - printed < SECONDS_A_LINE and done < total):
            return
        printed, rate = seconds, done / seconds
        left = (total - done) / rate
        line(f"  training, {title}: {done:,} of {total:,} {unit}, {rate:,.0f} a second, {left:.0f} s left")

    return report


def nothing_reported(done: int, total: int, seconds: float) -> None:
    """A `Report` for runs that nobody watches."""
