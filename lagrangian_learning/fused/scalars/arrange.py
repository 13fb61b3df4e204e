"""Primitives that only move entries: bookkeeping on arrays of nodes."""

from collections.abc import Callable
from typing import Any

import numpy as np

from lagrangian_learning.fused.internals import parameters

from .graph import filled


def _broadcast(graph: Any, equation: Any, x: np.ndarray, *_: Any) -> list:
    shape, dimensions = parameters(equation)["shape"], parameters(equation)["broadcast_dimensions"]
    wide = [1] * len(shape)
    for axis, dimension in enumerate(dimensions):
        wide[dimension] = x.shape[axis]
    return [np.broadcast_to(x.reshape(wide), shape)]


def _reshape(graph: Any, equation: Any, x: np.ndarray, *_: Any) -> list:
    return [x.reshape(equation.outvars[0].aval.shape)]


def _transpose(graph: Any, equation: Any, x: np.ndarray) -> list:
    return [x.transpose(parameters(equation)["permutation"])]


def _slice(graph: Any, equation: Any, x: np.ndarray) -> list:
    params = parameters(equation)
    strides = params["strides"] or (1,) * x.ndim
    bounds = zip(params["start_indices"], params["limit_indices"], strides, strict=True)
    return [x[(*(slice(*bound) for bound in bounds), ...)]]


def _rev(graph: Any, equation: Any, x: np.ndarray) -> list:
    return [np.flip(x, parameters(equation)["dimensions"])]


def _concatenate(graph: Any, equation: Any, *arrays: np.ndarray) -> list:
    return [np.concatenate(arrays, parameters(equation)["dimension"])]


def _stack(graph: Any, equation: Any, *arrays: np.ndarray) -> list:
    return [np.stack(arrays, parameters(equation)["axis"])]


def _split(graph: Any, equation: Any, x: np.ndarray) -> list:
    ends = np.cumsum(parameters(equation)["sizes"])[:-1]
    return np.split(x, ends, parameters(equation)["axis"])


def _tile(graph: Any, equation: Any, x: np.ndarray) -> list:
    return [np.tile(x, parameters(equation)["reps"])]


def _pad(graph: Any, equation: Any, x: np.ndarray, value: np.ndarray) -> list:
    shape = equation.outvars[0].aval.shape
    padded = filled(shape, [value[()]] * int(np.prod(shape, dtype=np.int64)))
    inner, outer = [], []
    for size, length, (low, _, gap) in zip(shape, x.shape, parameters(equation)["padding_config"], strict=True):
        places = low + np.arange(length) * (gap + 1)
        there = (places >= 0) & (places < size)
        inner.append(np.flatnonzero(there))
        outer.append(places[there])
    padded[np.ix_(*outer)] = x[np.ix_(*inner)]
    return [padded]


def _iota(graph: Any, equation: Any) -> list:
    params = parameters(equation)
    numbers = np.indices(params["shape"])[params["dimension"]]
    return [filled(params["shape"], [graph.constant(number, params["dtype"]) for number in numbers.ravel()])]


RULES: dict[str, Callable] = {
    "broadcast_in_dim": _broadcast,
    "reshape": _reshape,
    "squeeze": _reshape,
    "expand_dims": _reshape,
    "transpose": _transpose,
    "slice": _slice,
    "rev": _rev,
    "concatenate": _concatenate,
    "stack": _stack,
    "split": _split,
    "tile": _tile,
    "pad": _pad,
    "iota": _iota,
}
