"""What reverse mode through a run needs beside the run: memory of a lane, the cost of a step back (docs/scale.md)."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from lagrangian_learning._types import Args, Number
from lagrangian_learning.mechanics.law import AbstractLaw
from lagrangian_learning.simulate.loop import Replay
from lagrangian_learning.simulate.plan import Plan
from lagrangian_learning.simulate.work import rates_of
from lagrangian_learning.steppers.defaults import num_stages

from .cost import Cost, cost_of, held_by_results
from .loop import carried
from .memory import LaneMemory, num_bytes

# Copies of a derivative that the loop back holds: of itself, of what a step adds, and of their sum; measured.
_COPIES_OF_A_SLOPE = 4


def states_kept(plan: Plan, y: PyTree) -> int:
    """The states that reverse mode holds of a run, along a segment too."""
    if isinstance(plan.adjoint, Replay):
        return plan.adjoint.copies(plan.max_steps, y)
    return int(1.5 * (2 * (plan.max_steps or 1)) ** 0.5)  # diffrax.RecursiveCheckpointAdjoint, measured


def makes_again(plan: Plan, y: PyTree) -> int:
    """How often reverse mode makes a step of a run again."""
    return plan.adjoint.makes_again(plan.max_steps, y) if isinstance(plan.adjoint, Replay) else 1


def with_reverse(
    memory: LaneMemory, law: AbstractLaw, state: PyTree, args: Args, times: Any, plan: Plan, moving: PyTree
) -> LaneMemory:
    """The memory of a lane whose run is differentiated; memory: that of its run. Leaves may be shapes.

    moving: (law, state, args) with what is differentiated, None elsewhere.

    Forward and back the loop holds the states that are kept. Beside them it holds what a run does, or what a step back
    does: of each stage its slope, and the cotangents of the slope and of where it is taken; of a slope that is summed
    when it is read, two times what it is summed of. What a law reads is copied.
    """
    t, law = jax.ShapeDtypeStruct((), times.dtype), plan.stabilisation.stabilised(law)
    y, stepper = carried(law, state, args, times, plan)
    slope = held_by_results(rates_of, law, t, state, args)
    back = (1 + 3 * (num_stages(plan.solver) or 1)) * num_bytes(y) + 2 * max(slope - num_bytes(y), 0)
    slopes = num_bytes(moving[1]) + _COPIES_OF_A_SLOPE * num_bytes((moving[0], moving[2]))
    kept = states_kept(plan, y) * num_bytes((y, stepper))
    return memory._replace(loop=kept + max(memory.loop, back) + slopes + num_bytes((law, args)))


def cost_back(law: AbstractLaw, state: PyTree, args: Args, dtype: Any, moving: PyTree, loop_steps: Number) -> Cost:
    """Of the cotangents of one evaluation of the rates, the evaluation among them."""
    t = jax.ShapeDtypeStruct((), dtype)
    chosen = jax.tree.map(lambda leaf: leaf is not None, moving, is_leaf=lambda leaf: leaf is None)

    def pulled(t: Array, *at: PyTree) -> PyTree:
        moves, rest = eqx.partition(at, chosen)
        rates, pull = jax.vjp(lambda moves: eqx.filter(_rates(t, *eqx.combine(moves, rest)), _is_real), moves)
        return pull(jax.tree.map(jnp.ones_like, rates))

    return cost_of(pulled, t, law, state, args, loop_steps=loop_steps)


def _rates(t: Array, law: AbstractLaw, state: PyTree, args: Args) -> PyTree:
    return rates_of(law, t, state, args)


def moved(law: AbstractLaw, state: PyTree, args: Args, argnums: tuple[int, ...]) -> tuple:
    """(law, state, args) with the real numbers of those chosen, None elsewhere; leaves may be shapes."""
    given = (law, state, args)
    return tuple(_kept(part, _is_real if n in argnums else lambda _: False) for n, part in enumerate(given))


def _kept(tree: PyTree, chosen: Callable[[Any], bool]) -> PyTree:
    return jax.tree.map(lambda leaf: leaf if chosen(leaf) else None, tree)


def _is_real(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.inexact)
