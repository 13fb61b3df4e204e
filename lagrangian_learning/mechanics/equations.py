"""The Euler–Lagrange equations of a Lagrangian, its constraint and its forces, as a saddle-point system."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from lagrangian_learning._arrays import as_time, cast, max_abs, tree_add, tree_scale, tree_sub, tree_zeros

from .constraint import AbstractConstraint
from .lagrangian import Jet, Lagrangian, functional_derivative
from .law import AbstractLaw, Residual
from .multipliers import (
    AbstractMultiplierSolver,
    DenseByStructure,
    Regularity,
    SaddlePoint,
    constant_masses,
    regularity,
)
from .state import State, matches


class Defect(eqx.Module):
    """What states and accelerations leave over in the equations: residuals and their largest terms.

    euler_lagrange: (1/ϖ) δA/δq − G_qᵀδ + Q, like q;  closing: D²G (D⁴G for order 2), like the constraints;
    scales: the largest absolute term of each, so that `relative` is scale-free.
    """

    euler_lagrange: PyTree
    closing: PyTree
    scales: tuple[Array, Array]

    @property
    def relative(self) -> tuple[Array, Array]:
        """max |residual| over its largest term, for the Euler–Lagrange and for the closing equations."""
        return tuple(
            max_abs(left) / jnp.maximum(scale, jnp.finfo(scale.dtype).tiny)
            for left, scale in zip((self.euler_lagrange, self.closing), self.scales, strict=True)
        )  # pyright: ignore[reportReturnType]


class AbstractEquations(AbstractLaw):
    """(1/ϖ) δA/δq − G_qᵀδ + Q = 0 with G = 0, without what makes a law of them (docs/theory.md §2).

    gains: α and β of Baumgarte's method, None for D²G = 0. damps_drift: D(ϖ DG) = 0 in place of D²G = 0.
    """

    lagrangian: eqx.AbstractVar[Lagrangian]
    constraint: eqx.AbstractVar[AbstractConstraint | None]
    forces: eqx.AbstractVar[Callable[..., PyTree] | None]
    multiplier_solver: eqx.AbstractVar[AbstractMultiplierSolver]
    gains: eqx.AbstractVar[tuple[Array, Array] | None]
    damps_drift: eqx.AbstractVar[bool]

    @property
    def structure(self) -> Any:
        """What multiplier solvers may know of the equations beside their linear maps; None for mechanics at large."""
        return None

    def jet(self, state: State) -> Jet:
        """The state as a jet: (q, v) or (q, v, a, j)."""
        return (state.q, state.v) if self.lagrangian.order == 1 else (state.q, state.v, state.a, state.j)

    def system(
        self, t: Array, state: State, args: PyTree, level: int | None = None
    ) -> tuple[SaddlePoint, PyTree, PyTree]:
        """The saddle-point system at an instant, its force f, and its closing right side −DⁿG (at zero top).

        level: of the constraints those of at most this level alone; None: all.
        """
        constraint = self.constraint if level is None or self.constraint is None else self.constraint.at_level(level)
        jet = self.jet(state)
        zero, structure = tree_zeros(state.q), self._structure_at(t, state, args)
        force, minus_inertia = jax.linearize(lambda top: self._balance(t, state, top, args), zero)
        if constraint is None:
            empty = jnp.zeros((0,), jax.tree.leaves(zero)[0].dtype)
            system = SaddlePoint(
                _negative(minus_inertia), lambda a: _nothing(a, empty), zero, empty, t, jet, args, structure
            )
            return system, force, empty
        bias = self._closing(constraint, t, (*jet, zero), args)
        jacobian = constraint.jacobian(t, jet, args)
        system = SaddlePoint(_negative(minus_inertia), jacobian, zero, tree_zeros(bias), t, jet, args, structure)
        return system, force, tree_scale(-1, bias)

    def solved(self, t: Array, state: State, args: PyTree) -> tuple[PyTree, PyTree]:
        """Top derivative and multipliers (−δ̇ for a vakonomic constraint) of one saddle-point solve."""
        system, force, closing = self.system(t, state, args)
        return self.multiplier_solver(system, force, closing)

    def defect(self, t: Any, state: State, top: PyTree, delta: PyTree, args: PyTree = None) -> Defect:
        """What given accelerations and multipliers leave over in the Euler–Lagrange and the closing equations.

        For a vakonomic constraint, whose δ are in the state, delta is −δ̇.
        """
        t = as_time(t, state.q)
        jet = (*self.jet(state), top)
        system, force, bias = self.system(t, state, args)
        remainder = self._balance(t, state, top, args)
        inertia_term, reaction = system.inertia(top), system.reaction(delta)
        return Defect(
            tree_sub(remainder, reaction),
            bias if self.constraint is None else self._closing(self.constraint, t, jet, args),
            (
                jnp.max(jnp.stack([max_abs(term) for term in (force, inertia_term, reaction)])),
                jnp.maximum(max_abs(bias), max_abs(system.jacobian(top))),
            ),
        )

    def regularity(self, t: Any, state: State, args: PyTree = None) -> Regularity:
        """Whether top derivative and multipliers are determined at this state; prints itself."""
        return regularity(self.system(as_time(t, state.q), state, args)[0])

    def generalised_force(self, t: Array, state: State, args: PyTree) -> PyTree:
        """Q(t, q, v, args)."""
        if self.forces is None:
            return tree_zeros(state.q)
        return matches(self.forces(t, state.q, state.v, args), state.q, "forces", "Q must be a pytree like q")

    def constraint_residual(self, t: Array, state: State, args: PyTree) -> Residual:
        """max |G| and max |DG|; ValueError without constraints."""
        if self.constraint is None:
            raise ValueError("this law has no constraints, and so no residual.")
        position, *higher = self.constraint.rows(t, self.jet(state), args)
        return Residual(max_abs(position), max_abs(higher) if higher else jnp.zeros_like(t))

    def _structure_at(self, t: Array, state: State, args: PyTree) -> Any:
        """`structure`, or for a solver that asks for it what the equations show of their masses."""
        if not isinstance(self.multiplier_solver, DenseByStructure):
            return self.structure

        def inertia(t: Array, state: State, args: PyTree) -> Callable[[PyTree], PyTree]:
            zero = tree_zeros(state.q)
            return _negative(jax.linearize(lambda top: self._balance(t, state, top, args), zero)[1])

        return constant_masses(inertia, state.q, t, state, args)

    def _balance(self, t: Array, state: State, top: PyTree, args: PyTree) -> PyTree:
        """(1/ϖ) δA/δq + Q + what known multipliers contribute, at a top derivative in which it is affine."""
        jet = (*self.jet(state), top)
        total = functional_derivative(self.lagrangian, t, jet, args)
        if self.forces is not None:
            total = tree_add(total, self.generalised_force(t, state, args))
        if state.multipliers is None or self.constraint is None:
            return total
        known = self.constraint.known_reaction(t, jet, args, state.multipliers, self.lagrangian.rate)
        return total if known is None else tree_add(total, known)

    def _closing(self, constraint: AbstractConstraint, t: Array, jet: Jet, args: PyTree) -> PyTree:
        """D²G + 2α DG + β² G, (D² + 2α D + β²)² G for order 2, or DG + α G for a velocity constraint.

        Without gains the top derivative of G alone, with damped drift (D + r) in place of its last D.
        """
        plain = self.gains is None and not self.damps_drift
        return constraint.closing(
            t, jet, args, self.lagrangian.order, lambda level: () if plain else self._gain_polynomial(t, level)
        )

    def _gain_polynomial(self, t: Array, level: int) -> tuple[Array, ...]:
        zero = jnp.zeros_like(t)
        alpha, beta = (zero, zero) if self.gains is None else (cast(gain, t) for gain in self.gains)
        rate = self.lagrangian.rate(t) if self.damps_drift else zero
        if level == 1:
            return (alpha + rate,)
        if self.lagrangian.order == 1:
            return beta**2, 2 * alpha + rate
        return beta**4, 4 * alpha * beta**2, 4 * alpha**2 + 2 * beta**2, 4 * alpha


def _negative(linear_map: Callable[[PyTree], PyTree]) -> Callable[[PyTree], PyTree]:
    return lambda a: tree_scale(-1, linear_map(a))


def _nothing(a: PyTree, empty: Array) -> Array:
    return empty + 0 * sum(jnp.sum(leaf) for leaf in jax.tree.leaves(a))
