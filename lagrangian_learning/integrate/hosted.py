"""Results on the host, chunk after chunk, in arrays that are allocated once."""

from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree


class HostArrays:
    """A pytree of NumPy arrays [count, ...], filled as chunks come."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.tree: Any = None

    def fill(self, start: int, chunk: PyTree) -> None:
        """Takes a chunk whose first lane is start; what lies past the last lane was padding."""
        parts = jax.device_get(chunk)
        if self.tree is None:
            self.tree = jax.tree.map(lambda leaf: np.empty((self.count, *leaf.shape[1:]), leaf.dtype), parts)
        for whole, part in zip(jax.tree.leaves(self.tree), jax.tree.leaves(parts), strict=True):
            stop = min(start + part.shape[0], self.count)
            whole[start:stop] = part[: stop - start]
