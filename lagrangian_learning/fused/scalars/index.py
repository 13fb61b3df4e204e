"""Gathers and scatters: bookkeeping where the index is known, selections between few candidates where it is not."""

from collections.abc import Callable
from typing import Any

import numpy as np

from lagrangian_learning._tuning import MAX_CANDIDATES
from lagrangian_learning.fused.internals import GatherScatterMode, parameters, primitives

from .graph import filled


def _dynamic_slice(graph: Any, equation: Any, x: np.ndarray, *starts: np.ndarray) -> list | None:
    sizes = parameters(equation)["slice_sizes"]
    if _too_many(x.shape, sizes, [start[()] for start in starts]):
        return None
    return [_window(graph, x, [start[()] for start in starts], sizes)]


def _dynamic_update_slice(
    graph: Any, equation: Any, x: np.ndarray, update: np.ndarray, *starts: np.ndarray
) -> list | None:
    if _too_many(x.shape, update.shape, [start[()] for start in starts]):
        return None
    return [_updated(graph, x, update, [start[()] for start in starts], None, clip=True)]


def _gather(graph: Any, equation: Any, x: np.ndarray, indices: np.ndarray) -> list | None:
    params = parameters(equation)
    numbers, sizes, mode = params["dimension_numbers"], params["slice_sizes"], params["mode"]
    rows = indices.reshape(-1, indices.shape[-1])
    batch = indices.shape[:-1]
    dropped = sorted((*numbers.collapsed_slice_dims, *numbers.operand_batching_dims))
    windows = []
    for place, row in zip(np.ndindex(batch), rows, strict=True):
        starts = _starts(graph, x.ndim, row, numbers.start_index_map)
        for axis, source in zip(numbers.operand_batching_dims, numbers.start_indices_batching_dims, strict=True):
            starts[axis] = _integer(graph, place[source])
        if _too_many(x.shape, sizes, starts):
            return None
        window = _window(graph, x, starts, sizes)
        if mode == GatherScatterMode.FILL_OR_DROP:
            window = _filled_outside(graph, equation, x.shape, starts, sizes, window)
        windows.append(window.reshape([size for axis, size in enumerate(sizes) if axis not in dropped]))
    return [_assembled(equation.outvars[0].aval.shape, numbers.offset_dims, batch, windows)]


def _assembled(shape: Any, offsets: Any, batch: Any, windows: list) -> np.ndarray:
    """Windows in their places: offset axes where the dimension numbers say, batch axes in between."""
    inner = tuple(shape[axis] for axis in offsets)
    whole = filled((*batch, *inner), [entry for window in windows for entry in window.ravel()])
    others = [axis for axis in range(len(shape)) if axis not in offsets]
    return np.moveaxis(whole, range(whole.ndim), [*others, *offsets])


def _filled_outside(graph: Any, equation: Any, shape: Any, starts: list, sizes: Any, window: np.ndarray) -> np.ndarray:
    value, dtype = parameters(equation)["fill_value"], equation.outvars[0].aval.dtype
    if value is None:
        value = np.nan if np.issubdtype(dtype, np.inexact) else np.iinfo(dtype).min
    fill = graph.constant(value, dtype)
    inside = _inside(graph, shape, starts, sizes)
    return filled(window.shape, [graph.select(inside, fill, entry) for entry in window.ravel()])


def _scatter(combine: str | None) -> Callable:
    def rule(graph: Any, equation: Any, x: np.ndarray, indices: np.ndarray, updates: np.ndarray) -> list | None:
        params = parameters(equation)
        numbers, clip = params["dimension_numbers"], params["mode"] == GatherScatterMode.CLIP
        combiner = None if combine is None else getattr(primitives, combine)
        places = [axis for axis in range(updates.ndim) if axis not in numbers.update_window_dims]
        ordered = updates.transpose([*places, *numbers.update_window_dims])
        batch = ordered.shape[: len(places)]
        inserted = (*numbers.inserted_window_dims, *numbers.operand_batching_dims)
        inner = iter(ordered.shape[len(places) :])
        sizes = [1 if axis in inserted else next(inner) for axis in range(x.ndim)]
        for place in np.ndindex(batch):
            row = indices[place]
            starts = _starts(graph, x.ndim, row, numbers.scatter_dims_to_operand_dims)
            batched = zip(numbers.operand_batching_dims, numbers.scatter_indices_batching_dims, strict=True)
            for axis, source in batched:
                starts[axis] = _integer(graph, place[source])
            if _too_many(x.shape, sizes, starts):
                return None
            x = _updated(graph, x, np.asarray(ordered[place]).reshape(sizes), starts, combiner, clip=clip)
        return [x]

    return rule


