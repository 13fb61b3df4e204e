"""A loop whose derivative goes over its steps again: `replayed`, under all of JAX's transformations.

The state of a loop is a list of arrays, and so are its records, one row each, and the constants that a step reads.
Reverse mode needs checkpoints: the state before some steps, evenly apart. Their number is a power of two, 2^b. When all
are used, every other one is given up and the distance doubles: checkpoint j of distance 2^l lies in the slot that has
the bits of j rotated l times to the left, so that those which stay need not move.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox.internal as eqxi
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_derivatives import SymbolicZero
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array

Arrays = list[Any]


@dataclasses.dataclass(frozen=True, eq=False)
class Program:
    """A loop: its step, what is recorded of a state that has come to a new row, and places in the list of the state.

    going: whether there is a next step. row: of the record that comes next. count: of steps so far. most: how many
    there may be; None: any number, and no reverse mode. bits: of the number of checkpoints.
    """

    step: Callable[[Sequence[Any], Sequence[Any]], Arrays]
    record: Callable[[Sequence[Any], Sequence[Any]], Arrays]
    going: int
    row: int
    count: int
    most: int | None
    bits: int

    @property
    def longest(self) -> int:
        """The most steps from a checkpoint to the next."""
        assert self.most is not None
        return 1 << max(0, (self.most - 1).bit_length() - self.bits)


class Moving(NamedTuple):
    """Which arrays have a derivative: of the state, the records and the constants."""

    state: list[bool]
    rows: list[bool]
    constants: list[bool]


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
    checkpoints = [jnp.zeros(((1 << program.bits) + 1, *leaf.shape), leaf.dtype) for leaf in state] if kept else []

    def body(carry: tuple) -> tuple:
        state, rows, checkpoints, watched = carry
        if kept:
            slot = _slot_while_running(program, state[program.count])
            checkpoints = _set(checkpoints, state, slot)
        after = program.step(constants, state)
        rows = _recorded(program, constants, state, after, rows)
        return after, rows, checkpoints, watched if watch is None else watch(watched, after)

    start = (list(state), list(rows), checkpoints, list(watched))
    return lax.while_loop(lambda carry: eqxi.unvmap_any(carry[0][program.going]), body, start)


def _recorded(program: Program, constants: Sequence[Any], before: Arrays, after: Arrays, rows: Arrays) -> Arrays:
    """The rows, with a new one where a step came to it. In a batch others write to a row that they have not come to."""
    index = before[program.row]
    landed = eqxi.unvmap_any(after[program.row] != index)

    def write(carry: tuple) -> tuple:
        _, rows = carry
        return jnp.asarray(False), _set(rows, program.record(constants, after), index)

    return lax.while_loop(lambda carry: carry[0], write, (landed, rows))[1]


def _set(rows: Arrays, values: Arrays, index: Array) -> Arrays:
    return [lax.dynamic_update_index_in_dim(row, value, index, 0) for row, value in zip(rows, values, strict=True)]


def alone_or(going: Array) -> Array:
    """True; in a batch, whose loop goes on for the longest of its runs, whether this one is still going."""
    return _going.bind(going)


_going = Primitive("alone_or")
_going.def_impl(jnp.ones_like)
_going.def_abstract_eval(lambda going: going)
mlir.register_lowering(_going, mlir.lower_fun(jnp.ones_like, multiple_results=False))
batching.primitive_batchers[_going] = lambda operands, axes: (operands[0], axes[0])
ad.primitive_jvps[_going] = lambda primals, tangents: (_going.bind(*primals), ad.Zero(tangents[0].aval))


def _row(rows: Arrays, index: Array) -> Arrays:
    return [lax.dynamic_index_in_dim(row, index, 0, keepdims=False) for row in rows]


# -- checkpoints ---------------------------------------------------------------------------------------------------


def _level(program: Program, count: Array) -> Array:
    """How often the distance of checkpoints has doubled before the step of this number."""
    return 32 - lax.clz(count >> program.bits)


def _slot(program: Program, number: Array, level: Array) -> Array:
    """The bits of a checkpoint's number, rotated."""
    bits = program.bits
    if bits == 0:
        return number * 0
    turn = level % bits
    return ((number << turn) | (number >> (bits - turn))) & ((1 << bits) - 1)


