"""The laws of learning, one a file: full and reduced dynamics, finite speed, and their limits."""

from .action_law import AbstractActionLaw as AbstractActionLaw
from .backprop_diffusion import BackpropDiffusion as BackpropDiffusion
from .costate import (
    direction as direction,
    growth_rate as growth_rate,
    layer_gains as layer_gains,
    without_gains as without_gains,
)
from .damped_descent import DampedDescent as DampedDescent
from .finite_speed import FiniteSpeedDynamics as FiniteSpeedDynamics
from .full import FullDynamics as FullDynamics
from .gradient_flow import GradientFlow as GradientFlow
from .reduced import ReducedDynamics as ReducedDynamics
from .reduced_derived import ReducedDerivedDynamics as ReducedDerivedDynamics
