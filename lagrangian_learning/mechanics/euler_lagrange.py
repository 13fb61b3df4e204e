"""The Euler–Lagrange law of any Lagrangian, with constraints and generalised forces."""

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from lagrangian_learning._arrays import (
    as_constant,
    as_module,
    as_time,
    cast,
    max_abs,
    tree_add,
    tree_scale,
    tree_sub,
    tree_zeros,
)
from lagrangian_learning._checks import require

from .cauchy import consistent_state, initial_state
from .constraint import AbstractConstraint, constraint_tower
from .energy import energy, power
from .jets import Jet, total_derivative
from .lagrangian import Lagrangian
from .law import AbstractMechanicalLaw, Rates, Residual
from .linear_part import DampedMotion
from .saddle_point import AbstractMultiplierSolver, DenseSaddlePoint, Regularity, SaddlePoint, regularity
from .state import State, matches
from .variation import functional_derivative


def _optional_module(fn: Callable | None) -> Callable | None:
    return None if fn is None else as_module(fn)


def _solver(solver: AbstractMultiplierSolver | None) -> AbstractMultiplierSolver:
    return DenseSaddlePoint() if solver is None else solver


def _gain(value: Any) -> Array:
    gain = as_constant(value)
    return require(
        gain,
        jnp.isfinite(gain) & (gain >= 0),
        "the gains alpha and beta must be finite and >= 0: others would drive the state off its constraints.",
    )


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


