"""Discrete waves (1)–(3): their run, their timing, and how close their gradients come."""

from .discrete import WaveRecord as WaveRecord, backprop_waves as backprop_waves
from .fidelity import (
    WaveFidelity as WaveFidelity,
    WaveFrames as WaveFrames,
    wave_fidelity as wave_fidelity,
    wave_frames as wave_frames,
)
from .timing import (
    causing_input_mismatch as causing_input_mismatch,
    largest_time_step as largest_time_step,
    synchronisation_time as synchronisation_time,
    synchronised_layer as synchronised_layer,
    target_mismatch as target_mismatch,
)
