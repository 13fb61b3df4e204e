"""The command line, in one grammar: `lagrangian-learning learn`, `… tune`, `… simulate`, `… verify`, `… study`, …"""

import importlib.metadata
import importlib.util
import io
import os
import platform
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .files import Files

NEEDED = ("tyro", "rich", "matplotlib")
NAME = "lagrangian-learning"
SPEECH, DIGITS, XOR = (Files(Path(name)) for name in ("speech.png", "digits.png", "xor.png"))
TUNED = {name: Files(Path(f"tune_{name}.png")) for name in ("speech", "digits", "drift")}
RUNS, FRAMES = 420, 1000  # of `tune`
STOPPED = (128 + signal.SIGINT, 128 + signal.SIGTERM)
DESCRIPTION = "Learning as mechanics. --version prints the versions of this package, Python and JAX."


def speech(
    seeds: int = 1,
    seed: int = 0,
    passes: int = 20,
    recordings: int = 30,
    files: Files = SPEECH,
) -> None:
    """Learn to tell nine speakers apart from a stream of real speech, and judge it on recordings not learned from.

    Args:
        seeds: How many runs, each with its own initial weights and its own order of the recordings.
        seed: The first seed.
        passes: Passes over the training recordings.
        recordings: Use only so many training recordings a speaker (there are 30).
        files: Where the picture and the numbers go.
    """
    from lagrangian_learning.commands.speech.command import speech_command

    speech_command(seeds, seed, files.picture, files.json, passes, recordings)


def digits(seeds: int = 1, seed: int = 0, passes: int = 40, files: Files = DIGITS) -> None:
    """Let a convolutional network of a million weights learn digits in mini-batches that share its weights.

    Args:
        seeds: How many runs, each with its own initial weights and its own order of the images.
        seed: The first seed.
        passes: Passes over the training images.
        files: Where the picture and the numbers go.
    """
    from lagrangian_learning.commands.digits.command import digits_command

    digits_command(seeds, seed, files.picture, files.json, passes)


def xor(seed: int = 0, duration: float = 1000.0, files: Files = XOR) -> None:
    """Let the paper's network of five neurons learn XOR, and show its motion, its energy and its residuals.

    Args:
        seed: Chooses the initial weights.
        duration: How long the motion lasts; a pattern takes one unit of time.
        files: Where the picture and the numbers go.
    """
    from lagrangian_learning.commands.xor import xor_command

    xor_command(seed, duration, files.picture, files.json)


def tune_speech(runs: int = RUNS, frames: int = FRAMES, seed: int = 0, files: Files = TUNED["speech"]) -> None:
    """Tune friction, masses and neurons' mass by the gradient through whole runs on speech, beside SGD and Adam.

    Args:
        runs: How many times each way of tuning may make all tuned runs; a gradient counts as seven.
        frames: How long a run of learning is; a frame takes one unit of time.
        seed: Draws the streams, the first weights and the random searches.
        files: Where the picture and the numbers go.
    """
    _tune("speech", runs, frames, seed, files)


def tune_digits(runs: int = RUNS, frames: int = FRAMES, seed: int = 0, files: Files = TUNED["digits"]) -> None:
    """The same on handwritten digits, an image a frame. Options as of `tune speech`.

    Args:
        runs: How many times each way of tuning may make all tuned runs; a gradient counts as seven.
        frames: How long a run of learning is; a frame takes one unit of time.
        seed: Draws the streams, the first weights and the random searches.
        files: Where the picture and the numbers go.
    """
    _tune("digits", runs, frames, seed, files)


def tune_drift(runs: int = RUNS, frames: int = FRAMES, seed: int = 0, files: Files = TUNED["drift"]) -> None:
    """The same on a stream that drifts (by river), each frame scored before it is learned from.

    Args:
        runs: How many times each way of tuning may make all tuned runs; a gradient counts as seven.
        frames: How long a run of learning is; a frame takes one unit of time.
        seed: Draws the streams, the first weights and the random searches.
        files: Where the picture and the numbers go.
    """
    _tune("drift", runs, frames, seed, files)


