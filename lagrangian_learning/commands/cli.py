"""The command line: `lagrangian-learning learn speech`, `… learn digits`, `… simulate xor`, `… verify`, `… waves`."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

NEEDED = ("tyro", "rich", "matplotlib")


def speech(
    seeds: int = 1,
    seed: int = 0,
    output: Path | None = Path("speech.png"),
    json: Path | None = None,
    passes: int = 20,
    recordings: int = 30,
) -> None:
    """Learn to tell nine speakers apart from a stream of real speech, and judge it on recordings not learned from.

    Args:
        seeds: How many runs, each with its own initial weights and its own order of the recordings.
        seed: The first seed.
        output: The picture to write; None: no picture.
        json: Write all numbers to this file too.
        passes: Passes over the training recordings.
        recordings: Use only so many training recordings a speaker (there are 30).
    """
    from lagrangian_learning.commands.speech.command import speech_command

    speech_command(seeds, seed, output, json, passes, recordings)


def digits(
    seeds: int = 1,
    seed: int = 0,
    output: Path | None = Path("digits.png"),
    json: Path | None = None,
    passes: int = 10,
) -> None:
    """Let a convolutional network of a million weights learn digits in mini-batches that share its weights.

    Args:
        seeds: How many runs, each with its own initial weights and its own order of the images.
        seed: The first seed.
        output: The picture to write; None: no picture.
        json: Write all numbers to this file too.
        passes: Passes over the training images.
    """
    from lagrangian_learning.commands.digits.command import digits_command

    digits_command(seeds, seed, output, json, passes)


def xor(
    seed: int = 0, duration: float = 1000.0, output: Path | None = Path("xor.png"), json: Path | None = None
) -> None:
    """Let the paper's network of five neurons learn XOR, and show its motion, its energy and its residuals.

    Args:
        seed: Chooses the initial weights.
        duration: How long the motion lasts; a pattern takes one unit of time.
        output: The picture to write; None: no picture.
        json: Write all numbers to this file too.
    """
    from lagrangian_learning.commands.xor import xor_command

    xor_command(seed, duration, output, json)


def waves(folder: Path = Path("waves"), json: Path | None = None) -> None:
    """Show backpropagation as waves: inputs move up a network one layer a frame, errors come back, gradients form.

    Args:
        folder: Where the pictures and the animation go; made if it is missing.
        json: Write all numbers to this file too.
    """
    from .waves import waves_command

    waves_command(folder, json)


def verify(json: bool = False, equation: str | None = None) -> None:
    """Measure every equation and claim of the paper. Exit status 0 only if all of them behave as documented.

    Args:
        json: Print a list of objects, one for each equation of each check, in place of the table.
        equation: Only what is about this one: a number such as 15, or a label such as "Proposition 1".
    """
    from .verify import verify_command

    verify_command(json, equation)


def main(args: list[str] | None = None) -> None:
    """The entry point; args: those of the process when None."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        sys.exit(
            f"lagrangian-learning: the command line needs {', '.join(missing)}. "
            'Install it with, in the checkout: pip install ".[cli]"'
        )
    from lagrangian_learning._interrupts import Terminated, terminations_raised

    try:
        with terminations_raised():
            _app().cli(args=args, prog="lagrangian-learning", description="Learning as mechanics.")
    except (KeyboardInterrupt, Terminated) as stop:
        print(
            "\nlagrangian-learning: stopped; what it named as written is complete, nothing else is kept.",
            file=sys.stderr,
        )
        sys.exit(stop.code if isinstance(stop, Terminated) else 130)


def _app() -> Any:
    from tyro.extras import SubcommandApp

    learn, simulate, app = SubcommandApp(), SubcommandApp(), SubcommandApp()
    learn.command(speech)
    learn.command(digits)
    simulate.command(xor)
    app.command(learn, name="learn", help="Learn from real input.")
    app.command(simulate, name="simulate", help="Simulate a small system and look at its motion.")
    app.command(verify)
    app.command(waves)
    return app
