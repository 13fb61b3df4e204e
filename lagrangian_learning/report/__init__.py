"""What is made of trajectories: fidelity, plots, tables."""

from .cost import Cost as Cost, cost_of as cost_of
from .estimate import Estimate as Estimate, estimate as estimate
from .fidelity import Fidelity as Fidelity, fidelity as fidelity
from .hardware import Hardware as Hardware, measure_hardware as measure_hardware
from .table_one import TableOne as TableOne, table_one as table_one
from .verify import (
    Check as Check,
    Finding as Finding,
    Verification as Verification,
    check as check,
    checks as checks,
    verify as verify,
)
from .wave_fidelity import WaveFidelity as WaveFidelity, wave_fidelity as wave_fidelity
from .wave_frames import WaveFrames as WaveFrames, wave_frames as wave_frames
