"""K of a linear layer, by which G_M G_Mᵀ multiplies, and when it is worth forming."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from lagrangian_learning._arrays import matmul
from lagrangian_learning._tuning import SOLVER_STEPS

# Products with one G_M G_Mᵀ, one a step of the solver.
PRODUCTS = int(SOLVER_STEPS["float64"])


def gram_kernel(below: Float[Array, "*batch _"], width: int, *, bias: bool) -> Float[Array, "..."] | None:
    """K = x xᵀ [+ 1 with a bias], [B, B] over the examples of a batch, |x|² [+ 1] of a single one.

    G_M G_Mᵀ of a layer of `width` neurons above x is K by example, between factors σ′(a) where it has an activation.
    None where two products with x take fewer operations.
    """
    if below.ndim == 1:
        return jnp.sum(below**2) + float(bias)
    batch, n = below.shape
    return matmul(below, below.T) + float(bias) if _pays(batch, n, width) else None


def _pays(batch: int, below: int, above: int) -> bool:
    """Whether B² n operations once and B² m a product are fewer than 2 B n m a product."""
    return batch * (below + PRODUCTS * above) <= 2 * PRODUCTS * below * above
