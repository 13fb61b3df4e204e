"""Whether a run can fit the memory at all, known before it starts."""

from typing import Any

import jax
from jaxtyping import PyTree

from lagrangian_learning._memory import device_memory

_FEWEST_STATES = 4  # that a step holds: the state, its rate, the next state and the error
_NEVER_TOO_MUCH = 2**28  # bytes, which every device has


def check_room(state: PyTree, count: int, save: Any, dense: int | None = 0) -> None:
    """ValueError where even the states are more than the memory: those of a step, and, without save, the saved ones.

    dense: how many steps are kept beside.
    """
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    needed = size * (_FEWEST_STATES + (count if save is None else 0) + 2 * (dense or 0))
    if needed < _NEVER_TOO_MUCH or needed <= (there := device_memory()):
        return
    raise ValueError(
        f"this run needs {needed / 1e9:.3g} GB at least, for states of {size / 1e6:.3g} MB at {count} times of ts, and "
        f"the device has {there / 1e9:.3g} GB: give fewer ts, keep less by save=, or ask ll.estimate."
    )
