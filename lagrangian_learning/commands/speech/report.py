"""What `learn speech` prints: what is done, and what came of it."""

import dataclasses

import jax
import numpy as np

from lagrangian_learning.commands import classical
from lagrangian_learning.commands.output import Line, print_rows

from .run import Run
from .task import NETWORK, STEP, Constants, Task

LAYERS = ("input", "hidden", "output")


def print_experiment(line: Line, task: Task, constants: Constants) -> None:
    """The experiment in four lines."""
    train, passes = task.train, len(task.order) // task.train.num_recordings
    sizes = " → ".join(map(str, NETWORK.sizes[1:]))
    motion = f"m_W = {constants.mass_W:g}, m_x/m_W = {constants.mass_ratio:g}, ϑ = {constants.theta:g}"
    rows = {
        "stream": f"{train.num_recordings} recordings of /ae/ by {train.num_labels} speakers, {passes} shuffled passes",
        "": f"{task.num_frames:,} frames, one a unit of time",
        "network": f"12 cepstra + constant → {sizes}, tanh; {NETWORK.num_weights} weights; each neuron a constraint",
        "motion": f"Euler–Lagrange equations (8)–(10): {motion}, γ = ϑ m_W = {constants.gamma:g}",
        "solver": f"Heun, {1 / STEP:g} steps a frame, float32, on {jax.devices()[0].device_kind}",
    }
    print_rows(line, "Learning to tell speakers apart by the motion of a cognitive action", rows)


def print_results(line: Line, runs: list[Run]) -> None:
    """Everything that came of the runs; the first line is the test accuracy."""
    line()
    _print_accuracy(line, runs)
    _print_checks(line, runs[0], f" of seed {runs[0].seed}" if len(runs) > 1 else "")
    _print_cost(line, runs)


def _print_accuracy(line: Line, runs: list[Run]) -> None:
    ours, plain = (np.array([getattr(run, name) for run in runs]) for name in ("accuracy", "accuracy_backprop"))
    line(f"[bold]test accuracy  {_percent(ours.mean())}[/]{_of_seeds(ours)}")
    line(f"plain backprop {_percent(plain.mean())}{_of_seeds(plain)}")
    if len(runs) > 1:
        line("  seed           " + "".join(f"{run.seed:>8}" for run in runs))
        line("  action         " + "".join(f"{_percent(value):>8}" for value in ours))
        line("  plain backprop " + "".join(f"{_percent(value):>8}" for value in plain))
    judged = runs[0].task.judged.num_recordings
    line(f"  of {judged} recordings that were not learned from, each classified by its mean output")
    line("  plain backprop: SGD with rate 1/γ, a step a frame, on the same stream from the same weights")
    line("  published with the data: 94.1 % (its authors' classifier), 96.2 % (hidden Markov model)")
    line(f"  by {classical.SOURCE}: {classical.in_words(classical.SPEECH)}")


def _print_checks(line: Line, run: Run, whose: str) -> None:
    sample = run.sample
    neurons, weights, closing = sample.worst_residuals
    line()
    line("[bold]Do the equations hold?[/]")
    line(f"  (8) neurons  {neurons:.1e}    (9) weights  {weights:.1e}    D²G = 0  {closing:.1e}")
    line(f"  largest residual at {len(sample.loss)} instants of the run{whose}, relative to the largest term; float32")
    line()
    line("[bold]Are the multipliers backprop's delta errors?[/]")
    line("  layer      cosine   norm ratio")
    fidelity = sample.fidelity
    for name, cosine, ratio in zip(LAYERS, fidelity.cosine, fidelity.norm_ratio, strict=True):
        line(f"  {name:<8}{float(cosine):>9.5f}{float(ratio):>12.5f}")
    line("  at the same instants, weights and frames")
    line()
    line("[bold]Does the neurons' mass resist the input?[/]")
    line(f"  |m_x G_ξ⁻¹(γ₂ + r G_t)| / |V_ξ| = {sample.mass_ratio:.3f}, root mean square")
    line("  below 1 the loss drives the weights, above 1 the motion of the input")


def _print_cost(line: Line, runs: list[Run]) -> None:
    seconds, plain = (float(np.mean([getattr(run, name) for run in runs])) for name in ("seconds", "seconds_backprop"))
    line()
    line(
        f"{runs[0].steps:,} steps in {seconds:.1f} s"
        + (" a seed" if len(runs) > 1 else "")
        + f", after {runs[0].compile_seconds:.1f} s of compiling; plain backprop takes {plain:.1f} s"
    )


def as_dict(runs: list[Run]) -> dict:
    """All numbers of the runs, for JSON."""
    ours, plain = ([getattr(run, name) for run in runs] for name in ("accuracy", "accuracy_backprop"))
    sample = runs[0].sample
    return {
        "test_accuracy": float(np.mean(ours)),
        "backprop_test_accuracy": float(np.mean(plain)),
        "constants": dataclasses.asdict(runs[0].constants),
        "passes": len(runs[0].task.order) // runs[0].task.train.num_recordings,
        "seeds": [
            {
                "seed": run.seed,
                "test_accuracy": run.accuracy,
                "backprop_test_accuracy": run.accuracy_backprop,
                "steps": run.steps,
                "seconds": round(run.seconds, 3),
                "backprop_seconds": round(run.seconds_backprop, 3),
                "training_mistakes_by_pass": run.mistakes(run.outputs).round(4).tolist(),
                "backprop_training_mistakes_by_pass": run.mistakes(run.outputs_backprop).round(4).tolist(),
            }
            for run in runs
        ],
        "compile_seconds": round(runs[0].compile_seconds, 3),
        "relative_residuals": dict(zip(("(8)", "(9)", "D2G"), map(float, sample.worst_residuals), strict=True)),
        "multipliers_against_delta_errors": {
            name: {"cosine": float(cosine), "norm_ratio": float(ratio)}
            for name, cosine, ratio in zip(LAYERS, sample.fidelity.cosine, sample.fidelity.norm_ratio, strict=True)
        },
        "neuron_mass_ratio": sample.mass_ratio,
    }


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _of_seeds(shares: np.ndarray) -> str:
    return f"  mean of {len(shares)} seeds, {_spread(shares)}" if len(shares) > 1 else ""


def _spread(shares: np.ndarray) -> str:
    return f"± {100 * shares.std(ddof=1):.1f} % (standard deviation)"
