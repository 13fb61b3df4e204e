"""Learning by echo: a network of oscillators that learns speech by running back in time.

Run it in a checkout: lagrangian-learning study echo
"""

if __name__ == "__main__":  # a file does not know its checkout: it is run as a command of the package
    from lagrangian_learning.commands.study import run_file

    run_file(__file__)

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

from benchmarks.common import interleaved, median, ratio
from lagrangian_learning.commands.output import Line, check_counts
from lagrangian_learning.commands.progress import progress

from .echo_oscillators import (
    END,
    STEPS,
    Gradient,
    Learner,
    Sound,
    Utterances,
    by_echo,
    by_reverse_mode,
    drawn,
    run,
    utterances,
)
from .study import begun, ended_undrawn, print_table

QUESTION = "Does a network of oscillators learn by echo as it does by backpropagation through time?"
THETA, NUDGE, BATCH, SIZE = 0.2, 0.01, 27, 32
RATES, PASSES = (3e-3, 1e-2, 3e-2), (20, 40, 60)  # of these is chosen, on training utterances held out
HELD_OUT, CHOSEN_BY = 5, (100, 101)  # every fifth utterance; seeds
FRICTIONS = (0.0, 0.2, 0.4, 0.8, 1.2)
NUDGES = (0.01, 0.1)
LENGTHS = (1, 4, 16)  # in steps of the study's
ALIKE = 0.999  # cosine of gradients that is asked for while learning
METHODS: dict[str, Callable[..., Gradient]] = {
    "echo": partial(by_echo, theta=THETA, nudge=NUDGE),
    "reverse mode": partial(by_reverse_mode, theta=THETA),
}


class Outcome(NamedTuple):
    """One learner: share of test and training utterances that are right, and the least cosine of its gradients."""

    method: str
    test: float
    train: float
    least_cosine: float


def mean_gradient(method: Callable[..., Gradient], learner: Learner, sounds: Sound) -> Gradient:
    """Of many utterances at once."""
    found = jax.vmap(lambda sound: method(learner, sound))(sounds)
    return jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), found)


def heard(part: Utterances, chosen: np.ndarray) -> Sound:
    """These utterances."""
    codes = np.eye(int(part.labels.max()) + 1, dtype=np.float32)
    return Sound(jnp.asarray(part.frames[chosen]), jnp.asarray(codes[part.labels[chosen]]))


GRADIENTS = {name: eqx.filter_jit(partial(mean_gradient, method)) for name, method in METHODS.items()}
OPTIMISER = optax.scale_by_adam()


@eqx.filter_jit
def decided(learner: Learner, sounds: Sound) -> jax.Array:
    """The label of each utterance."""
    return jnp.argmax(jax.vmap(lambda sound: run(learner, sound, THETA)[1])(sounds), axis=1)


def right(learner: Learner, part: Utterances) -> float:
    """The share of the utterances that are classified right."""
    return float(np.mean(decided(learner, heard(part, np.arange(len(part.labels)))) == part.labels))


def cosine(left: Any, other: Any) -> float:
    """Of two gradients."""
    a, b = (np.asarray(ravel_pytree(tree)[0], float) for tree in (left, other))
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


class Choice(NamedTuple):
    """Rate of Adam and passes over the utterances, and the share of held-out ones that were right with them."""

    rate: float
    passes: int
    right: float


def choice(train: Utterances, rates: tuple[float, ...], passes: tuple[int, ...]) -> Choice:
    """The best on training utterances held out, by reverse mode, whose choice the echo takes over."""
    apart = np.arange(len(train.labels)) % HELD_OUT == 0
    seen, judged = (Utterances(train.frames[these], train.labels[these]) for these in (~apart, apart))
    found = []
    for rate in rates:
        shares = [_shares(seed, rate, passes, seen, judged) for seed in CHOSEN_BY]
        found += [Choice(rate, count, share) for count, share in zip(passes, np.mean(shares, axis=0), strict=True)]
    return max(found, key=lambda one: one.right)


