"""A learned action: which loss, and which price of weights, moved these weights?

Run it in a checkout: lagrangian-learning study learned_action
"""

if __name__ == "__main__":  # a file does not know its checkout: it is run as a command of the package
    from lagrangian_learning.commands.study import run_file

    run_file(__file__)

from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PyTree

import lagrangian_learning as ll
from lagrangian_learning.commands.files import Files
from lagrangian_learning.commands.output import Line, check_counts
from lagrangian_learning.commands.progress import progress

from .learned_action_fits import (
    END,
    PROBE,
    RECORDS,
    Fit,
    Runs,
    fitted,
    gradient_checks,
    runs_of,
    times,
    way,
    weights_of,
)
from .learned_action_models import (
    OTHER_SIZES,
    SIZES,
    Model,
    drawn,
    freed,
    itself,
    learned_law,
    quadratic,
    structureless,
    true_law,
    true_parts,
    unknown,
)
from .learned_action_picture import draw
from .study import begun, ended, print_table

FILES = Files(Path("learned_action.png"))
QUESTION = "Can the action that moves weights be learned from the motion that it made?"
RATES = {
    "learned action": np.array([0.06]),
    "two numbers": np.array([0.06]),
    "neural ODE": np.array([3e-3, 1e-2, 3e-2]),
}
NOISE = 1e-2  # of how far the weights went
SPREAD = 0.9  # a quantile over runs
NEAR, BETTER, ROUNDING = 0.1, 3.0, 1e-10  # what is asked: of the error, against the others, of equal gradients
SEEN = ("all W", f"W with {100 * NOISE:g} % noise")


def judged(predicted: np.ndarray, weights: np.ndarray) -> dict[str, Any]:
    """Errors run by run as shares of how far the weights of it went: over the times learned from, and later ones.

    Medians over runs, and the quantile `SPREAD`; a run that failed counts as infinite. `course` is over time, of the
    median way.
    """
    found: dict[str, Any] = {}
    error = np.nan_to_num(np.abs(predicted - weights), nan=np.inf, posinf=np.inf)
    gone = np.abs(weights - weights[:, :1])
    for name, part in (("within", slice(1, RECORDS + 1)), ("later", slice(RECORDS + 1, None))):
        ratio = np.sqrt(np.mean(error[:, part] ** 2, axis=(1, 2)) / np.mean(gone[:, part] ** 2, axis=(1, 2)))
        found |= {name: np.median(ratio), f"{name}_spread": np.quantile(ratio, SPREAD, method="higher")}
    course = np.median(np.sqrt(np.mean(error**2, axis=2)), axis=0)
    return found | {"course": course / np.median(np.sqrt(np.mean(gone**2, axis=(1, 2))))}


