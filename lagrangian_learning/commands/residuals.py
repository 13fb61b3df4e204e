"""What a recorded motion leaves over in its own equations, evaluated by `mechanics`."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

import lagrangian_learning as ll


def recorded(path: ll.Trajectory) -> tuple[PyTree, ...]:
    """What `relative_residuals` needs of a trajectory: x, W, their velocities and accelerations, the multipliers."""
    return (path.x, path.W, path.x_dot, path.W_dot, path.x_ddot, path.W_ddot, path.multipliers)


def relative_residuals(law: Any, t: Array, record: tuple[PyTree, ...], stimulus: ll.Stimulus) -> Float[Array, "3"]:
    """What (8), (9) and D²G = 0 leave over at one instant, each relative to its own largest term.

    Terms under eps of the dtype, as where the motion rests, count as eps.
    """
    x, W, x_dot, W_dot, x_ddot, W_ddot, delta = record
    state, top = ll.State((x, W), (x_dot, W_dot)), (x_ddot, W_ddot)
    defect = law.equations.defect(t, state, top, delta, stimulus)
    system, force, closing = law.equations.system(t, state, stimulus)
    terms = [force, system.inertia(top), system.reaction(delta)]
    still_x, still_W = (jax.tree.map(jnp.zeros_like, part) for part in top)
    closing_terms = [closing, system.jacobian((x_ddot, still_W)), system.jacobian((still_x, W_ddot))]
    left = [*defect.euler_lagrange, defect.closing]
    scales = [_largest([term[0] for term in terms]), _largest([term[1] for term in terms]), _largest(closing_terms)]
    least = jnp.finfo(t.dtype).eps
    return jnp.stack([_largest(part) / jnp.maximum(scale, least) for part, scale in zip(left, scales, strict=True)])


def _largest(tree: PyTree) -> Array:
    return jnp.max(jnp.stack([jnp.max(jnp.abs(leaf)) for leaf in jax.tree.leaves(tree)]))
