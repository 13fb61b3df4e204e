"""Learning as mechanics: cognitive actions, their Euler–Lagrange equations, and their integration in JAX.

The one public door; every name here is told in README.md and in its own docstring.
"""

from .integrate import (
    RESULTS as RESULTS,
    Baumgarte as Baumgarte,
    NoStabilisation as NoStabilisation,
    NotSavedError as NotSavedError,
    Projection as Projection,
    Trajectory as Trajectory,
    simulate as simulate,
    simulate_batch as simulate_batch,
    solve_boundary as solve_boundary,
)
from .learning import (
    AbstractPotential as AbstractPotential,
    BackpropDiffusion as BackpropDiffusion,
    CognitiveAction as CognitiveAction,
    CrossEntropy as CrossEntropy,
    DampedDescent as DampedDescent,
    FiniteSpeed as FiniteSpeed,
    FiniteSpeedMultipliers as FiniteSpeedMultipliers,
    FullCoordinates as FullCoordinates,
    GradientFlow as GradientFlow,
    NetworkSchur as NetworkSchur,
    ReducedCoordinates as ReducedCoordinates,
    SquaredError as SquaredError,
    Term as Term,
    WaveMultipliers as WaveMultipliers,
    Waves as Waves,
    WeightDecay as WeightDecay,
    backprop_waves as backprop_waves,
    causing_input_mismatch as causing_input_mismatch,
    delta_errors as delta_errors,
    largest_time_step as largest_time_step,
    layer_gains as layer_gains,
    neuron_mass_force as neuron_mass_force,
    neuron_mass_ratio as neuron_mass_ratio,
    synchronisation_time as synchronisation_time,
    synchronised_layer as synchronised_layer,
    target_mismatch as target_mismatch,
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
    Digraph as Digraph,
    Layered as Layered,
    constraint_rank as constraint_rank,
    guard_rank as guard_rank,
    xor_network as xor_network,
)
from .report import (
    Check as Check,
    Fidelity as Fidelity,
    Finding as Finding,
    TableOne as TableOne,
    Verification as Verification,
    WaveFidelity as WaveFidelity,
    check as check,
    checks as checks,
    fidelity as fidelity,
    table_one as table_one,
    verify as verify,
    wave_fidelity as wave_fidelity,
)
from .signals import (
    AbstractSignal as AbstractSignal,
    Constant as Constant,
    Patterns as Patterns,
    Recordings as Recordings,
    Sampled as Sampled,
    Sinusoids as Sinusoids,
    Stimulus as Stimulus,
    Stream as Stream,
    japanese_vowels as japanese_vowels,
    label_codes as label_codes,
    standardise as standardise,
)

__version__ = "0.1.0"
