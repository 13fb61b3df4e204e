"""A loop of little arithmetic as one kernel of a CPU, where XLA would launch a hundred for each step.

XLA makes one kernel of a loop that touches less than a kilobyte, and marks the call of it. Here the mark is set for
larger loops too. It is XLA's own and promised nowhere: what can stand in such a kernel was tried, primitive by
primitive, with the versions in `TESTED`, and with others nothing is marked.
"""

import functools
import itertools
import math
from collections.abc import Callable
from importlib import metadata
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import ClosedJaxpr, JaxprEqn, Primitive, jaxpr_as_fun
from jax.interpreters import ad, batching, mlir, partial_eval
from jaxlib.mlir import ir

from ._jaxprs import constants, equations, shape_of
from ._scattered_sums import is_small_sum, selecting
from ._tuning import NUMBERS_OF_A_KERNEL

# From the first to before the second: tests/test_one_kernel.py has run with the oldest and the newest.
TESTED = {"jax": ("0.10.2", "0.13"), "jaxlib": ("0.10.2", "0.13")}

# How XLA itself marks loops that touch few bytes, to make a kernel of each; the first keeps the loop a function until
# then. An XLA that does not know these marks launches kernel by kernel, as it would without them.
MARKS = {"inlineable": "false", "xla_cpu_small_call": "true"}

# Computed entry by entry, beside transcendental functions.
ENTRYWISE = frozenset([
    "abs", "add", "and", "ceil", "clamp", "convert_element_type", "div", "eq", "floor", "ge", "gt", "integer_pow",
    "is_finite", "le", "lt", "max", "min", "mul", "ne", "neg", "not", "or", "round", "rsqrt", "select_n", "sign",
    "sqrt", "square", "sub", "xor",
])  # fmt: skip
_FURTHER = frozenset([
    "add_any", "alone_or", "broadcast_in_dim", "clz", "concatenate", "cond", "copy", "cos", "cumsum", "custom_jvp_call",
    "custom_linear_solve", "dot_general", "dynamic_slice", "dynamic_update_slice", "exp", "expand_dims", "expm1",
    "gather", "iota", "jit", "log", "log1p", "logistic", "nextafter", "one_minus_square", "pad", "pow", "reduce_and",
    "reduce_max", "reduce_min", "reduce_or", "reduce_sum", "rem", "reshape", "rev", "scan", "shift_left",
    "shift_right_arithmetic", "shift_right_logical", "sin", "slice", "split", "squeeze", "stack", "stop_gradient",
    "tan", "tanh", "transpose", "unstack", "unvmap_any", "unvmap_max", "while",
])  # fmt: skip

# What only passes an array on may pass a large one: the records of a run.
_PASSES = frozenset([
    "broadcast_in_dim", "cond", "custom_jvp_call", "dynamic_update_slice", "jit", "scan", "stop_gradient", "while",
])  # fmt: skip

_NUMBERS = frozenset(["float32", "float64", "int32", "int64", "uint32", "uint64", "bool"])

# XLA would call a library for larger ones, which no kernel can: sums from 1,025 numbers on, matrices from 8 rows on.
_MOST_SUMMED, _MOST_ROWS = 512, 6


def one_kernel(function: Callable) -> Callable:
    """The same function of arrays, as one kernel where it is little arithmetic, on a CPU, and not mapped by `vmap`."""

    def called(*arguments: Any) -> Any:
        if not tested():
            return function(*arguments)
        program, shapes = _traced(function, arguments)
        if fits(program):
            return _bound(program, shapes, arguments)
        return jax.tree.unflatten(jax.tree.structure(shapes), jaxpr_as_fun(program)(*jax.tree.leaves(arguments)))

    return called


def _traced(function: Callable, arguments: Any) -> tuple[ClosedJaxpr, Any]:
    leaves, tree = jax.tree.flatten(arguments)
    return jax.make_jaxpr(lambda *leaves: function(*jax.tree.unflatten(tree, leaves)), return_shape=True)(*leaves)


def _bound(program: ClosedJaxpr, shapes: Any, arguments: Any) -> Any:
    jaxpr = program.jaxpr
    closed = ClosedJaxpr(jaxpr.replace(constvars=[], invars=[*jaxpr.constvars, *jaxpr.invars]), [])
    found = _one_kernel.bind(*program.consts, *jax.tree.leaves(arguments), program=closed)
    return jax.tree.unflatten(jax.tree.structure(shapes), found)


