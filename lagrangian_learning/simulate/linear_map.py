"""A linear map, given with its transpose, as a primitive; and one that distinguishes a run from a batch of them."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox.internal as eqxi
import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array

from .program import Arrays, merged, picked


def alone_or(going: Array) -> Array:
    """True; in a batch, whose loop goes on for the longest of its runs, whether this one is still going."""
    return _going.bind(going)


_going = Primitive("alone_or")
_going.def_impl(jnp.ones_like)
_going.def_abstract_eval(lambda going: going)
mlir.register_lowering(_going, mlir.lower_fun(jnp.ones_like, multiple_results=False))
batching.primitive_batchers[_going] = lambda operands, axes: (operands[0], axes[0])
ad.primitive_jvps[_going] = lambda primals, tangents: (_going.bind(*primals), ad.Zero(tangents[0].aval))


linear_map = Primitive("replayed")
linear_map.multiple_results = True


def _called(*operands: Array, count: int, forward: Callable, **_: Any) -> Arrays:
    return forward(operands[:count], operands[count:])


def _jvp(primals: Sequence, tangents: Sequence, **given: Any) -> tuple[Arrays, list]:
    """Linear in what follows the residuals; in the residuals by forward mode."""
    count, forward = given["count"], given["forward"]
    outputs = linear_map.bind(*primals, **given)
    residuals, linear = list(primals[:count]), list(primals[count:])
    moving = [type(one) is not ad.Zero for one in tangents[:count]]
    moves = any(type(one) is not ad.Zero for one in tangents[count:])
    found: list = [ad.Zero(jax.typeof(one)) for one in outputs]
    if moves:
        further = [ad.instantiate_zeros(one) for one in tangents[count:]]
        found = list(linear_map.bind(*residuals, *further, **given))
    if any(moving):

        def of(some: Arrays) -> Arrays:
            return forward(merged(residuals, some, moving), linear)

        more = jax.jvp(of, (picked(residuals, moving),), (picked(tangents[:count], moving),))[1]
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
    found = linear_map.bind(
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
    found = linear_map.bind(*residuals, *linear, **further)
    return found, [0] * len(found)


linear_map.def_impl(lambda *operands, **given: jax.jit(lambda *leaves: _called(*leaves, **given))(*operands))
linear_map.def_abstract_eval(lambda *_, like, **__: [jax.core.ShapedArray(one.shape, one.dtype) for one in like])
mlir.register_lowering(linear_map, mlir.lower_fun(_called, multiple_results=True))
ad.primitive_jvps[linear_map] = _jvp
ad.primitive_transposes[linear_map] = _transposed
batching.primitive_batchers[linear_map] = _batched
