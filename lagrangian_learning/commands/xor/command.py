"""`lagrangian-learning simulate xor`."""

import math
from pathlib import Path

import jax
import numpy as np
from rich.console import Console

from lagrangian_learning.commands.files import check_folders
from lagrangian_learning.commands.output import Line, line_printer, save

from .motion import DURATION, GAMMA, INPUTS, MASS_RATIO, TARGETS, THETA, Motion, learn_xor
from .picture import draw


def xor_command(seed: int, duration: float | None, output: Path | None, numbers: Path | None) -> Motion:
    """Runs, prints and draws the motion; see `lagrangian_learning.commands.cli.xor`. Returns it."""
    duration = DURATION if duration is None else duration
    if not 4 <= duration < math.inf:
        raise SystemExit("simulate xor: --duration must be at least 4, once round the patterns, and finite.")
    check_folders("simulate xor", output, numbers)
    jax.config.update("jax_enable_x64", True)
    console = Console()
    line = line_printer(console)
    line("[bold]XOR, learned by the motion of five neurons and six weights[/]")
    line(f"  Euler–Lagrange equations (8)–(10): γ = {GAMMA:g}, ϑ = {THETA:g}, m_x/m_W = {MASS_RATIO:g}; float64")
    line(f"  four patterns in turn, one a unit of time, for {duration:g} units; compiling and integrating …")
    motion = learn_xor(seed, duration)
    line()
    console.print(str(motion.path), highlight=False, soft_wrap=True, markup=False)
    line()
    _print_results(line, motion)
    save(line, output, lambda path: draw(motion, path), numbers, as_dict(motion))
    return motion


def _print_results(line: Line, motion: Motion) -> None:
    verdict = "learned" if motion.learned else "not learned (another --seed, or a longer --duration, may)"
    line(f"[bold]XOR is {verdict}[/]")
    line("  pattern   target   output")
    for pattern, target, output in zip(INPUTS, TARGETS, motion.outputs, strict=True):
        line(f"  {pattern[0]:.0f} {pattern[1]:.0f}{target:>11.0f}{output:>10.3f}")
    neurons, weights, closing = motion.residuals
    line()
    line("[bold]Do the equations hold?[/]  largest residual at the saved times, relative to the largest term")
    line(f"  (8) neurons  {neurons:.1e}      (9) weights  {weights:.1e}      D²G = 0  {closing:.1e}")
    line(f"  energy balance E(t) − E(0) − ∫ power dt: {_defect(motion):.1e} of max |E|")


def as_dict(motion: Motion) -> dict:
    """All numbers of the motion, for JSON."""
    return {
        "learned": motion.learned,
        "outputs": dict(zip(("00", "01", "11", "10"), map(float, motion.outputs), strict=True)),
        "relative_residuals": dict(zip(("(8)", "(9)", "D2G"), map(float, motion.residuals), strict=True)),
        "energy_balance": _defect(motion),
        "steps": int(motion.path.stats["num_accepted_steps"]),
        "duration": float(np.asarray(motion.path.ts[-1])),
    }


def _defect(motion: Motion) -> float:
    return float(motion.path.stats["max_energy_defect"])
