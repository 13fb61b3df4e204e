"""`lagrangian-learning waves`."""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from lagrangian_learning.learning.waves.fidelity import Reference
from lagrangian_learning.learning.waves.timing import causing_input_mismatch, synchronised_layer, target_mismatch
from lagrangian_learning.plot.waves.figures import draw_wave_figures
from lagrangian_learning.plot.waves.scenes import PERIODS, REFERENCES, SIZES, Scene, fidelity_by_speed, scenes

from .output import Line, check_files, check_folder, check_seed, console_beside, line_printer, save
from .progress import progress

L = len(SIZES) - 1


def waves_command(folder: Path | None, numbers: Path | None, seed: int = 0) -> dict:
    """Runs, prints and draws the waves; see `lagrangian_learning.commands.cli.waves`. Returns the numbers."""
    check_seed("waves", seed)
    if folder is not None:
        check_folder("waves", "--folder", folder)
    check_files("waves", None, numbers)
    jax.config.update("jax_enable_x64", True)
    line = line_printer(console_beside(numbers))
    line(f"[bold]Forward and backward waves (1)–(3), one layer a frame, in a network of {L + 1} levels[/]")
    runs, errors = _computed(seed)
    _print_constant(line, runs[0])
    _print_mismatches(line)
    for reference, name in REFERENCES.items():
        _print_errors(line, name, errors[reference])
    line()
    drawn = folder is None or _drawn(line, folder, runs, errors)
    found = as_dict(runs[0], errors)
    save(line, None, lambda path: None, numbers, found)
    if not drawn:
        raise SystemExit(1)
    return found


def _computed(seed: int) -> tuple[tuple[Scene, Scene, Scene], dict[Reference, np.ndarray]]:
    steps = 1 + len(REFERENCES)
    with progress("waves", "steps") as report:
        report(0, steps, now="three runs")
        runs, errors = scenes(seed), {}
        for done, (reference, name) in enumerate(REFERENCES.items(), start=1):
            report(done, steps, now=f"errors against the gradient of {name}")
            errors[reference] = fidelity_by_speed(reference, seed=seed)
        report(steps, steps)
    return runs, errors


def _drawn(line: Line, folder: Path, *drawn: Any) -> bool:
    """Whether the pictures could be written."""
    try:
        with progress("waves", "steps") as report:
            report(0, 1, now="four pictures and an animation")
            paths = draw_wave_figures(folder, *drawn)
            report(1, 1)
    except OSError as error:
        line(f"pictures: {folder} could not be written ({error.strerror or error})")
        return False
    for path in paths:
        line(f"picture: {path}")
    return True


def exact_layers(constant: Scene) -> list[int]:
    """How many layers have the exact gradient of a constant input after 1, 2, … steps."""
    assert constant.exact is not None
    return [int(n) for n in constant.exact.sum(axis=1)]


def _print_constant(line: Line, constant: Scene) -> None:
    layers = exact_layers(constant)
    line()
    line("[bold]An input that stands still[/]  layers whose gradient is exact, to rounding error")
    for steps in (L, 2 * L - 1, 2 * L):
        line(f"  after {steps:>2} steps  {layers[steps - 1]} of {L}")


def _print_mismatches(line: Line) -> None:
    line()
    line("[bold]Which frames meet in the gradient of a layer?[/]  beside the frame of its input, in frames")
    _row(line, "layer", range(1, L + 1), "d")
    _row(line, "target is younger by", [target_mismatch(l, L) for l in range(1, L + 1)], "d")
    _row(line, "the error's own input is older by", [causing_input_mismatch(l, L) for l in range(1, L + 1)], "d")
    line(f"  input and target are of one frame in layer {synchronised_layer(L)} alone, the synchronised one")


def _print_errors(line: Line, name: str, errors: np.ndarray) -> None:
    line()
    line(f"[bold]How wrong is the gradient?[/]  error relative to the gradient of {name}; 0: exact")
    _row(line, "layer", range(1, L + 1), "d")
    for period, error in zip(PERIODS, errors, strict=True):
        _row(line, f"a period of {period:g} frames", error, ".3f")


def _row(line: Line, name: str, values, form: str) -> None:
    line(f"  {name:<34}" + "".join(f"{value:>7{form}}" for value in values))


def as_dict(constant: Scene, errors: dict[Reference, np.ndarray]) -> dict:
    """All numbers, for JSON."""
    return {
        "layers_exact_after_steps": exact_layers(constant)[: 2 * L],
        "target_mismatch": [target_mismatch(l, L) for l in range(1, L + 1)],
        "causing_input_mismatch": [causing_input_mismatch(l, L) for l in range(1, L + 1)],
        "periods": list(PERIODS),
        "relative_error": {reference: np.round(error, 6).tolist() for reference, error in errors.items()},
    }
