"""All checks, in the order of the paper, and behind them those of theories that it does not hold."""

import itertools

from . import (
    action,
    cauchy,
    constraints,
    costate,
    descent,
    euler_lagrange,
    finite_speed,
    limits,
    reduction,
    synchronisation,
    theories,
    wave_figures,
    waves,
)
from .claim import Claim

WAVES = (waves, wave_figures, synchronisation)
PAPER = (*WAVES, action, constraints, euler_lagrange, cauchy, descent, limits, reduction, finite_speed, costate)
FAMILIES = (*PAPER, theories)


def _place(check: Claim) -> float:
    """Where the paper comes to it: by the last of its numbered equations, as the others follow from the text."""
    numbers = [float(label) for label in check.equations if label.isdigit()]
    return max(numbers, default=PLACES.get(check.equations[0], 0.0))


# What has no number stands behind the equation before it.
PLACES = {
    "Figure 1": 3.1,
    "synchronisation": 3.2,
    "Figure 2": 3.3,
    "Figure 3": 3.4,
    "Table 1": 3.5,
    "video bound": 3.6,
    "XOR example": 3.7,
    "Proposition 1": 6.5,
    "soft constraints": 21.0,
    "optimisers": 22.0,
    "Noether charges": 23.0,
    "echo": 24.0,
}
ALL = itertools.chain(*(vars(family).values() for family in FAMILIES))
CLAIMS: tuple[Claim, ...] = tuple(sorted((found for found in ALL if isinstance(found, Claim)), key=_place))


def claims() -> tuple[Claim, ...]:
    """Every check of `verify`, in the order of the paper."""
    return CLAIMS


def claim(name: str) -> Claim:
    """The check of this name; `ll.verify.claim("weights-ascend").measure()` measures it.

    Raises ValueError for an unknown name.
    """
    for known in CLAIMS:
        if known.name == name:
            return known
    raise ValueError(f"no check is called {name!r}. There are: {', '.join(known.name for known in CLAIMS)}.")


def labels() -> tuple[str, ...]:
    """Every label that some check is about: numbers first, then the others by name."""
    found = {label for known in CLAIMS for label in known.equations}
    numbers = sorted((label for label in found if label.isdigit()), key=int)
    return (*numbers, *sorted(label for label in found if not label.isdigit()))
