"""What commands print and write, and where they may."""

import contextlib
import functools
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree
from rich.console import Console

import lagrangian_learning as ll
from lagrangian_learning._interrupts import Terminated

from .files import STDOUT


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


PICTURES = (".png", ".pdf", ".svg", ".jpg")


def check_files(command: str, output: Path | None, numbers: Path | None) -> None:
    """Ends the command now, not after minutes of work, when the picture or the numbers could not be written."""
    for option, file, suffixes in (("--output", output, PICTURES), ("--json", numbers, ())):
        printed = file == STDOUT and option == "--json"
        reason = None if file is None or printed else _why_not_a_file(file, suffixes)
        if reason is not None:
            raise SystemExit(f"{command}: {option} cannot be {str(file)!r}: {reason}")
    if output is not None and numbers is not None and output.absolute() == numbers.absolute():
        raise SystemExit(f"{command}: --output and --json are the same file, {output}: give two names.")


def check_folder(command: str, option: str, folder: Path) -> None:
    """Ends the command now when the folder, which is made if it is missing, could not be made or written into."""
    reason = _why_not_below(folder)
    if reason is not None:
        raise SystemExit(f"{command}: {option} cannot be {str(folder)!r}: {reason}")


def _why_not_a_file(file: Path, suffixes: tuple[str, ...]) -> str | None:
    if file.is_dir():  # an empty text is the folder at hand
        return f"it is a folder; name a file in it, as {file / ('picture.png' if suffixes else 'numbers.json')}."
    if file.exists() and not file.is_file():
        return "it is a pipe or a device; name a file."
    if suffixes and file.suffix.lower() not in suffixes:
        return f"the name of a picture ends in {', '.join(suffixes[:-1])} or {suffixes[-1]}; for none: --no-picture."
    return _why_not_below(file.parent)


def _why_not_below(folder: Path) -> str | None:
    """Of a folder that is made if it is missing."""
    inside = next(place for place in (folder, *folder.absolute().parents) if os.path.lexists(place))
    return _why_not_into(inside) if inside.is_dir() else f"{inside} is a file; give another name."


def _why_not_into(folder: Path) -> str | None:
    try:  # permissions say less than trying: a disk may be full, or mounted for reading
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\0")
    except OSError as error:
        return f"nothing can be written into {folder}: {error.strerror}."
    return None


def as_json(numbers: Any) -> str:
    """The numbers as indented JSON, each list that holds no other on one line. In JSON no string holds line breaks."""
    row = re.compile(r"\[\n([^\[\]{}]*)\n\s*\]")
    text = json.dumps(numbers, indent=1, ensure_ascii=False)
    return row.sub(lambda found: "[" + re.sub(r"\s*\n\s*", " ", found[1].strip()) + "]", text)


def write_json(numbers: Any, path: Path) -> None:
    """The numbers as JSON that ends with a line break."""
    path.write_text(as_json(numbers) + "\n", encoding="utf-8")


def check_counts(command: str, **counts: int) -> None:
    """Ends the command when one of these options is not at least 1, or is beyond what a program counts to."""
    for name, value in counts.items():
        if not 1 <= value < _MOST:
            raise SystemExit(f"{command}: --{name} must be at least 1, and below 2**31.")


def check_seed(command: str, seed: int) -> None:
    """Ends the command for a seed that JAX and NumPy do not both take."""
    if not 0 <= seed < _MOST:
        raise SystemExit(f"{command}: --seed must be at least 0, and below 2**31.")


_MOST = 2**31


def of_each_seed(
    command: str, seed: int, seeds: int, run: Callable[[int], Any]
) -> tuple[list[Any], Callable[[], None]]:
    """The results of the seeds in turn, and what ends the command once they are written.

    Stopped by Ctrl-C or SIGTERM it returns those of the seeds that were finished.
    """
    found: list[Any] = []
    for number in range(seed, seed + seeds):
        try:
            found.append(run(number))
        except (KeyboardInterrupt, Terminated) as stop:
            rest = f"go on with --seed {number} --seeds {seed + seeds - number}"
            if not found:
                stopped(command, stop, f"no seed was finished, and nothing is kept: {rest}")
            return found, functools.partial(stopped, command, stop, f"the seeds before {number} are kept: {rest}")
    return found, lambda: None


def stopped(command: str, stop: BaseException, kept: str) -> None:
    """Ends the command with one line that says what is kept, and the status of its signal."""
    print(f"\n{command}: stopped; {kept}.", file=sys.stderr)
    raise SystemExit(stop.code if isinstance(stop, Terminated) else 130)


Line = Callable[..., None]


def console_beside(numbers: Path | None) -> Console:
    """Where readers read: standard output, unless the numbers go there."""
    return Console(stderr=numbers == STDOUT)


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
    """Draws the picture and writes the numbers where they are asked for, and prints where they are.

    What cannot be written there goes to the folder of temporary files; numbers that were not written where they were
    asked for are printed too. The command then ends with status 1. Numbers for "-" are printed alone.
    """
    wanted = (("picture", output, draw), ("numbers", numbers, lambda path: write_json(found, path)))
    files = [(what, path, write) for what, path, write in wanted if path not in (None, STDOUT)]
    lost = [what for what, path, write in files if not _written(line, what, path, write)]
    if numbers == STDOUT or "numbers" in lost:
        print(as_json(found))
    if lost:
        raise SystemExit(1)


def _written(line: Line, what: str, path: Path, write: Callable[[Path], Any]) -> bool:
    """Whether it is where it was asked for; there whole or not at all."""
    for place in (path, Path(tempfile.gettempdir()) / path.name):
        part = place.with_name(f".{os.getpid()}.part{place.suffix}")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            write(part)
            part.replace(place)
        except OSError as error:
            line(f"{what}: {place} could not be written ({error.strerror or error})")
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
        else:
            line(f"{what}: {place}")
            return place == path
    return False
