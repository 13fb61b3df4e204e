"""The cognitive action and its laws: joins mechanics and networks."""

from .action import CognitiveAction as CognitiveAction
from .delta_errors import (
    Fidelity as Fidelity,
    delta_errors as delta_errors,
    descent_force as descent_force,
    fidelity as fidelity,
    loss as loss,
    potential_gradient as potential_gradient,
)
from .laws import (
    AbstractActionLaw as AbstractActionLaw,
    BackpropDiffusion as BackpropDiffusion,
    DampedDescent as DampedDescent,
    Descent as Descent,
    FiniteSpeedDynamics as FiniteSpeedDynamics,
    FullDynamics as FullDynamics,
    GradientFlow as GradientFlow,
    PredictiveCoding as PredictiveCoding,
    ReducedDerivedDynamics as ReducedDerivedDynamics,
    ReducedDynamics as ReducedDynamics,
    SoftDynamics as SoftDynamics,
    growth_rate as growth_rate,
    layer_gains as layer_gains,
)
from .losses import AbstractLoss as AbstractLoss, FunctionLoss as FunctionLoss, NetworkLoss as NetworkLoss
from .multipliers import (
    BlockTridiagonal as BlockTridiagonal,
    ConjugateGradients as ConjugateGradients,
    LowRankElimination as LowRankElimination,
    NetworkSchur as NetworkSchur,
)
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
from .symmetries import (
    Rescaling as Rescaling,
    Rotation as Rotation,
    Scaling as Scaling,
    Translation as Translation,
)
from .waves import (
    WaveFidelity as WaveFidelity,
    WaveFrames as WaveFrames,
    WaveRecord as WaveRecord,
    backprop_waves as backprop_waves,
    causing_input_mismatch as causing_input_mismatch,
    largest_time_step as largest_time_step,
    synchronisation_time as synchronisation_time,
    synchronised_layer as synchronised_layer,
    target_mismatch as target_mismatch,
    wave_fidelity as wave_fidelity,
    wave_frames as wave_frames,
)