def _integer(graph: Any, value: int) -> Any:
    return graph.constant(value, np.int32)


def _starts(graph: Any, ndim: int, row: np.ndarray, axes: Any) -> list:
    """Where a window starts on every axis."""
    starts = [_integer(graph, 0)] * ndim
    for axis, start in zip(axes, row, strict=True):
        starts[axis] = start
    return starts


def _too_many(shape: Any, sizes: Any, starts: list) -> bool:
    places = [n - size + 1 for n, size, start in zip(shape, sizes, starts, strict=True) if not start.is_constant]
    return int(np.prod(places, dtype=np.int64)) > MAX_CANDIDATES


def _window(graph: Any, x: np.ndarray, starts: list, sizes: Any) -> np.ndarray:
    """The window, moved inside where it starts outside."""
    for axis, (start, size) in enumerate(zip(starts, sizes, strict=True)):
        last = x.shape[axis] - size
        candidates = [np.take(x, range(first, first + size), axis) for first in range(last + 1)]
        if start.is_constant:
            x = candidates[min(max(int(start.value), 0), last)]
            continue
        chosen = candidates[0]
        for first, candidate in enumerate(candidates[1:], start=1):
            reached = graph.compare(primitives.ge_p, start, graph.constant(first, start.dtype))
            pairs = zip(chosen.ravel(), candidate.ravel(), strict=True)
            chosen = filled(chosen.shape, [graph.select(reached, *pair) for pair in pairs])
        x = chosen
    return x


def _updated(graph: Any, x: np.ndarray, update: np.ndarray, starts: list, combiner: Any, *, clip: bool) -> np.ndarray:
    """x with a window written over, or combined with what is there; a window outside is moved inside or left out."""
    result = x.copy()
    lasts = [n - size for n, size in zip(x.shape, update.shape, strict=True)]
    ranges = []
    for start, last in zip(starts, lasts, strict=True):
        if not start.is_constant:
            ranges.append(range(last + 1))
            continue
        first = int(start.value)
        if clip:
            first = min(max(first, 0), last)
        elif not 0 <= first <= last:
            return result
        ranges.append(range(first, first + 1))
    for place in np.ndindex(*(len(each) for each in ranges)):
        corner = [each[k] for each, k in zip(ranges, place, strict=True)]
        here = _starts_here(graph, starts, corner, lasts, clip=clip)
        for offset in np.ndindex(update.shape):
            at = tuple(np.add(corner, offset))
            new = update[offset]
            if combiner is not None:
                new = graph.apply(combiner, (result[at], new), new.dtype, {})
            result[at] = graph.select(here, result[at], new)
    return result


def _starts_here(graph: Any, starts: list, corner: list, lasts: list, *, clip: bool) -> Any:
    """Whether a window starts at this corner."""
    here = graph.constant(True, bool)
    for start, first, last in zip(starts, corner, lasts, strict=True):
        if start.is_constant:
            continue
        primitive = primitives.eq_p
        if clip and last > 0 and first in {0, last}:
            primitive = primitives.le_p if first == 0 else primitives.ge_p
        elif clip and last == 0:
            continue
        here = graph.both(here, graph.compare(primitive, start, graph.constant(first, start.dtype)))
    return here


def _inside(graph: Any, shape: Any, starts: list, sizes: Any) -> Any:
    inside = graph.constant(True, bool)
    for n, start, size in zip(shape, starts, sizes, strict=True):
        zero, last = graph.constant(0, start.dtype), graph.constant(n - size, start.dtype)
        inside = graph.both(inside, graph.compare(primitives.ge_p, start, zero))
        inside = graph.both(inside, graph.compare(primitives.le_p, start, last))
    return inside


RULES: dict[str, Callable] = {
    "dynamic_slice": _dynamic_slice,
    "dynamic_update_slice": _dynamic_update_slice,
    "gather": _gather,
    "scatter": _scatter(None),
    "scatter-add": _scatter("add_p"),
    "scatter_add": _scatter("add_p"),
    "scatter_mul": _scatter("mul_p"),
    "scatter_min": _scatter("min_p"),
    "scatter_max": _scatter("max_p"),
}
