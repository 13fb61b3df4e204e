"""Which rate and which mass of the neurons suit the digits experiment, by images left out of training?

The 300 last of the training images (by other writers than the rest) are left out, and every choice learns from the
others; test images are never looked at. First the rate, of the action and of SGD each for itself, then the mass at that
rate. The choice with the largest mean accuracy over seeds is the one that
`lagrangian_learning.commands.digits.task.Constants` holds; of equals, the heavier neurons.

    python benchmarks/digits_constants.py [--quick]
"""

import dataclasses

import numpy as np

from lagrangian_learning.commands.digits import task as digits
from lagrangian_learning.commands.digits.command import run_digits

if __package__:
    from . import common
else:
    import common

RATES = (0.001, 0.003, 0.01, 0.03)
FIRST_MASS_RATIO, MASS_RATIOS = 1e-5, (1e-6, 1e-4)
SEEDS = (100, 101)  # not those of the experiment
NUM_LEFT_OUT = 300


def measured(network, fit, left_out, passes, choices, seeds):
    rows = []
    for rate, mass_ratio in choices:
        constants = digits.Constants(rate=rate, rate_sgd=rate, mass_ratio=mass_ratio)
        tasks = [digits.make_task(seed, network, fit, left_out, passes) for seed in seeds]
        runs = [attempted(seed, task, constants) for seed, task in zip(seeds, tasks, strict=True)]
        row = {"rate": rate, "mass_ratio": mass_ratio, "ours": [run["ours"] for run in runs],
               "sgd": [run["sgd"] for run in runs]}  # fmt: skip
        print(row, flush=True)
        rows.append(row)
    return rows


def attempted(seed, task, constants):
    """Accuracies of one run; 0 where the motion ends early."""
    try:
        run = run_digits(seed, task, constants)
    except RuntimeError:
        return {"ours": 0.0, "sgd": 0.0}
    return {"ours": run.accuracy, "sgd": run.accuracy_sgd}


def best(rows, name):
    """The row with the largest mean; of equals the one with the heaviest neurons, then the slowest."""
    return max(rows, key=lambda row: (round(float(np.mean(row[name])), 6), row["mass_ratio"], -row["rate"]))


def main(*, quick=False):
    train, _ = digits.digits()
    kept = len(train.labels) - NUM_LEFT_OUT
    fit, left_out = train.select(slice(kept)), train.select(slice(kept, None))
    if quick:
        fit = fit.select(slice(64))
        network, passes, rates, seeds = digits.convolutional(2, 8), 1, RATES[-1:], SEEDS[:1]
    else:
        network, passes, rates, seeds = digits.convolutional(), digits.PASSES, RATES, SEEDS
    given = network, fit, left_out, passes
    rows = measured(*given, [(rate, FIRST_MASS_RATIO) for rate in rates], seeds)
    sgd = best(rows, "sgd")
    rows += measured(*given, [(best(rows, "ours")["rate"], mass_ratio) for mass_ratio in MASS_RATIOS], seeds)
    ours = best(rows, "ours")
    chosen = {"rate": ours["rate"], "mass_ratio": ours["mass_ratio"], "rate_sgd": sgd["rate"]}
    path = common.write(
        "digits_constants",
        question=__doc__.splitlines()[0],
        headline=f"rate {chosen['rate']:g}, m_x/m_W = {chosen['mass_ratio']:g}; SGD's rate {chosen['rate_sgd']:g}",
        chosen=chosen,
        validation={"ours": float(np.mean(ours["ours"])), "sgd": float(np.mean(sgd["sgd"]))},
        rows=rows,
    )
    print(chosen, path)
    held = dataclasses.asdict(digits.Constants())
    assert quick or {name: held[name] for name in chosen} == chosen, f"Constants holds {held}"


if __name__ == "__main__":
    main(quick=common.options(__doc__))
