"""`verify`: measures the claims of the paper and reports, row by row, whether they behave as documented."""

import dataclasses
import itertools
import json
import math
import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .claim import Claim, Finding, Shared, require_x64
from .registry import CLAIMS, labels

Progress = Callable[[int, int, Claim], None]
Wanted = str | int | Sequence[str | int] | None
HEADER = ("about", "claim", "verdict", "residual", "tolerance", "as documented")
WIDTHS = (16, 62, 12, 8, 9, 13)


@dataclasses.dataclass(frozen=True, repr=False)
class Verification:
    """What `verify` found: prints itself as a table, in a notebook as one of Markdown.

    findings: one a check, in the order of the paper.
    """

    findings: tuple[Finding, ...]

    @property
    def as_documented(self) -> bool:
        """Whether every claim behaves as documented."""
        return all(finding.as_documented for finding in self.findings)

    @property
    def summary(self) -> str:
        """How many checks behave as documented, and how long they took."""
        failed = [finding.check.name for finding in self.findings if not finding.as_documented]
        seconds = sum(finding.seconds for finding in self.findings)
        count = f"{len(self.findings)} checks in {seconds:.1f} s"
        return f"{count}: NOT as documented: {', '.join(failed)}" if failed else f"{count}, all as documented"

    def as_dicts(self) -> list[dict[str, Any]]:
        """One for every check and label, as JSON has them: `equation` names every number singly."""
        return [_as_dict(finding, label) for finding in self.findings for label in finding.check.equations]

    def to_json(self) -> str:
        """The list of `as_dicts` as JSON."""
        return json.dumps(self.as_dicts(), indent=1, ensure_ascii=False)

    def rows(self) -> list[tuple[str, ...]]:
        """The cells of the table under `HEADER`, a row a check."""
        return [_row(finding) for finding in self.findings]

    def _repr_markdown_(self) -> str:
        """The table as a notebook shows it."""
        lines = ["|".join(HEADER), "|".join("---" for _ in HEADER), *map(_markdown_row, self.findings)]
        reasons = [f"* {finding.check.name}: {reason}" for finding in self.findings for reason in finding.reasons]
        return "\n".join([*lines, "", *reasons, "", self.summary])

    def __str__(self) -> str:
        lines = [_line(HEADER), "  ".join("─" * width for width in WIDTHS)]
        for finding in self.findings:
            lines += _wrapped(_row(finding))
            lines += [f"    {reason}" for reason in finding.reasons]
        return "\n".join([*lines, "", self.summary])

    def __repr__(self) -> str:
        return str(self)


def run(equation: Wanted = None, *, progress: Progress | None = None) -> Verification:
    """Measures every equation and claim of the paper, or those about some of them.

    Arguments:
        equation: a label such as 15, "15", "(15)", "Proposition 1" or "Erratum 1", the name of a check, or a sequence
            of these; None: all.
        progress: called before each check with how many are done, how many there are, and the check.

    Needs float64: raises ValueError when JAX's x64 switch is off, and for an equation that no check is about. A
    measurement that raises does not end the others: its row fails and reports the error.
    """
    require_x64()
    selected = select(equation)
    shared = Shared()
    findings = []
    for done, check in enumerate(selected):
        if progress is not None:
            progress(done, len(selected), check)
        findings.append(_measured(check, shared))
    return Verification(tuple(findings))


def select(equation: Wanted) -> tuple[Claim, ...]:
    """The checks about what is wanted, in the order of the paper; ValueError for what none is about."""
    if equation is None:
        return CLAIMS
    labelled = [equation] if isinstance(equation, str | int) else equation
    found = {check.name for label in labelled for check in _about(label)}
    return tuple(check for check in CLAIMS if check.name in found)


def _about(label: str | int) -> list[Claim]:
    wanted = _plain(str(label))
    found = [check for check in CLAIMS if wanted in map(_plain, (*check.equations, check.name))]
    if not found:
        raise ValueError(f"no check is about {label!r}. There are checks about: {', '.join(labels())}.")
    return found


def _measured(check: Claim, shared: Shared) -> Finding:
    try:
        return check.measure(shared)
    except Exception as error:  # noqa: BLE001  # whatever is broken, the other rows must still be reported
        message = f"{type(error).__name__}: {error}".splitlines()[0]
        return Finding(check, math.nan, {}, {}, 0.0, message)


def _plain(label: str) -> str:
    return label.strip().strip("()").casefold()


def _as_dict(finding: Finding, label: str) -> dict[str, Any]:
    check = finding.check
    return {
        "equation": label,
        "check": check.name,
        "claim": check.claim,
        "method": check.method,
        "verdict": check.verdict,
        "remark": check.remark,
        "reference": check.reference,
        "residual": _number(finding.residual),
        "tolerance": check.tolerance,
        "as_documented": finding.as_documented,
        "reasons": list(finding.reasons),
        "details": {name: _number(value) for name, value in finding.details.items()},
        "seconds": round(finding.seconds, 3),
    }


def _number(value: float) -> float | None:
    # JSON has no NaN and no infinity.
    return value if math.isfinite(value) else None


def _row(finding: Finding) -> tuple[str, ...]:
    check = finding.check
    about = ", ".join(_shown(label) for label in check.equations)
    numbers = (f"{finding.residual:.1e}", f"{check.tolerance:.0e}")
    return about, check.claim, check.verdict, *numbers, "yes" if finding.as_documented else "NO"


def _markdown_row(finding: Finding) -> str:
    remark = finding.check.remark
    about, claim, *others = (cell.replace("|", "\\|") for cell in _row(finding))
    return "|".join([about, f"{claim} *{remark}*" if remark else claim, *others])


def _shown(label: str) -> str:
    return f"({label})" if label.isdigit() else label


def _wrapped(cells: Sequence[str]) -> Iterable[str]:
    columns = [textwrap.wrap(cell, width) for cell, width in zip(cells, WIDTHS, strict=True)]
    return [_line(parts) for parts in itertools.zip_longest(*columns, fillvalue="")]


def _line(cells: Sequence[str]) -> str:
    return "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, WIDTHS, strict=True)).rstrip()
