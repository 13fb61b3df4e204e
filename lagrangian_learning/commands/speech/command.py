"""`lagrangian-learning learn speech`."""

from pathlib import Path

import numpy as np

import lagrangian_learning as ll
from lagrangian_learning.commands.output import (
    check_counts,
    check_files,
    check_seed,
    console_beside,
    line_printer,
    of_each_seed,
    save,
)
from lagrangian_learning.commands.progress import progress

from .picture import draw
from .report import as_dict, print_experiment, print_results
from .run import Run, run_speech
from .task import PASSES, Constants, make_task


def speech_command(
    seeds: int, seed: int, output: Path | None, numbers: Path | None, passes: int | None, recordings: int | None
) -> list[Run]:
    """Runs, prints and draws the experiment; see `lagrangian_learning.commands.cli.speech`. Returns the runs."""
    passes = PASSES if passes is None else passes
    check_counts("learn speech", seeds=seeds, passes=passes)
    check_seed("learn speech", seed)
    check_files("learn speech", output, numbers)
    line, constants = line_printer(console_beside(numbers)), Constants()
    train, test = ll.data.japanese_vowels("train"), ll.data.japanese_vowels("test")
    train = train if recordings is None else some_recordings(train, recordings)
    learner = None

    def run(number: int) -> Run:
        nonlocal learner
        task = make_task(number, train, test, passes)
        if number == seed:
            print_experiment(line, task, constants)
        with progress(f"training, seed {number}") as report:
            found, learner = run_speech(number, task, constants, learner, report)
        return found

    runs, end = of_each_seed("learn speech", seed, seeds, run)
    print_results(line, runs)
    save(line, output, lambda path: draw(runs[0], path), numbers, as_dict(runs))
    end()
    return runs


def some_recordings(train: ll.data.Recordings, each: int) -> ll.data.Recordings:
    """The first recordings of every speaker, so many of each."""
    most = int(np.bincount(train.labels).min())
    if not 1 <= each <= most:
        raise SystemExit(f"learn speech: --recordings must be between 1 and {most}.")
    chosen = [np.flatnonzero(train.labels == label)[:each] for label in range(train.num_labels)]
    return train.select(np.sort(np.concatenate(chosen)))
