"""Which constants should `lagrangian-learning learn speech` take? Chosen by recordings left out of training.

Three training recordings a speaker are left out and judged, for several such choices (each with its own order and
weights); test recordings are never looked at. First γ and ϑ are chosen on a small grid at a small m_x/m_W: the best
mean accuracy, ties by the mean squared error of the mean outputs. Then m_x/m_W: the largest of a decade grid whose
mean accuracy is within one standard error of the mean at m_x = 0. The first ratio that fails is run again with finer
steps, which shows whether the limit is the physics or the step.

The steps are those of the command, Heun with two steps a frame, on `law.vector_field` in a bare scan over all choices
at once: without the records and the monitor of `simulate`. The script ends by checking one run against `simulate`.

    python benchmarks/speech_constants.py        (about 20 minutes; writes benchmarks/results/speech_constants.json)
"""

import dataclasses
import itertools
import json
import os
import platform
import time
from pathlib import Path

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import lagrangian_learning as ll
from lagrangian_learning.commands.speech.task import NETWORK, PIECE, STEP, Constants, Learner, make_task

SEEDS = 8
GAMMAS, THETAS = (35.0, 70.0, 140.0), (0.3, 1.0, 3.0)
RATIOS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
RESULTS = Path(__file__).parent / "results" / "speech_constants.json"


def tasks():
    train = ll.data.japanese_vowels("train")
    choices = [train.hold_out(jax.random.key(1000 + seed), 3) for seed in range(SEEDS)]
    return [make_task(seed, fit, held) for seed, (fit, held) in enumerate(choices)]


def stacked(tasks):
    """All streams as one, the shorter ones filled up; `lengths` is where each really ends."""
    longest = max(task.num_frames for task in tasks)

    def filled(frames):
        return jnp.pad(frames, ((0, longest - frames.shape[0]), (0, 0)), mode="edge")

    stimuli = [
        eqx.tree_at(lambda s: (s.input.frames, s.target.frames), task.stimulus, replace_fn=filled) for task in tasks
    ]
    together = jax.tree.map(lambda *leaves: jnp.stack(leaves), *stimuli)
    W = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(task.W for task in tasks))
    return together, W, jnp.asarray([task.num_frames - 1 for task in tasks])


@eqx.filter_jit
def learned(law, stimuli, W, lengths, longest, steps_a_frame):
    """The weights after each stream."""
    h = jnp.float32(1 / steps_a_frame)

    def one(stimulus, W, length):
        def piece(state, first):
            local = stimulus.shift(first)

            def step(state, i):
                t = i.astype(jnp.float32) * h
                slope = law.vector_field(t, state, local)
                guess = jax.tree.map(lambda y, k: y + h * k, state, slope)
                other = law.vector_field(t + h, guess, local)
                new = jax.tree.map(lambda y, k, m: y + h / 2 * (k + m), state, slope, other)
                active = first * steps_a_frame + i < length * steps_a_frame
                return jax.tree.map(lambda a, b: jnp.where(active, a, b), new, state), None

            return jax.lax.scan(step, state, jnp.arange(PIECE * steps_a_frame))[0], None

        state = law.initial_state(0.0, W, args=stimulus)
        return jax.lax.scan(piece, state, jnp.arange(0, longest, PIECE))[0].q

    return eqx.filter_vmap(one)(stimuli, W, lengths)


def measured(constants, tasks, together, steps_a_frame=2):
    stimuli, W, lengths = together
    start = time.perf_counter()
    weights = learned(constants.law(), stimuli, W, lengths, int(lengths.max()), steps_a_frame)
    weights = jax.block_until_ready(weights)
    accuracy, error = zip(*(_judged(task, lane(weights, k)) for k, task in enumerate(tasks)), strict=True)
    row = {
        **dataclasses.asdict(constants),
        "steps_a_frame": steps_a_frame,
        "accuracy": float(np.mean(accuracy)),
        "standard_error": float(np.std(accuracy, ddof=1) / np.sqrt(len(accuracy))),
        "mean_squared_error": float(np.mean(error)),
        "accuracies": [round(a, 4) for a in accuracy],
        "seconds": round(time.perf_counter() - start, 1),
    }
    print(
        f"gamma {constants.gamma:5.0f}  theta {constants.theta:4.1f}  m_x/m_W {constants.mass_ratio:7.0e}  "
        f"steps {steps_a_frame}  accuracy {row['accuracy']:.4f} ± {row['standard_error']:.4f}  "
        f"mse {row['mean_squared_error']:.4f}  {row['seconds']:.0f} s",
        flush=True,
    )
    return row


