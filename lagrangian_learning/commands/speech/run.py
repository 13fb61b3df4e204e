"""One run of the speech experiment: the action's motion and plain backprop, on one stream from one start."""

import dataclasses
import time

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

import lagrangian_learning as ll
from lagrangian_learning.commands.backprop import backprop, delta_errors
from lagrangian_learning.commands.progress import Report, nothing_reported

from .checks import Sample, examine, gathered
from .task import Constants, Learner, Piece, Task


@dataclasses.dataclass(frozen=True)
class Stretch:
    """Some frames late in the run, for the picture: first frame; what the outputs and the multipliers did, and
    backpropagation's delta errors at the same weights. Layers are tuples, time is the first axis.
    """

    first: int
    outputs: Float[np.ndarray, "frames outputs"]
    multipliers: PyTree
    deltas: PyTree


@dataclasses.dataclass(frozen=True)
class Run:
    """What came of one seed. `outputs` [frames, 9] are those of the network during training, at each frame."""

    seed: int
    task: Task
    constants: Constants
    W: PyTree
    accuracy: float
    outputs: Float[np.ndarray, "frames outputs"]
    W_backprop: PyTree
    accuracy_backprop: float
    outputs_backprop: Float[np.ndarray, "frames outputs"]
    sample: Sample
    stretch: Stretch
    steps: int
    seconds: float
    compile_seconds: float
    seconds_backprop: float

    def mistakes(self, outputs: np.ndarray) -> np.ndarray:
        """The share of recordings that were taken for another speaker's while they were learned from, pass by pass."""
        task = self.task
        passes = task.order.reshape(-1, task.train.num_recordings)
        frames = outputs[: task.num_frames].reshape(len(passes), -1, outputs.shape[-1])
        judged = zip(passes, frames, strict=True)
        return np.array([1 - float(task.train.select(order).accuracy(jnp.asarray(found))) for order, found in judged])


def run_speech(
    seed: int, task: Task, constants: Constants, learner: Learner | None = None, report: Report = nothing_reported
) -> tuple[Run, Learner]:
    """Learns a task by the cognitive action and by backprop; returns the learner too, for a task of equal shapes.

    report(frames done, frames in all, seconds of integration) is called at the start and after every piece.
    """
    law = constants.law()
    state = law.initial_state(0.0, task.W, args=task.stimulus)
    compiled_before = learner is not None
    learner = (
        Learner(law, state, task.stimulus, meanwhile=lambda like: examine(law, like)) if learner is None else learner
    )
    seconds, steps, W = 0.0, 0, task.W
    outputs, samples, late = [np.asarray(task.outputs_at_start)[None]], [], None
    report(0, task.num_frames - 1, 0.0)
    started = time.perf_counter()
    for piece in learner.pieces(law, state, task.stimulus, task.num_frames):
        seconds += time.perf_counter() - started
        report(piece.first + piece.length, task.num_frames - 1, seconds)
        steps += int(piece.path.stats["num_accepted_steps"])
        outputs.append(np.asarray(piece.path.x[-1])[piece.at_frames[1:]])
        samples.append(examine(law, piece))
        W = piece.path.final_state.q
        if late is None or piece.first + 2 * piece.length < task.num_frames:
            late = piece
        started = time.perf_counter()
    W_backprop, outputs_backprop, seconds_backprop = _backprop(task, constants)
    assert late is not None
    run = Run(
        seed=seed,
        task=task,
        constants=constants,
        W=W,
        accuracy=task.accuracy(W),
        outputs=np.concatenate(outputs),
        W_backprop=W_backprop,
        accuracy_backprop=task.accuracy(W_backprop),
        outputs_backprop=outputs_backprop,
        sample=gathered(samples),
        stretch=_stretch(late),
        steps=steps,
        seconds=seconds,
        compile_seconds=0.0 if compiled_before else learner.compile_s,
        seconds_backprop=seconds_backprop,
    )
    return run, learner


def _backprop(task: Task, constants: Constants) -> tuple[PyTree, np.ndarray, float]:
    """Plain backprop with rate 1/γ on the frames of the stream; the time is that of a compiled run."""
    frames = (task.stimulus.input.frames, task.stimulus.target.frames)  # pyright: ignore[reportAttributeAccessIssue]
    compiled = backprop.lower(task.W, *frames, 1 / constants.gamma).compile()
    start = time.perf_counter()
    W, outputs = jax.block_until_ready(compiled(task.W, *frames))
    return W, np.asarray(outputs), time.perf_counter() - start


@jax.jit
def _deltas(W: PyTree, stimulus: ll.Stimulus, ts: Array) -> PyTree:
    return jax.vmap(lambda W, t: delta_errors(W, stimulus.input(t), stimulus.target(t)))(W, ts)


def _stretch(piece: Piece) -> Stretch:
    path = piece.path
    deltas = _deltas(path.W, piece.stimulus, path.ts)
    kept = (path.x[-1], path.multipliers, deltas)
    return Stretch(piece.first, *jax.tree.map(lambda leaf: np.asarray(leaf)[piece.at_frames], kept))
