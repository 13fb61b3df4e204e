"""A graph of scalars as a function again: evaluated node by node on numbers, or on one array a number."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from lagrangian_learning.fused.internals import primitives

from .functions import TRANSCENDENTAL
from .graph import Call, Scalar, Source
from .sharing import worth_keeping

# What a flop count does not count.
_FREE = frozenset(
    [
        "select_n",
        "convert_element_type",
        "and",
        "or",
        "not",
        "xor",
        "eq",
        "ne",
        "lt",
        "le",
        "gt",
        "ge",
        "is_finite",
        "copy",
        "stop_gradient",
    ]
)

# Nodes of our own making know no parameters that JAX may add to these.
_PLAIN: dict[Any, Callable] = {
    primitives.add_p: lax.add,
    primitives.sub_p: lax.sub,
    primitives.mul_p: lax.mul,
    primitives.div_p: lax.div,
    primitives.neg_p: lax.neg,
    primitives.abs_p: lax.abs,
    primitives.sqrt_p: lax.sqrt,
}


class Program:
    """Results (arrays of scalars, or whole sources) of inputs, in the order in which they can be computed.

    operations counts what is computed, by the names of primitives; calls lists the primitives left on arrays.
    """

    def __init__(self, inputs: Sequence[Any], results: Sequence[Any]) -> None:
        self.inputs, self.results = tuple(inputs), tuple(results)
        self.order = _in_order(self.results)
        self.operations = Counter(
            node.primitive.name for node in self.order if isinstance(node, Scalar) and node.primitive is not None
        )
        self.calls = tuple(node.primitive.name for node in self.order if isinstance(node, Call))

    @property
    def flops(self) -> int:
        """Additions, multiplications, divisions, roots and the like, with what is transcendental counted once."""
        return sum(count for name, count in self.operations.items() if name not in _FREE)

    @property
    def transcendentals(self) -> int:
        """How many exponentials, sines and their like there are."""
        return sum(count for name, count in self.operations.items() if name in TRANSCENDENTAL)

    def __call__(
        self,
        *inputs: Any,
        lowerings: Mapping[str, Callable] | None = None,
        keep: Callable | None = None,
        worth: int = 8,
    ) -> list[Any]:
        """The results, each a list of scalars in ravelled order.

        Arguments:
            inputs: for each input an array, or the list of its scalars.
            lowerings: what computes a primitive in place of JAX's own, by name: {"sin": fn}.
            keep: applied to numbers that are used more than once and would cost `worth` operations or more if they were
                computed again by each who uses them.
        """
        values = _Values(dict(zip(self.inputs, inputs, strict=True)), lowerings or {})
        kept = frozenset() if keep is None else worth_keeping(self.order, self.results, worth)
        for node in self.order:
            values.compute(node)
            if keep is not None and isinstance(node, Scalar) and node in kept:
                values.scalar[node] = keep(values.scalar[node])
        return [values.scalars(result) for result in self.results]


class _Values:
    """What has been computed: scalars by node, arrays by source and call."""

    def __init__(self, inputs: dict[Source, Any], lowerings: Mapping[str, Callable]) -> None:
        self.scalar: dict[Scalar, Any] = {}
        self.array: dict[Any, Any] = dict(inputs)
        self.lowerings = lowerings

    def compute(self, node: Any) -> None:
        if isinstance(node, Call):
            operands = [self.whole(operand) for operand in node.operands]
            found = node.primitive.bind(*operands, **node.params)
            self.array[id(node)] = found if node.primitive.multiple_results else [found]
        elif node.is_constant:
            self.scalar[node] = node.value
        elif node.source is not None:
            self.scalar[node] = self._entry(node.source, node.index)
        else:
            self.scalar[node] = self._applied(node)

    def _applied(self, node: Scalar) -> Any:
        args = [self.scalar[arg] for arg in node.args]
        special = self.lowerings.get(node.primitive.name)  # pyright: ignore[reportOptionalMemberAccess]
        if special is not None and len(args) == 1 and np.issubdtype(node.dtype, np.floating):
            return special(args[0])
        plain = _PLAIN.get(node.primitive)  # pyright: ignore[reportArgumentType, reportCallIssue]
        if plain is not None:
            return plain(*args)
        return node.primitive.bind(*args, **node.params)  # pyright: ignore[reportOptionalMemberAccess]

    def _entry(self, source: Source, index: int) -> Any:
        found = self._of(source)
        return found[index] if isinstance(found, list | tuple) else jnp.ravel(found)[index]

    def _of(self, source: Source) -> Any:
        if source.call is not None:
            return self.array[id(source.call)][source.output]
        return self.array.get(source, source.value)

    def whole(self, operand: Any) -> Array:
        """An array for a call: a source as it is, scalars put together."""
        if isinstance(operand, Source):
            found = self._of(operand)
            return _stacked(found, operand.shape, operand.dtype) if isinstance(found, list | tuple) else found
        dtype = operand.flat[0].dtype if operand.size else jnp.result_type(float)
        return _stacked([self.scalar[node] for node in operand.ravel()], operand.shape, dtype)

    def scalars(self, result: Any) -> Any:
        if isinstance(result, Source):
            return self._of(result)
        return [self.scalar[node] for node in result.ravel()]


def _stacked(scalars: Sequence[Any], shape: Any, dtype: Any) -> Array:
    arrays = [jnp.asarray(scalar, dtype) for scalar in scalars]
    return jnp.reshape(jnp.stack(arrays), shape) if arrays else jnp.zeros(shape, dtype)


def _in_order(results: Sequence[Any]) -> tuple[Any, ...]:
    """All nodes and calls that results need, each after what it needs."""
    order: list[Any] = []
    done: set[int] = set()
    stack = [(node, False) for result in reversed(results) for node in _parts(result)[::-1]]
    while stack:
        node, ready = stack.pop()
        if id(node) in done:
            continue
        if ready:
            done.add(id(node))
            order.append(node)
            continue
        stack.append((node, True))
        stack.extend((needed, False) for needed in _needs(node) if id(needed) not in done)
    return tuple(order)


def _needs(node: Any) -> list[Any]:
    if isinstance(node, Call):
        return [part for operand in node.operands for part in _parts(operand)]
    if node.source is not None:
        return _parts(node.source)
    return list(node.args)


def _parts(operand: Any) -> list[Any]:
    """The nodes of an array of scalars, or the call that a source comes from."""
    if isinstance(operand, Source):
        return [] if operand.call is None else [operand.call]
    return list(operand.ravel())


def as_numbers(array: Any) -> list[Array]:
    """The entries of an array, one by one."""
    flat = jnp.ravel(jnp.asarray(array))
    return [jax.lax.index_in_dim(flat, index, keepdims=False) for index in range(flat.size)]
