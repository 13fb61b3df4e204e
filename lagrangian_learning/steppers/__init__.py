"""Steppers of our own: subclasses of `diffrax.AbstractSolver` that `simulate` takes as `solver`.

What `simulate` integrates is an `Augmented` pytree; `splitting` finds the law and its linear part in the terms. They
also step plain states with `diffrax.diffeqsolve` on `diffrax.ODETerm(law.vector_field)`.
"""

from .exponential import (
    AbstractExponentialRungeKutta as AbstractExponentialRungeKutta,
    ExponentialMidpoint as ExponentialMidpoint,
)
from .exponential_four import ExponentialRK4 as ExponentialRK4
from .kick_drift import KickDrift as KickDrift
from .rattle import Rattle as Rattle
