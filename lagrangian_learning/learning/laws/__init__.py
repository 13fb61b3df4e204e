"""The laws of learning, one a file: full and reduced dynamics, finite speed, and their limits."""

from .backprop_diffusion import BackpropDiffusion as BackpropDiffusion
from .coordinates import FullCoordinates as FullCoordinates, ReducedCoordinates as ReducedCoordinates
from .costate import growth_rate as growth_rate, layer_gains as layer_gains
from .damped_descent import DampedDescent as DampedDescent
from .finite_speed import FiniteSpeed as FiniteSpeed, FiniteSpeedMultipliers as FiniteSpeedMultipliers
from .gradient_flow import GradientFlow as GradientFlow
from .network_law import AbstractNetworkLaw as AbstractNetworkLaw
