"""One run: `simulate`, its settings, steps, stabilisation, records and results. Knows only `AbstractLaw`."""

from .loop import Replay as Replay
from .results import RESULTS as RESULTS
from .simulate import simulate as simulate
from .stabilisation import (
    AbstractStabilisation as AbstractStabilisation,
    Baumgarte as Baumgarte,
    NoStabilisation as NoStabilisation,
    Projection as Projection,
)
from .trajectory import NotSavedError as NotSavedError, Trajectory as Trajectory
