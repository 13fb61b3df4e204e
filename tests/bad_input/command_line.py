"""The options of the commands."""

import contextlib
import importlib
import io
import re
import tempfile
from unittest import mock

from lagrangian_learning.commands import cli

from .judge import COLUMNS, LONGEST, AcceptedError, Verdict

TEXTS = {
    "None": "None", "string": "a", "dict": "{'a': 1}", "function": "<function>", "complex": "1+1j", "half": "0.5",
    "integer": "2", "negative": "-1", "zero": "0", "NaN": "nan", "inf": "inf", "huge": "1e300", "subnormal": "1e-310",
    "empty": "", "rank": "[[1]]",
}  # fmt: skip
COUNT, NAME = frozenset({"integer"}), frozenset(COLUMNS)  # any text names a file
LEARN = {"seeds": COUNT, "seed": COUNT | {"zero"}, "output": frozenset(), "json": NAME - {"empty"}}
OPTIONS = {
    ("learn", "speech"): LEARN | {"passes": COUNT, "recordings": COUNT},
    ("learn", "digits"): LEARN | {"passes": COUNT},
    ("tune", "speech"): {name: LEARN[name] for name in ("seed", "output", "json")}
    | {"runs": frozenset(), "frames": frozenset()},
    ("simulate", "xor"): {name: LEARN[name] for name in ("seed", "output", "json")} | {"duration": frozenset()},
    ("waves",): {"folder": NAME} | {name: LEARN[name] for name in ("json", "seed")},
    ("verify",): {"json": LEARN["json"]},
}
WORKERS = (
    "speech.command.make_task",
    "digits.command.make_task",
    "tune.command.ways_of_tuning",
    "xor.learn_xor",
    "waves.scenes",
    "verify.run",
)


def command_line() -> dict[tuple[str, str], dict[str, Verdict]]:
    """The verdicts of every option of the commands that take some; nothing is learned or drawn."""
    with contextlib.ExitStack() as stack:
        for worker in WORKERS:
            module, name = worker.rsplit(".", 1)
            room = importlib.import_module(f"lagrangian_learning.commands.{module}")
            stack.enter_context(mock.patch.object(room, name, side_effect=AcceptedError))
        stack.enter_context(contextlib.chdir(stack.enter_context(tempfile.TemporaryDirectory())))
        return {
            (f"lagrangian-learning {' '.join(command)}", f"--{option}"): {
                column: judged_text([*command, f"--{option}", text], column in takes) for column, text in TEXTS.items()
            }
            for command, options in OPTIONS.items()
            for option, takes in options.items()
        }


def judged_text(call: list[str], taken: bool) -> Verdict:
    """What comes of one text: accepted, or an end with a message that names the option."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            cli.main(call)
    except AcceptedError:
        return Verdict("v" if taken else "S", "accepted")
    except SystemExit as end:
        # Tyro's message stands in a box, above the help of the option.
        text = said.getvalue().split("Argument helptext")[0] if isinstance(end.code, int) else str(end.code)
        text = " ".join(re.sub(r"[─│╭╮╰╯]|-{4,}", " ", text).split())
        fine = call[-2] in text and len(text) <= LONGEST and "Traceback" not in text
        return Verdict("r" if fine else "U", text)
    except Exception as error:  # noqa: BLE001 every kind of error is judged
        return Verdict("U", f"{type(error).__name__}: {error}")
    return Verdict("S", "ended without a word")
