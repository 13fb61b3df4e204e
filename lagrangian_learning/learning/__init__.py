"""The cognitive action and its laws: joins mechanics and networks."""

from .action import CognitiveAction as CognitiveAction
from .backprop_diffusion import BackpropDiffusion as BackpropDiffusion
from .block_tridiagonal import BlockTridiagonal as BlockTridiagonal
from .coordinates import FullCoordinates as FullCoordinates, ReducedCoordinates as ReducedCoordinates
from .costate import growth_rate as growth_rate, layer_gains as layer_gains
from .damped_descent import DampedDescent as DampedDescent
from .delta_errors import delta_errors as delta_errors
from .discrete_waves import Waves as Waves, backprop_waves as backprop_waves
from .finite_speed import FiniteSpeed as FiniteSpeed, FiniteSpeedMultipliers as FiniteSpeedMultipliers
from .gradient_flow import GradientFlow as GradientFlow
from .network_law import AbstractNetworkLaw as AbstractNetworkLaw
from .neuron_mass import neuron_mass_force as neuron_mass_force, neuron_mass_ratio as neuron_mass_ratio
from .potential import (
    AbstractPotential as AbstractPotential,
    BatchMean as BatchMean,
    BatchSum as BatchSum,
    CrossEntropy as CrossEntropy,
    FunctionPotential as FunctionPotential,
    SquaredError as SquaredError,
    Term as Term,
    WeightDecay as WeightDecay,
)
from .synchronisation import (
    causing_input_mismatch as causing_input_mismatch,
    largest_time_step as largest_time_step,
    synchronisation_time as synchronisation_time,
    synchronised_layer as synchronised_layer,
    target_mismatch as target_mismatch,
)
from .unrolled import UnrolledMultipliers as UnrolledMultipliers
from .waves import NetworkSchur as NetworkSchur, WaveMultipliers as WaveMultipliers
