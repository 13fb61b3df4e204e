"""Signals e(t) and y(t): smooth functions of time that state how often they can be differentiated."""

from .patterns import Patterns as Patterns
from .sampled import Sampled as Sampled
from .signal import AbstractSignal as AbstractSignal, Function as Function
from .smooth import Constant as Constant, Sinusoids as Sinusoids
from .stimulus import Stimulus as Stimulus, as_signal as as_signal
from .stream import Stream as Stream
