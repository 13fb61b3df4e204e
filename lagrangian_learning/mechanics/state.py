"""`State`: generalized coordinates with their velocities."""

import equinox as eqx
import jax
import numpy as np
from jaxtyping import PyTree


class State(eqx.Module):
    """Generalized coordinates q and velocities v; for a second-order action also a = q̈ and j = q⃛.

    multipliers is the place of those δ that are themselves part of the state; None for holonomic constraints.
    """

    q: PyTree
    v: PyTree
    a: PyTree = None
    j: PyTree = None
    multipliers: PyTree = None


def matches(value: PyTree, like: PyTree, name: str, remedy: str, of: str = "q") -> PyTree:
    """`value`, if it has the structure and shapes of `like`; else a ValueError."""
    shapes = [jax.tree.map(np.shape, tree) for tree in (value, like)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"{name} has shapes {shapes[0]}, and {of} has {shapes[1]}: {remedy}.")
    return value
