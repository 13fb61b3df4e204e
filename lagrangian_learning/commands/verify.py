"""`lagrangian-learning verify`."""

from pathlib import Path

import jax
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lagrangian_learning.verify import Claim, Verification, run

from .files import STDOUT
from .output import check_files, line_printer, save
from .progress import progress

PIPED_WIDTH = 132
LEGEND = """\
documented as  holds: the claim is right as printed; holds with a condition: only under the one in italics; erratum: it
               is wrong as printed, and the text in italics corrects it (docs/equations.md, docs/errata.md)
residual       how far apart the two ways are in which the claim was measured; --json describes them (`method`)"""


def verify_command(numbers: Path | None, equation: str | None) -> Verification:
    """Measures, prints a table and writes JSON; see `commands.cli.verify`. Exits with 1 on a surprise."""
    check_files("verify", None, numbers)
    jax.config.update("jax_enable_x64", True)
    try:
        found = _measured(equation)
    except ValueError as error:
        raise SystemExit(f"verify: {error}") from None
    console = _console(numbers)
    _print(console, found)
    save(line_printer(console), None, lambda path: None, numbers, found.as_dicts())
    if not found.as_documented:
        raise SystemExit(1)
    return found


def _measured(equation: str | None) -> Verification:
    with progress("verify", "checks") as report:

        def measuring(done: int, total: int, check: Claim) -> None:
            report(done, total, now=check.name)

        found = run(equation, progress=measuring)
        report(len(found.findings), len(found.findings))
    return found


def _console(numbers: Path | None) -> Console:
    # A pipe has no width, and rich then takes 80 columns, too few for a sentence beside five others.
    beside = numbers == STDOUT
    console = Console(stderr=beside)
    return console if console.is_terminal else Console(stderr=beside, width=PIPED_WIDTH)


def _print(console: Console, found: Verification) -> None:
    console.print("[bold]The paper's equations and claims, measured[/]  in float64")
    console.print(_table(found))
    for finding in found.findings:
        for reason in finding.reasons:
            console.print(Text(f"{finding.check.name}: {reason}", style="red"))
    console.print(Text(found.summary, style="bold green" if found.as_documented else "bold red"))
    console.print(LEGEND, highlight=False, soft_wrap=True)


def _table(found: Verification) -> Table:
    """Residual over tolerance, and the remark under the claim: so that it reads well in 80 columns too."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("equation", min_width=9, max_width=16)
    table.add_column("claim", ratio=1)
    table.add_column("documented\nas", min_width=9, max_width=11)
    table.add_column("residual\n≤ allowed", no_wrap=True)
    table.add_column("measured as\ndocumented", no_wrap=True)
    for (about, claim, verdict, residual, tolerance, met), finding in zip(found.rows(), found.findings, strict=True):
        text = Text(claim).append(f"\n{finding.check.remark}" if finding.check.remark else "", style="italic")
        numbers = Text(f"{residual}\n≤ {tolerance}")
        style = None if finding.as_documented else "red"
        table.add_row(Text(about), text, Text(verdict), numbers, Text(met), style=style)
    return table
