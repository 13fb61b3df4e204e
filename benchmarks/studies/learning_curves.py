"""How does accuracy grow over the passes of a stream of speech, and how much does it depend on the seed?

The cognitive action of the speech run, all seeds as lanes of one batch, beside plain backpropagation on the same
streams from the same weights. A seed draws the order of the recordings and the weights at the start. The curves are
accuracies on training recordings that were left out, three a speaker, the same for all seeds; the test recordings are
looked at once, at the end, and nothing is chosen by them.

    lagrangian-learning study learning_curves [--quick] [--seed SEED] [--output PICTURE] [--json NUMBERS]
        [--redraw NUMBERS]
"""

if __name__ == "__main__":  # a file does not know its checkout: it is run as a command of the package
    from lagrangian_learning.commands.study import run_file

    run_file(__file__)

import functools
from pathlib import Path
from typing import Any, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

import lagrangian_learning as ll
from lagrangian_learning.commands.backprop import backprop
from lagrangian_learning.commands.files import Files
from lagrangian_learning.commands.progress import Report, nothing_reported, progress
from lagrangian_learning.commands.speech.task import NETWORK, STEP, Constants, Task, make_task

from .curves_picture import draw
from .study import begun, ended, picture, print_table, recorded

FILES = Files(Path("learning_curves.png"))
QUESTION = "How does accuracy on speech grow over the passes, and how much does it depend on the seed?"
SEEDS, PASSES = 8, 20
HOLD_OUT_KEY = 0


class Curves(NamedTuple):
    """Of one way to learn: accuracy on held-out training recordings at the start and after each pass
    [seeds, passes + 1], and on the test recordings at the end [seeds]. As 27 recordings know only 28 accuracies, also
    the held-out loss ½ Σ (x − y)², the mean over frames [seeds, passes + 1].
    """

    held_out: Float[np.ndarray, "seeds passes"]
    loss: Float[np.ndarray, "seeds passes"]
    test: Float[np.ndarray, " seeds"]


def learning_curves(
    seeds: int = SEEDS, passes: int = PASSES, *, first: int = 0, report: Report = nothing_reported
) -> dict[str, Curves]:
    """Curves of the cognitive action and of backpropagation, in float32, of the seeds from `first` on."""
    train, test = ll.data.japanese_vowels("train"), ll.data.japanese_vowels("test")
    learned, held_out = train.hold_out(jax.random.key(HOLD_OUT_KEY))
    tasks = [make_task(seed, learned, held_out, passes) for seed in range(first, first + seeds)]
    # Scaled by what is learned from, as the held-out ones are.
    _, tested = ll.data.standardise(learned, test)
    W = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(task.W for task in tasks))
    stimuli = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(task.stimulus for task in tasks))
    ends = np.linspace(0, tasks[0].num_frames - 1, passes + 1).round()
    found = {}
    for done, (name, learn) in enumerate(WAYS.items()):
        report(done, len(WAYS), now=f"{name}, {seeds} seeds")
        found[name] = learn(W, stimuli, ends)
    report(len(WAYS), len(WAYS))
    return {name: _judged(weights, tasks[0], tested) for name, weights in found.items()}


def _by_action(W: PyTree, stimuli: ll.Stimulus, ends: np.ndarray) -> PyTree:
    """Weights of every seed at the start and after each pass, [seeds, passes + 1, …].

    Times are multiples of half a frame, which float32 represents exactly up to 2^22: no piece needs a time of its own.
    """
    law = Constants().law()
    states = jax.vmap(lambda W, stimulus: law.initial_state(0.0, W, args=stimulus))(W, stimuli)
    path: Any = ll.simulate_batch(
        law, states, ends, stimuli, solver=diffrax.Heun(), dt0=STEP, save=_weights, max_steps=None
    )
    if not np.all(path.result == ll.RESULTS.successful):
        raise RuntimeError(f"a seed's motion ended early:\n{path}")
    return path.saved


def _weights(t: Array, observables: dict[str, PyTree]) -> PyTree:
    return observables["q"]


def _by_backprop(W: PyTree, stimuli: ll.Stimulus, ends: np.ndarray) -> PyTree:
    """The same for online gradient descent at the rate 1/γ, one frame a step."""
    rate, weights = 1 / Constants().gamma, [W]
    learn = jax.jit(jax.vmap(lambda W, u, y: backprop(W, u, y, rate)[0]))
    frames: Any = (stimuli.input, stimuli.target)
    # The first pass begins with frame 0, at which the motion is when it starts.
    for first, last in zip([-1, *ends[1:-1].astype(int)], ends[1:].astype(int), strict=True):
        weights.append(learn(weights[-1], *(each.frames[:, first + 1 : last + 1] for each in frames)))
    return jax.tree.map(lambda *leaves: jnp.stack(leaves, axis=1), *weights)


