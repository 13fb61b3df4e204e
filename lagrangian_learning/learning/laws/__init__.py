"""The laws of learning, one a file: full and reduced dynamics, finite speed, and their limits."""

from .backprop_diffusion import BackpropDiffusion as BackpropDiffusion
from .coordinates import FullDynamics as FullDynamics, ReducedDynamics as ReducedDynamics
from .costate import (
    direction as direction,
    growth_rate as growth_rate,
    layer_gains as layer_gains,
    without_gains as without_gains,
)
from .damped_descent import DampedDescent as DampedDescent
from .finite_speed import FiniteSpeedDynamics as FiniteSpeedDynamics
from .gradient_flow import GradientFlow as GradientFlow
from .network_law import AbstractNetworkLaw as AbstractNetworkLaw
