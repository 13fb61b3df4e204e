"""Methods that are compiled when called outside a transformation, and that `jax.jit` takes."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import equinox as eqx
from jaxtyping import PyTree

from lagrangian_learning._arrays import as_time

Fn = TypeVar("Fn", bound=Callable)


class Method(eqx.Module):
    """A bound method: compiled once for each structure of its arguments, a pytree of its owner, hashed by identity.

    An Equinox bound method is unhashable, and runs operation by operation outside `jit`.
    """

    owner: Any
    fn: Callable = eqx.field(static=True)

    def __call__(self, t: Any, state: PyTree, args: PyTree = None) -> Any:
        return _called(self.fn, self.owner, as_time(t, state), state, args)

    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other


if TYPE_CHECKING:

    def compiled(fn: Fn) -> Fn:
        """To a type checker a method stays what it is."""
        return fn
else:

    class compiled:  # noqa: N801  # a decorator
        """Decorates fn(self, t, state, args=None) of an Equinox module; see `Method`."""

        def __init__(self, fn: Callable) -> None:
            self.fn = fn
            self.__doc__ = fn.__doc__
            self.__isabstractmethod__ = getattr(fn, "__isabstractmethod__", False)

        def __get__(self, owner: Any, kind: type | None = None) -> Any:
            return self if owner is None else Method(owner, self.fn)


@eqx.filter_jit
def _called(fn: Callable, owner: Any, t: Any, state: PyTree, args: PyTree) -> Any:
    return fn(owner, t, state, args)
