"""Multiplier solvers that know a network."""

from .block_tridiagonal import BlockTridiagonal as BlockTridiagonal
from .waves import NetworkSchur as NetworkSchur, WaveMultipliers as WaveMultipliers