def _judged(task, W):
    outputs = task.outputs(W)
    codes = ll.data.label_codes(NETWORK.num_outputs)[task.judged.labels]
    return task.accuracy(W), float(jnp.mean((task.judged.mean_outputs(outputs) - jnp.asarray(codes, jnp.float32)) ** 2))


def lane(tree, k):
    return jax.tree.map(lambda leaf: leaf[k], tree)


def agreement(constants, task, W_scan):
    """Largest difference of the weights between the bare scan and `simulate`, relative to the largest weight."""
    law = constants.law()
    state = law.initial_state(0.0, task.W, args=task.stimulus)
    learner = Learner(law, state, task.stimulus, save=lambda t, observables: {})
    for piece in learner.pieces(law, state, task.stimulus, task.num_frames):
        state = piece.path.final_state
    differences = [jnp.max(jnp.abs(a - b)) for a, b in zip(state.q, W_scan, strict=True)]
    return float(max(differences) / max(jnp.max(jnp.abs(w)) for w in W_scan)), task.accuracy(state.q)


def main():
    assert STEP == 0.5
    all_tasks = tasks()
    together = stacked(all_tasks)

    grid = [measured(Constants(g, th, RATIOS[0]), all_tasks, together) for g, th in itertools.product(GAMMAS, THETAS)]
    best = max(grid, key=lambda row: (round(row["accuracy"], 6), -row["mean_squared_error"]))
    chosen = Constants(best["gamma"], best["theta"], RATIOS[0])

    massless = measured(dataclasses.replace(chosen, mass_ratio=0.0), all_tasks, together)
    least = massless["accuracy"] - massless["standard_error"]
    heavier = [measured(dataclasses.replace(chosen, mass_ratio=r), all_tasks, together) for r in RATIOS[1:]]
    rows = [best, *heavier]
    kept = [row for row in rows if row["accuracy"] >= least]
    ratio = max(row["mass_ratio"] for row in kept)
    chosen = dataclasses.replace(chosen, mass_ratio=ratio)
    beyond = [row["mass_ratio"] for row in rows if row["mass_ratio"] > ratio][:1]
    finer = [measured(dataclasses.replace(chosen, mass_ratio=r), all_tasks, together, steps_a_frame=8) for r in beyond]

    stimuli, W, lengths = together
    weights = learned(chosen.law(), stimuli, W, lengths, int(lengths.max()), 2)
    difference, accuracy = agreement(chosen, all_tasks[0], lane(weights, 0))
    print(f"chosen: {chosen}; bare scan against simulate: {difference:.1e}, accuracy {accuracy:.4f}")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(
        json.dumps(
            {
                "question": __doc__.splitlines()[0],
                "chosen": dataclasses.asdict(chosen),
                "rule": "gamma, theta: best mean accuracy on left-out recordings, ties by mean squared error; "
                "mass_ratio: largest within one standard error of the mean accuracy at mass_ratio 0",
                "left_out": f"3 training recordings a speaker, {SEEDS} choices",
                "gamma_theta": grid,
                "massless": massless,
                "mass_ratio": rows,
                "finer_steps": finer,
                "scan_against_simulate": {"weights": difference, "accuracy": accuracy},
                "device": f"{platform.machine()}, {os.cpu_count()} cores, {jax.devices()[0].platform}",
                "versions": {
                    "python": platform.python_version(),
                    **{module.__name__: module.__version__ for module in (jax, diffrax, eqx, np, ll)},
                },
            },
            indent=1,
        )
        + "\n"
    )


if __name__ == "__main__":
    main()