WAYS = {"cognitive action": _by_action, "backpropagation": _by_backprop}


def _judged(weights: PyTree, task: Task, tested: ll.data.Recordings) -> Curves:
    held_out, loss = _accuracies_and_losses(weights, task.judged)
    last = jax.tree.map(lambda leaf: leaf[:, -1:], weights)
    return Curves(held_out, loss, _accuracies_and_losses(last, tested)[0][:, 0])


def _accuracies_and_losses(weights: PyTree, recordings: ll.data.Recordings) -> tuple[np.ndarray, np.ndarray]:
    """The share of recordings recognised, and the mean loss of their frames, both [seeds, times]."""
    inputs = jnp.asarray(recordings.inputs())
    codes = ll.data.label_codes(recordings.num_labels)[np.repeat(recordings.labels, recordings.lengths)]
    targets = jnp.asarray(codes, inputs.dtype)

    @jax.jit
    @functools.partial(jax.vmap, in_axes=0)
    @functools.partial(jax.vmap, in_axes=0)
    def judged(W: PyTree) -> tuple[Array, Array]:
        outputs = jax.vmap(lambda u: NETWORK.output(NETWORK.forward(W, u)))(inputs)
        return recordings.accuracy(outputs), jnp.mean(jnp.sum((outputs - targets) ** 2, axis=1)) / 2

    accuracy, loss = judged(jax.tree.map(jnp.asarray, weights))
    return np.asarray(accuracy), np.asarray(loss)


def summary(curves: Curves) -> dict[str, Any]:
    """Means and standard deviations over seeds."""
    return {
        "held_out": curves.held_out,
        "held_out_loss": curves.loss,
        "held_out_mean": curves.held_out.mean(0),
        "held_out_deviation": curves.held_out.std(0, ddof=1),
        "test": curves.test,
        "test_mean": float(curves.test.mean()),
        "test_deviation": float(curves.test.std(ddof=1)),
    }


def study(seed: int = 0, quick: bool = False, redraw: Path | None = None, files: Files = FILES) -> None:
    """How does accuracy on speech grow over the passes, and how much does it depend on the seed?

    Args:
        seed: The first of the seeds, eight unless quick.
        quick: Tiny sizes, to see that the study runs.
        redraw: Only draw the picture again, of the numbers in this file.
        files: Where the picture and the numbers go.
    """
    line = begun("learning_curves", seed, files)
    if redraw is not None:
        _redraw(redraw, files)
        return
    seeds, passes = (2, 1) if quick else (SEEDS, PASSES)
    with progress("learning_curves", "ways to learn") as report:
        curves = learning_curves(seeds, passes, first=seed, report=report)
    findings = {name: summary(each) for name, each in curves.items()}
    line(f"[bold]Recordings whose speaker is recognised after {passes} passes over a stream of speech[/]")
    rows = [
        (
            name, _share(found["held_out_mean"][0], found["held_out_deviation"][0]),
            _share(found["held_out_mean"][-1], found["held_out_deviation"][-1]),
            _share(found["test_mean"], found["test_deviation"]),
        )
        for name, found in findings.items()
    ]  # fmt: skip
    heads = ("learned by", "left out of training,\nat the start", "left out of training,\nat the end", "of the test")
    print_table(line, heads, rows)
    line(f"  mean ± standard deviation over {seeds} seeds; a seed draws the order of the recordings and the weights")
    ended(
        line, files, lambda path: _draw_to(path, curves), QUESTION, seeds=seeds, first_seed=seed, passes=passes,
        learners=findings,
    )  # fmt: skip


def _redraw(numbers: Path, files: Files) -> None:
    found = recorded("learning_curves", numbers)["learners"]
    fields = "held_out", "held_out_loss", "test"
    _draw_to(files.output, {name: Curves(*(each[field] for field in fields)) for name, each in found.items()})


def _draw_to(path: Path, curves: dict[str, Curves]) -> None:
    picture(path, 2, 1, functools.partial(draw, curves=curves))


def _share(mean: float, deviation: float) -> str:
    return f"{100 * mean:.1f} ± {100 * deviation:.1f} %"
