"""The laws of learning, one a file: full and reduced dynamics, finite speed, and their limits."""

from .action_law import AbstractActionLaw as AbstractActionLaw
from .backprop_diffusion import (
    BackpropDiffusion as BackpropDiffusion,
    direction as direction,
    growth_rate as growth_rate,
    layer_gains as layer_gains,
    without_gains as without_gains,
)
from .descent import Descent as Descent
from .finite_speed import FiniteSpeedDynamics as FiniteSpeedDynamics
from .full import FullDynamics as FullDynamics
from .limits import DampedDescent as DampedDescent, GradientFlow as GradientFlow
from .predictive_coding import PredictiveCoding as PredictiveCoding
from .reduced import ReducedDerivedDynamics as ReducedDerivedDynamics, ReducedDynamics as ReducedDynamics
from .soft import SoftDynamics as SoftDynamics
