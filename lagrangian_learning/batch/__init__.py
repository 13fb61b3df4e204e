"""Many runs in one call: lanes, chunks, devices, engines, checkpoints."""

from .devices import local_lanes as local_lanes
from .engines import AbstractEngine as AbstractEngine, DiffraxEngine as DiffraxEngine, SerialEngine as SerialEngine
from .fold import Reduction as Reduction
from .gradient import BatchGradient as BatchGradient, value_and_grad_batch as value_and_grad_batch
from .simulate_batch import simulate_batch as simulate_batch
