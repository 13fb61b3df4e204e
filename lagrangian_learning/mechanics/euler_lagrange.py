"""The Euler–Lagrange law of any Lagrangian, with constraints and generalised forces."""

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
from jaxtyping import Array, PyTree

from lagrangian_learning._arrays import as_time, tree_scale, tree_zeros
from lagrangian_learning._checks import constants_in_range, nonnegative, optional_module_named

from .cauchy import consistent_state, initial_state
from .charge import AbstractCharge
from .constraint import AbstractConstraint, as_constraint
from .energy import energy, energy_reading, power
from .equations import AbstractEquations
from .lagrangian import Lagrangian
from .law import AbstractConstrainedPart, AbstractEnergyPart, AbstractMechanicalPart, EnergyReading, Rates, Residual
from .linear_part import AbstractLinearPart, DampedMotion
from .method import compiled
from .multipliers import AbstractMultiplierSolver, DenseByStructure
from .noether import LagrangianCharge
from .state import State


class AbstractEulerLagrange(AbstractEquations, AbstractEnergyPart, AbstractConstrainedPart, AbstractMechanicalPart):
    """Euler–Lagrange equations as a law: the motion (q, v), (q, v, a, j) for order 2, (q, v, δ) if vakonomic."""

    @compiled
    def accelerations(self, t: Any, state: State, args: PyTree = None) -> tuple[PyTree, PyTree]:
        """(q̈, δ) for order 1, (q⁗, δ) for order 2, from one saddle-point solve; t may be a Python number.

        The δ of a vakonomic constraint are those of the state.
        """
        return self._accelerations(as_time(t, state.q), state, args)

    def rates(self, t: Any, state: State, args: PyTree) -> Rates:
        t = as_time(t, state.q)
        top, solved = self.solved(t, state, args)
        delta = solved if state.multipliers is None else state.multipliers
        force = None if self.forces is None else self.generalised_force(t, state, args)
        rate = power(self.lagrangian, self.constraint, t, self.jet(state), args, delta, force)
        return Rates(self._motion(state, top, solved), rate)

    def observables(self, t: Any, state: State, args: PyTree) -> dict[str, PyTree]:
        top, delta = self._accelerations(as_time(t, state.q), state, args)
        if self.lagrangian.order == 1:
            return {"q": state.q, "v": state.v, "a": top, "multipliers": delta}
        return {"q": state.q, "v": state.v, "a": state.a, "j": state.j, "s": top, "multipliers": delta}

    @compiled
    def residual(self, t: Any, state: State, args: PyTree = None) -> Residual:
        """max |G|, and max |DG| (order 2: over DG, D²G and D³G). ValueError without constraints."""
        return self.constraint_residual(as_time(t, state.q), state, args)

    @compiled
    def energy(self, t: Any, state: State, args: PyTree = None) -> Array:
        """E = p·v − ℓ (docs/theory.md §3)."""
        t = as_time(t, state.q)
        return energy(self.lagrangian, t, self.jet(state), args, self.constraint, state.multipliers)

    def reading(self, t: Any, state: State, args: PyTree = None) -> EnergyReading:
        t = as_time(t, state.q)
        return energy_reading(self.lagrangian, t, self.jet(state), args, self.constraint, state.multipliers)

    def project(self, t: Any, state: State, args: PyTree = None, allowed: State | None = None) -> tuple[State, Array]:
        """The state on G = DG = 0, and whether the last update of Newton's method was within `allowed`, a State of
        largest changes (default: rounding of the largest coordinate, velocity, …).
        """
        return consistent_state(self, as_time(t, state.q), state, args, allowed)

    def baumgarte(self, alpha: Any, beta: Any) -> "AbstractEulerLagrange":
        if self.constraint is None:
            raise ValueError("Baumgarte stabilisation needs constraints, and this law has none: leave it out.")
        gains = (nonnegative(alpha, "alpha", _GAIN), nonnegative(beta, "beta", _GAIN))
        return eqx.tree_at(lambda law: law.gains, self, gains, is_leaf=lambda leaf: leaf is None)

    def charge_of(self, generator: Callable[..., PyTree]) -> AbstractCharge:
        return LagrangianCharge(self, generator)

    def damping_drift(self) -> "AbstractEulerLagrange":
        if self.lagrangian.order != 1:
            raise ValueError(
                "drift is damped with the velocities of a first-order action; this one is of second order."
            )
        return dataclasses.replace(self, damps_drift=True)

    def check(self, ts: Array, state: State, args: PyTree) -> State:
        carried = self.constraint is not None and self.constraint.carries_multipliers
        needed = ("q", "v", *("a", "j") * (self.lagrangian.order == 2), *("multipliers",) * carried)
        given = [name for name in _FIELDS if getattr(state, name, None) is not None]
        if not isinstance(state, State) or given != list(needed):
            raise ValueError(
                "the state of an Euler–Lagrange law comes from law.initial_state(t0, ..., args): this law's has "
                f"{', '.join(needed)}, and this one {', '.join(given) or 'none of them'}."
            )
        if self.constraint is not None:
            self.constraint.check(ts[0], self.jet(state), args)
        return constants_in_range(state, self.lagrangian.dissipation, from_zero=("theta", "thetas"))

    @property
    def constrained_part(self) -> "AbstractEulerLagrange | None":
        return None if self.constraint is None else self

    @property
    def linear_part(self) -> AbstractLinearPart | None:
        return DampedMotion(self.lagrangian.dissipation) if self.lagrangian.order == 1 else None

    def splitting(
        self, given: AbstractLinearPart | None = None
    ) -> tuple[AbstractLinearPart | None, "AbstractEulerLagrange"]:
        """The linear part; where velocities decay by it, those off the constraints must too: with `damping_drift`."""
        part = self.linear_part if given is None else given
        damps = isinstance(part, DampedMotion) and self.constraint is not None
        return part, self.damping_drift() if damps else self

    @property
    def description(self) -> dict[str, str]:
        return {
            "equation": f"Euler–Lagrange, order {self.lagrangian.order}",
            "dissipation": type(self.lagrangian.dissipation).__name__ + ("" if self.forces is None else ", and forces"),
            "multipliers": self.multiplier_solver.name if self.constraint is not None else "none (unconstrained)",
        }

    def _accelerations(self, t: Array, state: State, args: PyTree) -> tuple[PyTree, PyTree]:
        top, solved = self.solved(t, state, args)
        return top, solved if state.multipliers is None else state.multipliers

    def _motion(self, state: State, top: PyTree, solved: PyTree) -> State:
        if self.lagrangian.order == 2:
            return State(state.v, state.a, state.j, top)
        return State(state.v, top, multipliers=None if state.multipliers is None else tree_scale(-1, solved))


