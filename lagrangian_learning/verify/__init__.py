"""Every equation and claim of the paper as a measurement with a verdict: one family of equations a module.

`handwritten` holds the networks of the paper and (8)–(10) in NumPy alone and `problems` the random instances on which
the package is compared with them; every other module measures one section.
"""

from .claim import (
    Claim as Claim,
    Finding as Finding,
    Measured as Measured,
    Shared as Shared,
    as_claim as as_claim,
)
from .registry import claim as claim, claims as claims
from .table_one import TableOne as TableOne, table_one as table_one
from .verification import Verification as Verification, run as run
