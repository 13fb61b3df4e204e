"""All checks, in the order of the paper."""

from . import euler_lagrange, reduction
from .check import Check

CHECKS: tuple[Check, ...] = (*euler_lagrange.CHECKS, *reduction.CHECKS)


def checks() -> tuple[Check, ...]:
    """Every check of `verify`, in the order of the paper."""
    return CHECKS


def check(name: str) -> Check:
    """The check of this name; `ll.check("weights-ascend").measure()` measures it. ValueError for a name unknown."""
    for known in CHECKS:
        if known.name == name:
            return known
    raise ValueError(f"no check is called {name!r}. There are: {', '.join(known.name for known in CHECKS)}.")


def labels() -> tuple[str, ...]:
    """Every label that some check is about: numbers first, then the others by name."""
    found = {label for known in CHECKS for label in known.equations}
    numbers = sorted((label for label in found if label.isdigit()), key=int)
    return (*numbers, *sorted(label for label in found if not label.isdigit()))
