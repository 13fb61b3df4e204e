"""Two-point problems: `solve_boundary`."""

from .solve import solve_boundary as solve_boundary
