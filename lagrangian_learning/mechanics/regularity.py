"""Whether a saddle-point system determines top derivative and multipliers."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from lagrangian_learning._arrays import dtype_of

from .saddle_point import SaddlePoint, scaled_matrix


class Regularity(eqx.Module):
    """How regular a saddle-point system is: prints itself.

    num_coordinates, num_constraints: n and k;  constraint_rank: the numerical rank of B;
    smallest, largest: singular values of the scaled matrix;  regular: whether top derivative and multipliers exist
    and are unique.
    """

    num_coordinates: int = eqx.field(static=True)
    num_constraints: int = eqx.field(static=True)
    constraint_rank: Array
    smallest: Array
    largest: Array
    regular: Array

    def __str__(self) -> str:
        verdict = "regular" if bool(self.regular) else "SINGULAR"
        return (
            f"{verdict}: {self.num_coordinates} coordinates, {self.num_constraints} constraints of rank "
            f"{int(self.constraint_rank)}, singular values {float(self.smallest):.3g} to {float(self.largest):.3g}"
        )


def regularity(system: SaddlePoint) -> Regularity:
    """Rank of the constraints and singular values of the scaled saddle-point matrix, by SVD: O((n + k)³)."""
    matrix, column_scale, row_scale = scaled_matrix(system)
    n, k = column_scale.size, row_scale.size
    tolerance = 10 * max(n + k, 1) * jnp.finfo(dtype_of(matrix)).eps
    values = jnp.linalg.svd(matrix, compute_uv=False)
    rows = matrix[n:, :n]
    row_values = jnp.linalg.svd(rows, compute_uv=False) if k else jnp.zeros((0,), matrix.dtype)
    return Regularity(
        num_coordinates=n,
        num_constraints=k,
        constraint_rank=jnp.sum(row_values > tolerance),
        smallest=values[-1],
        largest=values[0],
        regular=values[-1] > tolerance * values[0],
    )
