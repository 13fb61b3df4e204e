"""(1)–(3): forward and backward waves, and the gradient where they meet."""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from lagrangian_learning.learning import SquaredError
from lagrangian_learning.learning.waves import backprop_waves
from lagrangian_learning.networks import Layered

from .claim import Measured, Shared, as_claim
from .problems import layers, relative, worst

SHAPE, FRAMES, SEEDS = (3, 4, 5, 4, 2), 24, 3
POTENTIAL = SquaredError()


class Run(NamedTuple):
    """Waves of the package under random frames, with frozen random weights, one seed: NumPy arrays by time."""

    W: tuple[np.ndarray, ...]
    x: tuple[np.ndarray, ...]
    delta: tuple[np.ndarray, ...]
    gradient: tuple[np.ndarray, ...]
    target: np.ndarray


def runs(shared: Shared) -> tuple[Run, ...]:
    """SEEDS runs of a network of four layers."""
    del shared
    network, rng = Layered(SHAPE), np.random.default_rng(12)
    u, y = (jnp.asarray(rng.normal(size=(SEEDS, FRAMES, size))) for size in (SHAPE[0], SHAPE[-1]))

    def run(W: PyTree, u: Array, y: Array) -> PyTree:
        waves = backprop_waves(network, W, u, y, POTENTIAL)
        return W, waves.x, waves.delta, waves.gradient, y

    found = jax.tree.map(np.asarray, jax.jit(jax.vmap(run))(layers(SHAPE, 12, SEEDS), u, y))
    return tuple(Run(*jax.tree.map(lambda leaf, k=seed: leaf[k], found)) for seed in range(SEEDS))


@as_claim(
    "1",
    claim="x_{t+1,l+1} = σ(W_l x_{t,l}).",
    method="waves of the package under random frames, put into (1) in NumPy",
    tolerance=1e-12,
)
def time_delay_model(shared: Shared) -> Measured:
    off = []
    for run in shared(runs):
        for W, below, above in zip(run.W, run.x[:-1], run.x[1:], strict=True):
            expected = np.tanh(below[:-1] @ W.T)
            off.append(relative(above[1:] - expected, [expected]))
    return Measured(worst(off), {}, {})


@as_claim(
    "2",
    claim="The input of frame t is forwarded to layer κ at t + κ: x_{t+κ,κ} = σ(W … σ(W₀ x_{t,0}) …).",
    method="waves of the package against the composition of layers in NumPy, for every frame and layer",
    tolerance=1e-12,
)
def forward_wave(shared: Shared) -> Measured:
    off = []
    for run in shared(runs):
        carried = run.x[0]
        for level, W in enumerate(run.W, start=1):
            carried = np.tanh(carried @ W.T)
            # κ = level: the frame of time t is in x_{t+κ,κ}
            off.append(relative(run.x[level][level:] - carried[:-level], [carried]))
    return Measured(worst(off), {}, {})


@as_claim(
    "3",
    claim="g_{t,l} = δ_{t,l} · x_{t,l−1} joins the forward wave of u_{t−l+1} to the backward wave of δ_{t−L+l,L}.",
    method="gradients of the package against both operators composed in NumPy, slopes read where the wave passes",
    tolerance=1e-12,
)
def gradient_of_the_waves(shared: Shared) -> Measured:
    """g_{t,l} as (3) composes it: the forward operator on u_{t−l+1}, the backward operator on δ_{t−L+l,L}."""
    off = []
    for run in shared(runs):
        L = len(run.W)
        for l, t in itertools.product(range(1, L + 1), range(2 * L, FRAMES)):
            forward = _forward(run, run.x[0][t - l + 1], l - 1)
            backward = _backward(run, t - L + l, L - l)
            composed = np.outer(backward, forward)
            off.append(relative(run.gradient[l - 1][t] - composed, [composed]))
    return Measured(worst(off), {}, {})


def _forward(run: Run, u: np.ndarray, steps: int) -> np.ndarray:
    for W in run.W[:steps]:
        u = np.tanh(W @ u)
    return u


def _backward(run: Run, start: int, steps: int) -> np.ndarray:
    """∏ σ′_κ W_κᵀ δ_{start,L}, every slope read when and where the wave passes; δ_{t,L} = σ′ ⊙ (x − y)."""
    L = len(run.W)
    delta = (1 - run.x[L][start] ** 2) * (run.x[L][start] - run.target[start])
    for step in range(1, steps + 1):
        delta = (1 - run.x[L - step][start + step] ** 2) * (run.W[L - step].T @ delta)
    return delta
