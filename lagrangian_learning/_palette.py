"""The colours of all pictures, by what they stand for; they need no matplotlib.

Chosen after M. Okabe and K. Ito's set of eight, whose colours stay apart under the common kinds of colour blindness;
those on dark ground are lighter ones of the same hues.
"""

from collections.abc import Mapping
from types import MappingProxyType

COLOURS: Mapping[str, str] = MappingProxyType(
    {
        "weights": "#0072b2",
        "neurons": "#009e73",
        "multipliers": "#d55e00",
        "energy": "#0072b2",
        "residual": "#d55e00",
        "reference": "#e69f00",
        "accent": "#cc79a7",
        "alarm": "#b3261e",
        "muted": "#6b6b6b",
        "faint": "#d7dbe0",
        "ink": "#1b1f24",
        "paper": "#ffffff",
    }
)
DARK_COLOURS: Mapping[str, str] = MappingProxyType(
    {
        "weights": "#56b4e9",
        "neurons": "#35d0a0",
        "multipliers": "#e8743b",
        "energy": "#56b4e9",
        "residual": "#e8743b",
        "reference": "#f0e442",
        "accent": "#f4b6d6",
        "alarm": "#ff6b5e",
        "muted": "#a3a9b0",
        "faint": "#3a4048",
        "ink": "#e8eaed",
        "paper": "#14171a",
    }
)
CYCLE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#6b6b6b")
DARK_CYCLE = ("#56b4e9", "#e8743b", "#35d0a0", "#f4b6d6", "#f0e442", "#3f7be0", "#8b8f94")
