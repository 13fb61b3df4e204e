"""Batches of small systems as fused arithmetic: the ordinary step of a run, written out on scalars, on many lanes."""

from .engine import FusedEngine as FusedEngine
from .unrolled_multipliers import UnrolledMultipliers as UnrolledMultipliers