def _shares(seed: int, rate: float, passes: tuple[int, ...], seen: Utterances, judged: Utterances) -> list[float]:
    """The share that is right after each of these numbers of passes."""
    learner, rng = begun_at(seed, seen), np.random.default_rng(seed)
    memory, shares = OPTIMISER.init(learner), []  # pyright: ignore[reportArgumentType]
    for done in range(1, max(passes) + 1):
        learner, memory = one_pass("reverse mode", learner, memory, rate, seen, rng)
        if done in passes:
            shares.append(right(learner, judged))
    return shares


def one_pass(
    method: str, learner: Learner, memory: Any, rate: float, train: Utterances, rng: np.random.Generator
) -> tuple[Learner, Any]:
    """Adam on all mini-batches once."""
    order = rng.permutation(len(train.labels))
    for chosen in order[: len(order) // BATCH * BATCH].reshape(-1, BATCH):
        gradient = GRADIENTS[method](learner, heard(train, chosen)).gradient
        learner, memory = updated(learner, memory, gradient, jnp.float32(rate))
    return learner, memory


def learned(method: str, seed: int, given: Choice, parts: tuple[Utterances, Utterances]) -> Outcome:
    """Adam on mini-batches; the other method looks on once a pass."""
    train, test = parts
    learner = begun_at(seed, train)
    memory = OPTIMISER.init(learner)  # pyright: ignore[reportArgumentType]
    rng, cosines = np.random.default_rng(seed), []
    for _ in range(given.passes):
        learner, memory = one_pass(method, learner, memory, given.rate, train, rng)
        sounds = heard(train, rng.permutation(len(train.labels))[:BATCH])
        cosines.append(cosine(*(each(learner, sounds).gradient for each in GRADIENTS.values())))
    return Outcome(method, right(learner, test), right(learner, train), min(cosines))


@eqx.filter_jit
def updated(learner: Learner, memory: Any, gradient: Learner, rate: jax.Array) -> tuple[Learner, Any]:
    """A step of Adam."""
    change, memory = OPTIMISER.update(gradient, memory)  # pyright: ignore[reportArgumentType]
    return eqx.apply_updates(learner, jax.tree.map(lambda leaf: -rate * leaf, change)), memory


def begun_at(seed: int, train: Utterances, size: int = SIZE) -> Learner:
    """The learner of a seed."""
    return drawn(jax.random.key(seed), size, train.frames.shape[2], int(train.labels.max()) + 1)


def frictions(learner: Learner, sounds: Sound) -> list[dict[str, float]]:
    """Cosine with reverse mode, and the rounding that the echo reports, over friction and nudge."""

    @jax.jit
    def both(theta: jax.Array, nudge: jax.Array) -> tuple[Gradient, Gradient]:
        echo = mean_gradient(partial(by_echo, theta=theta, nudge=nudge), learner, sounds)
        return echo, mean_gradient(partial(by_reverse_mode, theta=theta), learner, sounds)

    rows = []
    for theta in FRICTIONS:
        for nudge in NUDGES:
            echo, exact = both(jnp.float32(theta), jnp.float32(nudge))
            near = cosine(echo.gradient, exact.gradient)
            rows.append({"theta_T": theta * END, "nudge": nudge, "lost": 1 - near, "rounding": float(echo.rounding)})
    return rows


def costs(learner: Learner, sounds: Sound, lengths: tuple[int, ...], rounds: int) -> list[dict[str, Any]]:
    """Seconds and temporary memory of the gradient of a batch, over the number of steps."""
    rows = []
    for length in lengths:
        programs = {name: compiled(method, length, learner, sounds) for name, method in METHODS.items()}
        calls = {name: partial(program, learner, sounds) for name, program in programs.items()}
        times = interleaved(calls, rounds, least=0)
        seconds = {name: median(times[name]) for name in programs}
        row = {"steps": length * STEPS, "seconds": seconds, "ratio": ratio(times, "echo", "reverse mode")}
        rows.append(row | {"bytes": {name: temporary(program) for name, program in programs.items()}})
    return rows


def compiled(method: Callable[..., Gradient], length: int, *given: Any) -> Any:
    """The gradient of a batch over `length` times as many steps."""
    return jax.jit(partial(mean_gradient, partial(method, steps=length * STEPS))).lower(*given).compile()


def temporary(program: Any) -> int:
    """Bytes that it needs beside its arguments and results."""
    return program.memory_analysis().temp_size_in_bytes


def misses(outcomes: list[Outcome], rows: list[dict[str, Any]]) -> list[str]:
    """What was asked for and not found: gradients alike, and memory that does not follow the steps."""
    worst = min(one.least_cosine for one in outcomes)
    first, last = rows[0], rows[-1]
    grown = last["bytes"]["echo"] / first["bytes"]["echo"]
    missed = [] if worst > ALIKE else [f"least cosine while learning {worst:.4f}"]
    return missed + ([] if grown < 1.5 else [f"memory of the echo grew {grown:.2f}-fold"])


def study(seed: int = 0, seeds: int = 5, quick: bool = False, json: Path | None = None) -> None:
    """Does a network of oscillators learn by echo as it does by backpropagation through time?

    Args:
        seed: Draws the first learner; the others follow.
        seeds: How many learners.
        quick: Tiny sizes, to see that the study runs.
        json: Write all numbers to this file too; "-" prints them, and what is for readers goes to standard error.
    """
    check_counts("study echo", seeds=seeds)
    line = begun("echo", seed, None, json)
    seeds, rates, passes = (1, RATES[1:2], (1,)) if quick else (seeds, RATES, PASSES)
    parts, outcomes = (utterances("train"), utterances("test")), []
    given = choice(parts[0], rates, passes)
    with progress("echo", "learners") as report:
        tasks = [(name, seed + k) for k in range(seeds) for name in METHODS]
        for done, (name, own) in enumerate(tasks):
            report(done, len(tasks), now=f"{name}, seed {own}")
            outcomes.append(learned(name, own, given, parts))
        report(len(tasks), len(tasks))
    begin, sounds = begun_at(seed, parts[0]), heard(parts[0], np.arange(BATCH))
    rubbed = frictions(begin, sounds)
    rows = costs(begin, sounds, LENGTHS[:2] if quick else LENGTHS, 2 if quick else 5)
    missed = misses(outcomes, rows)
    show(line, given, outcomes, rubbed, rows, missed)
    found = {"outcomes": [one._asdict() for one in outcomes], "frictions": rubbed, "costs": rows, "missed": missed}
    ended_undrawn(line, json, QUESTION, seed=seed, choice=given._asdict(), batch=BATCH, size=SIZE, **found)


def show(
    line: Line, given: Choice, outcomes: list[Outcome], rubbed: list[dict], rows: list[dict], missed: list[str]
) -> None:
    """The tables."""
    line(f"[bold]{SIZE} coupled oscillators learn the Japanese vowels: {QUESTION}[/]")
    line(
        f"  rate {given.rate:g}, {given.passes} passes: reverse mode has {given.right:.1%} of held-out utterances right"
    )
    heads = ("gradient by", "test, %", "training, %", "1 − cosine\nat most")
    print_table(line, heads, [_summary(name, outcomes) for name in METHODS])
    heads = ("friction × time", "nudge", "1 − cosine", "rounding\nreported")
    cells = [(f"{r['theta_T']:g}", f"{r['nudge']:g}", f"{r['lost']:.1e}", f"{r['rounding']:.1e}") for r in rubbed]
    print_table(line, heads, cells)
    heads = ("steps", "echo, s", "reverse\nmode, s", "ratio", "echo, MB", "reverse\nmode, MB")
    print_table(line, heads, [_cost(row) for row in rows])
    for miss in missed:
        line(f"  [bold]missed:[/] {miss}")


def _summary(name: str, outcomes: list[Outcome]) -> tuple[str, ...]:
    own = [one for one in outcomes if one.method == name]
    shares = [np.array([getattr(one, part) for one in own]) * 100 for part in ("test", "train")]
    return (
        name,
        *(f"{s.mean():.1f} ± {s.std():.1f}" for s in shares),
        f"{1 - min(one.least_cosine for one in own):.1e}",
    )


def _cost(row: dict[str, Any]) -> tuple[str, ...]:
    seconds = [f"{row['seconds'][name]:.3f}" for name in METHODS]
    size = [f"{row['bytes'][name] / 1e6:.2f}" for name in METHODS]
    return (str(row["steps"]), *seconds, f"{row['ratio']:.2f}", *size)
