"""What is made of trajectories: fidelity, plots, tables."""

from .fidelity import Fidelity as Fidelity, fidelity as fidelity
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
