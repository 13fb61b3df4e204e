"""Does a mini-batch run of a million convolutional weights reach what SGD with the same friction reaches?

Five seeds, each with its own initial weights and its own order of the images: accuracy on the test images at the end,
the action's beside that of SGD on the same batches from the same weights, mean and spread; constants were chosen by
digits_constants.py. Then what a step costs, in gradients of the mean loss of the same batch.

    python benchmarks/digits.py [--quick]
"""

import jax
import jax.numpy as jnp

import lagrangian_learning as ll
from lagrangian_learning.commands.digits import task as digits
from lagrangian_learning.commands.digits.command import as_dict, draw, run_digits

if __package__:
    from . import common
else:
    import common

SEEDS = range(5)
WITHIN = 0.01  # of SGD's mean: a little more than the spread of a mean of five


def cost(task, constants, rounds):
    """Seconds of one evaluation of all accelerations and multipliers, and of one gradient, side by side."""
    law = constants.law(task.network, task.batches.shape[1], len(task.batches) - 1)
    stimulus = task.stimulus
    state, t = law.initial_state(0.0, task.W, args=stimulus), jnp.zeros((), jnp.float32)
    u, y = stimulus.input(t), stimulus.target(t)

    def gradient(W, u, y):
        return jax.value_and_grad(lambda W: ll.learning.loss(law.network, law.potential, W, u, y))(W)

    ours, _ = common.compiled(law.accelerations, t, state, stimulus)
    theirs, _ = common.compiled(gradient, state.q, u, y)
    times = common.interleaved(
        {"ours": lambda: ours(t, state, stimulus), "gradient": lambda: theirs(state.q, u, y)}, rounds
    )
    return {
        "seconds": common.median(times["ours"]),
        "gradient_seconds": common.median(times["gradient"]),
        "gradients": common.ratio(times, "ours", "gradient"),
    }


def headline(found, evaluation):
    ours, theirs = found["test_accuracy"], found["sgd_test_accuracy"]
    return (
        f"{len(found['seeds'])} seeds: {100 * ours['mean']:.1f} ± {100 * ours['spread']:.1f} %, "
        f"SGD {100 * theirs['mean']:.1f} ± {100 * theirs['spread']:.1f} %; "
        f"an evaluation costs {evaluation['gradients']:.1f} gradients of its batch"
    )


def main(*, quick=False):
    train, test = digits.digits()
    network, passes, seeds = digits.convolutional(), digits.PASSES, SEEDS
    if quick:
        train, network, passes, seeds = train.select(slice(64)), digits.convolutional(2, 8), 1, range(2)
    constants, runs = digits.Constants(), []
    for seed in seeds:
        task = digits.make_task(seed, network, train, test, passes)
        runs.append(run_digits(seed, task, constants))
        print(f"seed {seed}: {runs[-1].accuracy:.4f}, SGD {runs[-1].accuracy_sgd:.4f}", flush=True)
    found, evaluation = as_dict(runs), cost(task, constants, 3 if quick else 11)
    missed = []
    if not quick and found["test_accuracy"]["mean"] < found["sgd_test_accuracy"]["mean"] - WITHIN:
        missed.append(f"{found['test_accuracy']} against {found['sgd_test_accuracy']} of SGD")
    findings = {"headline": headline(found, evaluation), "weights": network.num_weights, "evaluation": evaluation}
    path = common.write("digits", question=__doc__.splitlines()[0], missed=missed, **findings, **found)
    draw(runs, test, network, path.with_suffix(".png"))
    print(findings["headline"], path, sep="\n")
    assert not missed, "\n".join(missed)


if __name__ == "__main__":
    main(quick=common.options(__doc__))
