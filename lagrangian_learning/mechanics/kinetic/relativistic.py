"""`Relativistic`: velocities below a speed c, so that no drift is longer than h c."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, PyTree

from lagrangian_learning._arrays import cast, max_abs
from lagrangian_learning._checks import nonnegative, one_of, positive, require

from .kinetic import AbstractKinetic


class Relativistic(AbstractKinetic):
    """K = mc² − mc²√(1 − |v|²/c²), K* = c√(|p|² + m²c²) − mc², v = (p/m)/√(1 + |p/(mc)|²)   (docs/theory.md §11).

    A drift is never longer than h c. c → ∞ is the heavy ball; m → 0 is normalised descent along the momentum, for each
    weight its sign; ϑ → ∞ is smooth clipping of the gradient.

    Arguments:
        mass: m ≥ 0. At m = 0, v = c p/|p|, which is 0 at p = 0.
        speed: c > 0, in units of coordinates over time; jnp.inf is `Quadratic(mass)`, for m > 0.
        over: what |p| is taken over: "weights" (all coordinates), "layer" (the branches of the pytree at its first
            fork: of a network's weights its layers, of a tree of parameters its modules), or "each" coordinate.

    Raises ValueError for constants out of range; an error where velocities of |v| ≥ c are asked for their momentum.
    """

    mass: Float[Array, "..."]
    speed: Float[Array, "..."]
    over: str = eqx.field(static=True)

    def __init__(self, mass: Any = 1.0, speed: Any = 1.0, over: str = "weights") -> None:
        self.mass = nonnegative(mass, "mass", "it is the mass of every coordinate.")
        self.speed = positive(speed, "speed", "velocities stay below it; jnp.inf sets no bound.", finite=False)
        self.over = one_of(over, "over", ("weights", "layer", "each"), "what the norm of the momenta is taken over.")

    def velocity(self, p: PyTree) -> PyTree:
        groups, joined = self._groups(p)
        return joined([jax.tree.map(_applied(self._slowed, size), group) for size, group in groups])

    def momentum(self, v: PyTree) -> PyTree:
        groups, joined = self._groups(v)
        return joined([jax.tree.map(_applied(self._quickened, size), group) for size, group in groups])

    def energy(self, v: PyTree) -> Float[Array, ""]:
        # mc²(1 − √(1 − s²)) = m|v|²/(1 + √(1 − s²)) with s = |v|/c.
        def part(size: Array) -> Array:
            share = size / cast(self.speed, size)
            return jnp.sum(cast(self.mass, size) * size**2 / (1 + jnp.sqrt((1 - share) * (1 + share))))

        return self._total(part, v)

    def dual(self, p: PyTree) -> Float[Array, ""]:
        # K* = |p|²/(m (1 + √(1 + s²))) with s = |p|/(mc), or c|p|/(√(1 + s⁻²) + s⁻¹).
        def part(size: Array) -> Array:
            slow, mass, share, speed, inverse = self._regimes(size)
            gentle = jnp.where(slow, size, 0) * (jnp.where(slow, size, 0) / mass) / (1 + jnp.sqrt(1 + share**2))
            return jnp.sum(jnp.where(slow, gentle, speed * size / (jnp.sqrt(1 + inverse**2) + inverse)))

        return self._total(part, p)

    def _slowed(self, size: Array, p: Array) -> Array:
        slow, mass, share, speed, inverse = self._regimes(size)
        gentle = jnp.where(slow, p, 0) / mass / jnp.sqrt(1 + share**2)
        # p is divided by |p| first: c p would overflow.
        fast = speed * (p / jnp.where(slow | (size == 0), 1, size)) / jnp.sqrt(1 + inverse**2)
        return jnp.where(slow, gentle, fast)

    def _quickened(self, size: Array, v: Array) -> Array:
        share = size / cast(self.speed, v)
        share = require(share, share < 1, "velocities must stay below the speed of the kinetic energy: |v| < speed.")
        return cast(self.mass, v) * v / jnp.sqrt((1 - share) * (1 + share))

    def _regimes(self, size: Array) -> tuple[Bool[Array, "..."], Array, Array, Array, Array]:
        """Whether |p| < mc; there m and |p|/(mc), elsewhere c and mc/|p|, and harmless numbers where they are not used.

        Neither ratio exceeds 1, so that no square overflows float32, as (mc)² does, and m = 0 and c = ∞ are included.
        """
        mass, speed = cast(self.mass, size), cast(self.speed, size)
        slow = (mass > 0) & (size / jnp.where(mass > 0, mass, 1) < speed)
        slow_mass, fast_speed = jnp.where(slow, mass, 1), jnp.where(slow, 1, speed)
        share = jnp.where(slow, size, 0) / slow_mass / jnp.where(slow, speed, 1)
        inverse = jnp.where(slow, 0, mass) * fast_speed / jnp.where(slow | (size == 0), 1, size)
        return slow, slow_mass, share, fast_speed, inverse

    def _groups(self, tree: PyTree) -> tuple[list[tuple[Array, PyTree]], Callable[[list[PyTree]], PyTree]]:
        """What shares a norm, with that norm, and how the groups are joined to a tree again."""
        if self.over == "each":
            leaves, structure = jax.tree.flatten(tree)
            return [(jnp.abs(leaf), leaf) for leaf in leaves], structure.unflatten
        groups, joined = ([tree], lambda groups: groups[0]) if self.over == "weights" else layers(tree)
        return [(_norm(group), group) for group in groups], joined

    def _total(self, part: Callable[[Array], Array], tree: PyTree) -> Array:
        first, *others = (part(size) for size, _ in self._groups(tree)[0])
        return sum(others, start=first)


def layers(tree: PyTree) -> tuple[list[PyTree], Callable[[list[PyTree]], PyTree]]:
    """The branches of a pytree at its first fork, without empty ones, and how they are joined to a tree again."""
    branches, structure = jax.tree.flatten(tree, is_leaf=lambda node: node is not tree)
    full = [k for k, branch in enumerate(branches) if jax.tree.leaves(branch)]
    if jax.tree_util.all_leaves([tree]):
        return [tree], lambda groups: groups[0]
    if len(full) == 1:
        groups, inner = layers(branches[full[0]])
        return groups, lambda groups: structure.unflatten(_replaced(branches, full, [inner(groups)]))
    return [branches[k] for k in full], lambda groups: structure.unflatten(_replaced(branches, full, groups))


def _replaced(branches: list[PyTree], places: list[int], groups: list[PyTree]) -> list[PyTree]:
    new = dict(zip(places, groups, strict=True))
    return [new.get(k, branch) for k, branch in enumerate(branches)]


def _applied(fn: Callable[[Array, Array], Array], size: Array) -> Callable[[Array], Array]:
    """fn of a leaf with the norm of its group, in the dtype of the leaf."""
    return lambda leaf: fn(size.astype(leaf.dtype), leaf)


def _norm(tree: PyTree) -> Array:
    """√Σ p², scaled by max |p| so that no square overflows; its derivative at 0 is 0, as that of its square."""
    largest = lax.stop_gradient(max_abs(tree))
    unit = jnp.where((largest > 0) & jnp.isfinite(largest), largest, 1)
    squares = [jnp.sum((leaf / unit.astype(leaf.dtype)) ** 2) for leaf in jax.tree.leaves(tree)]
    total = sum(squares[1:], start=squares[0])
    return unit * jnp.where(total > 0, jnp.sqrt(jnp.where(total > 0, total, 1)), 0)
