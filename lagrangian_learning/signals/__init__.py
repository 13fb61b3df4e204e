"""Signals e(t) and y(t): smooth, vmappable; each states how often it can be differentiated in t."""

from .constant import Constant as Constant
from .patterns import Patterns as Patterns
from .sampled import Sampled as Sampled
from .signal import AbstractSignal as AbstractSignal, Function as Function
from .sinusoids import Sinusoids as Sinusoids
from .stimulus import Stimulus as Stimulus, as_signal as as_signal
from .stream import Stream as Stream
