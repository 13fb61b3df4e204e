"""How well one gradient, or one set of delta errors, matches another."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from lagrangian_learning._arrays import is_concrete


class Fidelity(eqx.Module):
    """Cosine and norm ratio |gradient|/|reference|, one entry a layer; prints as a table.

    A layer in which either is zero has cosine NaN: there is no direction to compare.
    """

    cosine: Float[Array, " layers"]
    norm_ratio: Float[Array, " layers"]

    def __str__(self) -> str:
        if not is_concrete(self.cosine) or self.cosine.ndim != 1:
            return f"Fidelity(cosine={self.cosine}, norm_ratio={self.norm_ratio})"
        rows = zip(np.asarray(self.cosine), np.asarray(self.norm_ratio), strict=True)
        lines = [f"{layer:>5}  {cosine:>10.6f}  {ratio:>10.6f}" for layer, (cosine, ratio) in enumerate(rows)]
        return "\n".join(["layer      cosine  norm ratio", *lines])


def fidelity(gradient: PyTree, reference: PyTree) -> Fidelity:
    """cos(g, g*) = g·g*/(|g||g*|) and |g|/|g*|, layer by layer: leaf by leaf of two pytrees of one structure.

    Compare like with like: gradients with gradients (+∂V/∂W), multipliers with multipliers (δ = −dV/dx after the
    activation). A leaf is taken as one long vector, so that a record [T, n] is compared over all its times.
    Raises ValueError when structures or shapes differ.
    """
    shapes = [jax.tree.map(jnp.shape, tree) for tree in (gradient, reference)]
    if jax.tree.structure(gradient) != jax.tree.structure(reference) or shapes[0] != shapes[1]:
        raise ValueError(f"fidelity compares like with like: the shapes are {shapes[0]} and {shapes[1]}.")
    pairs = zip(jax.tree.leaves(gradient), jax.tree.leaves(reference), strict=True)
    cosines, ratios = zip(*(_compare(jnp.ravel(g), jnp.ravel(r)) for g, r in pairs), strict=True)
    return Fidelity(jnp.stack(cosines), jnp.stack(ratios))


def _compare(g: Array, r: Array) -> tuple[Array, Array]:
    g_norm, r_norm = jnp.linalg.norm(g), jnp.linalg.norm(r)
    return jnp.vdot(g, r) / (g_norm * r_norm), g_norm / r_norm
