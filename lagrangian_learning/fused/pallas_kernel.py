"""The steps of a block of lanes as one kernel: the state stays in registers from the first saved time to the last."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton
from jaxtyping import Array, PyTree

from .lanewise import Rows, Table
from .lockstep import Lockstep, Saved
from .scalars import NotScalarError

_REFUSED = 'engine="pallas" cannot integrate this: {}, which is no arithmetic on scalars. Use engine="auto".'


class Packing:
    """Numbers of lanes by kind, as a kernel takes them: per dtype all rows in one array, all shared numbers in another.

    Truth values travel as int32, since memory holds no single bits.
    """

    def __init__(self, numbers: PyTree) -> None:
        leaves, self.structure = jax.tree.flatten(numbers)
        self.kinds = [(jnp.ndim(leaf) > 0, jnp.result_type(leaf)) for leaf in leaves]
        self.groups = sorted({(row, _carried(dtype)) for row, dtype in self.kinds}, key=str)

    def packed(self, numbers: PyTree) -> list[Array]:
        """An array [numbers, lanes] or [numbers] for every group."""
        leaves = jax.tree.leaves(numbers)
        return [jnp.stack([_as(leaves[k], dtype) for k in self._of(row, dtype)]) for row, dtype in self.groups]

    def read(self, refs: list[Any]) -> PyTree:
        """The numbers again, out of references to the arrays of the groups."""
        leaves: list[Any] = [None] * len(self.kinds)
        for ref, group in zip(refs, self.groups, strict=True):
            for place, k in enumerate(self._of(*group)):
                leaves[k] = _as(ref[place, :] if group[0] else ref[place], self.kinds[k][1])
        return self.structure.unflatten(leaves)

    def write(self, refs: list[Any], numbers: PyTree, *at: Any) -> None:
        """The numbers into the references, all rows; at: an index that stands before theirs."""
        leaves = jax.tree.leaves(numbers)
        for ref, (row, dtype) in zip(refs, self.groups, strict=True):
            for place, k in enumerate(self._of(row, dtype)):
                ref[(*at, place, slice(None))] = _as(leaves[k], dtype)

    def unpacked(self, arrays: list[Array]) -> PyTree:
        """The numbers out of arrays [..., numbers, lanes]."""
        leaves: list[Any] = [None] * len(self.kinds)
        for array, group in zip(arrays, self.groups, strict=True):
            for place, k in enumerate(self._of(*group)):
                leaves[k] = _as(array[..., place, :], self.kinds[k][1])
        return self.structure.unflatten(leaves)

    def sizes(self) -> list[tuple[int, Any]]:
        """How many numbers each group has, and their dtype."""
        return [(len(self._of(*group)), group[1]) for group in self.groups]

    def _of(self, row: bool, dtype: Any) -> list[int]:
        return [k for k, (is_row, of) in enumerate(self.kinds) if (is_row, _carried(of)) == (row, dtype)]


def _carried(dtype: Any) -> Any:
    return jnp.dtype("int32") if dtype == jnp.bool_ else jnp.dtype(dtype)


def _as(number: Any, dtype: Any) -> Any:
    if jnp.result_type(number) == dtype:
        return number
    return number != 0 if dtype == jnp.bool_ else jnp.asarray(number).astype(dtype)


class Parts(NamedTuple):
    """How the arguments of the kernel are packed."""

    given: Packing
    running: Packing
    saved: Packing


def check_plain(lockstep: Lockstep, lanes: Rows) -> None:
    """NotScalarError for what a kernel cannot compute: calls on arrays, and tables that are looked up."""
    calls = sorted({call for part in _stepping(lockstep) for call in part.program.calls})
    if calls:
        raise NotScalarError(_REFUSED.format(f"its steps need {', '.join(calls)}"))
    if any(isinstance(leaf, Table) for leaf in lanes):
        raise NotScalarError(_REFUSED.format("its lanes look things up in large tables"))


def _stepping(lockstep: Lockstep) -> list[Any]:
    names = ("enter", "step") if lockstep.adaptive else ("step",)
    return [lockstep.parts[name] for name in names]


def in_registers(running: Rows, lanes: Rows, *, lockstep: Lockstep, block: int, interpret: bool) -> tuple[Rows, Saved]:
    """Lanes through all intervals, `block` of them a program of the kernel; their number is a multiple of that."""
    check_plain(lockstep, lanes)
    intervals = lockstep.intervals()
    first = tuple(part[0] for part in intervals)
    like = jax.eval_shape(lambda: lockstep.interval(running, first, lanes, repeats=False)[1])
    parts = Parts(Packing((running, lanes)), Packing(running), Packing(like))
    given = [*parts.given.packed((running, lanes)), *intervals]
    count, size = intervals[0].shape[0], jax.tree.leaves(running)[0].shape[0]
    shapes = [(dtype, (numbers, size)) for numbers, dtype in parts.running.sizes()]
    shapes += [(dtype, (count, numbers, size)) for numbers, dtype in parts.saved.sizes()]
    left = pl.pallas_call(
        functools.partial(_kernel, lockstep=lockstep, parts=parts, count=count),
        out_shape=[jax.ShapeDtypeStruct(shape, dtype) for dtype, shape in shapes],
        grid=(size // block,),
        in_specs=[_spec(array.shape, size, block) for array in given],
        out_specs=[_spec(shape, size, block) for _, shape in shapes],
        interpret=interpret,
        # A lane a thread, of which a warp has 32.
        compiler_params=triton.CompilerParams(num_warps=max(block // 32, 1), num_stages=1),
    )(*given)
    ends, saved = _divided(list(left), len(parts.running.groups))
    return parts.running.unpacked(ends), parts.saved.unpacked(saved)


def _spec(shape: tuple[int, ...], lanes: int, block: int) -> pl.BlockSpec:
    """A block of lanes, which are the last axis of what has more than one; all of the rest."""
    if len(shape) == 1:
        return pl.BlockSpec(shape, lambda _: (0,))
    before = len(shape) - 1
    return pl.BlockSpec((*shape[:-1], block), lambda at: (*(0,) * before, at))


def _kernel(*refs: Any, lockstep: Lockstep, parts: Parts, count: int) -> None:
    """One block: read, go through the intervals, write."""
    given, rest = _divided(list(refs), len(parts.given.groups))
    intervals, rest = _divided(rest, 3)
    ends, saved = _divided(rest, len(parts.running.groups))
    running, lanes = parts.given.read(given)

    def through(k: Array, running: Rows) -> Rows:
        running, kept = lockstep.interval(running, tuple(part[k] for part in intervals), lanes, repeats=False)
        parts.saved.write(saved, kept, k)
        return running

    running = lax.fori_loop(jnp.int32(0), jnp.int32(count), through, running)
    parts.running.write(ends, running)


def _divided(entries: list[Any], first: int) -> tuple[list[Any], list[Any]]:
    return entries[:first], entries[first:]
