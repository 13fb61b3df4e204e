"""A loop as functions of lists of arrays, and the slots in which its checkpoints lie.

The number of checkpoints is a power of two, 2^b. When all are used, every other one is given up and the distance
between them doubles: checkpoint j of distance 2^l lies in the slot that has the bits of j rotated l times to the left,
so that those which stay need not move.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

Arrays = list[Any]


@dataclasses.dataclass(frozen=True, eq=False)
class Program:
    """A loop: its step, what is recorded of a state that has come to a new row, and places in the list of the state.

    going: whether there is a next step. row: of the record that comes next. count: of steps so far. most: how many
    there may be; None: any number, and no reverse mode. bits: of the number of checkpoints. levels: how often reverse
    mode makes a step again.
    """

    step: Callable[[Sequence[Any], Sequence[Any]], Arrays]
    record: Callable[[Sequence[Any], Sequence[Any]], Arrays]
    going: int
    row: int
    count: int
    most: int | None
    bits: int
    levels: int = 1

    @property
    def longest(self) -> int:
        """The most steps from a checkpoint to the next."""
        assert self.most is not None
        return 1 << max(0, (self.most - 1).bit_length() - self.bits)

    @property
    def shifts(self) -> tuple[int, ...]:
        """Reverse mode stores every 2^shift-th state of a segment, then of the steps between, and at last each."""
        return shifts_of(self.longest.bit_length() - 1, self.levels)

    @property
    def stored(self) -> tuple[int, ...]:
        """How many states each of these stores has; where not all states are stored, one more for the others."""
        return stored_of(self.longest.bit_length() - 1, self.levels)


def shifts_of(bits: int, levels: int) -> tuple[int, ...]:
    """For a segment of 2^bits steps: bits in as many parts as there are levels."""
    return tuple(bits * (levels - level) // levels for level in range(1, levels + 1))


def stored_of(bits: int, levels: int) -> tuple[int, ...]:
    """The states that are stored of a segment of 2^bits steps, at each level."""
    shifts = shifts_of(bits, levels)
    return tuple((1 << (a - b)) + (b > 0) for a, b in zip((bits, *shifts), shifts, strict=False))


class Moving(NamedTuple):
    """Which arrays have a derivative: of the state, the records and the constants."""

    state: list[bool]
    rows: list[bool]
    constants: list[bool]


def picked(leaves: Sequence, which: Sequence[bool]) -> list:
    """Those that are chosen."""
    return [leaf for leaf, chosen in zip(leaves, which, strict=True) if chosen]


def merged(leaves: Sequence, some: Sequence, which: Sequence[bool]) -> list:
    """The leaves, those chosen replaced by `some`."""
    new = iter(some)
    return [next(new) if chosen else leaf for leaf, chosen in zip(leaves, which, strict=True)]


def with_row(rows: Arrays, values: Arrays, index: Array) -> Arrays:
    """Rows with these values at an index."""
    return [lax.dynamic_update_index_in_dim(row, value, index, 0) for row, value in zip(rows, values, strict=True)]


def row_at(rows: Arrays, index: Array) -> Arrays:
    """The row at an index of each."""
    return [lax.dynamic_index_in_dim(row, index, 0, keepdims=False) for row in rows]


def level_of(program: Program, count: Array) -> Array:
    """How often the distance of checkpoints has doubled before the step of this number."""
    return 32 - lax.clz(count >> program.bits)


def slot_of(program: Program, number: Array, level: Array) -> Array:
    """The bits of a checkpoint's number, rotated."""
    bits = program.bits
    if bits == 0:
        return number * 0
    turn = level % bits
    return ((number << turn) | (number >> (bits - turn))) & ((1 << bits) - 1)


def slot_while_running(program: Program, count: Array, going: Array) -> Array:
    """Where the state before a step goes: to its slot, or to the last one, which nobody reads.

    A lane that has ended beside others writes nothing more: its end may have the slot of a state that it still needs.
    """
    level = level_of(program, count)
    due = going & ((count & ((1 << level) - 1)) == 0)
    return jnp.where(due, slot_of(program, count >> level, level), 1 << program.bits)