class EulerLagrange(AbstractEulerLagrange):
    """(1/ϖ) δA/δq − G_qᵀδ + Q = 0 with G = 0: any mechanical system from its Lagrangian (docs/theory.md §2).

    Arguments:
        lagrangian: a `Lagrangian` of order 1 or 2.
        constraint: a `Holonomic`, `Vakonomic` or `DAlembert` constraint, a list of holonomic and d'Alembert ones, or
            None. Multipliers of a list are a tuple.
        forces: generalised forces Q(t, q, v, args), a pytree like q, positive along the motion they drive.
        multiplier_solver: how the saddle-point system is solved; None: `DenseByStructure`.

    The state is a `State` (q, v), (q, v, a, j) for order 2, (q, v, δ) for a vakonomic constraint. δ = λ/ϖ are the
    normalised multipliers.
    """

    lagrangian: Lagrangian
    constraint: AbstractConstraint | None = eqx.field(converter=as_constraint, default=None)  # pyright: ignore[reportAssignmentType]
    forces: Callable[..., PyTree] | None = eqx.field(converter=optional_module_named("forces"), default=None)
    multiplier_solver: AbstractMultiplierSolver = eqx.field(
        converter=lambda solver: DenseByStructure() if solver is None else solver, default=None
    )  # pyright: ignore[reportAssignmentType]
    gains: tuple[Array, Array] | None = None
    damps_drift: bool = eqx.field(static=True, default=False)

    def __check_init__(self) -> None:
        if not isinstance(self.lagrangian, Lagrangian):
            raise ValueError("lagrangian must be an ll.Lagrangian: wrap the density as ll.Lagrangian(density).")
        if self.constraint is not None and not isinstance(self.constraint, AbstractConstraint):
            raise ValueError("constraint must be a constraint: wrap the function as ll.Holonomic(fn).")
        if not isinstance(self.multiplier_solver, AbstractMultiplierSolver):
            raise ValueError(
                "multiplier_solver must be a solver of ll.multipliers such as ll.multipliers.DenseSaddlePoint(), "
                f"got {type(self.multiplier_solver).__name__}."
            )
        if self.constraint is not None:
            self.constraint.derivatives(self.lagrangian.order)

    def initial_state(
        self,
        t0: Any,
        q: PyTree,
        v: PyTree = None,
        args: PyTree = None,
        *,
        a: PyTree = None,
        j: PyTree = None,
        multipliers: PyTree = None,
        consistent: str = "check",
        tolerance: Any = None,
    ) -> State:
        """Cauchy data: G = DG = 0, D²G = D³G = 0 too for order 2; of a velocity constraint G = 0 (docs/theory.md §4).

        Arguments:
            q, v: coordinates and velocities, pytrees of one structure, v = 0 by default; order 2 takes a and j too.
            args: what density, constraint and forces take.
            multipliers: δ(0) of a vakonomic constraint, which is free; other constraints determine theirs.
            consistent: "check" raises for data off the constraint; "project" moves them onto it, orthogonally in the
                mass metric.
            tolerance: largest residual accepted, relative to the size of the coordinates; default eps^¾ of the dtype.

        Raises ValueError for shapes, dtypes and settings that do not fit, and an error (ValueError when the data are
        known, a run-time error of Equinox when traced) for NaN, for an inconsistent start, and where the system is
        singular.
        """
        v = tree_zeros(q) if v is None else v
        return initial_state(self, t0, q, v, args, a, j, multipliers, consistent, tolerance)


_GAIN = "other gains would drive the state off its constraints."
_FIELDS = ("q", "v", "a", "j", "multipliers")
