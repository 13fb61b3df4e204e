"""Any pytree as a static field: its arrays read-only, compared and hashed by value."""

from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from .edges import FrozenArray


@final
class FrozenPytree:
    """A pytree held hashably. Raises TypeError for leaves and static fields that cannot be hashed."""

    def __init__(self, tree: PyTree) -> None:
        leaves, self.structure = jax.tree.flatten(tree)
        self.leaves = tuple(FrozenArray(np.asarray(leaf)) if eqx.is_array(leaf) else _held(leaf) for leaf in leaves)
        self._hash = hash((self.leaves, self.structure))

    def thawed(self) -> PyTree:
        """The pytree itself, its arrays JAX's."""
        leaves = [jnp.asarray(leaf.array) if isinstance(leaf, FrozenArray) else leaf for leaf in self.leaves]
        return jax.tree.unflatten(self.structure, leaves)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, FrozenPytree) or hash(self) != hash(other):
            return False
        return self.structure == other.structure and self.leaves == other.leaves


def _held(leaf: Any) -> Any:
    return FrozenArray(leaf) if isinstance(leaf, np.ndarray) else leaf
