"""Integration in time on Diffrax: `simulate`, stabilisation, result codes, trajectories. Knows only `AbstractLaw`."""

from .batch import simulate_batch as simulate_batch
from .boundary import solve_boundary as solve_boundary
from .devices import local_lanes as local_lanes
from .fused import PallasEngine as PallasEngine
from .optimizer import optimizer as optimizer
from .reduction import Reduction as Reduction
from .results import RESULTS as RESULTS
from .simulate import simulate as simulate
from .stabilisation import (
    AbstractStabilisation as AbstractStabilisation,
    Baumgarte as Baumgarte,
    NoStabilisation as NoStabilisation,
    Projection as Projection,
)
from .steppers import (
    ExponentialMidpoint as ExponentialMidpoint,
    ExponentialRK4 as ExponentialRK4,
    KickDrift as KickDrift,
    Rattle as Rattle,
)
from .trajectory import NotSavedError as NotSavedError, Trajectory as Trajectory
