"""The digits experiment: what is learned, by which network and which action, batch after batch."""

import dataclasses
import importlib.util
import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

import lagrangian_learning as ll

NUM_CLASSES, SHAPE = 10, (1, 8, 8)
NUM_TRAIN, NUM_TEST = 1197, 600
BATCH, PASSES = 32, 10
# Of the multipliers: mini-batches differ from each other by far more, and two digits more cost a step of the solver.
RTOL = 1e-4


class Images(NamedTuple):
    """Images [n, 1, 8, 8] of handwritten digits, dark −1 to bright 1, and what they show."""

    images: Float[np.ndarray, "n 1 8 8"]
    labels: Int[np.ndarray, " n"]

    def select(self, chosen: Any) -> "Images":
        """Some of them."""
        return Images(self.images[chosen], self.labels[chosen])


def digits() -> tuple[Images, Images]:
    """scikit-learn's digits (UCI, optical recognition, its test part): the first 1197 to train, the last 600 to test.

    They are in the order of their writers, so that most test images are by writers who are not in training. Raises
    ModuleNotFoundError where scikit-learn is not installed.
    """
    if importlib.util.find_spec("sklearn") is None:
        raise ModuleNotFoundError(
            'the images come with scikit-learn, which is not installed: in the checkout, pip install ".[digits]"'
        )
    from sklearn.datasets import load_digits

    found: Any = load_digits()
    images = np.asarray(found.images, np.float32).reshape(-1, *SHAPE) / 8 - 1
    every = Images(images, np.asarray(found.target, np.int32))
    return every.select(slice(NUM_TRAIN)), every.select(slice(NUM_TRAIN, NUM_TRAIN + NUM_TEST))


def convolutional(channels: int = 16, hidden: int = 1920) -> ll.Chain:
    """Two convolutions, a pooling, two dense layers; 1,008,970 weights by default."""
    keys = jax.random.split(jax.random.key(0), 4)
    pooled = 2 * channels * 16
    return ll.Chain(
        [
            eqx.nn.Conv2d(1, channels, 3, padding=1, key=keys[0]), jnp.tanh,
            eqx.nn.Conv2d(channels, 2 * channels, 3, padding=1, key=keys[1]), jnp.tanh,
            eqx.nn.AvgPool2d(2, 2), jnp.ravel,
            eqx.nn.Linear(pooled, hidden, key=keys[2]), jnp.tanh,
            eqx.nn.Linear(hidden, NUM_CLASSES, key=keys[3]),
        ],
        SHAPE,
    )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Constants:
    """Chosen on validation images by benchmarks/digits_constants.py: the rate of learning, m_x/m_W, and SGD's own rate.

    A batch takes one unit of time. KickDrift's momentum is e^{−ϑ} and its rate (1 − e^{−ϑ})/γ with γ = ϑ m_W
    (docs/theory.md §6), which gives ϑ and m_W.
    """

    rate: float = 0.003
    mass_ratio: float = 1e-4
    rate_sgd: float = 0.003
    momentum: float = 0.9

    @property
    def theta(self) -> float:
        """ϑ, a batch."""
        return -math.log(self.momentum)

    @property
    def gamma(self) -> float:
        """γ = ϑ m_W."""
        return (1 - self.momentum) / self.rate

    @property
    def mass_W(self) -> float:
        """m_W."""
        return self.gamma / self.theta

    def law(self, network: ll.Chain, batch: int) -> Any:
        """The Euler–Lagrange equations (8)–(10) of a network that sees `batch` images at once; V is their mean."""
        shared = ll.Batched(network, batch)
        action = ll.CognitiveAction(
            shared,
            ll.BatchMean(ll.CrossEntropy()),
            mass_x=self.mass_ratio * self.mass_W,
            mass_W=self.mass_W,
            dissipation=ll.ExponentialDissipation(self.theta),
        )
        solver = ll.multipliers.ConjugateGradients(rtol=RTOL)
        return action.law(multiplier_solver=solver)


class Task(NamedTuple):
    """What is learned: batches one after the other, from W; `judged` is only measured."""

    network: ll.Chain
    judged: Images
    batches: Float[np.ndarray, "batches batch 1 8 8"]
    targets: Float[np.ndarray, "batches batch classes"]
    a_pass: int
    W: PyTree

    @property
    def stimulus(self) -> ll.Stimulus:
        """Batch n at time n; from one to the next the images blend, monotonely, and rest at whole times."""
        return ll.Stimulus(ll.Stream(self.batches, degree=0), ll.Stream(self.targets, degree=0))

    def accuracy(self, W: PyTree) -> float:
        """The share of judged images whose largest output is their digit's."""
        outputs = _outputs(self.network, W, jnp.asarray(self.judged.images))
        return float(np.mean(np.argmax(np.asarray(outputs), axis=1) == self.judged.labels))


def make_task(
    seed: int, network: ll.Chain, train: Images, judged: Images, passes: int = PASSES, batch: int = BATCH
) -> Task:
    """The batches of `passes` shuffled passes and the initial weights of a seed; what fills no batch waits a pass."""
    rng = np.random.default_rng(seed)
    a_pass = len(train.labels) // batch
    orders = [rng.permutation(len(train.labels))[: a_pass * batch] for _ in range(passes)]
    # A stream ends with a frame, and the last step leads from the last batch to it.
    order = np.concatenate([*orders, orders[0][:batch]]).reshape(-1, batch)
    codes = np.eye(NUM_CLASSES, dtype=np.float32)
    W = network.init(jax.random.key(seed), jnp.float32)
    return Task(network, judged, train.images[order], codes[train.labels[order]], a_pass, W)


@eqx.filter_jit
def _outputs(network: ll.Chain, W: PyTree, images: Float[Array, "n 1 8 8"]) -> Float[Array, "n classes"]:
    return jax.vmap(lambda u: network.output(network.forward(W, u)))(images)
