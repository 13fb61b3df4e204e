"""Sums, products, extrema along axes, and products of matrices: written out term by term."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from lagrangian_learning.fused.internals import parameters, primitives

from .graph import filled


def _combined(primitive: Any) -> Callable:
    def combine(graph: Any, x: Any, y: Any) -> Any:
        return graph.apply(primitive, (x, y), x.dtype, {})

    return combine


def _reduction(primitive: Any, neutral: Any) -> Callable:
    combine = _combined(primitive)

    def rule(graph: Any, equation: Any, x: np.ndarray) -> list:
        axes = tuple(parameters(equation)["axes"])
        shape, dtype = equation.outvars[0].aval.shape, equation.outvars[0].aval.dtype
        rows = _rows(x, axes)
        if rows.shape[1] == 0:
            return [filled(shape, [graph.constant(_neutral(neutral, dtype), dtype)] * len(rows))]
        return [filled(shape, [_folded(graph, combine, row) for row in rows])]

    return rule


def _neutral(neutral: Any, dtype: Any) -> Any:
    if neutral not in {"least", "most"}:
        return neutral
    if np.issubdtype(dtype, np.inexact):
        return -np.inf if neutral == "least" else np.inf
    limits = np.iinfo(dtype)
    return limits.min if neutral == "least" else limits.max


def _rows(x: np.ndarray, axes: Any) -> np.ndarray:
    """What is combined with each other, a row each."""
    kept = [axis for axis in range(x.ndim) if axis not in axes]
    count = int(np.prod([x.shape[axis] for axis in axes], dtype=np.int64))
    size = int(np.prod([x.shape[axis] for axis in kept], dtype=np.int64))
    return x.transpose([*kept, *axes]).reshape(size, count)


def _folded(graph: Any, combine: Callable, row: Any) -> Any:
    total = row[0]
    for entry in row[1:]:
        total = combine(graph, total, entry)
    return total


def _cumulation(primitive: Any) -> Callable:
    combine = _combined(primitive)

    def rule(graph: Any, equation: Any, x: np.ndarray) -> list:
        axis, backwards = parameters(equation)["axis"], parameters(equation)["reverse"]
        result = x.copy()
        rows = np.moveaxis(result, axis, 0)
        order = range(x.shape[axis])[::-1] if backwards else range(x.shape[axis])
        for before, here in itertools.pairwise(order):
            last, this = rows[before, ...], rows[here, ...]
            pairs = zip(last.ravel(), this.ravel(), strict=True)
            rows[here, ...] = filled(this.shape, [combine(graph, *pair) for pair in pairs])
        return [result]

    return rule


def _extreme_index(primitive: Any) -> Callable:
    def rule(graph: Any, equation: Any, x: np.ndarray) -> list:
        dtype, shape = parameters(equation)["index_dtype"], equation.outvars[0].aval.shape
        rows = _rows(x, tuple(parameters(equation)["axes"]))
        return [filled(shape, [_index_of(graph, primitive, row, dtype) for row in rows])]

    return rule


def _index_of(graph: Any, primitive: Any, row: Any, dtype: Any) -> Any:
    """The first index of the extremum; a NaN counts as one, as NumPy and JAX have it."""
    best, which = row[0], graph.constant(0, dtype)
    for k, entry in enumerate(row[1:], start=1):
        better = graph.compare(primitive, entry, best)
        if np.issubdtype(entry.dtype, np.inexact):
            odd = graph.compare(primitives.ne_p, entry, entry)
            known = graph.compare(primitives.ne_p, best, best)
            fresh = graph.select(known, odd, graph.constant(False, bool))
            better = graph.select(known, graph.apply(primitives.or_p, (better, fresh), np.dtype(bool), {}), fresh)
        best = graph.select(better, best, entry)
        which = graph.select(better, which, graph.constant(k, dtype))
    return which


def _dot_general(graph: Any, equation: Any, x: np.ndarray, y: np.ndarray) -> list:
    (contract_x, contract_y), (batch_x, batch_y) = parameters(equation)["dimension_numbers"]
    shape, dtype = equation.outvars[0].aval.shape, equation.outvars[0].aval.dtype
    left, right = _blocks(x, batch_x, contract_x), _blocks(y, batch_y, contract_y)
    entries = [
        _dot(graph, row, column, dtype)
        for block, other in zip(left, right, strict=True)
        for row in block
        for column in other
    ]
    return [filled(shape, entries)]


def _blocks(x: np.ndarray, batch: Any, contract: Any) -> np.ndarray:
    """[batch, free, contracted]."""
    free = [axis for axis in range(x.ndim) if axis not in {*batch, *contract}]
    sizes = [int(np.prod([x.shape[axis] for axis in axes], dtype=np.int64)) for axes in (batch, free, contract)]
    return x.transpose([*batch, *free, *contract]).reshape(sizes)


def _dot(graph: Any, row: Any, column: Any, dtype: Any) -> Any:
    total = graph.constant(0, dtype)
    for x, y in zip(row, column, strict=True):
        total = graph.add(total, graph.mul(_as(graph, x, dtype), _as(graph, y, dtype)))
    return total


def _as(graph: Any, x: Any, dtype: Any) -> Any:
    if x.dtype == dtype:
        return x
    params = {"new_dtype": np.dtype(dtype), "weak_type": False, "sharding": None}
    return graph.apply(primitives.convert_element_type_p, (x,), np.dtype(dtype), params)


RULES: dict[str, Callable] = {
    "reduce_sum": _reduction(primitives.add_p, 0),
    "reduce_prod": _reduction(primitives.mul_p, 1),
    "reduce_max": _reduction(primitives.max_p, "least"),
    "reduce_min": _reduction(primitives.min_p, "most"),
    "reduce_and": _reduction(primitives.and_p, True),
    "reduce_or": _reduction(primitives.or_p, False),
    "cumsum": _cumulation(primitives.add_p),
    "cumprod": _cumulation(primitives.mul_p),
    "cummax": _cumulation(primitives.max_p),
    "cummin": _cumulation(primitives.min_p),
    "argmax": _extreme_index(primitives.gt_p),
    "argmin": _extreme_index(primitives.lt_p),
    "dot_general": _dot_general,
}
