"""Which rate and which mass of the neurons suit the digits experiment, by images left out of training?

The training images are in the order of their writers. Four blocks of 300 are left out in turn, and every choice learns
from the others; test images are never looked at. First the rate, of the action and of SGD each for itself, then the
mass at that rate. The choice with the largest mean accuracy over the blocks is the one that
`lagrangian_learning.commands.digits.task.Constants` holds; of equals, the heavier neurons. How images are moved, how
far friction rises and how many passes there are was chosen before, by SGD on the same blocks.

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

RATES = (0.02, 0.05, 0.1)
FIRST_MASS_RATIO, MASS_RATIOS = 1e-5, (1e-6, 1e-4)
FIRST_SEED = 100  # of the first block; none is one of the experiment
BLOCKS = (0, 300, 600, 897)  # where they begin
IN_A_BLOCK = 300


def measured(network, folds, passes, choices):
    rows = []
    for rate, mass_ratio in choices:
        constants = digits.Constants(rate=rate, rate_sgd=rate, mass_ratio=mass_ratio)
        runs = []
        for seed, (fit, left_out) in enumerate(folds, FIRST_SEED):
            runs.append(attempted(seed, digits.make_task(seed, network, fit, left_out, passes), constants))
        row = {"rate": rate, "mass_ratio": mass_ratio, "ours": [run["ours"] for run in runs],
               "sgd": [run["sgd"] for run in runs]}  # fmt: skip
        print(row, flush=True)
        rows.append(row)
    return rows


def without(train, begin):
    """The images without a block, and the block."""
    left_out = np.zeros(len(train.labels), bool)
    left_out[begin : begin + IN_A_BLOCK] = True
    return train.select(~left_out), train.select(left_out)


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
    network, passes, rates = digits.convolutional(), digits.PASSES, RATES
    folds = [without(train, begin) for begin in BLOCKS]
    if quick:
        fit, left_out = folds[0]
        folds = [(fit.select(slice(64)), left_out)]
        network, passes, rates = digits.convolutional(2, 8), 1, RATES[-1:]
    rows = measured(network, folds, passes, [(rate, FIRST_MASS_RATIO) for rate in rates])
    sgd = best(rows, "sgd")
    rate = best(rows, "ours")["rate"]
    rows += measured(network, folds, passes, [(rate, mass_ratio) for mass_ratio in MASS_RATIOS])
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
