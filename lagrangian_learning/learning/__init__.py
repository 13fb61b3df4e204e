"""The cognitive action and its laws: joins mechanics and networks."""

from .action import CognitiveAction as CognitiveAction
from .damped_descent import DampedDescent as DampedDescent
from .delta_errors import delta_errors as delta_errors
from .gradient_flow import GradientFlow as GradientFlow
from .network_law import (
    AbstractNetworkLaw as AbstractNetworkLaw,
    FullCoordinates as FullCoordinates,
    ReducedCoordinates as ReducedCoordinates,
)
from .potential import (
    AbstractPotential as AbstractPotential,
    CrossEntropy as CrossEntropy,
    FunctionPotential as FunctionPotential,
    SquaredError as SquaredError,
    Term as Term,
    WeightDecay as WeightDecay,
)
from .waves import NetworkSchur as NetworkSchur, WaveMultipliers as WaveMultipliers
