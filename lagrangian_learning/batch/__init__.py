"""Many runs in one call: lanes, chunks, devices, engines, checkpoints."""

from .devices import local_lanes as local_lanes
from .engine import AbstractEngine as AbstractEngine
from .engines import DiffraxEngine as DiffraxEngine, SerialEngine as SerialEngine
from .reduction import Reduction as Reduction
from .simulate_batch import simulate_batch as simulate_batch
