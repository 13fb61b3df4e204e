"""Multiplier solvers: the dense ones of `mechanics`, and those that know a network."""

from lagrangian_learning.mechanics import (
    AbstractMultiplierSolver as AbstractMultiplierSolver,
    DenseSaddlePoint as DenseSaddlePoint,
    DenseSchur as DenseSchur,
)

from .block_tridiagonal import BlockTridiagonal as BlockTridiagonal
from .finite_speed import FiniteSpeedMultipliers as FiniteSpeedMultipliers
from .waves import ConjugateGradients as ConjugateGradients, NetworkSchur as NetworkSchur
