"""The optimisers of optimizers.py: what is drawn for each, and what is made of it."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

import lagrangian_learning as ll

Numbers = dict[str, Array]


class Method(NamedTuple):
    """ranges: (low, high) of each number, drawn evenly in its logarithm. Every step is scaled by one cosine."""

    name: str
    ranges: dict[str, tuple[float, float]]
    made: Callable[[Numbers], optax.GradientTransformation]
    ours: bool

    def drawn(self, rng: np.random.Generator, count: int) -> Numbers:
        """Draws [count] of each number."""
        bounds = {name: np.log(pair) for name, pair in self.ranges.items()}
        return {name: jnp.asarray(np.exp(rng.uniform(*pair, count)), jnp.float32) for name, pair in bounds.items()}

    def optimizer(self, numbers: Numbers, steps: int) -> optax.GradientTransformation:
        return optax.chain(self.made(numbers), optax.scale_by_schedule(optax.cosine_decay_schedule(1.0, steps)))


FORGETTING = (1e-2, 1.0)  # 1 − momentum
BETA2 = (1e-4, 1e-1)  # 1 − β₂ of Adam's squares
DECAY = (1e-5, 1e-1)


def _energy(kinetic: Callable[[Numbers], ll.AbstractKinetic]) -> Callable[[Numbers], optax.GradientTransformation]:
    """A step takes one unit of time; friction forgets as momentum does, e^{−ϑ} = 1 − forgetting."""

    def made(numbers: Numbers) -> optax.GradientTransformation:
        return ll.optimizer(kinetic=kinetic(numbers), dissipation=ll.ExponentialDissipation(_theta(numbers)))

    return made


def _theta(numbers: Numbers) -> Array:
    return -jnp.log1p(-jnp.minimum(numbers["forgetting"], 0.999))


def _mass(numbers: Numbers) -> Array:
    """m = γ/ϑ, with a rate 1/γ of gradient descent."""
    return 1 / (numbers["rate"] * _theta(numbers))


def _relativistic(over: str) -> Callable[[Numbers], optax.GradientTransformation]:
    return _energy(lambda numbers: ll.Relativistic(_mass(numbers), numbers["longest step"], over))


def _dual(numbers: Numbers) -> ll.AbstractKinetic:
    """v = c tanh(p/(mc)): bounded as the relativistic one, and elsewhere closer to it than a sign."""
    mass, speed = _mass(numbers), numbers["longest step"]

    def log_cosh(p: Array) -> Array:
        z = jnp.abs(p / (mass * speed))
        return mass * speed**2 * jnp.sum(z + jnp.log1p(jnp.exp(-2 * z)) - jnp.log(2.0).astype(z.dtype))

    return ll.DualMap(lambda tree: sum(log_cosh(leaf) for leaf in jax.tree.leaves(tree)))


RATE = (1e-3, 3.0)
METHODS = (
    Method(
        "optax.sgd, momentum",
        {"rate": RATE, "forgetting": FORGETTING},
        lambda n: optax.sgd(n["rate"] * n["forgetting"], momentum=1 - n["forgetting"]),
        ours=False,
    ),
    Method(
        "optax.adam",
        {"rate": (1e-4, 1e-1), "forgetting": FORGETTING, "beta2": BETA2},
        lambda n: optax.adam(n["rate"], 1 - n["forgetting"], 1 - n["beta2"]),
        ours=False,
    ),
    Method(
        "optax.adamw",
        {"rate": (1e-4, 1e-1), "forgetting": FORGETTING, "beta2": BETA2, "decay": DECAY},
        lambda n: optax.adamw(n["rate"], 1 - n["forgetting"], 1 - n["beta2"], weight_decay=n["decay"]),
        ours=False,
    ),
    Method(
        "optax.lion",
        {"rate": (1e-5, 1e-2), "forgetting": FORGETTING, "beta2": FORGETTING, "decay": DECAY},
        lambda n: optax.lion(n["rate"], 1 - n["forgetting"], 1 - n["beta2"], weight_decay=n["decay"]),
        ours=False,
    ),
    Method("Quadratic", {"rate": RATE, "forgetting": FORGETTING}, _energy(lambda n: ll.Quadratic(_mass(n))), ours=True),
    Method(
        "Relativistic, all weights",
        {"rate": (1e-2, 1e2), "forgetting": FORGETTING, "longest step": (1e-2, 3.0)},
        _relativistic("weights"),
        ours=True,
    ),
    Method(
        "Relativistic, a layer",
        {"rate": (1e-2, 1e2), "forgetting": FORGETTING, "longest step": (1e-2, 3.0)},
        _relativistic("layer"),
        ours=True,
    ),
    Method(
        "Relativistic, each weight",
        {"rate": (1e-2, 1e2), "forgetting": FORGETTING, "longest step": (1e-4, 1e-1)},
        _relativistic("each"),
        ours=True,
    ),
    Method(
        "Quartic",
        {"rate": (1e-2, 1e2), "forgetting": FORGETTING, "beta": (1e-2, 1e6)},
        _energy(lambda n: ll.Quartic(_mass(n), _mass(n) * n["beta"])),
        ours=True,
    ),
    Method(
        "DualMap, log cosh",
        {"rate": (1e-2, 1e2), "forgetting": FORGETTING, "longest step": (1e-4, 1e-1)},
        _energy(_dual),
        ours=True,
    ),
    Method(
        "Bregman, order 2",
        {"scale": (1e-4, 1.0), "begin": (1.0, 1e3)},
        lambda n: ll.optimizer(kinetic=ll.Quadratic(1.0), dissipation=ll.Bregman(2.0, n["scale"], n["begin"])),
        ours=True,
    ),
)
