"""RATTLE with exact dissipation: long runs on the constraints, conformally symplectic."""

from typing import Any, ClassVar

import diffrax
import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, PyTree

from lagrangian_learning._arrays import as_time, max_abs, tree_add, tree_scale, tree_sub, tree_zeros
from lagrangian_learning._checks import positive_int, require
from lagrangian_learning._types import Args, Terms, Time
from lagrangian_learning.mechanics.constraint import Holonomic, constraint_tower
from lagrangian_learning.mechanics.equations import AbstractEquations
from lagrangian_learning.mechanics.multipliers import SaddlePoint
from lagrangian_learning.mechanics.state import State

from .terms import forward_only, law_in

_ROUNDING = 32  # units in the last place that a constraint may be off after its iteration
_NOT_SEPARABLE = (
    "ll.Rattle needs masses that are constant and forces that depend on t and q alone, beside the dissipation: these "
    "accelerations depend on the velocities in other ways. Use a Diffrax stepper, or ll.ExponentialRK4()."
)


class Rattle(diffrax.AbstractSolver):
    """Φ_{h/2} ∘ RATTLE_h ∘ Φ_{h/2}, half the damping, a conservative step, half the damping (Andersen 1983; McLachlan
    and Quispel 2002), for M q̈ + r M q̇ + G_qᵀδ = F(t, q), G(t, q) = 0:

        v½ = v₀ + (h/2) M⁻¹ (F(t₀, q₀) − G_q(t₀, q₀)ᵀ λ),   q₁ = q₀ + h v½,   λ such that G(t₁, q₁) = 0,
        v₁ = v½ + (h/2) M⁻¹ (F(t₁, q₁) − G_q(t₁, q₁)ᵀ μ),   μ such that DG = 0,

    and Φ multiplies the part of v that is free to move by ϖ(t)/ϖ(t + h/2). Second order; time-reversible and symplectic
    without dissipation, conformally symplectic with it: areas of phase space shrink by e^{−ϑt} to rounding, and energy
    has no drift of the method's own over any number of steps. Position and velocity constraints hold to rounding after
    each step, so that nothing is left to project. Constant steps, short against 1/ϑ; the exponential steppers are for
    large ϑ.

    For `EulerLagrange` and `FullDynamics` laws of first order with a holonomic constraint, which may move with t, or
    none (then it is the conformal leapfrog).

    Arguments:
        iterations: of the chord method that finds λ, by the multiplier solver of the law; each shrinks max |G| by a
            factor of the order of h. A step whose G is not down to rounding after them ends the run: shorten dt0.

    Raises ValueError for laws of another kind, and a run-time error for masses that vary or forces that depend on v.
    """

    iterations: int = eqx.field(static=True, default=8)
    keeps_constraints: ClassVar[bool] = True
    motion_alone: ClassVar[bool] = True
    term_structure: ClassVar = diffrax.AbstractTerm
    interpolation_cls: ClassVar = diffrax.LocalLinearInterpolation

    def __check_init__(self) -> None:
        positive_int(self.iterations, "iterations")

    def order(self, terms: Terms) -> int:
        return 2

    def init(self, terms: Terms, t0: Time, t1: Time, y0: State, args: Args) -> PyTree:
        """F at the start of the step, which the next step takes from the end of this one."""
        law, t0 = _mechanics(terms), as_time(t0, y0)
        return require(_force(law, t0, y0, args), _separable(law, t0, y0, args), _NOT_SEPARABLE)

    def step(
        self, terms: Terms, t0: Time, t1: Time, y0: State, args: Args, solver_state: PyTree, made_jump: Any
    ) -> tuple[State, None, dict, PyTree, diffrax.RESULTS]:
        del made_jump
        law, y0 = _mechanics(terms), forward_only(terms, y0, "Rattle")
        t0, t1 = as_time(t0, y0), as_time(t1, y0)
        middle = t0 + (t1 - t0) / 2
        state = _damped(law, t0, (t0, middle), y0, args)
        state, force, found = self._conservative(law, t0, t1, state, args, solver_state)
        y1 = _damped(law, t1, (middle, t1), state, args)
        diverged = diffrax.RESULTS.nonlinear_divergence
        result = diffrax.RESULTS.where(found, diffrax.RESULTS.successful, diverged)
        return y1, None, {"y0": y0, "y1": y1}, force, result

    def func(self, terms: Terms, t0: Time, y0: PyTree, args: Args) -> PyTree:
        return terms.vf(t0, y0, args)

    def _conservative(
        self, law: AbstractEquations, t0: Array, t1: Array, state: State, args: PyTree, force: PyTree
    ) -> tuple[State, PyTree, Bool[Array, ""]]:
        """One step of RATTLE, and F at its end; force is F(t₀, q₀)."""
        h = t1 - t0
        start, _, closing = law.system(t0, state, args)
        kick, _ = law.multiplier_solver(start, force, closing)
        v, found = self._reaching(law, t1, h, state, args, start, tree_add(state.v, tree_scale(h / 2, kick)))
        state = State(tree_add(state.q, tree_scale(h, v)), v)
        force = _force(law, t1, state, args)
        return _kicked_onto_velocity(law, t1, state, tree_scale(h / 2, force), args), force, found

    def _reaching(
        self, law: AbstractEquations, t1: Array, h: Array, state: State, args: PyTree, start: SaddlePoint, v: PyTree
    ) -> tuple[PyTree, Bool[Array, ""]]:
        """v½ with G(t₁, q₀ + h v½) = 0, moved by reactions of the start of the step alone; and whether it was found."""
        if law.constraint is None:
            return v, jnp.asarray(True)
        value, unit = law.constraint.value(args), jnp.where(h > 0, h, 1)

        def left(v: PyTree) -> PyTree:
            return value(t1, (tree_add(state.q, tree_scale(h, v)),))

        def corrected(v: PyTree, _: None) -> tuple[PyTree, None]:
            step, _ = law.multiplier_solver(start, tree_zeros(v), tree_scale(-1 / unit, left(v)))
            return tree_add(v, step), None

        v = lax.scan(corrected, v, None, length=self.iterations)[0]
        size = 1 + max_abs(tree_add(state.q, tree_scale(h, v)))
        return v, max_abs(left(v)) <= _ROUNDING * jnp.finfo(h.dtype).eps * size**2


