"""What is said of a start that is refused: how far off it is, where, and what to do."""

import jax
import numpy as np
from jaxtyping import Array, PyTree

from lagrangian_learning._arrays import is_concrete

from .law import Residual

NOT_FINITE = "the start (t0, q, v, a, j or multipliers) may not contain NaN or inf: give finite data."
_SINGULAR = (
    "the equations are singular at the start{found}: the inertia is not regular on the kernel of G_q, or a gradient of "
    "G vanishes (see law.regularity(t0, state, args)). Give a mass to every coordinate that the constraints leave "
    "free, or another q."
)


def singular(rank: tuple[Array, int] | None) -> str:
    """Of a start whose accelerations are not determined; rank: of the constraints, and how many they are."""
    if rank is None or not is_concrete(rank[0]):
        return _SINGULAR.format(found="")
    return _SINGULAR.format(found=f" (constraints of rank {int(rank[0])} of {rank[1]})")


def largest(rows: tuple[PyTree, ...]) -> tuple[str, str]:
    """Which entries of G and DG are the largest, " at G[0][2]"; nothing where there is only one."""
    position, *higher = rows
    return _place("G", position), _place("DG", higher[0]) if higher else ""


def _place(name: str, values: PyTree) -> str:
    leaves, _ = jax.tree_util.tree_flatten_with_path(values)
    if sum(leaf.size for _, leaf in leaves) < 2:
        return ""
    path, leaf = max(leaves, key=lambda pair: float(np.max(np.abs(pair[1]), initial=0)))
    place = [int(k) for k in np.unravel_index(np.argmax(np.abs(leaf)), leaf.shape)]
    return f" at {name}{jax.tree_util.keystr(path)}{place or ''}"


def off_constraint(residual: Residual, consistent: str, worst: tuple[str, str]) -> str:
    """Of a start that is off its constraints, or that no projection brought onto them."""
    sizes = f"max |G| = {residual.position}{worst[0]}, max |DG| = {residual.velocity}{worst[1]}"
    size = f" ({sizes})" if is_concrete(residual) else ""
    if consistent == "project":
        return (
            f"the projection of the start onto G = DG = 0 did not converge{size}: start nearer to the constraint, "
            "or check that it can be satisfied."
        )
    return f'the start is off the constraint G = DG = 0{size}. Correct q and v, or pass consistent="project".'
