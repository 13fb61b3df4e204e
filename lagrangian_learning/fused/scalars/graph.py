"""Scalar expressions: a node is one number, and equal numbers are one node."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lagrangian_learning.fused.internals import Primitive, primitives

from .simplify import simplified


class NotScalarError(ValueError):
    """The function cannot be written as arithmetic on scalars; the message says what stands against it."""


class Source:
    """An array that a program is given, or that one of its calls returns: where entries come from.

    value: the array, where the function closed over it; call, output: the call, and which of its results, else None.
    """

    __slots__ = ("call", "dtype", "output", "shape", "value")

    def __init__(self, shape: Any, dtype: Any, value: Any = None, call: "Call | None" = None, output: int = 0) -> None:
        self.shape, self.dtype = tuple(shape), np.dtype(dtype)
        self.value, self.call, self.output = value, call, output

    @property
    def size(self) -> int:
        """How many entries there are."""
        return int(np.prod(self.shape, dtype=np.int64))


class Call(NamedTuple):
    """A primitive that is left on arrays; each operand is an array of scalars or a whole `Source`."""

    primitive: Primitive
    params: dict[str, Any]
    operands: tuple[Any, ...]


class Scalar:
    """A number: a constant (value), an entry of an array (source, index), or a primitive of scalars (args)."""

    __slots__ = ("args", "dtype", "index", "number", "params", "primitive", "source", "value")

    def __init__(self, number: int, dtype: Any, **parts: Any) -> None:
        self.number, self.dtype = number, dtype
        self.value = parts.get("value")
        self.source, self.index = parts.get("source"), parts.get("index", 0)
        self.primitive, self.params = parts.get("primitive"), parts.get("params", {})
        self.args: tuple[Scalar, ...] = parts.get("args", ())

    @property
    def is_constant(self) -> bool:
        """Whether its value is known."""
        return self.value is not None

    def equals(self, value: Any) -> bool:
        """Whether it is the known value."""
        return self.value is not None and bool(self.value == value)

    def applies(self, primitive: Primitive) -> bool:
        """Whether it is the result of the primitive."""
        return self.primitive is primitive


class Graph:
    """Makes nodes: simplifies them, and finds those that exist already."""

    def __init__(self) -> None:
        self._known: dict[Any, Scalar] = {}
        self._count = 0

    def constant(self, value: Any, dtype: Any) -> Scalar:
        """The number `value`."""
        with np.errstate(all="ignore"):
            value = np.asarray(value, dtype)[()]
        return self._found(("constant", value.dtype, value.tobytes()), value.dtype, value=value)

    def entry(self, source: Source, index: int) -> Scalar:
        """Entry `index` of the ravelled array."""
        return self._found(("entry", id(source), index), source.dtype, source=source, index=index)

    def entries(self, source: Source) -> np.ndarray:
        """All entries of the array, in its shape."""
        return filled(source.shape, [self.entry(source, index) for index in range(source.size)])

    def apply(self, primitive: Primitive, args: tuple[Scalar, ...], dtype: Any, params: dict[str, Any]) -> Scalar:
        """The primitive of the scalars, simplified; dtype is that of the result."""
        short = simplified(self, primitive, args, dtype, params)
        return self.node(primitive, args, dtype, params) if short is None else short

    def node(self, primitive: Primitive, args: tuple[Scalar, ...], dtype: Any, params: dict[str, Any]) -> Scalar:
        """The primitive of the scalars as it stands."""
        key = (primitive, tuple(arg.number for arg in args), dtype, _hashable(params))
        return self._found(key, dtype, primitive=primitive, args=args, params=params)

    def add(self, x: Scalar, y: Scalar) -> Scalar:
        return self.apply(primitives.add_p, (x, y), x.dtype, {})

    def sub(self, x: Scalar, y: Scalar) -> Scalar:
        return self.apply(primitives.sub_p, (x, y), x.dtype, {})

    def mul(self, x: Scalar, y: Scalar) -> Scalar:
        return self.apply(primitives.mul_p, (x, y), x.dtype, {})

    def div(self, x: Scalar, y: Scalar) -> Scalar:
        return self.apply(primitives.div_p, (x, y), x.dtype, {})

    def neg(self, x: Scalar) -> Scalar:
        return self.apply(primitives.neg_p, (x,), x.dtype, {})

    def sqrt(self, x: Scalar) -> Scalar:
        return self.apply(primitives.sqrt_p, (x,), x.dtype, {"accuracy": None})

    def absolute(self, x: Scalar) -> Scalar:
        return self.apply(primitives.abs_p, (x,), x.dtype, {})

    def both(self, x: Scalar, y: Scalar) -> Scalar:
        return self.apply(primitives.and_p, (x, y), x.dtype, {})

    def compare(self, primitive: Primitive, x: Scalar, y: Scalar) -> Scalar:
        return self.apply(primitive, (x, y), np.dtype(bool), {})

    def select(self, which: Scalar, false: Scalar, true: Scalar) -> Scalar:
        """True where `which` is true, as `jax.lax.select_n` orders it."""
        return self.apply(primitives.select_n_p, (which, false, true), false.dtype, {})

    def _found(self, key: Any, dtype: Any, **parts: Any) -> Scalar:
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = Scalar(self._count, dtype, **parts)
            self._count += 1
        return known


def filled(shape: Any, scalars: Any) -> np.ndarray:
    """An array of nodes."""
    array = np.empty(tuple(shape), object)
    array.reshape(-1)[:] = list(scalars)
    return array


def _hashable(params: dict[str, Any]) -> Any:
    key = tuple(sorted((name, value) for name, value in params.items() if value is not None))
    try:
        hash(key)
    except TypeError:
        return object()
    return key


def is_extended(dtype: Any) -> bool:
    """Whether the dtype is one of JAX's own, such as that of random keys."""
    return jnp.issubdtype(dtype, jax.dtypes.extended)