def _mechanics(terms: Terms) -> AbstractEquations:
    law = law_in(terms)
    equations = None if law is None else law.mechanical_part
    fits = isinstance(equations, AbstractEquations) and equations.lagrangian.order == 1
    if not fits or not isinstance(equations.constraint, Holonomic | None):
        kind = "none" if law is None else law.description.get("equation", type(law).__name__)
        raise ValueError(
            "ll.Rattle moves coordinates and velocities under a holonomic constraint: it takes first-order "
            f'll.EulerLagrange laws and action.law("full") of networks, and the law here is another ({kind}).'
        )
    return equations


def _force(law: AbstractEquations, t: Array, state: State, args: PyTree) -> PyTree:
    """F(t, q): what the Euler–Lagrange equations leave at rest, where nothing dissipates."""
    return law.system(t, State(state.q, tree_zeros(state.v)), args)[1]


def _separable(law: AbstractEquations, t: Array, state: State, args: PyTree) -> Bool[Array, ""]:
    """Whether forces are F(t, q) − r M v, seen at one velocity whose entries all differ."""
    flat, unravel = ravel_pytree(state.v)
    probe = unravel(jnp.cos(jnp.arange(flat.size, dtype=flat.dtype)) + 1.5)
    system, force, _ = law.system(t, State(state.q, probe), args)
    momentum = system.inertia(probe)
    still = _force(law, t, state, args)
    damping = tree_scale(law.lagrangian.rate(t), momentum)
    excess = max_abs(tree_sub(tree_add(force, damping), still))
    scale = max_abs(still) + max_abs(damping) + max_abs(momentum)
    return excess <= jnp.sqrt(jnp.finfo(flat.dtype).eps) * scale


def _damped(law: AbstractEquations, t: Array, span: tuple[Array, Array], state: State, args: PyTree) -> State:
    """Dissipation alone at a fixed point, exactly: the velocity that the constraint prescribes is not damped."""
    decay = jnp.exp(-law.lagrangian.dissipation.log_growth(*span))
    slowed = State(state.q, tree_scale(decay, state.v))
    return _kicked_onto_velocity(law, t, slowed, tree_zeros(state.v), args)


def _kicked_onto_velocity(law: AbstractEquations, t: Array, state: State, kick: PyTree, args: PyTree) -> State:
    """v + M⁻¹ (kick − G_qᵀ μ) with DG = 0."""
    system, _, _ = law.system(t, state, args)
    if law.constraint is None:
        left = system.multipliers
    else:
        left = tree_scale(-1, constraint_tower(law.constraint, t, (state.q, state.v), args)[1])
    change, _ = law.multiplier_solver(system, kick, left)
    return State(state.q, tree_add(state.v, change))
