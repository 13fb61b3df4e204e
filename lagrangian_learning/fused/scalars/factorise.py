"""Factorisations of small matrices, unrolled: Cholesky, LU with row pivoting by selections, triangular solves."""

from collections.abc import Callable
from typing import Any

import numpy as np

from lagrangian_learning.fused.internals import parameters, primitives

from .graph import filled


def _each_matrix(fn: Callable, graph: Any, *arrays: np.ndarray) -> np.ndarray:
    """fn of every matrix of a stack."""
    stack = arrays[0].shape[:-2]
    results = [fn(graph, *(array[place] for array in arrays)) for place in np.ndindex(stack)]
    shape = (*stack, *results[0].shape) if results else arrays[-1].shape
    return filled(shape, [entry for result in results for entry in result.ravel()])


def _cholesky(graph: Any, equation: Any, a: np.ndarray) -> list:
    return [_each_matrix(_cholesky_of, graph, a)]


def _cholesky_of(graph: Any, a: np.ndarray) -> np.ndarray:
    """The lower factor, column by column; not positive definite gives NaN, as the square root of a negative number."""
    n = len(a)
    lower = filled(a.shape, [graph.constant(0, a[0, 0].dtype)] * a.size)
    for j in range(n):
        for i in range(j, n):
            rest = a[i, j]
            for k in range(j):
                rest = graph.sub(rest, graph.mul(lower[i, k], lower[j, k]))
            lower[i, j] = graph.sqrt(rest) if i == j else graph.div(rest, lower[j, j])
    return lower


def _triangular_solve(graph: Any, equation: Any, a: np.ndarray, b: np.ndarray) -> list:
    params = parameters(equation)

    def solve(graph: Any, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        matrix = a if params["left_side"] else a.T
        right = b if params["left_side"] else b.T
        lower = params["lower"] == params["left_side"]
        if params["transpose_a"]:
            matrix, lower = matrix.T, not lower
        x = _substituted(graph, matrix, right, lower=lower, unit=params["unit_diagonal"])
        return x if params["left_side"] else x.T

    return [_each_matrix(solve, graph, a, b)]


def _substituted(graph: Any, a: np.ndarray, b: np.ndarray, *, lower: bool, unit: bool) -> np.ndarray:
    x = b.copy()
    order = range(len(a)) if lower else range(len(a))[::-1]
    for step, i in enumerate(order):
        for column in range(x.shape[1]):
            rest = b[i, column]
            for j in order[:step]:
                rest = graph.sub(rest, graph.mul(a[i, j], x[j, column]))
            x[i, column] = rest if unit else graph.div(rest, a[i, i])
    return x


def _lu(graph: Any, equation: Any, a: np.ndarray) -> list | None:
    if a.ndim != 2:
        return None
    return list(_lu_of(graph, a))


def _lu_of(graph: Any, a: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    r"""L\\U, pivots and permutation, the largest of a column being brought up by selections."""
    rows, columns = a.shape
    a = a.copy()
    permutation = [graph.constant(i, np.int32) for i in range(rows)]
    pivots = []
    for k in range(min(rows, columns)):
        pivot = _largest(graph, a[k:, k], k)
        pivots.append(pivot)
        for i in range(k + 1, rows):
            swap = graph.compare(primitives.eq_p, pivot, graph.constant(i, np.int32))
            for j in range(columns):
                a[k, j], a[i, j] = _swapped(graph, swap, a[k, j], a[i, j])
            permutation[k], permutation[i] = _swapped(graph, swap, permutation[k], permutation[i])
        for i in range(k + 1, rows):
            a[i, k] = graph.div(a[i, k], a[k, k])
            for j in range(k + 1, columns):
                a[i, j] = graph.sub(a[i, j], graph.mul(a[i, k], a[k, j]))
    return a, filled((len(pivots),), pivots), filled((rows,), permutation)


def _largest(graph: Any, column: np.ndarray, first: int) -> Any:
    """The row of the entry of largest size; rows that are known to be zero are not asked."""
    best, which = graph.absolute(column[0]), graph.constant(first, np.int32)
    for i, entry in enumerate(column[1:], start=first + 1):
        if entry.equals(0):
            continue
        size = graph.absolute(entry)
        larger = graph.compare(primitives.gt_p, size, best)
        best = graph.select(larger, best, size)
        which = graph.select(larger, which, graph.constant(i, np.int32))
    return which


def _swapped(graph: Any, swap: Any, x: Any, y: Any) -> tuple[Any, Any]:
    return graph.select(swap, x, y), graph.select(swap, y, x)


def _pivots_to_permutation(graph: Any, equation: Any, pivots: np.ndarray) -> list | None:
    if pivots.ndim != 1:
        return None
    permutation = [graph.constant(i, np.int32) for i in range(parameters(equation)["permutation_size"])]
    for k, pivot in enumerate(pivots):
        for i in range(k + 1, len(permutation)):
            swap = graph.compare(primitives.eq_p, pivot, graph.constant(i, np.int32))
            permutation[k], permutation[i] = _swapped(graph, swap, permutation[k], permutation[i])
    return [filled((len(permutation),), permutation)]


RULES: dict[str, Callable] = {
    "cholesky": _cholesky,
    "triangular_solve": _triangular_solve,
    "lu": _lu,
    "lu_pivots_to_permutation": _pivots_to_permutation,
}
