"""`learn digits`: a million weights learn handwritten digits by the action, and by SGD beside it."""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PyTree
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

import lagrangian_learning as ll
from lagrangian_learning.commands import classical
from lagrangian_learning.commands.output import (
    Line,
    check_counts,
    check_files,
    check_seed,
    console_beside,
    line_printer,
    of_each_seed,
    print_rows,
    save,
)
from lagrangian_learning.commands.progress import Report, nothing_reported, progress
from lagrangian_learning.plot import colour, heading, style

from .task import BATCH, PASSES, Constants, Images, Task, convolutional, digits, make_task


@dataclasses.dataclass(frozen=True)
class Run:
    """What came of one seed: accuracies on the judged images after every pass, and what it took."""

    seed: int
    constants: Constants
    accuracies: tuple[float, ...]
    accuracies_sgd: tuple[float, ...]
    seconds_a_step: float
    seconds_a_step_sgd: float
    cosine: float
    norm_ratio: float
    mass_force: float
    W: PyTree
    steps: int

    @property
    def accuracy(self) -> float:
        """At the end."""
        return self.accuracies[-1]

    @property
    def accuracy_sgd(self) -> float:
        """At the end."""
        return self.accuracies_sgd[-1]


def run_digits(seed: int, task: Task, constants: Constants, report: Report = nothing_reported) -> Run:
    """Learns a task by the cognitive action, one compiled run for all passes, and by SGD.

    report(batches done, batches in all, seconds of integration) is called at the start and after every pass.
    """
    stimulus, steps = task.stimulus, len(task.batches) - 1
    law = constants.law(task.network, task.batches.shape[1], steps)
    state = law.initial_state(0.0, task.W, args=stimulus)
    times = jnp.array([0.0, task.a_pass], jnp.float32)
    jitted: Any = _a_pass
    a_pass = jitted.lower(law, state, times, stimulus).compile()
    accuracies, seconds = [], 0.0
    for first in range(0, steps, task.a_pass):
        report(first, steps, seconds)
        start = time.perf_counter()
        path = jax.block_until_ready(a_pass(law, state, first + times, stimulus))
        seconds += time.perf_counter() - start
        if path.result != ll.RESULTS.successful:
            raise RuntimeError(f"the motion ended in the pass from batch {first}: {ll.RESULTS[path.result]}")
        state = path.final_state
        accuracies.append(task.accuracy(state.q))
    report(steps, steps, seconds)
    accuracies_sgd, seconds_sgd = _by_sgd(task, constants)
    cosine, norm_ratio, mass_force = _multipliers(law, state, stimulus, steps - 1)
    return Run(
        seed=seed,
        constants=constants,
        accuracies=tuple(accuracies),
        accuracies_sgd=tuple(accuracies_sgd),
        seconds_a_step=seconds / steps,
        seconds_a_step_sgd=seconds_sgd / steps,
        cosine=cosine,
        norm_ratio=norm_ratio,
        mass_force=mass_force,
        W=state.q,
        steps=steps,
    )


@eqx.filter_jit
def _a_pass(law: Any, state: ll.State, times: Array, stimulus: ll.Stimulus) -> ll.Trajectory:
    return ll.simulate(
        law, state, times, stimulus, solver=ll.KickDrift(), dt0=1.0, max_steps=None, save=lambda t, observables: t
    )


def _by_sgd(task: Task, constants: Constants) -> tuple[list[float], float]:
    """SGD with momentum by JAX and Optax alone, a batch a step, its steps compiled one by one."""
    optimiser, modules = constants.sgd(len(task.batches) - 1), task.network.modules

    @jax.jit
    def step(W: PyTree, memory: PyTree, images: Array, targets: Array) -> tuple[PyTree, PyTree]:
        def loss(W: PyTree) -> Array:
            return jnp.mean(optax.softmax_cross_entropy(jax.vmap(lambda u: _respond(modules(W), u))(images), targets))

        change, memory = optimiser.update(jax.grad(loss)(W), memory)
        return optax.apply_updates(W, change), memory

    W, memory = task.W, optimiser.init(task.W)
    jax.block_until_ready(step(W, memory, task.batches[0], task.targets[0]))
    accuracies, seconds = [], 0.0
    for first in range(0, len(task.batches) - 1, task.a_pass):
        start = time.perf_counter()
        for k in range(first, first + task.a_pass):
            W, memory = step(W, memory, task.batches[k], task.targets[k])
        jax.block_until_ready(W)
        seconds += time.perf_counter() - start
        accuracies.append(task.accuracy(W))
    return accuracies, seconds


