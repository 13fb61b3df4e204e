"""What is learned while the physics of learning is tuned: speech, digits, and a stream that drifts."""

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

import lagrangian_learning as ll
from lagrangian_learning.commands.digits.task import NUM_CLASSES, NUM_TRAIN, Images, digits

CASES, JUDGED = 8, 10
LEARNED = 897  # training images; those of the other writers validate
FOR_TRAINING = 20  # recordings of each speaker; the others validate
DRIFTS, CENTRE, SCALE = 3, 14.0, 5.0  # changes of a stream; of its targets, which lie between 0 and 30


class Case(NamedTuple):
    """One run: what it sees, and its first weights. Stacked, with an axis of cases first."""

    stimulus: ll.Stimulus
    W: PyTree


class Examples(NamedTuple):
    """Inputs [n, …] and targets [n, outputs]."""

    inputs: Float[Array, "n ..."]
    targets: Float[Array, "n outputs"]


class Task(eqx.Module):
    """A network, runs to tune on and others to judge by, and how a run is scored.

    A run is scored by its mean loss on `validation` at the end or, where there is none, by the mean loss of its frames,
    each before it is learned from. Judged runs have first weights and an order of frames of their own, and are scored
    on `test`. `worst` is the score of a run that failed: the loss of outputs that are zero.
    """

    network: ll.Layered
    potential: Any
    tuned: Case
    judged: Case
    validation: Examples | None
    test: Examples | None
    worst: float = eqx.field(static=True)
    frames: int = eqx.field(static=True)
    name: str = eqx.field(static=True)
    about: str = eqx.field(static=True)
    score: str = eqx.field(static=True)

    @property
    def on_line(self) -> bool:
        """Whether frames are scored before they are learned from."""
        return self.validation is None

    def loss(self, W: PyTree, u: Array, y: Array) -> Array:
        """V of one frame."""
        return self.potential(self.network.output(self.network.forward(W, u)), y)

    def score_of(self, W: PyTree, losses: Array | None) -> Array:
        """The score of a run from its last weights and the losses of its frames."""
        if self.validation is None:
            assert losses is not None
            return jnp.mean(losses)
        return jnp.mean(jax.vmap(lambda u, y: self.loss(W, u, y))(*self.validation))

    def for_judging(self) -> "Task":
        """The same task, scored on `test`."""
        return eqx.tree_at(lambda task: task.validation, self, self.test, is_leaf=lambda leaf: leaf is None)


def speech(seed: int, frames: int) -> Task:
    """Nine speakers told apart, frame by frame: 20 recordings of each to learn from, 10 to validate."""
    every, test = ll.data.standardise(ll.data.japanese_vowels("train"), ll.data.japanese_vowels("test"))
    labels = np.asarray(every.labels)
    of_the_speaker = np.array([np.sum(labels[:k] == labels[k]) for k in range(len(labels))])
    train, validation = (
        every.select(np.flatnonzero(chosen))
        for chosen in (of_the_speaker < FOR_TRAINING, of_the_speaker >= FOR_TRAINING)
    )
    network, codes = ll.Layered((13, 32, 9)), ll.data.label_codes(9)
    passes = 1 + frames // sum(part.stop - part.start for part in train.slices)

    def case(key: Array) -> Case:
        for_order, for_weights = jax.random.split(key)
        stream = train.stream(train.shuffled(for_order, passes), codes)
        first = jax.tree.map(lambda leaf: leaf[: frames + 1] if leaf.ndim == 2 else leaf, stream)
        return Case(first, network.init(for_weights, jnp.float32))

    def examples(of: ll.data.Recordings) -> Examples:
        of_frames = np.repeat(np.asarray(of.labels), [part.stop - part.start for part in of.slices])
        return Examples(jnp.asarray(of.inputs(), jnp.float32), jnp.asarray(codes[of_frames], jnp.float32))

    return Task(
        network, ll.SquaredError(), *_cases(case, seed), examples(validation), examples(test), worst=4.5, frames=frames,
        name="speech", about="nine speakers told apart, frame by frame",
        score="mean of ½|output − code|² over frames of recordings not learned from",
    )  # fmt: skip


