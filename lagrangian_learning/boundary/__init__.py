"""Two-point problems: `solve_boundary`, its methods, and what it returns."""

from .methods import AbstractMethod as AbstractMethod, Newton as Newton, Sweeps as Sweeps
from .solution import BoundarySolution as BoundarySolution
from .solve import solve_boundary as solve_boundary