def fits(program: ClosedJaxpr) -> bool:
    """Whether a program can be one kernel, and should be."""
    given = [*program.jaxpr.invars, *program.jaxpr.constvars]
    plain = all(str(getattr(variable.aval, "dtype", None)) in _NUMBERS for variable in given)
    # XLA aborts the process at a constant of more than ten kilobytes in a kernel. Those outside are arguments.
    small = all(np.size(held) <= NUMBERS_OF_A_KERNEL for held in constants(program)[len(program.consts) :])
    return plain and small and all(_fits(equation) for equation in equations(program.jaxpr))


def _fits(equation: JaxprEqn) -> bool:
    name = equation.primitive.name
    if name == "scatter-add":
        return is_small_sum(equation)
    if name not in ENTRYWISE and name not in _FURTHER:
        return False
    if name == "dot_general":
        return _is_small_product(equation)
    if name.startswith("reduce_"):
        return _size(equation.invars[0]) <= _MOST_SUMMED
    return name in _PASSES or all(_size(variable) <= NUMBERS_OF_A_KERNEL for variable in equation.outvars)


def _is_small_product(equation: JaxprEqn) -> bool:
    (summed, _), (batch, _) = equation.params["dimension_numbers"]
    left, right = (shape_of(variable) for variable in equation.invars)
    inner, outer = (math.prod(left[axis] for axis in axes) for axes in (summed, batch))
    sides = [math.prod(shape) // max(inner * outer, 1) for shape in (left, right)]
    if not summed:  # an outer product is arithmetic entry by entry
        return outer * math.prod(sides) <= NUMBERS_OF_A_KERNEL
    if outer == 1 and min(sides) == 1:
        return inner * max(sides) <= NUMBERS_OF_A_KERNEL
    return max(inner, outer, *sides) <= _MOST_ROWS


def _size(variable: Any) -> int:
    return math.prod(shape_of(variable))


# -- the kernel ----------------------------------------------------------------------------------------------------


def _run(*leaves: Any, program: ClosedJaxpr) -> list:
    return jaxpr_as_fun(program)(*leaves)


def _packed(*leaves: Any, program: ClosedJaxpr) -> list:
    """A marked call of the program, whose arguments XLA can neither know nor leave unread: it aborts the process at
    a marked call with an argument that nothing reads, and puts a constant argument in the place of what reads it.

    Small arrays of one type lie in one, with a number at the end that is 1, by a condition that only the run decides.
    Large ones are what they are by the same condition, which takes no copy. The call begins by asking whether the
    numbers at the ends are 1, and reads one of every large array.
    """
    program = selecting(program)
    if not leaves:
        return _run(program=program)
    one = lax.rng_uniform(np.float32(0), np.float32(1), ()) < 2
    large = [jnp.where(one, leaf, jnp.zeros((), leaf.dtype)) for leaf in leaves if _is_large(leaf)]
    small = [leaf for leaf in leaves if not _is_large(leaf)]
    kinds = sorted({leaf.dtype for leaf in small}, key=str)
    packs = [
        jnp.concatenate([*(jnp.ravel(leaf) for leaf in small if leaf.dtype == kind), one.astype(kind)[None]])
        for kind in kinds
    ]
    if not packs:
        packs = [one[None]]

    def held(*given: Any) -> list:
        packs, large = given[: len(given) - len(leaves) + len(small)], given[len(given) - len(leaves) + len(small) :]
        always = functools.reduce(jnp.logical_and, [pack[-1].astype(bool) for pack in packs])
        always = functools.reduce(
            jnp.logical_or, [leaf[(0,) * leaf.ndim] != jnp.zeros((), leaf.dtype) for leaf in large], always
        )
        zeros = [jnp.zeros(found.shape, found.dtype) for found in program.out_avals]

        def run(*given: Any) -> list:
            new, rest = iter(_unpacked(given[: len(packs)], kinds, small)), iter(given[len(packs) :])
            return _run(*(next(rest) if _is_large(leaf) else next(new) for leaf in leaves), program=program)

        return lax.cond(always, run, lambda *_: zeros, *given)

    return _marked.bind(*packs, *large, called=held, like=tuple(program.out_avals))


def _is_large(leaf: Any) -> bool:
    return leaf.size > NUMBERS_OF_A_KERNEL


def _unpacked(packs: Any, kinds: list, like: Any) -> list:
    """Arrays like these, from those in which they lie."""
    ends, found = dict.fromkeys(kinds, 0), []
    for leaf in like:
        first = ends[leaf.dtype]
        ends[leaf.dtype] = first + leaf.size
        found.append(packs[kinds.index(leaf.dtype)][first : first + leaf.size].reshape(leaf.shape))
    return found


def _mapped(leaves: Any, axes: Any, *, program: ClosedJaxpr) -> tuple[list, list]:
    """Under `vmap` as it was: many lanes fill large kernels anyway."""
    found = jax.vmap(functools.partial(_run, program=program), in_axes=tuple(axes))(*leaves)
    return found, [0] * len(found)


def _jvp(primals: Any, tangents: Any, *, program: ClosedJaxpr) -> tuple[list, list]:
    """Forward mode as it was, of which reverse mode can be taken."""
    moving = [type(one) is not ad.Zero for one in tangents]

    def of(*some: Any) -> list:
        new = iter(some)
        full = [next(new) if moves else leaf for moves, leaf in zip(moving, primals, strict=True)]
        return _run(*full, program=program)

    points, along = (
        tuple(one for one, moves in zip(each, moving, strict=True) if moves) for each in (primals, tangents)
    )
    found, moved = jax.jvp(of, points, along)
    zeros = [ad.Zero(jax.typeof(one).to_tangent_aval()) for one in found]
    still = [one.dtype == jax.dtypes.float0 for one in moved]
    return found, [zero if none else one for zero, one, none in zip(zeros, moved, still, strict=True)]


def _pruned(used_outputs: Any, *rest: Any) -> tuple[list[bool], JaxprEqn | None]:
    """The kernel without what only unused results need, as JAX asks for before it compiles."""
    equation: JaxprEqn = rest[-1]
    if not any(used_outputs):
        return [False] * len(equation.invars), None
    jaxpr, used = partial_eval.dce_jaxpr(equation.params["program"].jaxpr, list(used_outputs))
    given = [atom for atom, one in zip(equation.invars, used, strict=True) if one]
    left = [variable for variable, one in zip(equation.outvars, used_outputs, strict=True) if one]
    return used, equation.replace(invars=given, outvars=left, params={"program": ClosedJaxpr(jaxpr, [])})


def _lowered(context: Any, *packs: Any, called: Callable, like: tuple) -> Any:
    del like
    found = mlir.lower_fun(jax.jit(called), multiple_results=True)(context, *packs)
    call = (found[0][0] if isinstance(found[0], list | tuple) else found[0]).owner
    attributes: dict[str, ir.Attribute] = {name: ir.StringAttr.get(value) for name, value in MARKS.items()}
    call.attributes["mhlo.frontend_attributes"] = ir.DictAttr.get(attributes)
    return found


_one_kernel = Primitive("one_kernel")
_one_kernel.multiple_results = True
_one_kernel.def_impl(
    lambda *leaves, program: jax.jit(lambda *leaves: _one_kernel.bind(*leaves, program=program))(*leaves)
)
_one_kernel.def_abstract_eval(lambda *_, program: program.out_avals)
mlir.register_lowering(_one_kernel, mlir.lower_fun(_run, multiple_results=True))
mlir.register_lowering(_one_kernel, mlir.lower_fun(_packed, multiple_results=True), platform="cpu")
batching.primitive_batchers[_one_kernel] = _mapped
ad.primitive_jvps[_one_kernel] = _jvp
partial_eval.dce_rules[_one_kernel] = _pruned

_marked = Primitive("marked_call")
_marked.multiple_results = True
_marked.def_abstract_eval(lambda *_, called, like: like)
mlir.register_lowering(_marked, _lowered)


# -- versions ------------------------------------------------------------------------------------------------------


@functools.cache
def version(name: str) -> str:
    """The installed version of a package, looked up once."""
    return metadata.version(name)


def tested() -> bool:
    """Whether the installed versions are among those that this was tried with."""
    return all(within(version(name), *bounds) for name, bounds in TESTED.items())


def within(found: str, first: str, end: str) -> bool:
    """Whether a version is `first` or later, and before `end`."""
    return _release(first) <= _release(found) < _release(end)


def _release(text: str) -> tuple[int, ...]:
    """The numbers that a version begins with."""
    return tuple(int(part) for part in itertools.takewhile(str.isdigit, text.split(".")))
