"""Steppers of our own: subclasses of `diffrax.AbstractSolver` that `simulate` takes as `solver`.

They find the law in `diffrax.ODETerm(law.vector_field)`, and so serve `diffrax.diffeqsolve` as well.
"""

from .exponential import (
    AbstractExponentialRungeKutta as AbstractExponentialRungeKutta,
    ExponentialMidpoint as ExponentialMidpoint,
    ExponentialRK4 as ExponentialRK4,
)
from .kick_drift import KickDrift as KickDrift
from .rattle import Rattle as Rattle