def _respond(modules: tuple[Callable, ...], u: Array) -> Array:
    for module in modules:
        u = module(u)
    return u


@eqx.filter_jit
def _multipliers_and_deltas(law: Any, t: Array, state: ll.State, stimulus: ll.Stimulus) -> tuple[Array, Array, Array]:
    x = law.network.forward(state.q, stimulus.input(t))
    deltas = ll.delta_errors(law.network, law.potential, x, state.q, stimulus.target(t))
    multipliers = law.accelerations(t, state, stimulus)[1]
    ratio = ll.learning.neuron_mass_ratio(law, t, state, stimulus)
    return ravel_pytree(multipliers)[0], ravel_pytree(deltas)[0], ratio


def _multipliers(law: Any, state: ll.State, stimulus: ll.Stimulus, t: float) -> tuple[float, float, float]:
    """Cosine and ratio of norms of multipliers to delta errors, and |m_x G_ξ⁻¹(γ₂ + r G_t)|/|V_ξ|, at the end."""
    ours, theirs, mass_force = (
        np.asarray(part) for part in _multipliers_and_deltas(law, jnp.float32(t), state, stimulus)
    )
    norms = np.linalg.norm(ours), np.linalg.norm(theirs)
    return float(ours @ theirs / (norms[0] * norms[1])), float(norms[0] / norms[1]), float(mass_force)


def digits_command(seeds: int, seed: int, output: Path | None, numbers: Path | None, passes: int | None) -> list[Run]:
    """Runs, prints and draws the experiment; see `lagrangian_learning.commands.cli.digits`. Returns the runs."""
    passes = PASSES if passes is None else passes
    check_counts("learn digits", seeds=seeds, passes=passes)
    check_seed("learn digits", seed)
    check_files("learn digits", output, numbers)
    try:
        train, test = digits()
    except ModuleNotFoundError as error:
        raise SystemExit(f"learn digits: {error}") from None
    line, constants, network = line_printer(console_beside(numbers)), Constants(), convolutional()

    def run(number: int) -> Run:
        task = make_task(number, network, train, test, passes)
        if number == seed:
            _print_experiment(line, task, len(train.labels), passes, constants)
        with progress(f"training, seed {number}", "batches") as report:
            return run_digits(number, task, constants, report)

    runs, end = of_each_seed("learn digits", seed, seeds, run)
    _print_results(line, runs)
    save(line, output, lambda path: draw(runs, test, network, path), numbers, as_dict(runs))
    end()
    return runs


def as_dict(runs: list[Run]) -> dict[str, Any]:
    """All numbers of the runs, of standard types."""
    ours, theirs = (np.array([getattr(run, name) for run in runs]) for name in ("accuracy", "accuracy_sgd"))
    fields = [field.name for field in dataclasses.fields(Run) if field.name not in ("W", "constants")]
    return {
        "constants": dataclasses.asdict(runs[0].constants),
        "test_accuracy": {"mean": ours.mean(), "spread": _spread(ours)},
        "sgd_test_accuracy": {"mean": theirs.mean(), "spread": _spread(theirs)},
        "seeds": [{name: getattr(run, name) for name in fields} for run in runs],
    }


def _spread(values: np.ndarray) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else 0.0


def _print_experiment(line: Line, task: Task, images: int, passes: int, constants: Constants) -> None:
    friction = f"ϑ from {constants.theta:.3g} to {constants.rise * constants.theta:.3g}"
    motion = f"m_W = {constants.mass_W:.3g}, m_x/m_W = {constants.mass_ratio:g}, {friction}"
    rows = {
        "images": f"{images:,} handwritten digits of 8 x 8 pixels, each moved a little whenever it is shown; "
        f"{passes} shuffled passes in batches of {BATCH}",
        "network": f"2 convolutions, pooling, 2 dense layers; {task.network.num_weights:,} weights, shared by a batch",
        "motion": f"Euler–Lagrange equations (8)–(10): {motion}, a batch a unit of time",
        "solver": f"KickDrift, a step a batch, float32, on {jax.devices()[0].device_kind}",
    }
    print_rows(line, "Learning to read digits by the motion of a cognitive action", rows)