def digit_images(seed: int, frames: int) -> Task:
    """Ten digits, an image a frame: 897 to learn from, 300 by other writers to validate, 600 to test."""
    train, test = digits()
    learned, validation = train.select(slice(LEARNED)), train.select(slice(LEARNED, NUM_TRAIN))
    network = ll.Layered((65, 32, NUM_CLASSES), output_activation="identity")

    def case(key: Array) -> Case:
        for_order, for_weights = jax.random.split(key)
        rng = _generator(for_order)
        passes = 1 + frames // LEARNED
        order = np.concatenate([rng.permutation(LEARNED) for _ in range(passes)])[: frames + 1]
        frame = _examples(learned.select(order))
        stimulus = ll.Stimulus(ll.Stream(frame.inputs, degree=0), ll.Stream(frame.targets, degree=0))
        return Case(stimulus, network.init(for_weights, jnp.float32))

    return Task(
        network, ll.CrossEntropy(), *_cases(case, seed), _examples(validation), _examples(test),
        worst=float(np.log(NUM_CLASSES)), frames=frames, name="digits", about="ten digits, an image a frame",
        score="mean cross-entropy of images by other writers",
    )  # fmt: skip


def _examples(images: Images) -> Examples:
    """Pixels and a constant; classes as unit vectors."""
    flat = images.images.reshape(len(images.labels), -1)
    inputs = np.concatenate([flat, np.ones((len(flat), 1), np.float32)], axis=1)
    return Examples(jnp.asarray(inputs), jnp.asarray(np.eye(NUM_CLASSES, dtype=np.float32)[images.labels]))


def drift(seed: int, frames: int) -> Task:
    """Friedman's function of ten inputs, of which five matter; which, changes in parts of the space, thrice a stream.

    The streams are those of `river`, each with times of its own for the changes. Raises ModuleNotFoundError without it.
    """
    if importlib.util.find_spec("river") is None:
        raise ModuleNotFoundError('the streams are made by river, which is not installed: pip install "river>=0.22"')
    synth: Any = importlib.import_module("river.datasets").synth

    network = ll.Layered((11, 16, 1), output_activation="identity")

    def case(key: Array) -> Case:
        for_stream, for_weights = jax.random.split(key)
        rng = _generator(for_stream)
        changes = np.sort(rng.choice(np.arange(frames // 10, frames - frames // 10), DRIFTS, replace=False))
        made = synth.FriedmanDrift("lea", tuple(map(int, changes)), seed=int(rng.integers(2**31)))
        inputs, targets = zip(*[(list(x.values()), y) for x, y in made.take(frames + 1)], strict=True)
        inputs = 2 * np.array(inputs, np.float32) - 1
        inputs = np.concatenate([inputs, np.ones((len(inputs), 1), np.float32)], axis=1)
        targets = (np.array(targets, np.float32)[:, None] - CENTRE) / SCALE
        stimulus = ll.Stimulus(ll.Stream(inputs, degree=0), ll.Stream(targets.astype(np.float32), degree=0))
        return Case(stimulus, network.init(for_weights, jnp.float32))

    return Task(
        network, ll.SquaredError(), *_cases(case, seed), None, None, worst=0.5, frames=frames, name="drift",
        about="a function of ten inputs that changes three times, by river",
        score="mean of ½(output − target)² over frames, each before it is learned from",
    )  # fmt: skip


TASKS: dict[str, Callable[[int, int], Task]] = {"speech": speech, "digits": digit_images, "drift": drift}


def _generator(key: Array) -> np.random.Generator:
    return np.random.default_rng(np.asarray(jax.random.key_data(key)))


def _cases(case: Callable[[Array], Case], seed: int) -> tuple[Case, Case]:
    """The tuned and the judged."""
    tuned, judged = jax.random.split(jax.random.key(seed))
    return _stacked(case, tuned, CASES), _stacked(case, judged, JUDGED)


def _stacked(case: Callable[[Array], Case], key: Array, count: int) -> Case:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *[case(one) for one in jax.random.split(key, count)])
