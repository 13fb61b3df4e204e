"""Every public argument against every kind of bad value: `python -m tests.bad_input` prints docs/bad_input.md.

A verdict is a letter: v, a value came back, and the argument can hold such a value; r, a ValueError of this package
that names the argument in at most 300 characters and is raised outside jit. Two are defects: S (silent), accepted
although the argument cannot hold such a value, or with a result that is not finite; U (unreadable), any other error.
Runs are not computed: whatever reaches the compiled core has been accepted.
"""

import jax

from .command_line import command_line
from .judge import COLUMNS, Case as Case, Verdict, positive as positive, table
from .learning import learning
from .physics import mechanics, networks, signals
from .runs import runs

ROOMS = {
    "signals": signals,
    "mechanics": mechanics,
    "networks": networks,
    "learning": learning,
    "runs": runs,
    "command line": None,
}


def found(room: str) -> dict[tuple[str, str], dict[str, Verdict]]:
    """The verdicts of one room in the dtype that is JAX's default now."""
    cases = ROOMS[room]
    return command_line() if cases is None else table(cases())


def printed() -> str:
    """The table as it stands in docs/bad_input.md: a row an argument, float64 and float32 side by side."""
    lines = [f"| argument | {' | '.join(COLUMNS)} |", "|---" * (len(COLUMNS) + 1) + "|"]
    for room in ROOMS:
        both = []
        for enabled in (True, False):
            with jax.enable_x64(enabled):
                both.append(found(room))
        for (name, argument), row in both[0].items():
            letters = [row[column].letter + both[1][name, argument][column].letter for column in COLUMNS]
            cells = [pair[0] if pair[0] == pair[1] else pair for pair in letters]
            lines.append(f"| `{name}`: {argument} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(names: list[str]) -> None:
    """The table; or, of the rooms named, every defect in JAX's default dtype."""
    if not names:
        print(printed())
    for room in names:
        for (name, argument), row in found(room).items():
            for column, (letter, text) in row.items():
                if letter in "SU":
                    print(f"{letter} {name}({argument}={column}): {' '.join(text.split())}")