def _print_results(line: Line, runs: list[Run]) -> None:
    found = as_dict(runs)
    line()
    for name, key in (("test accuracy", "test_accuracy"), ("SGD", "sgd_test_accuracy")):
        mean, spread = 100 * found[key]["mean"], 100 * found[key]["spread"]
        over = f"  mean of {len(runs)} seeds, ± {spread:.1f} %" if len(runs) > 1 else ""
        line(f"{name:<14} {mean:.1f} %{over}")
    judged = "600 images that were not learned from, most by other writers"
    line(f"  of {judged}; SGD: the same friction, batches and weights to begin with")
    line(f"  by {classical.SOURCE}: {classical.in_words(classical.DIGITS)}")
    last = runs[-1]
    line("\nAre the multipliers backprop's delta errors?")
    line(f"  cosine {last.cosine:.5f}, norm ratio {last.norm_ratio:.5f}, all neurons of the last batch together")
    line(f"  neurons' mass beside the loss: |m_x G_ξ⁻¹(γ₂ + r G_t)| / |V_ξ| = {last.mass_force:.1e}")
    ours, theirs = 1e3 * last.seconds_a_step, 1e3 * last.seconds_a_step_sgd
    line(f"\n{last.steps:,} steps of {ours:.1f} ms; a step of SGD takes {theirs:.1f} ms")


ROWS, COLUMNS = 5, 10


def draw(runs: list[Run], test: Images, network: ll.Chain, path: Path) -> None:
    """Writes the picture: the accuracies of all runs, the images that the last one mistakes first."""
    with style():
        _draw(runs, test, network, path)


def _draw(runs: list[Run], test: Images, network: ll.Chain, path: Path) -> None:
    figure = Figure(figsize=(12.5, 5.4))
    FigureCanvasAgg(figure)
    heading(figure, "A convolutional network of a million weights learns digits by the motion of a cognitive action")
    parts: Any = figure.subfigures(1, 2, width_ratios=(1, 1.25))
    left, right = parts
    _learning(left.subplots(), runs)
    _images(right.subplots(ROWS, COLUMNS), runs[-1], test, network)
    shown = "What it recognises (mistakes first, in red, with the truth)"
    right.suptitle(shown, fontsize=11, fontweight="normal", x=0.02, ha="left")
    figure.savefig(path)


def _learning(ax: Axes, runs: list[Run]) -> None:
    highest = 0.0
    for name, meaning, line, label in (
        ("accuracies", "weights", "o-", "the action"),
        ("accuracies_sgd", "reference", "s--", "SGD with the same friction"),
    ):
        errors = 100 * (1 - np.array([getattr(run, name) for run in runs]))
        passes = np.arange(1, errors.shape[1] + 1)
        mean, highest = errors.mean(axis=0), max(highest, float(errors.max()))
        ax.plot(passes, mean, line, color=colour(meaning), ms=5, label=label)
        if len(runs) > 1:
            spread = errors.std(axis=0, ddof=1)
            ax.fill_between(passes, mean - spread, mean + spread, color=colour(meaning), alpha=0.15, lw=0)
    over = f", mean and spread of {len(runs)} seeds" if len(runs) > 1 else ""
    ax.set_title(f"Test images mistaken{over}")
    ax.set_xlabel("passes over the training images")
    ax.set_ylabel("mistaken, %")
    ax.set_ylim(0, 1.15 * highest or 1.0)  # room for a single point
    ax.set_xlim(0.5, passes[-1] + 0.5)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.grid(visible=True)
    ax.legend()


def _images(axes: np.ndarray, run: Run, test: Images, network: ll.Chain) -> None:
    outputs = jax.jit(jax.vmap(lambda u: network.output(network.forward(run.W, u))))(test.images)
    predicted = np.argmax(np.asarray(outputs), axis=1)
    wrong = predicted != test.labels
    order = np.argsort(~wrong, kind="stable")
    for ax, k in zip(axes.flat, order, strict=False):
        ax.imshow(test.images[k, 0], cmap="gray_r")
        title, meaning = (f"{predicted[k]} ({test.labels[k]})", "alarm") if wrong[k] else (str(predicted[k]), "muted")
        ax.set_title(title, fontsize=9, color=colour(meaning), loc="center")
        ax.set_axis_off()