def _tune(name: str, runs: int, frames: int, seed: int, files: Files) -> None:
    from lagrangian_learning.commands.tune.command import tune_command

    tune_command(name, runs, frames, seed, files.picture, files.json)


def waves(folder: Path = Path("waves"), no_picture: bool = False, json: Path | None = None, seed: int = 0) -> None:
    """Show backpropagation as waves: inputs move up a network one layer a frame, errors come back, gradients form.

    Args:
        folder: Where the four pictures and the animation go; made if it is missing.
        no_picture: Draw nothing.
        json: Write all numbers to this file too; "-" prints them, and what is for readers goes to standard error.
        seed: Chooses the weights.
    """
    from .waves import waves_command

    waves_command(None if no_picture else folder, json, seed)


def verify(json: Path | None = None, equation: str | None = None) -> None:
    """Measure every equation and claim of the paper. Exit status 0 only if all of them behave as documented.

    Every measurement has its own fixed seeds.

    Args:
        json: Write a list of objects, one for each equation of each check, to this file too; "-" prints it, and what is
            for readers goes to standard error.
        equation: Only what is about this one: a number such as 15, or a label such as "Proposition 1".
    """
    from .verify import verify_command

    verify_command(json, equation)


def main(args: list[str] | None = None) -> None:
    """The entry point; args: those of the process when None."""
    args = sys.argv[1:] if args is None else args
    for stream in (sys.stdout, sys.stderr):  # a pipe may know no Greek, and must not cost the run
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    if args[:1] == ["--version"]:
        print(versions())
        return
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        sys.exit(
            f"{NAME}: the command line needs {', '.join(missing)}. "
            'Install it with, in the checkout: pip install ".[cli]"'
        )
    guarded(lambda: _parsed(args))


def process() -> None:
    """`main` as a process of its own. One that was stopped ends at once: JAX's tidying up at the end of a process may
    crash where a compilation was interrupted.
    """
    try:
        main()
    except SystemExit as end:
        if end.code not in STOPPED:
            raise
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(end.code)


def versions() -> str:
    """This package, Python and JAX, on one line."""
    from lagrangian_learning import __version__

    jax = importlib.metadata.version("jax")
    return f"{NAME} {__version__}, Python {platform.python_version()}, JAX {jax}"


def guarded(work: Callable[[], Any]) -> None:
    """Does the work of a command; Ctrl-C and SIGTERM end it in one line."""
    from lagrangian_learning._interrupts import Terminated, none_lost, terminations_raised

    try:
        with terminations_raised(), none_lost():
            work()
    except (KeyboardInterrupt, Terminated) as stop:
        print(f"\n{NAME}: stopped; what it named as written is complete, nothing else is kept.", file=sys.stderr)
        sys.exit(stop.code if isinstance(stop, Terminated) else 130)


def _parsed(args: list[str]) -> None:
    from tyro import conf

    # --no-picture without --no-no-picture; --json, not --files.json.
    _app(args).cli(
        args=args, prog=NAME, description=DESCRIPTION, config=(conf.FlagCreatePairsOff, conf.OmitArgPrefixes)
    )


def _app(args: list[str]) -> Any:
    from tyro.extras import SubcommandApp

    from .study import add_studies

    learn, tune, simulate, studies, app = (SubcommandApp() for _ in range(5))
    learn.command(speech)
    learn.command(digits)
    tune.command(name="speech")(tune_speech)
    tune.command(name="digits")(tune_digits)
    tune.command(name="drift")(tune_drift)
    simulate.command(xor)
    app.command(learn, name="learn", help="Learn from real input.")
    app.command(tune, name="tune", help="Tune the physics of learning by the gradient through whole runs.")
    app.command(simulate, name="simulate", help="Simulate a small system and look at its motion.")
    app.command(verify)
    app.command(waves)
    if args[:1] == ["study"]:
        add_studies(studies, args[1:])
    # Without commands it would not be listed; the studies are looked for when one is asked for.
    listed: Any = studies if args[:1] == ["study"] else lambda: None
    app.command(listed, name="study", help="Run a study of the repository: limits, costates, waves, robustness.")
    return app
