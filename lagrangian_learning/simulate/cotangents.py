"""Reverse mode over a loop: back from each checkpoint to the one before, the steps between made again once."""

import dataclasses
from collections.abc import Callable

import equinox.internal as eqxi
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, PyTree

from lagrangian_learning._one_kernel import one_kernel
from lagrangian_learning._tuning import LARGE_ARRAY

from .linear_map import alone_or
from .program import Arrays, Moving, Program, level_of, merged, picked, row_at, slot_of, with_row


@dataclasses.dataclass(frozen=True, eq=False)
class Cotangents:
    """Back over all steps, from a checkpoint to the one before, the steps between made again once."""

    program: Program
    moving: Moving
    moved: Moving
    constants: Arrays
    d_rows: Arrays

    def over(self, checkpoints: Arrays, count: Array, carry: tuple[Arrays, Arrays]) -> tuple[Arrays, Arrays]:
        """carry: cotangents of the last state and of the constants; returned: of the first."""
        program = self.program
        if program.longest == 1:  # the state before every step was kept: none is made again
            return one_kernel(lambda carry: self._back(checkpoints, count, carry))(carry)
        level = level_of(program, jnp.maximum(count - 1, 0))
        apart = jnp.asarray(1, count.dtype) << level
        segments = (count + apart - 1) >> level

        def segment(index: Array, both: tuple) -> tuple:
            number = segments - 1 - index
            slot = jnp.maximum(slot_of(program, number, level), 0)
            steps = jnp.where(number >= 0, jnp.minimum(apart, count - number * apart), 0)
            return self._segment(row_at(checkpoints, slot), steps, *both, program.shifts)

        def back_over(carry: tuple) -> tuple:
            stores = [
                [jnp.zeros((rows, *leaf.shape[1:]), leaf.dtype) for leaf in checkpoints] for rows in program.stored
            ]
            return lax.fori_loop(0, eqxi.unvmap_max(segments), segment, (carry, stores))[0]

        return one_kernel(back_over)(carry)

    def _segment(
        self, first: Arrays, steps: Array, carry: tuple, stores: list[Arrays], shifts: tuple[int, ...]
    ) -> tuple[tuple, list[Arrays]]:
        """Back over so many steps from the state before the first. Every 2^shift-th state is stored, and the steps
        between are gone back over in the same way, with the further stores.
        """
        (store, *finer), (shift, *further) = stores, shifts
        states = self._again(first, eqxi.unvmap_max(steps), store, shift)
        if not further:
            return self._back(states, steps, carry), [states]
        pieces = (steps + (1 << shift) - 1) >> shift

        def piece(index: Array, both: tuple) -> tuple:
            number = pieces - 1 - index
            own = jnp.where(number >= 0, jnp.minimum(1 << shift, steps - (number << shift)), 0)
            return self._segment(row_at(states, jnp.maximum(number, 0)), own, *both, tuple(further))

        carry, finer = lax.fori_loop(0, eqxi.unvmap_max(pieces), piece, (carry, finer))
        return carry, [states, *finer]

    def _again(self, first: Arrays, steps: Array, store: Arrays, shift: int) -> Arrays:
        """The states before every 2^shift-th of so many steps, of which this is the first."""
        spare = store[0].shape[0] - 1  # for the others

        def step(index: Array, running: tuple) -> tuple:
            state, store = running
            state = self.program.step(self.constants, state)
            due = (index & ((1 << shift) - 1)) == 0
            return state, with_row(store, state, jnp.where(due, index >> shift, spare) if shift else index)

        return lax.fori_loop(1, steps, step, (first, with_row(store, first, jnp.asarray(0))))[1]

    def _back(self, states: Arrays, steps: Array, carry: tuple[Arrays, Arrays]) -> tuple[Arrays, Arrays]:
        """The cotangents before so many steps, from those after them; `states` are those before each."""

        def back(index: Array, both: tuple) -> tuple:
            carry, state = both
            step = steps - 1 - index
            new = self.before(state, carry)
            active = alone_or(step >= 0)
            carry = jax.tree.map(lambda a, b: jnp.where(active, a, b), new, carry)
            # Carried along: XLA would put the slice of what is stored into every reader of it.
            return carry, row_at(states, jnp.maximum(step - 1, 0))

        last = row_at(states, jnp.maximum(steps - 1, 0))
        return lax.fori_loop(0, eqxi.unvmap_max(steps), back, (carry, last))[0]

    def before(self, state: Arrays, carry: tuple[Arrays, Arrays]) -> tuple[Arrays, Arrays]:
        """Cotangents before a step, from those after it."""
        d_state, d_constants = carry
        constants, moving = self.constants, self.moving

        def step(some_constants: Arrays, some_state: Arrays) -> tuple[Arrays, Arrays]:
            full = merged(constants, some_constants, moving.constants), merged(state, some_state, moving.state)
            after = self.program.step(*full)
            return picked(after, moving.state), after

        points = (picked(constants, moving.constants), picked(state, moving.state))
        pull, after = _apart(
            lambda: jax.vjp(step, *points, has_aux=True)[1:], state[self.program.going], [*constants, *state]
        )
        d_more, d_after = self.recorded(state, after)
        d_state = jax.tree.map(jnp.add, d_state, d_after)
        by_constants, by_state = pull(d_state)
        return by_state, [a + b + c for a, b, c in zip(d_constants, by_constants, d_more, strict=True)]

    def recorded(self, state: Arrays, after: Arrays) -> tuple[Arrays, Arrays]:
        """Cotangents of the constants and of the state after a step, by the row that the step wrote, if any."""
        program, constants, moving = self.program, self.constants, self.moving
        index = state[program.row]
        landed = after[program.row] != index
        points = (picked(constants, moving.constants), picked(after, moving.state))

        def record(some_constants: Arrays, some_state: Arrays) -> Arrays:
            full = merged(constants, some_constants, moving.constants), merged(after, some_state, moving.state)
            return picked(program.record(*full), moving.rows)

        def pulled() -> tuple[Arrays, Arrays]:
            return jax.vjp(record, *points)[1]([jnp.where(landed, row, 0) for row in row_at(self.d_rows, index)])

        return lax.cond(eqxi.unvmap_any(landed), pulled, lambda: jax.tree.map(jnp.zeros_like, points))


def _apart(fn: Callable[[], PyTree], always: Array, given: Arrays) -> PyTree:
    """fn() in a computation of its own, on a CPU: XLA would compute its inner values again in all that reads them.

    always: true, which XLA does not know. given: arrays that fn may hand on; large ones are not copied.
    """
    if jax.default_backend() != "cpu":
        return fn()
    known = {id(leaf): leaf for leaf in given if leaf.size > LARGE_ARRAY}
    held: list = []

    def new() -> Arrays:
        leaves, tree = jax.tree.flatten(fn())
        held[:] = [tree, [known.get(id(leaf)) for leaf in leaves]]
        return [jnp.asarray(leaf) for leaf in leaves if id(leaf) not in known]

    like = jax.eval_shape(new)
    zeros = [jnp.zeros(leaf.shape, leaf.dtype) for leaf in like]
    found = iter(lax.cond(eqxi.unvmap_any(always), new, lambda: zeros))
    tree, leaves = held
    return jax.tree.unflatten(tree, [next(found) if leaf is None else leaf for leaf in leaves])
