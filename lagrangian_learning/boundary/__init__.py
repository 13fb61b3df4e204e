"""Two-point problems: `solve_boundary`, its methods, and what it returns."""

from .solution import (
    AbstractMethod as AbstractMethod,
    BoundarySolution as BoundarySolution,
    Newton as Newton,
    Sweeps as Sweeps,
)
from .solve import solve_boundary as solve_boundary
