"""`lagrangian-learning verify`."""

import jax
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lagrangian_learning.verify import Claim, Verification, run

PIPED_WIDTH = 132


def verify_command(as_json: bool, equation: str | None) -> Verification:
    """Measures, and prints a table or JSON; see `commands.cli.verify`. Exits with 1 on a surprise."""
    jax.config.update("jax_enable_x64", True)
    beside = Console(stderr=True)
    try:
        with beside.status("", spinner="line") as status:

            def progress(done: int, total: int, check: Claim) -> None:
                status.update(f"{done} of {total} measured; now {check.name} …")

            found = run(equation, progress=progress)
    except ValueError as error:
        raise SystemExit(f"verify: {error}") from None
    if as_json:
        print(found.to_json())
    else:
        _print(_console(), found)
    if not found.as_documented:
        raise SystemExit(1)
    return found


def _console() -> Console:
    # A pipe has no width, and rich then takes 80 columns, too few for a sentence beside five others.
    console = Console()
    return console if console.is_terminal else Console(width=PIPED_WIDTH)


def _print(console: Console, found: Verification) -> None:
    console.print("[bold]The paper's equations and claims, measured[/]  float64; a residual is to stay under tolerance")
    console.print(_table(found))
    for finding in found.findings:
        for reason in finding.reasons:
            console.print(Text(f"{finding.check.name}: {reason}", style="red"))
    console.print(Text(found.summary, style="bold green" if found.as_documented else "bold red"))
    console.print("what each verdict means, and the correct forms: docs/equations.md and docs/errata.md")


def _table(found: Verification) -> Table:
    """Residual over tolerance, and the remark under the claim: so that it reads well in 80 columns too."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("about", min_width=9, max_width=16)
    table.add_column("claim", ratio=1)
    table.add_column("verdict", min_width=9, max_width=11)
    table.add_column("residual\n≤ tolerance", no_wrap=True)
    table.add_column("as stated", no_wrap=True)
    for (about, claim, verdict, residual, tolerance, met), finding in zip(found.rows(), found.findings, strict=True):
        text = Text(claim).append(f"\n{finding.check.remark}" if finding.check.remark else "", style="italic")
        numbers = Text(f"{residual}\n≤ {tolerance}")
        style = None if finding.as_documented else "red"
        table.add_row(Text(about), text, Text(verdict), numbers, Text(met), style=style)
    return table
