"""The digits experiment: what is learned, by which network and which action, batch after batch."""

import dataclasses
import importlib.util
import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.ndimage
from jaxtyping import Array, ArrayLike, Float, Int, PyTree

import lagrangian_learning as ll

NUM_CLASSES, SHAPE = 10, (1, 8, 8)
NUM_TRAIN, NUM_TEST = 1197, 600
DARK, BRIGHT = -1.0, 1.0
BATCH, PASSES = 32, 40
SHIFT, ANGLE, STRETCH = 0.9, math.radians(12), 0.15  # a moved image: pixels, radians, a share of its size
# Of the multipliers: mini-batches differ from each other by far more, and two digits more cost a step of the solver.
RTOL = 1e-4


class Images(NamedTuple):
    """Images [n, 1, 8, 8] of handwritten digits, DARK to BRIGHT, and what they show."""

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

    A batch takes one unit of time. KickDrift's momentum is e^{−ϑ}, its rate (1 − e^{−ϑ})/(ϑ m_W) (docs/theory.md §6).
    ϑ rises over a run, by the same factor in equal times, so that the weights come to rest: `rate` and `momentum` are
    those of the first step, and at the last ϑ is `rise` times what it was.
    """

    rate: float = 0.1
    mass_ratio: float = 1e-4
    rate_sgd: float = 0.05
    momentum: float = 0.9
    rise: float = 20.0

    @property
    def theta(self) -> float:
        """ϑ at the start, a batch."""
        return -math.log(self.momentum)

    @property
    def mass_W(self) -> float:
        """m_W."""
        return (1 - self.momentum) / self.rate / self.theta

    def friction(self, steps: int) -> ll.PiecewiseLinearDissipation:
        """ϑ over a run of so many steps."""
        knots = 1 + round(4 * math.log2(self.rise))
        return ll.PiecewiseLinearDissipation(
            np.linspace(0.0, steps, knots), np.geomspace(self.theta, self.rise * self.theta, knots)
        )

    def sgd(self, steps: int) -> optax.GradientTransformation:
        """SGD with the momentum and the rate of the same friction, from its own first rate."""
        friction = self.friction(steps)
        scale = self.rate_sgd * self.theta / (1 - self.momentum)

        def theta(step: ArrayLike) -> Array:
            begin = jnp.asarray(step, jnp.float32)
            return friction.log_growth(begin, begin + 1)

        def rate(step: ArrayLike) -> Array:
            return -scale * jnp.expm1(-theta(step)) / theta(step)

        def momentum(step: ArrayLike) -> Array:
            return jnp.exp(-theta(step))

        # The rate first: a velocity keeps what earlier rates gave it.
        return optax.chain(optax.scale_by_learning_rate(rate), optax.inject_hyperparams(optax.trace)(decay=momentum))

    def law(self, network: ll.Chain, batch: int, steps: int) -> Any:
        """The Euler–Lagrange equations (8)–(10) of a network that sees `batch` images at once; V is their mean."""
        shared = ll.Batched(network, batch)
        action = ll.CognitiveAction(
            shared,
            ll.BatchMean(ll.CrossEntropy()),
            mass_x=self.mass_ratio * self.mass_W,
            mass_W=self.mass_W,
            dissipation=self.friction(steps),
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
    """The batches of `passes` shuffled passes and the initial weights of a seed; what fills no batch waits a pass.

    Each showing of an image is moved a little, by a map of its own.
    """
    rng = np.random.default_rng(seed)
    a_pass = len(train.labels) // batch
    orders = [rng.permutation(len(train.labels))[: a_pass * batch] for _ in range(passes)]
    # A stream ends with a frame, and the last step leads from the last batch to it.
    order = np.concatenate([*orders, orders[0][:batch]])
    codes = np.eye(NUM_CLASSES, dtype=np.float32)[train.labels[order]]
    images = moved(train.images[order], rng)
    W = network.init(jax.random.key(seed), jnp.float32)
    return Task(network, judged, images.reshape(-1, batch, *SHAPE), codes.reshape(-1, batch, NUM_CLASSES), a_pass, W)


def moved(images: Float[np.ndarray, "n 1 8 8"], rng: np.random.Generator) -> Float[np.ndarray, "n 1 8 8"]:
    """Each image turned, stretched, sheared and shifted about its centre, as another hand might have written it.

    The map is drawn evenly from all within SHIFT, ANGLE and STRETCH; between pixels the image is a cubic spline, and
    outside it is dark.
    """
    centre = (np.array(SHAPE[1:]) - 1) / 2
    turns = ANGLE * rng.uniform(-1, 1, len(images))
    stretches = np.eye(2) + STRETCH * rng.uniform(-1, 1, (len(images), 2, 2))
    shifts = SHIFT * rng.uniform(-1, 1, (len(images), 2))
    found = np.empty_like(images)
    for k, (turn, stretch, shift) in enumerate(zip(turns, stretches, shifts, strict=True)):
        cosine, sine = math.cos(turn), math.sin(turn)
        matrix = np.array([[cosine, -sine], [sine, cosine]]) @ stretch
        offset = centre - matrix @ centre + shift
        found[k, 0] = scipy.ndimage.affine_transform(images[k, 0], matrix, offset, order=3, cval=DARK)
    return np.clip(found, DARK, BRIGHT)


@eqx.filter_jit
def _outputs(network: ll.Chain, W: PyTree, images: Float[Array, "n 1 8 8"]) -> Float[Array, "n classes"]:
    return jax.vmap(lambda u: network.output(network.forward(W, u)))(images)