def _slot_while_running(program: Program, count: Array) -> Array:
    """Where the state before a step goes: to its slot, or to the last one, which nobody reads."""
    level = _level(program, count)
    due = (count & ((1 << level) - 1)) == 0
    return jnp.where(due, _slot(program, count >> level, level), 1 << program.bits)


# -- tangents ------------------------------------------------------------------------------------------------------


def _tangents(
    program: Program, moved: Moving, inputs: tuple, tangents: tuple, outputs: tuple, *, kept: bool
) -> tuple[list, list, list]:
    """Tangents of state, rows and checkpoints at the end, None for zero: linear in those of the inputs."""
    if not any(any(group) for group in moved):
        return [None] * len(outputs[0]), [None] * len(outputs[1]), [None] * len(outputs[2])
    state, rows, constants = inputs
    moving = _reached(program, moved, state, rows, constants)
    given = [one for group, which in zip(tangents, moved, strict=True) for one in _picked(group, which)]
    sizes = (len(state), len(constants), len(outputs[2]))
    residuals = [*state, *constants, *outputs[2], *([outputs[0][program.count]] if kept else [])]
    like = [leaf for group, which in zip(outputs[:2], moving[:2], strict=True) for leaf in _picked(group, which)]
    like += _picked(outputs[2], moving.state) if kept else []
    replay = _Replay(program, moved, moving, sizes, tuple((leaf.shape, leaf.dtype) for leaf in rows), kept)
    found = iter(
        _linear.bind(
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
            [*state, *_picked(d_state, moving.state)],
            [*rows, *_picked(d_rows, moving.rows)],
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
        d_constants = [jnp.zeros_like(leaf) for leaf in _picked(constants, moved.constants)]
        carry = _Cotangents(program, moving, moved, constants, d_rows).over(checkpoints, count, (d_state, d_constants))
        d_state, d_constants = carry
        full = iter(d_state)
        d_state = [next(full) if moves else None for moves in moving.state]
        full = iter(d_rows)
        d_rows = [next(full) if moves else None for moves in moving.rows]
        return [*_picked(d_state, moved.state), *_picked(d_rows, moved.rows), *d_constants]

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
                return fn(_merged(still, some_constants, moving.constants), _merged(at, some_state, moving.state))

            points = (_picked(still, moving.constants), _picked(at, moving.state))
            new, d_new = jax.jvp(of, points, (list(constants[len(still) :]), d_at))
            return [*new, *_picked(d_new, moves)]

        return both

    return dataclasses.replace(
        program, step=pushed(program.step, moving.state), record=pushed(program.record, moving.rows)
    )


def _reached(program: Program, moved: Moving, state: Arrays, rows: Arrays, constants: Arrays) -> Moving:
    """What moves somewhere in the loop, where `moved` moves at its start."""
    moving = list(moved.state)
    while True:

        def of(some_constants: Arrays, some_state: Arrays, moving: list[bool] = moving) -> tuple[Arrays, Arrays]:
            full = _merged(constants, some_constants, moved.constants), _merged(state, some_state, moving)
            after = program.step(*full)
            return after, program.record(full[0], after)

        next_state, next_rows = _moves(of, _picked(constants, moved.constants), _picked(state, moving))
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
    jax.eval_shape(lambda at: jax.jvp(lambda *at: probe(fn(*at)), at, at), points)
    return seen[0]


# -- cotangents ----------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, eq=False)
class _Cotangents:
    """Back over all steps, from a checkpoint to the one before, the steps between made again once."""

    program: Program
    moving: Moving
    moved: Moving
    constants: Arrays
    d_rows: Arrays

    def over(self, checkpoints: Arrays, count: Array, carry: tuple[Arrays, Arrays]) -> tuple[Arrays, Arrays]:
        """carry: cotangents of the last state and of the constants; returned: of the first."""
        program = self.program
        level = _level(program, jnp.maximum(count - 1, 0))
        apart = jnp.asarray(1, count.dtype) << level
        segments = (count + apart - 1) >> level
        store = [jnp.zeros((program.longest, *leaf.shape[1:]), leaf.dtype) for leaf in checkpoints]

        def segment(index: Array, both: tuple) -> tuple:
            carry, store = both
            number = segments - 1 - index
            slot = jnp.maximum(_slot(program, number, level), 0)
            steps = jnp.where(number >= 0, jnp.minimum(apart, count - number * apart), 0)
            first = _row(checkpoints, slot)
            longest = eqxi.unvmap_max(steps)

            def again(step: Array, running: tuple) -> tuple:
                state, store = running
                state = program.step(self.constants, state)
                return state, _set(store, state, step)

            last, store = lax.fori_loop(1, longest, again, (first, _set(store, first, jnp.asarray(0))))

            def back(index: Array, both: tuple) -> tuple:
                carry, state = both
                step = longest - 1 - index
                active = alone_or(step < steps)
                new = self.before(state, carry)
                carry = jax.tree.map(lambda a, b: jnp.where(active, a, b), new, carry)
                # Carried along: XLA would put the slice of what is stored into every reader of it.
                return carry, _row(store, jnp.maximum(step - 1, 0))

            carry, _ = lax.fori_loop(0, longest, back, (carry, last))
            return carry, store

        return lax.fori_loop(0, eqxi.unvmap_max(segments), segment, (carry, store))[0]

    def before(self, state: Arrays, carry: tuple[Arrays, Arrays]) -> tuple[Arrays, Arrays]:
        """Cotangents before a step, from those after it."""
        d_state, d_constants = carry
        constants, moving = self.constants, self.moving

        def step(some_constants: Arrays, some_state: Arrays) -> tuple[Arrays, Arrays]:
            full = _merged(constants, some_constants, moving.constants), _merged(state, some_state, moving.state)
            after = self.program.step(*full)
            return _picked(after, moving.state), after

        points = (_picked(constants, moving.constants), _picked(state, moving.state))
        _, pull, after = jax.vjp(step, *points, has_aux=True)
        d_more, d_after = self.recorded(state, after)
        d_state = jax.tree.map(jnp.add, d_state, d_after)
        by_constants, by_state = pull(d_state)
        return by_state, [a + b + c for a, b, c in zip(d_constants, by_constants, d_more, strict=True)]

    def recorded(self, state: Arrays, after: Arrays) -> tuple[Arrays, Arrays]:
        """Cotangents of the constants and of the state after a step, by the row that the step wrote, if any."""
        program, constants, moving = self.program, self.constants, self.moving
        index = state[program.row]
        landed = after[program.row] != index
        points = (_picked(constants, moving.constants), _picked(after, moving.state))

        def record(some_constants: Arrays, some_state: Arrays) -> Arrays:
            full = _merged(constants, some_constants, moving.constants), _merged(after, some_state, moving.state)
            return _picked(program.record(*full), moving.rows)

        def pulled() -> tuple[Arrays, Arrays]:
            return jax.vjp(record, *points)[1]([jnp.where(landed, row, 0) for row in _row(self.d_rows, index)])

        return lax.cond(eqxi.unvmap_any(landed), pulled, lambda: jax.tree.map(jnp.zeros_like, points))


# -- a linear map as a primitive -----------------------------------------------------------------------------------

_linear = Primitive("replayed")
_linear.multiple_results = True


def _called(*operands: Array, count: int, forward: Callable, **_: Any) -> Arrays:
    return forward(operands[:count], operands[count:])


def _jvp(primals: Sequence, tangents: Sequence, **given: Any) -> tuple[Arrays, list]:
    """Linear in what follows the residuals; in the residuals by forward mode."""
    count, forward = given["count"], given["forward"]
    outputs = _linear.bind(*primals, **given)
    residuals, linear = list(primals[:count]), list(primals[count:])
    moving = [type(one) is not ad.Zero for one in tangents[:count]]
    moves = any(type(one) is not ad.Zero for one in tangents[count:])
    found: list = [ad.Zero(jax.typeof(one)) for one in outputs]
    if moves:
        further = [ad.instantiate_zeros(one) for one in tangents[count:]]
        found = list(_linear.bind(*residuals, *further, **given))
    if any(moving):

        def of(some: Arrays) -> Arrays:
            return forward(_merged(residuals, some, moving), linear)

        more = jax.jvp(of, (_picked(residuals, moving),), (_picked(tangents[:count], moving),))[1]
        if not given["twice"]:
            more = eqxi.nondifferentiable_backward(more, msg=_TWICE, symbolic=True)
        found = [a + b for a, b in zip(found, more, strict=True)] if moves else list(more)
    return outputs, found


_TWICE = (
    "reverse mode over reverse mode of a run is not there: for second derivatives take forward mode outside, as "
    "jax.jacfwd(jax.grad(f)) or jax.hessian(f)."
)


def _transposed(cotangents: Sequence, *operands: Any, **given: Any) -> list:
    count = given["count"]
    linear = operands[count:]
    like = tuple(
        jax.ShapeDtypeStruct(one.aval.shape, one.aval.dtype)
        if ad.is_undefined_primal(one)
        else jax.ShapeDtypeStruct(one.shape, one.dtype)
        for one in linear
    )
    full = [ad.instantiate_zeros(one) for one in cotangents]
    found = _linear.bind(
        *operands[:count],
        *full,
        count=count,
        forward=given["backward"],
        backward=given["forward"],
        like=like,
        twice=not given["twice"],
    )
    return [None] * count + [
        one if ad.is_undefined_primal(operand) else None for one, operand in zip(found, linear, strict=True)
    ]


def _batched(operands: Sequence, axes: Sequence, **given: Any) -> tuple[Arrays, list[int]]:
    count = given["count"]
    size = next(leaf.shape[axis] for leaf, axis in zip(operands, axes, strict=True) if axis is not None)
    residuals, over = operands[:count], tuple(axes[:count])
    linear = [batching.bdim_at_front(*each, size) for each in zip(operands[count:], axes[count:], strict=True)]

    def lanes(fn: Callable) -> Callable:
        def mapped(residuals: Sequence[Any], linear: Sequence[Any]) -> Arrays:
            return jax.vmap(fn, in_axes=(list(over), 0), axis_size=size)(list(residuals), list(linear))

        return mapped

    like = tuple(jax.ShapeDtypeStruct((size, *one.shape), one.dtype) for one in given["like"])
    further = given | {"forward": lanes(given["forward"]), "backward": lanes(given["backward"]), "like": like}
    found = _linear.bind(*residuals, *linear, **further)
    return found, [0] * len(found)


_linear.def_impl(lambda *operands, **given: jax.jit(lambda *leaves: _called(*leaves, **given))(*operands))
_linear.def_abstract_eval(lambda *_, like, **__: [jax.core.ShapedArray(one.shape, one.dtype) for one in like])
mlir.register_lowering(_linear, mlir.lower_fun(_called, multiple_results=True))
ad.primitive_jvps[_linear] = _jvp
ad.primitive_transposes[_linear] = _transposed
batching.primitive_batchers[_linear] = _batched


# -- lists ---------------------------------------------------------------------------------------------------------


def _picked(leaves: Sequence, which: Sequence[bool]) -> list:
    return [leaf for leaf, chosen in zip(leaves, which, strict=True) if chosen]


def _merged(leaves: Sequence, some: Sequence, which: Sequence[bool]) -> list:
    """The leaves, those chosen replaced by `some`."""
    new = iter(some)
    return [next(new) if chosen else leaf for leaf, chosen in zip(leaves, which, strict=True)]


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
