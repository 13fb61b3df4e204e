"""Constraints between generalized coordinates."""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from lagrangian_learning._arrays import time_derivative, tree_add, tree_dot, tree_scale
from lagrangian_learning._checks import module_named

from .dependence import Traced
from .lagrangian import Jet, JetFunction, total_derivative, weighted_derivative

Rate = Callable[[Array], Array]
Weights = Callable[[int], tuple[Array, ...]]
Displaced = tuple[PyTree, PyTree]


class AbstractConstraint(eqx.Module):
    """G = 0 along the motion, and how its multipliers enter the Euler–Lagrange equations (docs/theory.md §2)."""

    @abc.abstractmethod
    def value(self, args: PyTree) -> JetFunction:
        """G as a function on jets."""

    @abc.abstractmethod
    def jacobian(self, t: Array, jet: Jet, args: PyTree) -> Callable[[PyTree], PyTree]:
        """The linear map by which the top derivative enters the closing equation, and the multipliers the forces."""

    @abc.abstractmethod
    def closing(self, t: Array, jet: Jet, args: PyTree, order: int, weights: Weights) -> PyTree:
        """The total derivative of G that closes the system for an action of the given order, and what is added to it.

        weights(level) -> the factors of (G, DG, …), for a G of this level; (): none are added.
        """

    @abc.abstractmethod
    def derivatives(self, order: int) -> int:
        """How many total derivatives of G close the system for an action of the given order."""

    @abc.abstractmethod
    def at_level(self, level: int) -> "AbstractConstraint | None":
        """The constraints of at most this level, that is, those that the jet's entries up to it must satisfy."""

    @abc.abstractmethod
    def rows(self, t: Array, jet: Jet, args: PyTree) -> tuple[PyTree, ...]:
        """(G, DG, …): every total derivative of G that a jet of this length determines."""

    @abc.abstractmethod
    def row_of(self, t: Array, jet: Jet, args: PyTree, index: int) -> PyTree:
        """The total derivatives of G whose highest entry is jet[index]."""

    @abc.abstractmethod
    def check(self, t: Array, jet: Jet, args: PyTree) -> None:
        """ValueError where the equations of G show that it does not depend on what it constrains."""

    @abc.abstractmethod
    def starts_at(self, level: int) -> bool:
        """Whether some G is a function of the jet up to this level, in which it need not be linear."""

    @abc.abstractmethod
    def known_reaction(self, t: Array, jet: Jet, args: PyTree, delta: PyTree, rate: Rate) -> PyTree | None:
        """The part of the constraint terms that multipliers of the state determine, affine in the top derivative."""

    @abc.abstractmethod
    def momentum(self, t: Array, jet: Jet, args: PyTree, delta: PyTree) -> PyTree | None:
        """What the multipliers add to the momentum conjugate to q; None: nothing."""

    @abc.abstractmethod
    def power(self, t: Array, jet: Jet, args: PyTree, delta: PyTree) -> Array:
        """What the constraint forces feed into the energy."""

    @abc.abstractmethod
    def virtual_work(self, t: Array, jet: Jet, args: PyTree, delta: PyTree, displaced: Displaced) -> Array:
        """What the constraint terms feed into the charge of a generator: displaced is (g, Dg) (docs/theory.md §12)."""

    @property
    @abc.abstractmethod
    def level(self) -> int:
        """The highest derivative of q in G: 0 for G(t, q), 1 for G(t, q, v)."""

    @property
    @abc.abstractmethod
    def carries_multipliers(self) -> bool:
        """Whether δ is part of the state, δ̇ being solved for in its place."""


