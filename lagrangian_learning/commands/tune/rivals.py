"""What tuned physics is measured against: Optax's SGD and Adam with the usual schedules, and random search."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, ArrayLike, Float, PyTree

from .physics import Physics
from .task import Case, Task

Numbers = dict[str, Float[Array, "..."]]


class Range(NamedTuple):
    """Where a number is drawn from, evenly in its logarithm."""

    low: float
    high: float

    def drawn(self, rng: np.random.Generator, shape: tuple[int, ...] = ()) -> np.ndarray:
        """A number, or an array of them."""
        return np.exp(rng.uniform(np.log(self.low), np.log(self.high), shape))


RATE = Range(1e-3, 1.0)
ADAM_RATE = Range(1e-4, 1e-1)
THETA = Range(1e-2, 3.0)
MASS_RATIO = Range(1e-6, 1e-2)
FORGETTING = Range(1e-3, 1.0)  # 1 − momentum


class Rival(NamedTuple):
    """An optimiser with a schedule: where its numbers are drawn from, and what is made of them."""

    name: str
    ranges: dict[str, Range]
    optimiser: Callable[[Numbers, int], optax.GradientTransformation]


def _constant(numbers: Numbers, steps: int) -> optax.Schedule:
    return lambda step: numbers["rate"]


def _cosine(numbers: Numbers, steps: int) -> optax.Schedule:
    return optax.cosine_decay_schedule(numbers["rate"], steps, numbers["end"])


def _one_cycle(numbers: Numbers, steps: int) -> optax.Schedule:
    """Up by cosine from rate · start over a share `rise` of the run, down by cosine to rate · end."""
    rate, rise = numbers["rate"], numbers["rise"] * steps

    def schedule(count: ArrayLike) -> Array:
        step = jnp.asarray(count, rate.dtype)
        up = (1 - jnp.cos(jnp.pi * jnp.clip(step / rise, 0, 1))) / 2
        down = (1 + jnp.cos(jnp.pi * jnp.clip((step - rise) / (steps - rise), 0, 1))) / 2
        before, after = numbers["start"], numbers["end"]
        return rate * jnp.where(step < rise, before + (1 - before) * up, after + (1 - after) * down)

    return schedule


def _sgd(schedule: Callable) -> Callable[[Numbers, int], optax.GradientTransformation]:
    return lambda numbers, steps: optax.chain(
        optax.trace(1 - numbers["forgetting"]),
        optax.scale_by_learning_rate(lambda step: numbers["forgetting"] * schedule(numbers, steps)(step)),
    )


def _adam(schedule: Callable) -> Callable[[Numbers, int], optax.GradientTransformation]:
    return lambda numbers, steps: optax.adam(
        schedule(numbers, steps), b1=1 - numbers["forgetting"], b2=1 - numbers["forgetting squares"]
    )


_SCHEDULES: dict[str, tuple[Callable, dict[str, Range]]] = {
    "constant": (_constant, {}),
    "cosine": (_cosine, {"end": Range(1e-3, 1.0)}),
    "one cycle": (_one_cycle, {"end": Range(1e-3, 1.0), "start": Range(1e-2, 1.0), "rise": Range(0.05, 0.5)}),
}
RIVALS = tuple(
    Rival(f"{kind}, {name}", ranges | also, made(schedule))
    for kind, made, ranges in (
        ("SGD", _sgd, {"rate": RATE, "forgetting": FORGETTING}),
        ("Adam", _adam, {"rate": ADAM_RATE, "forgetting": Range(1e-2, 1.0), "forgetting squares": Range(1e-4, 1e-1)}),
    )
    for name, (schedule, also) in _SCHEDULES.items()
)


def learned_by(rival: Rival, numbers: Numbers, task: Task, case: Case) -> Array:
    """The score of one run by Optax, a frame a step: see `Task`."""
    optimiser = rival.optimiser(numbers, task.frames)

    def step(carry: tuple[PyTree, PyTree], t: Array) -> tuple[tuple[PyTree, PyTree], Array]:
        W, memory = carry
        loss, slope = jax.value_and_grad(task.loss)(W, case.stimulus.input(t), case.stimulus.target(t))
        change, memory = optimiser.update(slope, memory, W)
        return (optax.apply_updates(W, change), memory), loss

    times = jnp.arange(task.frames, dtype=jax.tree.leaves(case.W)[0].dtype)
    (W, _), losses = jax.lax.scan(step, (case.W, optimiser.init(case.W)), times)
    score = task.score_of(W, losses)
    return jnp.where(jnp.isfinite(score), score, task.worst)


def random_numbers(rival: Rival, count: int, rng: np.random.Generator) -> Numbers:
    """Draws [count] of each number."""
    return {name: jnp.asarray(place.drawn(rng, (count,)), float) for name, place in rival.ranges.items()}


def random_physics(
    task: Task, count: int, rng: np.random.Generator, knots: int = 1, each_layer: bool = False
) -> Physics:
    """Draws of physics, an axis [count] first: with constant friction and one mass, or with all numbers free."""
    layers = len(task.network.sizes) - 1
    rates = RATE.drawn(rng, (count, layers if each_layer else 1))
    drawn = THETA.drawn(rng, (count, knots)), np.broadcast_to(rates, (count, layers)), MASS_RATIO.drawn(rng, (count,))
    return Physics(*(jnp.log(jnp.asarray(part, float)) for part in drawn))
