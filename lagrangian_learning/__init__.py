"""Learning as mechanics: cognitive actions, their Euler–Lagrange equations, and their integration in JAX.

What most programs need stands here; the rest is in the namespaces `mechanics`, `networks`, `signals`, `data`,
`learning`, `laws`, `multipliers`, `waves`, `boundary`, `batch`, `costs`, `verify` and `plot`.
"""

import importlib
from typing import TYPE_CHECKING

from . import (
    batch as batch,
    boundary as boundary,
    costs as costs,
    data as data,
    echo as echo,
    files as files,
    mechanics as mechanics,
    verify as verify,
)
from .batch import simulate_batch as simulate_batch, value_and_grad_batch as value_and_grad_batch
from .boundary import solve_boundary as solve_boundary
from .costs import estimate as estimate
from .echo import echo_gradient as echo_gradient
from .files import load as load, save as save
from .learning import (
    AbstractPotential as AbstractPotential,
    BackpropDiffusion as BackpropDiffusion,
    BatchMean as BatchMean,
    BatchSum as BatchSum,
    CognitiveAction as CognitiveAction,
    CrossEntropy as CrossEntropy,
    DampedDescent as DampedDescent,
    Descent as Descent,
    GradientFlow as GradientFlow,
    NetworkLoss as NetworkLoss,
    PredictiveCoding as PredictiveCoding,
    Rescaling as Rescaling,
    Rotation as Rotation,
    Scaling as Scaling,
    SquaredError as SquaredError,
    Term as Term,
    Translation as Translation,
    WeightDecay as WeightDecay,
    delta_errors as delta_errors,
    laws as laws,
    multipliers as multipliers,
    waves as waves,
)
from .mechanics import (
    AbstractDissipation as AbstractDissipation,
    AbstractKinetic as AbstractKinetic,
    AbstractLaw as AbstractLaw,
    Bregman as Bregman,
    DAlembert as DAlembert,
    DualMap as DualMap,
    EulerLagrange as EulerLagrange,
    ExponentialDissipation as ExponentialDissipation,
    GradientOf as GradientOf,
    Holonomic as Holonomic,
    Kinetic as Kinetic,
    Lagrangian as Lagrangian,
    NoDissipation as NoDissipation,
    PiecewiseLinearDissipation as PiecewiseLinearDissipation,
    Quadratic as Quadratic,
    Quartic as Quartic,
    Rates as Rates,
    Relativistic as Relativistic,
    ScheduledDissipation as ScheduledDissipation,
    SpaceRotation as SpaceRotation,
    State as State,
    Vakonomic as Vakonomic,
    charge as charge,
)
from .networks import (
    Batched as Batched,
    Chain as Chain,
    Digraph as Digraph,
    Layered as Layered,
    Rescaled as Rescaled,
)
from .optimizers import optimizer as optimizer
from .signals import (
    Constant as Constant,
    Patterns as Patterns,
    Sampled as Sampled,
    Sinusoids as Sinusoids,
    Stimulus as Stimulus,
    Stream as Stream,
)
from .simulate import (
    RESULTS as RESULTS,
    Baumgarte as Baumgarte,
    NoStabilisation as NoStabilisation,
    NotSavedError as NotSavedError,
    Projection as Projection,
    Replay as Replay,
    Trajectory as Trajectory,
    simulate as simulate,
)
from .steppers import (
    ExponentialMidpoint as ExponentialMidpoint,
    ExponentialRK4 as ExponentialRK4,
    KickDrift as KickDrift,
    Rattle as Rattle,
)

if TYPE_CHECKING:
    from . import fused as fused, plot as plot

__version__ = "0.2.0"


def __getattr__(name: str) -> object:
    """The optional rooms, loaded when asked for: `fused`, and `plot`, which needs matplotlib."""
    if name in {"fused", "plot"}:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
