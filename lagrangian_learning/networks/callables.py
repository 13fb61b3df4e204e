"""Callables taken apart: modules that a function, a partial or a method holds become branches of a pytree.

To JAX a plain function is a leaf, whatever it holds: the weights of `jax.vmap(linear)` are out of sight of
`jax.tree.leaves`. `opened` makes such a callable a pytree with the modules that it reaches in it; `plain` gives
Python's own objects back. Arrays that no module holds stay constants of the function, as in any JAX program.
"""

import abc
import contextlib
import dataclasses
import dis
import functools
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from lagrangian_learning._arrays import is_concrete

from .edges import FrozenArray

_Compiled: Any = type(jax.jit(lambda x: x))
_FilterCompiled: Any = type(eqx.filter_jit(lambda x: x))
# What their modules call at their top level holds no weights of a user.
_LIBRARIES = frozenset(
    ("jax", "jaxlib", "numpy", "scipy", "equinox", "jaxtyping", "beartype", "lagrangian_learning")
) | set(sys.stdlib_module_names - {"__main__"})
_ATOMS = (types.ModuleType, str, bytes, int, float, complex, np.ndarray, np.generic, jax.Array, FrozenArray)
_DEEPEST = 4


class HiddenModuleError(ValueError):
    """A module with weights stands where no pytree reaches it."""


class AbstractOpened(eqx.Module):
    """A callable of Python's as a module."""

    @abc.abstractmethod
    def plain(self) -> Callable[..., Any]:
        """The callable itself, with the weights that are here now."""

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        """What the callable returns."""
        return self.plain()(*args, **keywords)


class OpenedFunction(AbstractOpened):
    """A function, and the contents of it that hold weights by their names: closed over, defaults or global."""

    contents: dict[str, Any]
    body: "_Body" = eqx.field(static=True)

    def plain(self) -> Callable[..., Any]:
        return self.body.rebuilt({name: plain(value) for name, value in self.contents.items()})


class OpenedPartial(AbstractOpened):
    """functools.partial(func, *args, **keywords)."""

    func: Callable[..., Any]
    args: tuple[Any, ...]
    keywords: dict[str, Any]

    def plain(self) -> Callable[..., Any]:
        return functools.partial(plain(self.func), *plain(self.args), **plain(self.keywords))


class OpenedMethod(AbstractOpened):
    """A bound method, and the module that it is bound to."""

    owner: Any
    function: Callable[..., Any] = eqx.field(static=True)

    def plain(self) -> Callable[..., Any]:
        return types.MethodType(self.function, plain(self.owner))


def plain(tree: PyTree) -> PyTree:
    """The same tree with Python's callables in place of opened ones."""

    def part(value: Any) -> Any:
        if isinstance(value, FrozenArray):
            return jnp.asarray(value.array)
        return value.plain() if isinstance(value, AbstractOpened | _Kept) else value

    return jax.tree.map(part, tree, is_leaf=lambda value: isinstance(value, AbstractOpened))


