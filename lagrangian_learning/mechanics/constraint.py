"""Constraints between generalized coordinates."""

import abc
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from ._arrays import as_module, tree_dot
from .jets import Jet, JetFunction, total_derivative


class AbstractConstraint(eqx.Module):
    """G = 0 along the motion, and the rule by which its multipliers enter the Euler–Lagrange equations (THEORY §2)."""

    fn: eqx.AbstractVar[Callable[..., PyTree]]

    @abc.abstractmethod
    def value(self, args: PyTree) -> JetFunction:
        """G as a function on jets."""

    @abc.abstractmethod
    def jacobian(self, t: Array, jet: Jet, args: PyTree) -> Callable[[PyTree], PyTree]:
        """The linear map by which the top derivative enters the closing equation, and the multipliers the forces."""

    @abc.abstractmethod
    def derivatives(self, order: int) -> int:
        """How many total derivatives of G close the system for an action of the given order."""

    @abc.abstractmethod
    def power(self, t: Array, jet: Jet, args: PyTree, delta: PyTree) -> Array:
        """What the constraint forces feed into the energy."""


class Holonomic(AbstractConstraint):
    """G(t, q) = 0: a constraint on coordinates, as (4) and (6). Its reaction is −G_qᵀδ; D²G = 0 closes (8)–(10).

    fn(t, q, args) returns any pytree of arrays, one entry a constraint; it must be as often differentiable in t and q
    as the action asks (twice for order 1, four times for order 2).
    """

    fn: Callable[..., PyTree] = eqx.field(converter=as_module)

    def value(self, args: PyTree) -> JetFunction:
        return lambda t, jet: _arrays(self.fn(t, jet[0], args))

    def jacobian(self, t: Array, jet: Jet, args: PyTree) -> Callable[[PyTree], PyTree]:
        return jax.linearize(lambda q: self.value(args)(t, (q,)), jet[0])[1]

    def derivatives(self, order: int) -> int:
        return 2 * order

    def power(self, t: Array, jet: Jet, args: PyTree, delta: PyTree) -> Array:
        """−δ·G_q v, which is δ·G_t where DG = 0, and stays true where DG has drifted."""
        return -tree_dot(delta, jax.jvp(lambda q: self.value(args)(t, (q,)), jet[:1], jet[1:2])[1])


def _arrays(value: PyTree) -> PyTree:
    if not jax.tree.leaves(value):
        raise ValueError(
            "a constraint returned nothing: does its function end without return? For no constraints pass None."
        )
    return jax.tree.map(jnp.asarray, value)


def constraint_tower(constraint: AbstractConstraint, t: Array, jet: Jet, args: PyTree) -> tuple[PyTree, ...]:
    """(G, DG, …, DⁿG) along a jet of n + 1 coordinates (holonomic constraints)."""
    value = constraint.value(args)
    return tuple(total_derivative(value, k)(t, jet[: k + 1]) for k in range(len(jet)))