class AbstractOneConstraint(AbstractConstraint):
    """Constraints of one kind, all in one function."""

    fn: eqx.AbstractVar[Callable[..., PyTree]]

    def closing(self, t: Array, jet: Jet, args: PyTree, order: int, weights: Weights) -> PyTree:
        total, factors = total_derivative(self.value(args), self.derivatives(order))(t, jet), weights(self.level)
        if not factors:
            return total
        for weight, lower in zip(factors, self.rows(t, jet[:-1], args), strict=True):
            total = tree_add(total, tree_scale(weight, lower))
        return total

    def at_level(self, level: int) -> "AbstractConstraint | None":
        return self if self.level <= level else None

    def rows(self, t: Array, jet: Jet, args: PyTree) -> tuple[PyTree, ...]:
        value, first = self.value(args), self.level + 1
        return tuple(total_derivative(value, k)(t, jet[: first + k]) for k in range(len(jet) - self.level))

    def row_of(self, t: Array, jet: Jet, args: PyTree, index: int) -> PyTree:
        return total_derivative(self.value(args), index - self.level)(t, jet[: index + 1])

    def check(self, t: Array, jet: Jet, args: PyTree) -> None:
        value = self.value(args)
        if Traced(lambda entry: value(t, (*jet[: self.level], entry)), jet[self.level]).arguments:
            return
        if self.level == 0:
            raise ValueError("a Holonomic constraint does not depend on q: it holds always or never. Leave it out.")
        raise ValueError(
            f"a {type(self).__name__} constraint does not depend on the velocities v: use ll.Holonomic for G(t, q) = 0."
        )

    def starts_at(self, level: int) -> bool:
        return self.level == level


class Holonomic(AbstractOneConstraint):
    """G(t, q) = 0: a constraint on coordinates, as (4) and (6). Its reaction is −G_qᵀδ; D²G = 0 closes (8)–(10).

    fn(t, q, args) returns any pytree of arrays, one entry a constraint; it must be as often differentiable in t and q
    as the action asks (twice for order 1, four times for order 2).
    """

    fn: Callable[..., PyTree] = eqx.field(converter=module_named("fn"))

    def value(self, args: PyTree) -> JetFunction:
        return lambda t, jet: _arrays(self.fn(t, jet[0], args))

    def jacobian(self, t: Array, jet: Jet, args: PyTree) -> Callable[[PyTree], PyTree]:
        return jax.linearize(lambda q: self.value(args)(t, (q,)), jet[0])[1]

    def derivatives(self, order: int) -> int:
        return 2 * order

    def known_reaction(self, t: Array, jet: Jet, args: PyTree, delta: PyTree, rate: Rate) -> None:
        return None

    def momentum(self, t: Array, jet: Jet, args: PyTree, delta: PyTree) -> None:
        return None

    @property
    def level(self) -> int:
        return 0

    @property
    def carries_multipliers(self) -> bool:
        return False

    def power(self, t: Array, jet: Jet, args: PyTree, delta: PyTree) -> Array:
        """−δ·G_q v, which is δ·G_t where DG = 0, and stays true where DG has drifted."""
        return -tree_dot(delta, jax.jvp(lambda q: self.value(args)(t, (q,)), jet[:1], jet[1:2])[1])

    def virtual_work(self, t: Array, jet: Jet, args: PyTree, delta: PyTree, displaced: Displaced) -> Array:
        """−δ·G_q g."""
        return -tree_dot(delta, jax.jvp(lambda q: self.value(args)(t, (q,)), jet[:1], displaced[:1])[1])


class AbstractVelocityConstraint(AbstractOneConstraint):
    """G(t, q, v) = 0, closed by DG = 0: what the vakonomic rule and d'Alembert's have in common."""

    def value(self, args: PyTree) -> JetFunction:
        return lambda t, jet: _arrays(self.fn(t, jet[0], jet[1], args))

    def jacobian(self, t: Array, jet: Jet, args: PyTree) -> Callable[[PyTree], PyTree]:
        value = self.value(args)
        return jax.linearize(lambda v: value(t, (jet[0], v)), jet[1])[1]

    def derivatives(self, order: int) -> int:
        if order != 1:
            raise ValueError(
                "a second-order action with velocity constraints (Vakonomic, DAlembert) is not supported: "
                "use order=1, or a Holonomic constraint."
            )
        return 1

    @property
    def level(self) -> int:
        return 1


