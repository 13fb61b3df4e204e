"""Multiplier solvers: the dense ones of `mechanics`, and those that know a network."""

from lagrangian_learning.mechanics import (
    AbstractMultiplierSolver as AbstractMultiplierSolver,
    DenseSaddlePoint as DenseSaddlePoint,
    DenseSchur as DenseSchur,
)

from .block_tridiagonal import BlockTridiagonal as BlockTridiagonal
from .choice import chosen_solver as chosen_solver
from .conjugate_gradients import ConjugateGradients as ConjugateGradients
from .finite_speed import FiniteSpeedMultipliers as FiniteSpeedMultipliers
from .network_schur import NetworkSchur as NetworkSchur
from .network_solver import (
    AbstractNetworkMultipliers as AbstractNetworkMultipliers,
    NetworkStructure as NetworkStructure,
)
