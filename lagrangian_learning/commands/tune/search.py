"""Tuning: by the gradient through whole runs, through windows of them, and by random search at the same price."""

import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PyTree

from .physics import Physics, learned, learned_in_windows, with_knots
from .rivals import Rival, learned_by, random_numbers, random_physics
from .task import Case, Task

PRICE = 7  # runs that a gradient is counted as; what it takes is measured and printed: 6.0 to 6.9 were
STEP = 0.2  # of Adam, at first: of logarithms
LONGEST = 1.0  # a gradient of one run
AT_ONCE = 8  # draws of a rival's random search that run together


class Found(NamedTuple):
    """What a way of tuning found: its numbers, their mean score on the tuned runs, the scores of the judged runs.

    course: the lowest score after so many runs, a gradient counted as `PRICE` of them. seconds: compiling among them.
    """

    name: str
    numbers: Any
    tuned: float
    judged: Float[np.ndarray, " seeds"]
    course: Float[np.ndarray, " runs"]
    seconds: float

    @property
    def has_schedule(self) -> bool:
        """Whether it is physics with a friction that changes."""
        return isinstance(self.numbers, Physics) and len(self.numbers.log_thetas) > 1


@eqx.filter_jit
def scores_of_physics(physics: Physics, task: Task, cases: Case) -> Float[Array, "draws cases"]:
    """physics: with an axis of draws first."""
    return jax.lax.map(lambda one: jax.vmap(lambda case: learned(one, task, case))(cases), physics)


@eqx.filter_jit
def scores_of_rival(rival: Rival, numbers: PyTree, task: Task, cases: Case) -> Float[Array, "draws cases"]:
    """numbers: with an axis of draws first."""

    def each(one: PyTree) -> Array:
        return jax.vmap(lambda case: learned_by(rival, one, task, case))(cases)

    return jax.lax.map(each, numbers, batch_size=AT_ONCE)


@eqx.filter_jit
def gradient(physics: Physics, task: Task, windows: int) -> tuple[Float[Array, ""], Physics]:
    """The mean score of the tuned runs and its gradient; windows: 1 for that of whole runs.

    The gradient of each run is shortened to `LONGEST`, and one that is not finite left out: a run that is hardly stable
    has one a thousand times as long as the others, which says nothing of where they would be better.
    """
    scores, slopes = gradients(physics, task, windows)
    return jnp.mean(scores), jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), jax.vmap(_shortened)(slopes))


def gradients(physics: Physics, task: Task, windows: int) -> tuple[Float[Array, " cases"], Physics]:
    """The score of each tuned run and its gradient, with an axis of cases first."""

    def score(physics: Physics, case: Case) -> Array:
        return learned(physics, task, case) if windows == 1 else learned_in_windows(physics, task, case, windows)

    return jax.vmap(jax.value_and_grad(score), (None, 0))(physics, task.tuned)


def _shortened(slope: PyTree) -> PyTree:
    length = optax.tree.norm(slope)
    scale = jnp.minimum(1, LONGEST / length)
    return jax.tree.map(lambda leaf: jnp.where(jnp.isfinite(length), scale * leaf, 0), slope)


def by_rival(name: str, rival: Rival, task: Task, runs: int, rng: np.random.Generator) -> Found:
    """The best of so many draws of an optimiser's numbers."""
    started = time.perf_counter()
    draws = random_numbers(rival, runs, rng)
    scores = np.asarray(scores_of_rival(rival, draws, task, task.tuned)).mean(axis=1)
    best = _best(draws, scores)
    judged = scores_of_rival(rival, _as_draws(best), task.for_judging(), task.judged)[0]
    return _found(name, best, scores, judged, started)


def by_random_physics(name: str, task: Task, runs: int, rng: np.random.Generator, **free: Any) -> Found:
    """The best of so many draws of physics; free: as of `random_physics`."""
    started = time.perf_counter()
    draws = random_physics(task, runs, rng, **free)
    scores = np.asarray(scores_of_physics(draws, task, task.tuned)).mean(axis=1)
    best = _best(draws, scores)
    return _found(name, best, scores, _judged(best, task), started)


def by_gradient(
    name: str, task: Task, begin: Found, steps: int, windows: int, report: Callable[[int], object]
) -> Found:
    """Adam moves the physics along the gradient through whole runs, or through windows of them.

    begin: the constants to start from, with the runs that finding them took. report(steps done).
    """
    started = time.perf_counter() - begin.seconds
    physics: Any = with_knots(begin.numbers)
    scores = list(begin.course)
    optimiser = optax.adam(optax.cosine_decay_schedule(STEP, steps))
    memory, seen = optimiser.init(physics), []
    for step in range(steps):
        report(step)
        score, slope = gradient(physics, task, windows)
        seen.append((float(score), physics))
        scores += [float(score)] * PRICE
        change, memory = optimiser.update(slope, memory, physics)
        physics = optax.apply_updates(physics, change)
    best = min(seen, key=lambda pair: pair[0])[1]
    if windows > 1:  # what was lowered is another number than the score of a run
        score = float(np.mean(scores_of_physics(_as_draws(best), task, task.tuned)))
        scores = [*begin.course, *[score] * (PRICE * steps)]
    return _found(name, best, np.array(scores), _judged(best, task), started)


def price_of_a_gradient(task: Task, physics: Physics, repeats: int = 3) -> float:
    """A gradient over the runs alone: medians of times, in turn, both compiled before."""
    calls = (lambda: gradient(physics, task, 1), lambda: scores_of_physics(_as_draws(physics), task, task.tuned))
    times: tuple[list[float], list[float]] = [], []
    for repeat in range(repeats + 1):
        for call, kept in zip(calls, times, strict=True):
            started = time.perf_counter()
            jax.block_until_ready(call())
            if repeat:
                kept.append(time.perf_counter() - started)
    return statistics.median(times[0]) / statistics.median(times[1])


def _judged(physics: Physics, task: Task) -> Array:
    return scores_of_physics(_as_draws(physics), task.for_judging(), task.judged)[0]


def _best(draws: PyTree, scores: np.ndarray) -> PyTree:
    return jax.tree.map(lambda leaf: leaf[int(np.argmin(scores))], draws)


def _as_draws(one: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: leaf[None], one)


def _found(name: str, numbers: Any, scores: np.ndarray, judged: Array, started: float) -> Found:
    course = np.minimum.accumulate(scores)
    return Found(name, numbers, float(course[-1]), np.asarray(judged), course, time.perf_counter() - started)