class Vakonomic(AbstractVelocityConstraint):
    """G(t, q, v) = 0 by the rule of multipliers in the action, (19): stationary among the motions that satisfy G.

    The constraint terms are −G_qᵀδ + (D + r)(G_vᵀδ) (docs/theory.md §2). δ is part of the state and its start is free
    data; the saddle-point system gives q̈ and −δ̇, closed by DG = 0. fn(t, q, v, args) returns any pytree of arrays.
    """

    fn: Callable[..., PyTree] = eqx.field(converter=module_named("fn"))

    def known_reaction(self, t: Array, jet: Jet, args: PyTree, delta: PyTree, rate: Rate) -> PyTree:
        """−G_qᵀδ + (D + r)(G_vᵀδ) with δ held."""

        def pulled_back(index: int) -> JetFunction:
            def of_jet(s: Array, path: Jet) -> PyTree:
                def of_coordinate(coordinate: PyTree) -> PyTree:
                    return self.value(args)(s, (*path[:index], coordinate, *path[index + 1 :]))

                return jax.vjp(of_coordinate, path[index])[1](delta)[0]

            return of_jet

        change = weighted_derivative(pulled_back(1), rate)(t, jet[:3])
        return jax.tree.map(jnp.subtract, change, pulled_back(0)(t, jet[:2]))

    def momentum(self, t: Array, jet: Jet, args: PyTree, delta: PyTree) -> PyTree:
        """−G_vᵀδ."""
        reaction = jax.linear_transpose(self.jacobian(t, jet, args), jet[1])(delta)[0]
        return jax.tree.map(jnp.negative, reaction)

    def power(self, t: Array, jet: Jet, args: PyTree, delta: PyTree) -> Array:
        """δ·G_t."""
        explicit = time_derivative(lambda s: self.value(args)(s, jet[:2]), t)
        return tree_dot(delta, explicit)

    def virtual_work(self, t: Array, jet: Jet, args: PyTree, delta: PyTree, displaced: Displaced) -> Array:
        """−δ·(G_q g + G_v Dg)."""
        return -tree_dot(delta, jax.jvp(lambda q, v: self.value(args)(t, (q, v)), jet[:2], displaced)[1])

    @property
    def carries_multipliers(self) -> bool:
        return True


class DAlembert(AbstractVelocityConstraint):
    """G(t, q, v) = 0 by d'Alembert's rule: reactions −G_vᵀδ, as in rolling and sliding (docs/theory.md §2).

    The motion differs from the vakonomic one unless the constraint is integrable. fn(t, q, v, args) returns any pytree
    of arrays; DG = 0 closes the system.
    """

    fn: Callable[..., PyTree] = eqx.field(converter=module_named("fn"))

    def known_reaction(self, t: Array, jet: Jet, args: PyTree, delta: PyTree, rate: Rate) -> None:
        return None

    def momentum(self, t: Array, jet: Jet, args: PyTree, delta: PyTree) -> None:
        return None

    def power(self, t: Array, jet: Jet, args: PyTree, delta: PyTree) -> Array:
        """−δ·G_v v: zero where G is homogeneous in the velocities."""
        return -tree_dot(delta, self.jacobian(t, jet, args)(jet[1]))

    def virtual_work(self, t: Array, jet: Jet, args: PyTree, delta: PyTree, displaced: Displaced) -> Array:
        """−δ·G_v g."""
        return -tree_dot(delta, self.jacobian(t, jet, args)(displaced[0]))

    @property
    def carries_multipliers(self) -> bool:
        return False


def _arrays(value: PyTree) -> PyTree:
    if not jax.tree.leaves(value):
        raise ValueError(
            "a constraint returned nothing: does its function end without return? For no constraints pass None."
        )
    return jax.tree.map(jnp.asarray, value)


