"""Learning as mechanics: cognitive actions, their Euler–Lagrange equations, and their integration in JAX.

The one public door; every name here is told in README.md and in its own docstring.
"""

from .batch import Reduction as Reduction, local_lanes as local_lanes, simulate_batch as simulate_batch
from .boundary import solve_boundary as solve_boundary
from .data import (
    Recordings as Recordings,
    japanese_vowels as japanese_vowels,
    label_codes as label_codes,
    standardise as standardise,
)
from .estimate import (
    Estimate as Estimate,
    Hardware as Hardware,
    estimate as estimate,
    measure_hardware as measure_hardware,
)
from .fused import PallasEngine as PallasEngine
from .learning import (
    AbstractPotential as AbstractPotential,
    BackpropDiffusion as BackpropDiffusion,
    BatchMean as BatchMean,
    BatchSum as BatchSum,
    BlockTridiagonal as BlockTridiagonal,
    CognitiveAction as CognitiveAction,
    CrossEntropy as CrossEntropy,
    DampedDescent as DampedDescent,
    Fidelity as Fidelity,
    FiniteSpeed as FiniteSpeed,
    FiniteSpeedMultipliers as FiniteSpeedMultipliers,
    FullCoordinates as FullCoordinates,
    GradientFlow as GradientFlow,
    NetworkSchur as NetworkSchur,
    ReducedCoordinates as ReducedCoordinates,
    SquaredError as SquaredError,
    Term as Term,
    WaveFidelity as WaveFidelity,
    WaveMultipliers as WaveMultipliers,
    Waves as Waves,
    WeightDecay as WeightDecay,
    backprop_waves as backprop_waves,
    causing_input_mismatch as causing_input_mismatch,
    delta_errors as delta_errors,
    fidelity as fidelity,
    largest_time_step as largest_time_step,
    layer_gains as layer_gains,
    neuron_mass_force as neuron_mass_force,
    neuron_mass_ratio as neuron_mass_ratio,
    synchronisation_time as synchronisation_time,
    synchronised_layer as synchronised_layer,
    target_mismatch as target_mismatch,
    wave_fidelity as wave_fidelity,
)
from .mechanics import (
    AbstractConstraint as AbstractConstraint,
    AbstractDissipation as AbstractDissipation,
    AbstractLaw as AbstractLaw,
    AbstractMultiplierSolver as AbstractMultiplierSolver,
    DAlembert as DAlembert,
    DenseSaddlePoint as DenseSaddlePoint,
    DenseSchur as DenseSchur,
    EulerLagrange as EulerLagrange,
    ExponentialDissipation as ExponentialDissipation,
    Holonomic as Holonomic,
    Lagrangian as Lagrangian,
    NoDissipation as NoDissipation,
    ScheduledDissipation as ScheduledDissipation,
    State as State,
    Vakonomic as Vakonomic,
    functional_derivative as functional_derivative,
)
from .networks import (
    AbstractNetwork as AbstractNetwork,
    Chain as Chain,
    Digraph as Digraph,
    Layered as Layered,
    SharedWeights as SharedWeights,
    constraint_rank as constraint_rank,
    guard_rank as guard_rank,
    shard_weights as shard_weights,
    xor_network as xor_network,
)
from .optimizers import optimizer as optimizer
from .signals import (
    AbstractSignal as AbstractSignal,
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
    Trajectory as Trajectory,
    simulate as simulate,
)
from .steppers import (
    ExponentialMidpoint as ExponentialMidpoint,
    ExponentialRK4 as ExponentialRK4,
    KickDrift as KickDrift,
    Rattle as Rattle,
)
from .verify import (
    Check as Check,
    Finding as Finding,
    TableOne as TableOne,
    Verification as Verification,
    check as check,
    checks as checks,
    table_one as table_one,
    verify as verify,
)

__version__ = "0.1.0"
