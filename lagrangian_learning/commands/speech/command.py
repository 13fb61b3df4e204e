"""`lagrangian-learning learn speech`."""

import json
from pathlib import Path

import numpy as np
from rich.console import Console

import lagrangian_learning as ll
from lagrangian_learning.commands.files import check_folders

from .picture import draw
from .report import as_dict, progress, say_results, say_what
from .run import Run, run_speech
from .task import PASSES, Constants, make_task


def speech_command(
    seeds: int, seed: int, output: Path | None, numbers: Path | None, passes: int | None, recordings: int | None
) -> list[Run]:
    """Runs, tells and draws the experiment; see `lagrangian_learning.commands.cli.speech`. Returns the runs."""
    passes = PASSES if passes is None else passes
    for name, value in (("seeds", seeds), ("passes", passes)):
        if value < 1:
            raise SystemExit(f"learn speech: --{name} must be at least 1.")
    check_folders("learn speech", output, numbers)
    console, constants = Console(), Constants()
    train, test = ll.data.japanese_vowels("train"), ll.data.japanese_vowels("test")
    train = train if recordings is None else some_recordings(train, recordings)
    runs, learner = [], None
    for number in range(seed, seed + seeds):
        task = make_task(number, train, test, passes)
        if not runs:
            say_what(console, task, constants)
        with progress(console, f"seed {number}") as tell:
            run, learner = run_speech(number, task, constants, learner, tell)
        runs.append(run)
    say_results(console, runs)
    if output is not None:
        draw(runs[0], output)
        console.print(f"picture: {output}", highlight=False, soft_wrap=True)
    if numbers is not None:
        numbers.write_text(json.dumps(as_dict(runs), indent=1) + "\n")
        console.print(f"numbers: {numbers}", highlight=False, soft_wrap=True)
    return runs


def some_recordings(train: ll.data.Recordings, each: int) -> ll.data.Recordings:
    """The first recordings of every speaker, so many of each."""
    most = int(np.bincount(train.labels).min())
    if not 1 <= each <= most:
        raise SystemExit(f"learn speech: --recordings must be between 1 and {most}.")
    chosen = [np.flatnonzero(train.labels == label)[:each] for label in range(train.num_labels)]
    return train.select(np.sort(np.concatenate(chosen)))
