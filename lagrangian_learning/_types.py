"""Names of types that every room shares, in place of `Any`."""

import diffrax
import numpy as np
from jaxtyping import Array, PyTree

# A real number of Python; beartype takes an int for no float.
Number = int | float
# A time or another real number, before it is cast to the dtype of the state.
Time = float | int | np.ndarray | np.generic | Array
# Whatever the equations of a law take beside time and state: parameters, the `Stimulus` of a network.
Args = PyTree
# What Diffrax hands to a stepper: an `ODETerm` of a vector field, possibly in its wrapper for the direction of time.
Terms = diffrax.AbstractTerm
