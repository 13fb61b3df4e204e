"""Kinetic energies K(v) of the velocities alone, with their Legendre transforms (docs/theory.md §11)."""

from .kinetic import AbstractKinetic as AbstractKinetic
from .legendre import DualMap as DualMap, Kinetic as Kinetic, as_kinetic as as_kinetic
from .quadratic import Quadratic as Quadratic
from .quartic import Quartic as Quartic
from .relativistic import Relativistic as Relativistic
