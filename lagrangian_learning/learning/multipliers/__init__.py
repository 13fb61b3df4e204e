"""Multiplier solvers: the dense ones of `mechanics`, and those that know a network."""

from lagrangian_learning.mechanics import (
    AbstractMultiplierSolver as AbstractMultiplierSolver,
    DenseByStructure as DenseByStructure,
    DenseSaddlePoint as DenseSaddlePoint,
    DenseSchur as DenseSchur,
)

from .choice import chosen_solver as chosen_solver
from .conjugate_gradients import ConjugateGradients as ConjugateGradients
from .direct import BlockTridiagonal as BlockTridiagonal, NetworkSchur as NetworkSchur
from .low_rank import LowRankElimination as LowRankElimination
from .network_solver import (
    AbstractNetworkMultipliers as AbstractNetworkMultipliers,
    FiniteSpeedMultipliers as FiniteSpeedMultipliers,
    NetworkStructure as NetworkStructure,
)
