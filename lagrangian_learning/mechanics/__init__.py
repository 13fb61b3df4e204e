"""Variational calculus: Lagrangians, constraints, functional derivatives, multipliers, Cauchy data, invariants.

Knows no neuron and no time stepper: a pendulum and a network are the same to it.
"""

from .bregman import Bregman as Bregman
from .charge import AbstractCharge as AbstractCharge, Charge as Charge, ChargeRates as ChargeRates
from .constraint import (
    AbstractConstraint as AbstractConstraint,
    DAlembert as DAlembert,
    Holonomic as Holonomic,
    Vakonomic as Vakonomic,
)
from .damped_momenta import DampedMomenta as DampedMomenta, Phase as Phase
from .damping import Damping as Damping
from .dissipation import (
    AbstractDissipation as AbstractDissipation,
    ExponentialDissipation as ExponentialDissipation,
    NoDissipation as NoDissipation,
    PiecewiseLinearDissipation as PiecewiseLinearDissipation,
    ScheduledDissipation as ScheduledDissipation,
)
from .energy import energy as energy, momenta as momenta, power as power
from .equations import AbstractEquations as AbstractEquations, Defect as Defect
from .euler_lagrange import AbstractEulerLagrange as AbstractEulerLagrange, EulerLagrange as EulerLagrange
from .generators import (
    AbstractGradientGenerator as AbstractGradientGenerator,
    GradientOf as GradientOf,
    SpaceRotation as SpaceRotation,
)
from .kinetic import (
    AbstractKinetic as AbstractKinetic,
    DualMap as DualMap,
    Kinetic as Kinetic,
    Quadratic as Quadratic,
    Quartic as Quartic,
    Relativistic as Relativistic,
    as_kinetic as as_kinetic,
)
from .lagrangian import (
    Lagrangian as Lagrangian,
    functional_derivative as functional_derivative,
    total_derivative as total_derivative,
    weighted_derivative as weighted_derivative,
)
from .law import (
    AbstractBoundaryLaw as AbstractBoundaryLaw,
    AbstractConstrainedPart as AbstractConstrainedPart,
    AbstractEnergyPart as AbstractEnergyPart,
    AbstractLaw as AbstractLaw,
    AbstractMechanicalPart as AbstractMechanicalPart,
    EnergyReading as EnergyReading,
    Rates as Rates,
    Residual as Residual,
)
from .linear_part import (
    AbstractLinearPart as AbstractLinearPart,
    AbstractPropagator as AbstractPropagator,
    DampedMotion as DampedMotion,
    Decay as Decay,
)
from .method import compiled as compiled
from .multipliers import (
    AbstractMultiplierSolver as AbstractMultiplierSolver,
    DenseByStructure as DenseByStructure,
    DenseSaddlePoint as DenseSaddlePoint,
    DenseSchur as DenseSchur,
    Regularity as Regularity,
    SaddlePoint as SaddlePoint,
)
from .noether import LagrangianCharge as LagrangianCharge, charge as charge
from .state import State as State