def visited(starts: PyTree, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All errors x − y, and all weights, at the records of runs."""
    network, ts = ll.Layered(SIZES), times(weights.shape[1] - 1)
    unravel = ravel_pytree(jax.tree.map(lambda leaf: leaf[0], starts[1]))[1]

    def error(stimulus: ll.Stimulus, t: Array, flat: Array) -> Array:
        return (network.output(network.forward(unravel(flat), stimulus.input(t))) - stimulus.target(t))[0]

    each = jax.jit(jax.vmap(jax.vmap(error, (None, 0, 0)), (0, None, 0)))
    return np.asarray(each(starts[0], jnp.asarray(ts), jnp.asarray(weights))).ravel(), weights.ravel()


def functions(model: Model | None, errors: Array, weights: Array) -> tuple[np.ndarray, ...]:
    """dV/de at errors and dφ/dw at weights; None: of the truth."""
    loss, price = true_parts()
    of_error, of_weight = (lambda e: loss(e[None], jnp.zeros(1)), price) if model is None else model
    return tuple(np.asarray(jax.vmap(jax.grad(f))(at)) for f, at in ((of_error, errors), (of_weight, weights)))


def laws_apart(model: Model, at: tuple[np.ndarray, np.ndarray]) -> list[float]:
    """Errors of dV/de and dφ/dw where the runs went, as shares of those functions; roots of mean squares."""
    errors, weights = map(jnp.asarray, at)
    pairs = zip(functions(model, errors, weights), functions(None, errors, weights), strict=True)
    return [float(np.sqrt(np.mean((ours - true) ** 2) / np.mean(true**2))) for ours, true in pairs]


class Setting(NamedTuple):
    """Starts and observed weights of runs that are learned from, and starts and runs that are not."""

    starts: PyTree
    observed: tuple[np.ndarray, np.ndarray]
    unseen: PyTree
    truth: Runs


def setting(seed: int, learned_from: int, predicted: int) -> Setting:
    """Runs of the truth from drawn weights under drawn signals, made as one batch."""
    starts = jax.vmap(drawn)(jax.random.split(jax.random.key(seed), learned_from + predicted))
    ours, others = (jax.tree.map(lambda leaf, part=part: leaf[part], starts)
                    for part in (slice(learned_from), slice(learned_from, None)))  # fmt: skip
    weights, defect = runs_of(true_law(), starts)
    seen = weights[:learned_from, : RECORDS + 1]
    noise = NOISE * way(seen) * np.random.default_rng(seed).normal(size=seen.shape)
    return Setting(ours, (seen, seen + noise), others, Runs(weights[learned_from:], defect[learned_from:]))


def study(
    seed: int = 0, runs: int = 8, predicted: int = 64, steps: int = 100, quick: bool = False, files: Files = FILES
) -> None:
    """Can the loss and the price of weights be learned, as MLPs, from motions of weights that they made?

    Args:
        seed: Draws signals, weights, noise and the MLPs.
        runs: Runs that are learned from.
        predicted: Runs with other starts and other signals, on which all is judged.
        steps: Steps of Adam, of each fit; twice as many gradients of L-BFGS follow.
        quick: Tiny sizes, to see that the study runs.
        files: Where the picture and the numbers go.
    """
    line = begun("learned_action", seed, files)
    check_counts("study learned_action", runs=runs, predicted=predicted, steps=steps)
    jax.config.update("jax_enable_x64", True)
    runs, predicted, steps = (2, 3, 4) if quick else (runs, predicted, steps)
    for_action, for_force, for_probe, for_others = jax.random.split(jax.random.key(seed + 1), 4)
    given, mlps, force = setting(seed, runs, predicted), unknown(for_action), structureless(for_force)
    fits: dict[str, list[Fit]] = {"learned action": [], "two numbers": [], "neural ODE": []}
    tasks = [(name, seen) for name in fits for seen in given.observed for _ in range(RATES[name].size)]
    with progress("learned_action", "fits") as report:
        for done, (name, seen) in enumerate(tasks):
            report(done, len(tasks), now=name)
            rate = RATES[name][len(fits[name]) % RATES[name].size]
            made, begin, free = {
                "learned action": (learned_law, mlps, freed(mlps, numbers=False)),
                "two numbers": (learned_law, quadratic(mlps), freed(mlps, numbers=True)),
                "neural ODE": (itself, force, jax.tree.map(jnp.ones_like, eqx.filter(force, eqx.is_array))),
            }[name]
            fits[name].append(fitted(made, begin, free, seen, given.starts, rate, steps))
        report(len(tasks), len(tasks))
    found = compared(given, fits) | {"checks": None, "others": None}
    if not quick:
        found["checks"] = gradient_checks(for_probe, mlps, given.observed[0], given.starts)
        found["others"] = other_network(
            for_others, predicted, [fits[name][0].model for name in ("learned action", "two numbers")]
        )
    missed = [] if quick else misses(found)
    _print(line, found, runs, predicted)
    for miss in missed:
        line(f"  missed: {miss}")
    kept = {name: value for name, value in found.items() if name not in ("curves", "shown")}
    ended(line, files, lambda path: draw(path, found), QUESTION, seed=seed, runs=runs, predicted=predicted, steps=steps,
          noise=NOISE, missed=missed, **kept)  # fmt: skip


def compared(given: Setting, fits: dict[str, list[Fit]]) -> dict[str, Any]:
    """Errors on runs that were not learned from, the functions found, and balances of energy."""
    truth, best = given.truth.weights, {}
    balanced = [runs_of(learned_law(fit.model), given.unseen) for fit in fits["learned action"]]
    numbers = [weights_of(learned_law(fit.model), given.unseen) for fit in fits["two numbers"]]
    forces = [weights_of(fit.model, given.unseen) for fit in fits["neural ODE"]]
    errors: dict[str, list[dict[str, Any]]] = {
        "learned action": [judged(one.weights, truth) for one in balanced],
        "two numbers": [judged(one, truth) for one in numbers],
        "neural ODE": [judged(one, truth) for one in forces],
    }
    for name, ones in errors.items():
        tried = RATES[name].size
        groups = [range(k, k + tried) for k in range(0, len(ones), tried)]
        best[name] = [min(group, key=lambda k, ones=ones: ones[k]["within"]) for group in groups]
    kept = {name: [errors[name][k] for k in chosen] for name, chosen in best.items()}
    stay = judged(np.broadcast_to(truth[:, :1], truth.shape), truth)
    at = visited(given.starts, given.observed[0])
    learned = [fit.model for fit in fits["learned action"]]
    return {
        "judged": kept | {"weights stay": [stay] * len(SEEN)},
        "left": {name: [fits[name][k].left for k in chosen] for name, chosen in best.items()},
        "force_rates": [RATES["neural ODE"][k % RATES["neural ODE"].size] for k in best["neural ODE"]],
        "functions": [laws_apart(model, at) for model in learned],
        "functions_by_numbers": laws_apart(fits["two numbers"][0].model, at),
        "numbers": [[float(part.curvature) for part in fit.model] for fit in fits["two numbers"]],
        "defect": {"truth": np.max(given.truth.defect), "learned action": np.max(balanced[0].defect)},
        "cost": {name: {"gradients": [fit.gradients for fit in ones], "seconds": [fit.seconds for fit in ones]}
                 for name, ones in fits.items()},
        "curves": curves(at, learned, fits["two numbers"][0].model),
        "shown": {"times": times(2 * RECORDS), "end": END, "which": [0, 3, 7], "true": truth[0],
                  "learned action": balanced[0].weights[0], "neural ODE": forces[best["neural ODE"][0]][0]},
    }  # fmt: skip


def curves(at: tuple[np.ndarray, np.ndarray], learned: list[Model], numbers: Model) -> dict[str, Any]:
    """dV/de and dφ/dw over a little more than the errors and weights that the runs saw."""
    grids = [np.linspace(1.15 * seen.min(), 1.15 * seen.max(), 161) for seen in at]
    drawn = {"true": None, "learned": learned[0], "noisy": learned[1], "numbers": numbers}
    found = {name: functions(model, *map(jnp.asarray, grids)) for name, model in drawn.items()}
    ranges = {f"{name}_seen": (seen.min(), seen.max()) for name, seen in zip(("errors", "weights"), at, strict=True)}
    return found | ranges | {"errors": grids[0], "weights": grids[1]}


def other_network(key: Array, count: int, models: list[Model]) -> dict[str, Any]:
    """The same on a network of other size, of which nothing was learned; the neural ODE cannot take its weights."""
    starts = jax.vmap(lambda key: drawn(key, OTHER_SIZES))(jax.random.split(key, count))
    truth, learned, numbers = (
        np.asarray(weights_of(law, starts))
        for law in (true_law(OTHER_SIZES), *(learned_law(model, OTHER_SIZES) for model in models[:2]))
    )
    return {"learned action": judged(learned, truth), "two numbers": judged(numbers, truth)}


def misses(found: dict[str, Any]) -> list[str]:
    """What is not as asked: a small error, smaller than the others' by a factor, equal gradients."""
    missed, errors = [], found["judged"]
    for k, seen in enumerate(SEEN):
        ours = errors["learned action"][k]["within"]
        if ours > NEAR:
            missed.append(f"{seen}: the learned action is {100 * ours:.1f} % off")
        missed += [f"{seen}: {name} is not {BETTER:g} times as far off"
                   for name in ("two numbers", "neural ODE") if errors[name][k]["within"] < BETTER * ours]  # fmt: skip
    if found["checks"]["equinox"] > ROUNDING:
        missed.append(f"Equinox's gradient is {found['checks']['equinox']:.0e} off")
    if found["checks"]["difference"] > PROBE:
        missed.append(f"a difference is {found['checks']['difference']:.0e} off")
    return missed


def _print(line: Line, found: dict[str, Any], runs: int, predicted: int) -> None:
    line(f"[bold]Weights of {predicted} runs that were not seen[/]  median error in per cent of their way, "
         f"{100 * SPREAD:.0f} % of the runs under the second; learned from {runs} runs to t = {END:g}")  # fmt: skip
    rows = [
        (f"{name}, from {seen}", f"{100 * found['left'][name][k]:.2g} %" if name in found["left"] else "",
         *(f"{100 * one[part]:.3g} %" for part in ("within", "within_spread", "later", "later_spread")))
        for name, ones in found["judged"].items()
        for k, (seen, one) in enumerate(zip(SEEN, ones, strict=True))
    ]  # fmt: skip
    heads = (
        "law",
        "on the runs\nlearned from",
        f"t ≤ {END:g}:\nmedian",
        "90 %",
        f"{END:g} < t ≤ {2 * END:g}:\nmedian",
        "90 %",
    )
    print_table(line, heads, rows)
    line(f"  neural ODE: the best of {RATES['neural ODE'].size} learning rates, chosen on the runs above")
    if found["others"]:
        words = ", ".join(f"{name} {100 * one['within']:.3g} %" for name, one in found["others"].items())
        line(f"  on {'–'.join(map(str, OTHER_SIZES))} neurons, of which nothing was learned: {words}")
    line()
    line("[bold]The functions, where the runs went[/]  errors as shares of them")
    rows = [(f"learned from {seen}", *(f"{100 * part:.2g} %" for part in parts))
            for seen, parts in zip(SEEN, found["functions"], strict=True)]  # fmt: skip
    rows.append(("two numbers", *(f"{100 * part:.2g} %" for part in found["functions_by_numbers"])))
    print_table(line, ("", "dV/de", "dφ/dw"), rows)
    line()
    line("[bold]Balance of energy[/]  largest defect over all runs, relative to the range of the energy")
    print_table(line, ("law", "defect"), [(name, f"{value:.0e}") for name, value in found["defect"].items()])
    line()
    for name, cost in found["cost"].items():
        line(f"  {name}: gradients of {max(cost['gradients']):,} runs a fit at most; {len(cost['seconds'])} fits in "
             f"{sum(cost['seconds']):.0f} s with compiling")  # fmt: skip
    if found["checks"]:
        line(f"  gradient: eqx.filter_grad against jax.grad {found['checks']['equinox']:.0e}, "
             f"slope along a direction against a difference {found['checks']['difference']:.0e}")  # fmt: skip