@final
class _Kept:
    """An array that is no constant of NumPy's, as a key or a tracer, in a leaf that is no array."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def plain(self) -> Any:
        """The array."""
        return self.value


def opened(layer: Any) -> Any:
    """The layer as a pytree of all modules that it reaches: through closures, defaults, globals, partials, methods.

    jit is left out, since the layer is compiled with the rest. Raises HiddenModuleError for a module in an object that
    is no pytree, in a static field, or reached in two ways, since its weights would move apart.
    """
    found = _Opener().tree(layer)
    copies = [id(leaf) for leaf in jax.tree.leaves(found) if eqx.is_inexact_array(leaf)]
    if len(set(copies)) < len(copies) and _hides(found):
        raise HiddenModuleError(
            "reaches one array in two ways, through a function or a partial, and its two copies would move apart: make "
            "the layer an eqx.Module that holds it once."
        )
    return found


@final
class _Opener:
    def __init__(self) -> None:
        self.open: set[int] = set()  # what is being looked at: a function may reach itself
        self.depth = 0

    def tree(self, value: Any) -> Any:
        """A pytree whose arrays are weights."""
        return jax.tree.map(self.leaf, value, is_leaf=self._stops)

    def held(self, value: Any) -> Any:
        """What a function holds: modules in it have weights, bare arrays are constants."""

        def part(value: Any) -> Any:
            if eqx.is_array(value) or isinstance(value, np.ndarray):
                return FrozenArray(np.asarray(value)) if _freezable(value) else _Kept(value)
            return self.leaf(value) if jax.tree_util.all_leaves([value]) else self.tree(value)

        return jax.tree.map(part, value, is_leaf=_is_module)

    def leaf(self, leaf: Any) -> Any:
        if leaf is None or isinstance(leaf, (*_ATOMS, AbstractOpened)) or id(leaf) in self.open:
            return leaf
        if isinstance(leaf, type):
            self._refuse_hidden(leaf, _methods(leaf))
            return leaf
        self.open.add(id(leaf))
        self.depth += 1
        try:
            return self._opened(leaf)
        finally:
            self.open.discard(id(leaf))
            self.depth -= 1

    def _opened(self, leaf: Any) -> Any:
        match leaf:
            case jax.tree_util.Partial():
                return OpenedPartial(self.tree(leaf.func), self.tree(leaf.args), self.tree(leaf.keywords))
            case functools.partial():
                parts = self.held((leaf.func, leaf.args, leaf.keywords))
                return OpenedPartial(*parts) if _weighs(parts) else leaf
            case types.MethodType():
                owner = self.tree(leaf.__self__)
                return OpenedMethod(owner, leaf.__func__) if _weighs(owner) else leaf
            case types.FunctionType():
                return self._function(leaf)
            case _ if isinstance(leaf, (_Compiled, _FilterCompiled)):
                inner = self.tree(leaf.__wrapped__)
                return inner if _weighs(inner) else leaf
            case _:
                self._refuse_hidden(leaf, [*getattr(leaf, "__dict__", {}).values(), *_methods(type(leaf))])
                return leaf

    def _function(self, function: types.FunctionType) -> Any:
        contents = {name: self.held(value) for name, value in _contents(function)}
        weighing = {name: value for name, value in contents.items() if _weighs(value)}
        return OpenedFunction(weighing, _Body(function, frozenset(weighing))) if weighing else function

    def _stops(self, node: Any) -> bool:
        if not isinstance(node, (_FilterCompiled, AbstractOpened)) and _is_module(node):
            self._refuse_hidden(node, [*_static_values(node), *_methods(type(node))])
        return isinstance(node, (functools.partial, _FilterCompiled, AbstractOpened))

    def _refuse_hidden(self, owner: Any, values: list[Any]) -> None:
        if self.depth > _DEEPEST:
            return
        if any(_weighs(self.held(value)) for value in values):
            raise HiddenModuleError(
                f"reaches a module by way of {_name_of(owner)}, where its weights are out of reach: make that class an "
                "eqx.Module, and the module a field of it that is not static."
            )


@final
class _Body:
    """A function without the contents that are kept beside it; equal for one code with the same other contents."""

    def __init__(self, function: types.FunctionType, replaced: frozenset[str]) -> None:
        self.function, self.replaced = function, replaced

    def rebuilt(self, contents: dict[str, Any]) -> Callable[..., Any]:
        """The function with these contents in place of its own."""
        function, code = self.function, self.function.__code__
        cells = zip(code.co_freevars, function.__closure__ or (), strict=True)
        if _of_library(function.__globals__.get("__name__")):
            # A transformation of JAX may look a function up, and a module with arrays has no hash.
            contents = {name: _with_a_hash(value) for name, value in contents.items()}
        replaced = {name[len(_GLOBAL) :]: contents[name] for name in contents if _is_global(name)}
        new = types.FunctionType(
            code,
            function.__globals__ | replaced if replaced else function.__globals__,
            function.__name__,
            tuple(contents.get(name, value) for name, value in _defaults(function)),
            tuple(types.CellType(contents[name]) if name in contents else cell for name, cell in cells),
        )
        new.__kwdefaults__ = {k: contents.get(k, v) for k, v in (function.__kwdefaults__ or {}).items()} or None
        new.__qualname__ = function.__qualname__
        return new

    def __hash__(self) -> int:
        return hash((self.function.__code__, self.replaced))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Body) or self.replaced != other.replaced:
            return False
        mine, yours = self.function, other.function
        return mine is yours or (
            mine.__code__ == yours.__code__
            and mine.__globals__ is yours.__globals__
            and all(_same(a, b) for a, b in zip(self._kept(), other._kept(), strict=True))
        )

    def _kept(self) -> list[Any]:
        return [v for name, v in _contents(self.function) if not (name in self.replaced or _is_global(name))]


_GLOBAL = "global "


def _is_global(name: str) -> bool:
    return name.startswith(_GLOBAL)


def _contents(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    """Everything that a function reads besides its arguments, by name."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # an empty cell: the name is not bound yet
            yield name, cell.cell_contents
    yield from _defaults(function)
    yield from (function.__kwdefaults__ or {}).items()
    if not _of_library(function.__globals__.get("__name__")):
        names = sorted(set(_global_names(function.__code__)) & function.__globals__.keys())
        yield from ((_GLOBAL + name, function.__globals__[name]) for name in names)


