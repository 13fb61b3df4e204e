"""`scalarise`: any function of small arrays as the same function, computed number by number."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from lagrangian_learning.fused.internals import traced

from .graph import Graph, NotScalarError, Source, is_extended
from .interpret import Interpreter
from .program import Program

# A step of a law of a few dozen coordinates takes some thousands; XLA compiles ten thousand in some seconds.
MAX_OPERATIONS = 200_000


def program_of(fn: Callable, *examples: PyTree, limit: int = MAX_OPERATIONS) -> tuple[Program, PyTree]:
    """The scalar program of fn at arguments like the examples (arrays or shapes), and its result as shapes.

    Its inputs are the array leaves of the examples, its results the array leaves of what fn returns, in order; what is
    no array is static.

    Raises NotScalarError, a ValueError, where fn cannot be written so: callbacks, random keys, scans over long
    arrays, more than `limit` operations. Loops whose length depends on values, and what else has no scalar form
    (sorting, eigenvalues), stay calls on arrays: `program.calls` names them.
    """
    dynamic, static = eqx.partition(examples, _is_array)
    leaves, structure = jax.tree.flatten(dynamic)

    def flat(*arrays: Any) -> Any:
        found = fn(*eqx.combine(structure.unflatten(arrays), static))
        return eqx.partition(found, eqx.is_array_like)[0]

    closed, shapes = traced(flat, *leaves)
    interpreter = Interpreter(Graph(), limit)
    if any(is_extended(jnp.result_type(leaf)) for leaf in leaves):
        raise NotScalarError("it takes random keys, which are no numbers: draw what is random beforehand.")
    inputs = [Source(leaf.shape, leaf.dtype) for leaf in leaves]
    results = interpreter.run(closed, [interpreter.spread(source) for source in inputs])
    return Program(inputs, results), shapes


def scalarise(fn: Callable, *, limit: int = MAX_OPERATIONS) -> Callable:
    """The same function, written out as arithmetic on scalars: `jax.vmap` of it is elementwise, and fuses.

    fn takes and returns pytrees of small arrays. Matrix products, factorisations, indexing and loops of known length
    are unrolled, branches become selections, structural zeros and equal expressions are computed once or not at all.
    Derivatives of the result go through that arithmetic, without the custom derivatives that fn may have had.

    Raises NotScalarError when called with what `program_of` refuses.
    """

    def scalarised(*arguments: PyTree) -> PyTree:
        program, shapes = program_of(fn, *arguments, limit=limit)
        leaves = [leaf for leaf in jax.tree.leaves(arguments) if _is_array(leaf)]
        return assembled(program(*leaves), shapes)

    return scalarised


def assembled(results: list, shapes: PyTree) -> PyTree:
    """Results of a program as the arrays that its function returns."""
    leaves, structure = jax.tree.flatten(shapes)
    return structure.unflatten([_array(result, leaf) for result, leaf in zip(results, leaves, strict=True)])


def _array(result: Any, shape: Any) -> Any:
    if not isinstance(result, list):
        return result
    if not result:
        return jnp.zeros(shape.shape, shape.dtype)
    return jnp.reshape(jnp.stack([jnp.asarray(number, shape.dtype) for number in result]), shape.shape)


def _is_array(leaf: Any) -> bool:
    return eqx.is_array(leaf) or isinstance(leaf, jax.ShapeDtypeStruct) or hasattr(leaf, "aval")
