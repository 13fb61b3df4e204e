"""Table 1 of the paper: what a trajectory holds, under its mechanical and under its learning name."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from lagrangian_learning.learning import CognitiveAction
from lagrangian_learning.signals import Stimulus


class TableOne(eqx.Module):
    """(W, x) ↔ u, (Ẇ, ẋ) ↔ u̇, A(x, W) ↔ S(u), filled in from a run; prints as the table.

    coordinates: (W, x) along the path;  velocities: (Ẇ, ẋ);  action: A of (5) over the saved times, and
    action_normalised: A/ϖ(t₁), which stays finite where ϖ(t₁) overflows (action is then inf).
    """

    coordinates: tuple[PyTree, PyTree]
    velocities: tuple[PyTree, PyTree]
    action: Float[Array, ""]
    action_normalised: Float[Array, ""]

    def __str__(self) -> str:
        value = f"A = {self.action:.6g}, A/ϖ(t₁) = {self.action_normalised:.6g}"
        rows = [
            ("learning", "mechanics", "in this run"),
            ("weights and neuronal outputs (W, x)", "generalized coordinates u", _count(self.coordinates)),
            ("their variations (Ẇ, ẋ)", "generalized velocities u̇", _count(self.velocities)),
            ("cognitive action A(x, W)", "action S(u)", value),
        ]
        widths = [max(len(row[k]) for row in rows) for k in range(2)]
        return "\n".join(f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c}" for a, b, c in rows)


def table_one(path: Any, action: CognitiveAction, stimulus: Stimulus) -> TableOne:
    """Table 1 for a trajectory of `action.law()`; a named error when the path did not save x, W, x_dot, W_dot.

    Arguments:
        path: a `Trajectory` of `action.law()`.
        action: the `CognitiveAction`.
        stimulus: what the run was given.
    """
    normalised = action(path, stimulus, normalised=True)
    weight = jnp.exp(action.dissipation.log_weight(path.ts[-1]))
    return TableOne((path.W, path.x), (path.W_dot, path.x_dot), weight * normalised, normalised)


def _count(pair: tuple[PyTree, PyTree]) -> str:
    sizes = [sum(leaf[0].size for leaf in jax.tree.leaves(part)) for part in pair]
    times = jax.tree.leaves(pair)[0].shape[0]
    return f"{sizes[0]} of weights, {sizes[1]} of neurons, at {times} times"
