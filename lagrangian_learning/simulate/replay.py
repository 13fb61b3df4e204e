"""A loop whose derivative goes over its steps again: `replayed`, under all of JAX's transformations.

The state of a loop is a list of arrays, and so are its records, one row each, and the constants that a step reads.
Reverse mode needs checkpoints, the state before some steps, evenly apart.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import equinox.internal as eqxi
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array

from lagrangian_learning._one_kernel import one_kernel

from .cotangents import Cotangents
from .linear_map import alone_or, linear_map
from .program import Arrays, Moving, Program, merged, picked, slot_while_running, with_row


def replayed(
    program: Program, state: Arrays, rows: Arrays, constants: Arrays, watch: Callable[[Any, Arrays], Any], watched: Any
) -> tuple[Arrays, Arrays, Any]:
    """State and records at the end of the loop. watch(watched, state) goes along, but is not part of any derivative."""
    leaves, tree = jax.tree.flatten(watched)

    def along(seen: Arrays, state: Arrays) -> Arrays:
        return jax.tree.leaves(watch(jax.tree.unflatten(tree, seen), state))

    state, rows, _, leaves = _run(program, along, kept=False)(state, rows, constants, leaves)
    return state, rows, jax.tree.unflatten(tree, leaves)


# -- forward -------------------------------------------------------------------------------------------------------


def _run(program: Program, watch: Callable | None, *, kept: bool) -> Callable:
    """The loop as a function of (state, rows, constants, watched) that JAX can differentiate."""

    @jax.custom_jvp
    def run(state: Arrays, rows: Arrays, constants: Arrays, watched: Arrays) -> tuple[Arrays, Arrays, Arrays, Arrays]:
        return _forward(program, watch, state, rows, constants, watched, kept=kept)

    def rule(primals: tuple, tangents: tuple) -> tuple[tuple, tuple]:
        keeps = kept or program.most is not None
        outputs = _run(program, watch, kept=keeps)(*primals)
        moved = Moving(*[[type(one) is not SymbolicZero for one in group] for group in tangents[:3]])
        found = _tangents(program, moved, primals[:3], tangents[:3], outputs, kept=keeps)
        outputs = (outputs[0], outputs[1], outputs[2] if kept else [], outputs[3])
        return outputs, jax.tree.map(
            _zero_unless, outputs, (*found[:2], found[2] if kept else [], [None] * len(outputs[3])), is_leaf=_none
        )

    run.defjvp(rule, symbolic_zeros=True)
    return run


def _forward(
    program: Program,
    watch: Callable | None,
    state: Arrays,
    rows: Arrays,
    constants: Arrays,
    watched: Arrays,
    *,
    kept: bool,
) -> tuple[Arrays, Arrays, Arrays, Arrays]:
    def body(carry: tuple) -> tuple:
        state, rows, checkpoints, watched = carry
        if kept:
            slot = slot_while_running(program, state[program.count], alone_or(state[program.going]))
            checkpoints = with_row(checkpoints, state, slot)
        after = program.step(constants, state)
        rows = _recorded(program, constants, state, after, rows)
        return after, rows, checkpoints, watched if watch is None else watch(watched, after)

    def loop(state: Arrays, rows: Arrays, watched: Arrays) -> tuple:
        slots = (1 << program.bits) + 1
        checkpoints = [jnp.zeros((slots, *leaf.shape), leaf.dtype) for leaf in state] if kept else []
        start = (state, rows, checkpoints, watched)
        return lax.while_loop(lambda carry: eqxi.unvmap_any(carry[0][program.going]), body, start)

    return one_kernel(loop)(list(state), list(rows), list(watched))


def _recorded(program: Program, constants: Sequence[Any], before: Arrays, after: Arrays, rows: Arrays) -> Arrays:
    """The rows, with a new one where a step came to it. In a batch others write to a row that they have not come to."""
    index = before[program.row]
    landed = eqxi.unvmap_any(after[program.row] != index)

    def write(carry: tuple) -> tuple:
        _, rows = carry
        return jnp.asarray(False), with_row(rows, program.record(constants, after), index)

    return lax.while_loop(lambda carry: carry[0], write, (landed, rows))[1]


# -- tangents ------------------------------------------------------------------------------------------------------


def _tangents(
    program: Program, moved: Moving, inputs: tuple, tangents: tuple, outputs: tuple, *, kept: bool
) -> tuple[list, list, list]:
    """Tangents of state, rows and checkpoints at the end, None for zero: linear in those of the inputs."""
    if not any(any(group) for group in moved):
        return [None] * len(outputs[0]), [None] * len(outputs[1]), [None] * len(outputs[2])
    state, rows, constants = inputs
    moving = _reached(program, moved, state, rows, constants)
    given = [one for group, which in zip(tangents, moved, strict=True) for one in picked(group, which)]
    sizes = (len(state), len(constants), len(outputs[2]))
    residuals = [*state, *constants, *outputs[2], *([outputs[0][program.count]] if kept else [])]
    like = [leaf for group, which in zip(outputs[:2], moving[:2], strict=True) for leaf in picked(group, which)]
    like += picked(outputs[2], moving.state) if kept else []
    replay = _Replay(program, moved, moving, sizes, tuple((leaf.shape, leaf.dtype) for leaf in rows), kept)
    found = iter(
        linear_map.bind(
            *residuals,
            *given,
            count=len(residuals),
            forward=replay.forward,
            backward=replay.backward,
            like=tuple(jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in like),
            twice=True,
        )
    )
    groups = [moving.state, moving.rows, moving.state if kept else []]
    return tuple([next(found) if moves else None for moves in group] for group in groups)  # pyright: ignore[reportReturnType]


@dataclasses.dataclass(frozen=True, eq=False)
class _Replay:
    """The linear map from tangents of inputs to tangents of outputs, and its transpose; residuals first."""

    program: Program
    moved: Moving
    moving: Moving
    sizes: tuple[int, int, int]
    rows: tuple
    kept: bool

    def forward(self, residuals: Sequence[Any], tangents: Sequence[Any]) -> Arrays:
        state, constants, *_ = self._residuals(residuals)
        moved, moving = self.moved, self.moving
        given = iter(tangents)
        d_state = [
            next(given) if moves else jnp.zeros_like(leaf) for moves, leaf in zip(moved.state, state, strict=True)
        ]
        rows = [jnp.zeros(*row) for row in self.rows]
        d_rows = [next(given) if moves else jnp.zeros_like(leaf) for moves, leaf in zip(moved.rows, rows, strict=True)]
        d_constants = list(given)
        along = _with_tangents(self.program, moving, self.sizes[0])
        ended = _run(along, None, kept=self.kept)(
            [*state, *picked(d_state, moving.state)],
            [*rows, *picked(d_rows, moving.rows)],
            [*constants, *d_constants],
            [],
        )
        ends = [ended[0][len(state) :], ended[1][len(rows) :], ended[2][len(state) :] if self.kept else []]
        return [leaf for group in ends for leaf in group]

    def backward(self, residuals: Sequence[Any], cotangents: Sequence[Any]) -> Arrays:
        if not self.kept:
            raise ValueError("reverse mode needs a bound on the number of steps: give max_steps.")
        program, moved, moving = self.program, self.moved, self.moving
        _, constants, checkpoints, count = self._residuals(residuals)
        of_state, of_rows = sum(moving.state), sum(moving.rows)
        d_state, d_rows = list(cotangents[:of_state]), list(cotangents[of_state : of_state + of_rows])
        # Cotangents of checkpoints come from reverse mode over reverse mode alone, which is refused elsewhere.
        d_constants = [jnp.zeros_like(leaf) for leaf in picked(constants, moved.constants)]
        carry = Cotangents(program, moving, moved, constants, d_rows).over(checkpoints, count, (d_state, d_constants))
        d_state, d_constants = carry
        full = iter(d_state)
        d_state = [next(full) if moves else None for moves in moving.state]
        full = iter(d_rows)
        d_rows = [next(full) if moves else None for moves in moving.rows]
        return [*picked(d_state, moved.state), *picked(d_rows, moved.rows), *d_constants]

    def _residuals(self, residuals: Sequence[Any]) -> tuple[Arrays, Arrays, Arrays, Any]:
        state, constants, checkpoints = self.sizes
        leaves = list(residuals)
        ends = (state, state + constants, state + constants + checkpoints)
        return (
            leaves[: ends[0]],
            leaves[ends[0] : ends[1]],
            leaves[ends[1] : ends[2]],
            leaves[ends[2]] if self.kept else None,
        )


def _with_tangents(program: Program, moving: Moving, size: int) -> Program:
    """The loop that carries tangents beside what moves."""

    def pushed(fn: Callable, moves: list[bool]) -> Callable:
        def both(constants: Sequence[Any], state: Sequence[Any]) -> Arrays:
            still = list(constants[: len(moving.constants)])
            at, d_at = list(state[:size]), list(state[size:])

            def of(some_constants: Arrays, some_state: Arrays) -> Arrays:
                return fn(merged(still, some_constants, moving.constants), merged(at, some_state, moving.state))

            points = (picked(still, moving.constants), picked(at, moving.state))
            new, d_new = jax.jvp(of, points, (list(constants[len(still) :]), d_at))
            return [*new, *picked(d_new, moves)]

        return both

    return dataclasses.replace(
        program, step=pushed(program.step, moving.state), record=pushed(program.record, moving.rows)
    )


def _reached(program: Program, moved: Moving, state: Arrays, rows: Arrays, constants: Arrays) -> Moving:
    """What moves somewhere in the loop, where `moved` moves at its start."""
    moving = list(moved.state)
    while True:

        def of(some_constants: Arrays, some_state: Arrays, moving: list[bool] = moving) -> tuple[Arrays, Arrays]:
            full = merged(constants, some_constants, moved.constants), merged(state, some_state, moving)
            after = program.step(*full)
            return after, program.record(full[0], after)

        next_state, next_rows = _moves(of, picked(constants, moved.constants), picked(state, moving))
        new = [a or b for a, b in zip(moving, next_state, strict=True)]
        if new == moving:
            return Moving(moving, [a or b for a, b in zip(moved.rows, next_rows, strict=True)], moved.constants)
        moving = new


def _moves(fn: Callable, *points: Arrays) -> Any:
    """Which outputs of a function have a tangent that is not known to be zero."""
    seen: list = []

    @jax.custom_jvp
    def probe(outputs: Any) -> Any:
        return outputs

    def rule(primals: tuple, tangents: tuple) -> tuple:
        seen.append(jax.tree.map(lambda one: type(one) is not SymbolicZero, tangents[0], is_leaf=_symbolic))
        return primals[0], jax.tree.map(
            _zero_unless, primals[0], jax.tree.map(lambda one: None, tangents[0], is_leaf=_symbolic), is_leaf=_none
        )

    probe.defjvp(rule, symbolic_zeros=True)
    found = jax.eval_shape(lambda at: jax.jvp(lambda *at: probe(fn(*at)), at, at)[0], points)
    return seen[0] if seen else jax.tree.map(lambda _: False, found)


def _zero_unless(like: Array, tangent: Any) -> Any:
    """The tangent; zero for none."""
    if tangent is not None:
        return tangent
    inexact = jnp.issubdtype(like.dtype, jnp.inexact)
    return jnp.zeros_like(like) if inexact else np.zeros(like.shape, jax.dtypes.float0)


def _none(leaf: Any) -> bool:
    return leaf is None


def _symbolic(leaf: Any) -> bool:
    return isinstance(leaf, SymbolicZero)