def _with_a_hash(value: Any) -> Any:
    module: Any = value
    return functools.partial(module) if isinstance(value, eqx.Module) else value


def _of_library(module_name: Any) -> bool:
    return str(module_name).partition(".")[0] in _LIBRARIES


def _methods(owner: type) -> list[Any]:
    """The functions of a user's class, which read globals as other functions do."""
    own = [base for base in owner.__mro__ if not _of_library(base.__module__)]
    values = [value for base in own for value in vars(base).values()]
    functions = [getattr(value, "fget", getattr(value, "__wrapped__", value)) for value in values]
    return [function for function in functions if isinstance(function, types.FunctionType)]


def _static_values(node: Any) -> list[Any]:
    fields = dataclasses.fields(node) if isinstance(node, eqx.Module) else ()
    return [getattr(node, field.name, None) for field in fields if field.metadata.get("static")]


def _name_of(owner: Any) -> str:
    return owner.__name__ if isinstance(owner, type) else type(owner).__name__


def _defaults(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    values, code = function.__defaults__ or (), function.__code__
    return zip(code.co_varnames[code.co_argcount - len(values) : code.co_argcount], values, strict=True)


def _global_names(code: types.CodeType) -> Iterator[str]:
    yield from (step.argval for step in dis.get_instructions(code) if step.opname == "LOAD_GLOBAL")
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            yield from _global_names(inner)


def _is_module(value: Any) -> bool:
    """Whether a value is a node of a class of its own, no container of Python's."""
    if isinstance(value, tuple | list | dict | None):
        return False
    return not jax.tree_util.all_leaves([value]) or isinstance(value, eqx.Module)


def _weighs(tree: PyTree) -> bool:
    return any(eqx.is_inexact_array(leaf) for leaf in jax.tree.leaves(tree))


def _hides(tree: PyTree) -> bool:
    nodes = jax.tree.leaves(tree, is_leaf=lambda node: isinstance(node, AbstractOpened))
    return any(isinstance(node, AbstractOpened) for node in nodes)


def _freezable(array: Any) -> bool:
    return is_concrete(array) and not jnp.issubdtype(array.dtype, jax.dtypes.prng_key)


def _same(mine: Any, yours: Any) -> bool:
    if mine is yours:
        return True
    if isinstance(mine, types.FunctionType) and isinstance(yours, types.FunctionType):
        return _Body(mine, frozenset()) == _Body(yours, frozenset())
    try:
        return hash(mine) == hash(yours) and bool(mine == yours)
    except TypeError:
        return False
