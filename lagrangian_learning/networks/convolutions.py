"""Convolutions in the one layout that XLA's CPU code has a fast path for inside loops."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.extend import core
from jaxtyping import Array

_CALLS = ("jit", "pjit", "closed_call", "core_call")


def channels_last(function: Callable) -> Callable:
    """The same function of arrays, every convolution in it computed with its channels last.

    XLA brings convolutions into that layout itself, but on CPUs not inside loops, which integrators and conjugate
    gradients are: there they take many times as long, the gradient of a kernel fifty times. It is to be applied last
    where a convolution is transposed, since that has a layout of its own; its other derivatives keep this one.
    """

    def with_channels_last(*args: Any) -> Any:
        closed, shapes = jax.make_jaxpr(function, return_shape=True)(*args)
        results = _evaluated(closed, jax.tree.leaves(args))
        return jax.tree.unflatten(jax.tree.structure(shapes), results)

    return with_channels_last


def convolves(jaxpr: core.Jaxpr) -> bool:
    """Whether a traced function computes a convolution, itself or in what it calls."""
    inner = (_inner(equation) for equation in jaxpr.eqns)
    calls = any(called is not None and convolves(called.jaxpr) for called in inner)
    return calls or any(equation.primitive is jax.lax.conv_general_dilated_p for equation in jaxpr.eqns)


def _inner(equation: core.JaxprEqn) -> core.ClosedJaxpr | None:
    """What an equation calls where it does nothing else, as jit does."""
    if equation.primitive.name not in _CALLS:
        return None
    called = equation.params.get("jaxpr", equation.params.get("call_jaxpr"))
    return called if isinstance(called, core.ClosedJaxpr) else None


def _evaluated(closed: core.ClosedJaxpr, args: Sequence[Any]) -> list[Any]:
    jaxpr = closed.jaxpr
    known = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*closed.consts, *args), strict=True))

    def read(atom: Any) -> Any:
        return atom.val if isinstance(atom, core.Literal) else known[atom]

    for equation in jaxpr.eqns:
        called = _inner(equation)
        if called is not None:
            results = _evaluated(called, [read(atom) for atom in equation.invars])
        elif equation.primitive is jax.lax.conv_general_dilated_p:
            results = [_convolution(*(read(atom) for atom in equation.invars), **equation.params)]
        else:
            results = _alone(jaxpr, equation, known)
        known.update(zip(equation.outvars, results, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _alone(jaxpr: core.Jaxpr, equation: core.JaxprEqn, known: dict[core.Var, Any]) -> list[Any]:
    """One equation as it stands."""
    operands = list(dict.fromkeys(atom for atom in equation.invars if not isinstance(atom, core.Literal)))
    single = jaxpr.replace(
        constvars=[], invars=operands, outvars=equation.outvars, eqns=[equation], effects=equation.effects
    )
    return core.jaxpr_as_fun(core.ClosedJaxpr(single, ()))(*(known[atom] for atom in operands))


def _convolution(images: Array, kernels: Array, *, dimension_numbers: Any, **params: Any) -> Array:
    lhs, rhs, out = dimension_numbers
    last = images.ndim - 1
    spatial = tuple(range(1, last))
    image = jax.lax.conv_general_dilated(
        jax.lax.transpose(images, (lhs[0], *lhs[2:], lhs[1])),
        jax.lax.transpose(kernels, (*rhs[2:], rhs[1], rhs[0])),
        dimension_numbers=jax.lax.ConvDimensionNumbers(
            (0, last, *spatial), (last, last - 1, *range(last - 1)), (0, last, *spatial)
        ),
        **params,
    )
    # `out` says where batch, channels and spatial axes belong; in the image they are these.
    source = dict(zip(out, (0, last, *spatial), strict=True))
    return jax.lax.transpose(image, [source[axis] for axis in range(images.ndim)])