class Together(AbstractConstraint):
    """Constraints of several kinds at once: a blade on a rod, a disc that rolls on a rail. Multipliers are a tuple.

    Made by `EulerLagrange(lagrangian, [ll.Holonomic(g), ll.DAlembert(n)])`. ValueError for a `Vakonomic` among several:
    its rule asks for motions that are stationary among all that satisfy every constraint, so that the others belong
    into its own function, a holonomic G as DG = G_t + G_q v.
    """

    parts: tuple[AbstractOneConstraint, ...]

    def __check_init__(self) -> None:
        if not self.parts:
            raise ValueError("constraint is an empty list: for no constraints pass None.")
        if any(part.carries_multipliers for part in self.parts):
            raise ValueError(
                "ll.Vakonomic does not combine with other constraints: put all of them into its one function, a "
                "holonomic G(t, q) as its derivative G_t + G_q v."
            )

    def value(self, args: PyTree) -> JetFunction:
        values = [part.value(args) for part in self.parts]
        return lambda t, jet: tuple(value(t, jet) for value in values)

    def jacobian(self, t: Array, jet: Jet, args: PyTree) -> Callable[[PyTree], PyTree]:
        maps = [part.jacobian(t, jet, args) for part in self.parts]
        return lambda top: tuple(each(top) for each in maps)

    def closing(self, t: Array, jet: Jet, args: PyTree, order: int, weights: Weights) -> PyTree:
        return tuple(part.closing(t, jet, args, order, weights) for part in self.parts)

    def derivatives(self, order: int) -> int:
        return max(part.derivatives(order) for part in self.parts)

    def at_level(self, level: int) -> "AbstractConstraint | None":
        parts = tuple(part for part in self.parts if part.level <= level)
        return Together(parts) if parts else None

    def rows(self, t: Array, jet: Jet, args: PyTree) -> tuple[PyTree, ...]:
        towers = [part.rows(t, jet, args) for part in self.parts]
        length = max(len(tower) for tower in towers)
        return tuple(tuple(tower[k] for tower in towers if k < len(tower)) for k in range(length))

    def row_of(self, t: Array, jet: Jet, args: PyTree, index: int) -> PyTree:
        return tuple(part.row_of(t, jet, args, index) for part in self.parts)

    def check(self, t: Array, jet: Jet, args: PyTree) -> None:
        for part in self.parts:
            part.check(t, jet, args)

    def starts_at(self, level: int) -> bool:
        return any(part.starts_at(level) for part in self.parts)

    def known_reaction(self, t: Array, jet: Jet, args: PyTree, delta: PyTree, rate: Rate) -> None:
        return None

    def momentum(self, t: Array, jet: Jet, args: PyTree, delta: PyTree) -> None:
        return None

    def power(self, t: Array, jet: Jet, args: PyTree, delta: PyTree) -> Array:
        return sum(
            (part.power(t, jet, args, each) for part, each in zip(self.parts, delta, strict=True)), jnp.zeros_like(t)
        )

    def virtual_work(self, t: Array, jet: Jet, args: PyTree, delta: PyTree, displaced: Displaced) -> Array:
        each = zip(self.parts, delta, strict=True)
        return sum((part.virtual_work(t, jet, args, own, displaced) for part, own in each), jnp.zeros_like(t))

    @property
    def level(self) -> int:
        return min(part.level for part in self.parts)

    @property
    def carries_multipliers(self) -> bool:
        return False


def as_constraint(given: Any) -> Any:
    """A list or tuple of constraints as `Together`, one alone as itself."""
    if not isinstance(given, list | tuple):
        return given
    if not all(isinstance(part, AbstractOneConstraint) for part in given):
        raise ValueError("constraint must be a list of constraints: wrap each function, as ll.Holonomic(fn).")
    return given[0] if len(given) == 1 else Together(tuple(given))