class EulerLagrange(AbstractMechanicalLaw):
    """(1/ϖ) δA/δq − G_qᵀδ + Q = 0 with G = 0: any mechanical system from its Lagrangian (THEORY §2).

    Arguments:
        lagrangian: a `Lagrangian` of order 1 or 2.
        constraint: a `Holonomic`, `Vakonomic` or `DAlembert` constraint, or None.
        forces: generalised forces Q(t, q, v, args), a pytree like q, positive along the motion they drive.
        multiplier_solver: how the saddle-point system is solved; None is the dense saddle point.

    The state is a `State` (q, v), (q, v, a, j) for order 2, (q, v, δ) for a vakonomic constraint. δ = λ/ϖ are the
    normalised multipliers.
    """

    lagrangian: Lagrangian
    constraint: AbstractConstraint | None = None
    forces: Callable[..., PyTree] | None = eqx.field(converter=_optional_module, default=None)
    multiplier_solver: AbstractMultiplierSolver = eqx.field(converter=_solver, default=None)  # pyright: ignore[reportAssignmentType]
    gains: tuple[Array, Array] | None = None
    damps_drift: bool = eqx.field(static=True, default=False)

    def __check_init__(self) -> None:
        if not isinstance(self.lagrangian, Lagrangian):
            raise ValueError("lagrangian must be an ll.Lagrangian: wrap the density as ll.Lagrangian(density).")
        if self.constraint is not None and not isinstance(self.constraint, AbstractConstraint):
            raise ValueError("constraint must be a constraint: wrap the function as ll.Holonomic(fn).")
        if self.constraint is not None:
            self.constraint.derivatives(self.lagrangian.order)

    # -- the equations ---------------------------------------------------------------------------------------------

    def system(self, t: Array, state: State, args: PyTree) -> tuple[SaddlePoint, PyTree, PyTree]:
        """The saddle-point system at an instant, its force f, and its closing right side −DⁿG (at zero top)."""
        jet = self.jet(state)
        zero = tree_zeros(state.q)
        force, minus_inertia = jax.linearize(lambda top: self._balance(t, state, top, args), zero)
        if self.constraint is None:
            empty = jnp.zeros((0,), jax.tree.leaves(zero)[0].dtype)
            system = SaddlePoint(_negative(minus_inertia), lambda a: _nothing(a, empty), zero, empty, t, jet, args)
            return system, force, empty
        bias = self._bias(t, jet, args)
        jacobian = self.constraint.jacobian(t, jet, args)
        system = SaddlePoint(_negative(minus_inertia), jacobian, zero, tree_zeros(bias), t, jet, args)
        return system, force, tree_scale(-1, bias)

    def accelerations(self, t: Any, state: State, args: PyTree = None) -> tuple[PyTree, PyTree]:
        """(q̈, δ) for order 1, (q⁗, δ) for order 2, from one saddle-point solve; t may be a Python number.

        The δ of a vakonomic constraint are those of the state.
        """
        top, solved = self._solve(t, state, args)
        return top, solved if state.multipliers is None else state.multipliers

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
            bias if self.constraint is None else self._closing(t, jet, args),
            (
                jnp.max(jnp.stack([max_abs(term) for term in (force, inertia_term, reaction)])),
                jnp.maximum(max_abs(bias), max_abs(system.jacobian(top))),
            ),
        )

    def regularity(self, t: Any, state: State, args: PyTree = None) -> Regularity:
        """Whether top derivative and multipliers are determined at this state; prints itself."""
        return regularity(self.system(as_time(t, state.q), state, args)[0])

    def jet(self, state: State) -> Jet:
        """The state as a jet: (q, v) or (q, v, a, j)."""
        return (state.q, state.v) if self.lagrangian.order == 1 else (state.q, state.v, state.a, state.j)

    def generalised_force(self, t: Array, state: State, args: PyTree) -> PyTree:
        """Q(t, q, v, args)."""
        if self.forces is None:
            return tree_zeros(state.q)
        return matches(self.forces(t, state.q, state.v, args), state.q, "forces", "Q must be a pytree like q")

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

    def _solve(self, t: Any, state: State, args: PyTree) -> tuple[PyTree, PyTree]:
        system, force, closing = self.system(as_time(t, state.q), state, args)
        return self.multiplier_solver(system, force, closing)

    def _closing(self, t: Array, jet: Jet, args: PyTree) -> PyTree:
        """D²G + 2α DG + β² G, (D² + 2α D + β²)² G for order 2, or DG + α G for a velocity constraint.

        Without gains the top derivative of G alone, with damped drift (D + r) in place of its last D.
        """
        assert self.constraint is not None
        n = self.constraint.derivatives(self.lagrangian.order)
        value = self.constraint.value(args)
        total = total_derivative(value, n)(t, jet)
        if self.gains is None and not self.damps_drift:
            return total
        tower = constraint_tower(self.constraint, t, jet[:-1], args)
        for weight, lower in zip(self._gain_polynomial(t), tower, strict=True):
            total = tree_add(total, tree_scale(weight, lower))
        return total

    def _bias(self, t: Array, jet: Jet, args: PyTree) -> PyTree:
        return self._closing(t, (*jet, tree_zeros(jet[0])), args)

    def _gain_polynomial(self, t: Array) -> tuple[Array, ...]:
        zero = jnp.zeros_like(t)
        alpha, beta = (zero, zero) if self.gains is None else (cast(gain, t) for gain in self.gains)
        rate = self.lagrangian.rate(t) if self.damps_drift else zero
        if self.constraint is not None and self.constraint.level == 1:
            return (alpha + rate,)
        if self.lagrangian.order == 1:
            return beta**2, 2 * alpha + rate
        return beta**4, 4 * alpha * beta**2, 4 * alpha**2 + 2 * beta**2, 4 * alpha

    # -- the interface of a law --------------------------------------------------------------------------------------

    def initial_state(
        self,
        t0: Any,
        q: PyTree,
        v: PyTree,
        args: PyTree = None,
        *,
        a: PyTree = None,
        j: PyTree = None,
        multipliers: PyTree = None,
        consistent: str = "check",
        tolerance: Any = None,
    ) -> State:
        """Cauchy data: G = DG = 0, D²G = D³G = 0 too for order 2; G = 0 alone for a velocity constraint (THEORY §4).

        Arguments:
            q, v: coordinates and velocities, pytrees of one structure; order 2 takes a and j too.
            multipliers: δ(0) of a vakonomic constraint, which is free; other constraints determine theirs.
            consistent: "check" raises for data off the constraint; "project" moves them onto it, orthogonally in the
                mass metric.
            tolerance: largest residual accepted, relative to the size of the coordinates; default eps^¾ of the dtype.

        Raises ValueError for shapes, dtypes and settings that do not fit, and an error (ValueError when the data are
        known, a run-time error of Equinox when traced) for NaN, for an inconsistent start, and where the system is
        singular.
        """
        return initial_state(self, t0, q, v, args, a, j, multipliers, consistent, tolerance)

    def vector_field(self, t: Any, state: State, args: PyTree) -> State:
        return self._motion(state, *self._solve(t, state, args))

    def rates(self, t: Any, state: State, args: PyTree) -> Rates:
        t = as_time(t, state.q)
        top, solved = self._solve(t, state, args)
        delta = solved if state.multipliers is None else state.multipliers
        force = None if self.forces is None else self.generalised_force(t, state, args)
        rate = power(self.lagrangian, self.constraint, t, self.jet(state), args, delta, force)
        return Rates(self._motion(state, top, solved), rate)

    def observables(self, t: Any, state: State, args: PyTree) -> dict[str, PyTree]:
        top, delta = self.accelerations(t, state, args)
        if self.lagrangian.order == 1:
            return {"q": state.q, "v": state.v, "a": top, "multipliers": delta}
        return {"q": state.q, "v": state.v, "a": state.a, "j": state.j, "s": top, "multipliers": delta}

    def residual(self, t: Any, state: State, args: PyTree) -> Residual | None:
        if self.constraint is None:
            return None
        position, *higher = constraint_tower(self.constraint, as_time(t, state.q), self.jet(state), args)
        return Residual(max_abs(position), max_abs(higher) if higher else jnp.zeros_like(as_time(t, state.q)))

    def energy(self, t: Any, state: State, args: PyTree) -> Array:
        t = as_time(t, state.q)
        return energy(self.lagrangian, t, self.jet(state), args, self.constraint, state.multipliers)

    def project(
        self, t: Any, state: State, args: PyTree, iterations: int = 3, tolerance: Any = None
    ) -> tuple[State, Array]:
        return consistent_state(self, as_time(t, state.q), state, args, iterations, tolerance)

    def baumgarte(self, alpha: Any, beta: Any) -> "EulerLagrange":
        if self.constraint is None:
            raise ValueError("Baumgarte stabilisation needs constraints, and this law has none: leave it out.")
        return eqx.tree_at(lambda law: law.gains, self, (_gain(alpha), _gain(beta)), is_leaf=lambda leaf: leaf is None)

    def damping_drift(self) -> "EulerLagrange":
        if self.lagrangian.order != 1:
            raise ValueError(
                "drift is damped with the velocities of a first-order action; this one is of second order."
            )
        return dataclasses.replace(self, damps_drift=True)

    @property
    def euler_lagrange(self) -> "EulerLagrange":
        return self

    def check(self, ts: Array, state: State, args: PyTree) -> State:
        if not isinstance(state, State) or (self.lagrangian.order == 2 and (state.a is None or state.j is None)):
            raise ValueError("the state of an Euler–Lagrange law comes from law.initial_state(t0, ..., args).")
        return state

    @property
    def drifts(self) -> bool:
        return self.constraint is not None

    @property
    def linear_part(self) -> DampedMotion | None:
        return DampedMotion(self.lagrangian.dissipation) if self.lagrangian.order == 1 else None

    @property
    def description(self) -> dict[str, str]:
        return {
            "equation": f"Euler–Lagrange, order {self.lagrangian.order}",
            "dissipation": type(self.lagrangian.dissipation).__name__,
            "multipliers": self.multiplier_solver.name if self.constraint is not None else "none (unconstrained)",
        }

    @property
    def aliases(self) -> dict[str, tuple[str, int | None]]:
        return {}

    def _motion(self, state: State, top: PyTree, solved: PyTree) -> State:
        if self.lagrangian.order == 2:
            return State(state.v, state.a, state.j, top)
        return State(state.v, top, multipliers=None if state.multipliers is None else tree_scale(-1, solved))


def _negative(linear_map: Callable[[PyTree], PyTree]) -> Callable[[PyTree], PyTree]:
    return lambda a: tree_scale(-1, linear_map(a))


def _nothing(a: PyTree, empty: Array) -> Array:
    return empty + 0 * sum(jnp.sum(leaf) for leaf in jax.tree.leaves(a))
