"""Functions of a few numbers as arithmetic on scalars: `scalarise`. Knows no mechanics."""

from .functions import TRANSCENDENTAL as TRANSCENDENTAL
from .graph import NotScalarError as NotScalarError
from .program import Program as Program, as_numbers as as_numbers
from .scalarise import assembled as assembled, program_of as program_of, scalarise as scalarise
from .sincos import SineCosine as SineCosine
