"""What a run will cost: time and memory, known before it starts."""

from .cost import Cost as Cost, cost_of as cost_of
from .estimate import Estimate as Estimate, estimate as estimate
from .hardware import Hardware as Hardware, measure_hardware as measure_hardware
