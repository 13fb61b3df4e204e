"""`lagrangian-learning waves`."""

from pathlib import Path

import jax
import numpy as np
from rich.console import Console

from lagrangian_learning.learning.waves.fidelity import Reference
from lagrangian_learning.learning.waves.timing import causing_input_mismatch, synchronised_layer, target_mismatch
from lagrangian_learning.plot.waves.figures import draw_wave_figures
from lagrangian_learning.plot.waves.scenes import PERIODS, REFERENCES, SIZES, Scene, fidelity_by_speed, scenes

from .output import Line, check_files, check_folder, line_printer, save

L = len(SIZES) - 1


def waves_command(folder: Path, numbers: Path | None) -> dict:
    """Runs, prints and draws the waves; see `lagrangian_learning.commands.cli.waves`. Returns the numbers."""
    check_folder("waves", "--folder", folder)
    check_files("waves", None, numbers)
    jax.config.update("jax_enable_x64", True)
    line = line_printer(Console())
    line(f"[bold]Forward and backward waves (1)–(3), one layer a frame, in a network of {L + 1} levels[/]")
    runs = scenes()
    errors: dict[Reference, np.ndarray] = {reference: fidelity_by_speed(reference) for reference in REFERENCES}
    _print_constant(line, runs[0])
    _print_mismatches(line)
    for reference, name in REFERENCES.items():
        _print_errors(line, name, errors[reference])
    line()
    for path in draw_wave_figures(folder, runs, errors):
        line(f"picture: {path}")
    found = as_dict(runs[0], errors)
    save(line, None, lambda path: None, numbers, found)
    return found


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
    line(f"[bold]Which frames meet[/]  synchronised layer {synchronised_layer(L)}")
    _row(line, "layer", range(1, L + 1), "d")
    _row(line, "target is younger by", [target_mismatch(l, L) for l in range(1, L + 1)], "d")
    _row(line, "the error's own input is older by", [causing_input_mismatch(l, L) for l in range(1, L + 1)], "d")


def _print_errors(line: Line, name: str, errors: np.ndarray) -> None:
    line()
    line(f"[bold]How wrong is the gradient?[/]  relative error against the gradient of {name}")
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
