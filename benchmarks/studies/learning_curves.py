"""How does accuracy grow over the passes of a stream of speech, and how much does it depend on the seed?

The cognitive action of the speech run, all seeds as lanes of one batch, beside plain backpropagation on the same
streams from the same weights. A seed draws the order of the recordings and the weights at the start. The curves are
accuracies on training recordings that were left out, three a speaker, the same for all seeds; the test recordings are
looked at once, at the end, and nothing is chosen by them.

    python -m benchmarks.studies.learning_curves [--quick] [--folder FOLDER] [--redraw]
"""

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
from lagrangian_learning.commands.speech.task import NETWORK, STEP, Constants, Task, make_task

from .curves_picture import draw
from .study import options, picture, recorded, write

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


def learning_curves(seeds: int = SEEDS, passes: int = PASSES, *, progress: bool = False) -> dict[str, Curves]:
    """Curves of the cognitive action and of backpropagation, in float32."""
    train, test = ll.data.japanese_vowels("train"), ll.data.japanese_vowels("test")
    learned, held_out = train.hold_out(jax.random.key(HOLD_OUT_KEY))
    tasks = [make_task(seed, learned, held_out, passes) for seed in range(seeds)]
    # Scaled by what is learned from, as the held-out ones are.
    _, tested = ll.data.standardise(learned, test)
    W = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(task.W for task in tasks))
    stimuli = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(task.stimulus for task in tasks))
    ends = np.linspace(0, tasks[0].num_frames - 1, passes + 1).round()
    found = {
        "cognitive action": _by_action(W, stimuli, ends, progress=progress),
        "backpropagation": _by_backprop(W, stimuli, ends),
    }
    return {name: _judged(weights, tasks[0], tested) for name, weights in found.items()}


def _by_action(W: PyTree, stimuli: ll.Stimulus, ends: np.ndarray, *, progress: bool) -> PyTree:
    """Weights of every seed at the start and after each pass, [seeds, passes + 1, …].

    Times are multiples of half a frame, which float32 represents exactly up to 2^22: no piece needs a time of its own.
    """
    law = Constants().law()
    states = jax.vmap(lambda W, stimulus: law.initial_state(0.0, W, args=stimulus))(W, stimuli)
    path: Any = ll.simulate_batch(
        law, states, ends, stimuli, solver=diffrax.Heun(), dt0=STEP, save=_weights, max_steps=None, progress=progress
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


def main() -> None:
    """Runs all seeds both ways, and writes learning_curves.json and learning_curves.png."""
    asked = options("learning_curves", __doc__, redraws=True)
    if asked.redraw:
        redraw(asked.folder)
        return
    seeds, passes = (2, 1) if asked.quick else (SEEDS, PASSES)
    curves = learning_curves(seeds, passes, progress=True)
    findings = {name: summary(each) for name, each in curves.items()}
    for name, found in findings.items():
        last = f"{found['held_out_mean'][-1]:.1%} ± {found['held_out_deviation'][-1]:.1%}"
        test = f"{found['test_mean']:.1%} ± {found['test_deviation']:.1%}"
        print(f"{name}: after {passes} passes {last} of the held-out recordings, {test} of the test recordings")
    question = "How does accuracy on speech grow over the passes, and how much does it depend on the seed?"
    path = write(
        "learning_curves",
        asked.folder,
        question=question,
        seeds=seeds,
        passes=passes,
        learners=findings,
    )
    print("numbers:", path)
    _drawn_to(asked.folder, curves)


def redraw(folder: Path) -> None:
    """Writes learning_curves.png again, of the learning_curves.json in the folder."""
    found = recorded("learning_curves", folder)["learners"]
    fields = "held_out", "held_out_loss", "test"
    _drawn_to(folder, {name: Curves(*(each[field] for field in fields)) for name, each in found.items()})


def _drawn_to(folder: Path, curves: dict[str, Curves]) -> None:
    drawn = functools.partial(draw, curves=curves)
    print("picture:", picture("learning_curves", folder, 2, 1, drawn))


if __name__ == "__main__":
    main()
