"""RATTLE with exact dissipation: long runs on the constraints, conformally symplectic."""

from typing import Any, ClassVar

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, PyTree

from lagrangian_learning._arrays import as_time, max_abs, tree_add, tree_scale, tree_zeros
from lagrangian_learning._checks import positive_int
from lagrangian_learning._types import Args, Terms, Time
from lagrangian_learning.mechanics.constraint import Holonomic
from lagrangian_learning.mechanics.dependence import Traced
from lagrangian_learning.mechanics.equations import AbstractEquations
from lagrangian_learning.mechanics.multipliers import SaddlePoint
from lagrangian_learning.mechanics.state import State

from .discrete_lagrangian import Instant, discrete_step
from .terms import forward_only, law_in


class Rattle(diffrax.AbstractSolver):
    """Φ_{h/2} ∘ RATTLE_h ∘ Φ_{h/2}, half the damping, a conservative step, half the damping (Andersen 1983; McLachlan
    and Quispel 2002), for M q̈ + r M q̇ + G_qᵀδ = F(t, q), G(t, q) = 0:

        v½ = v₀ + (h/2) M⁻¹ (F(t₀, q₀) − G_q(t₀, q₀)ᵀ λ),   q₁ = q₀ + h v½,   λ such that G(t₁, q₁) = 0,
        v₁ = v½ + (h/2) M⁻¹ (F(t₁, q₁) − G_q(t₁, q₁)ᵀ μ),   μ such that DG = 0,

    and Φ multiplies the part of v that is free to move by ϖ(t)/ϖ(t + h/2). Where the equations show that masses vary
    with t, q or v, or forces with v (a magnetic field, drag), a step is that of the discrete Lagrangian of the
    trapezoidal rule in its place, which is the same where both apply: implicit, by Newton's method on dense matrices of
    all coordinates and multipliers. Second order; time-reversible and symplectic
    without dissipation, conformally symplectic with it: areas of phase space shrink by e^{−ϑt} to rounding, and energy
    has no drift of the method's own over any number of steps. Position and velocity constraints hold to rounding after
    each step, so that nothing is left to project. Constant steps, short against 1/ϑ; the exponential steppers are for
    large ϑ.

    For `EulerLagrange` and `FullDynamics` laws of first order with a holonomic constraint, which may move with t, or
    none (then it is the conformal leapfrog).

    Arguments:
        iterations: of the chord method that finds λ, by the multiplier solver of the law; each shrinks max |G| by
            the order of h. A step whose updates are not down to rounding after them ends the run: shorten dt0.

    Raises ValueError for laws of another kind. A step whose equations are not solved ends the run.
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
        """F at the start of the step, which the next step takes from the end of this one; None for implicit steps."""
        law, t0, y0 = _mechanics(terms), as_time(t0, y0), forward_only(terms, y0, "Rattle")
        return force_at_rest(law, t0, y0, args) if is_separable(law, t0, y0, args) else None

    def step(
        self, terms: Terms, t0: Time, t1: Time, y0: State, args: Args, solver_state: PyTree, made_jump: Any
    ) -> tuple[State, None, dict, PyTree, diffrax.RESULTS]:
        del made_jump
        law = _mechanics(terms)
        y0 = forward_only(terms, y0, "Rattle") if solver_state is None else y0
        t0, t1 = as_time(t0, y0), as_time(t1, y0)
        middle = t0 + (t1 - t0) / 2
        if solver_state is None:
            decays = _decay(law, t0, middle), _decay(law, middle, t1)
            (y1, found), force = discrete_step(law, t0, t1, y0, args, decays), None
        else:
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
        state, _, found = drifted(law, t0, t1, state, args, force, self.iterations)
        force = force_at_rest(law, t1, state, args)
        state, _ = kicked_onto_velocity(law, t1, state, tree_scale((t1 - t0) / 2, force), args)
        return state, force, found


def drifted(
    law: AbstractEquations, t0: Array, t1: Array, state: State, args: PyTree, force: PyTree, iterations: int
) -> tuple[State, PyTree, Bool[Array, ""]]:
    """M v½ = M v₀ + (h/2) F − G_q(t₀, q₀)ᵀ Λ,   q₁ = q₀ + h v½,   Λ such that G(t₁, q₁) = 0; h may be negative.

    Returns (q₁, v½), the impulse Λ, and whether it was found.
    """
    h = t1 - t0
    start, _, closing = law.system(t0, state, args)
    kick, delta = law.multiplier_solver(start, force, closing)
    kicked = State(state.q, tree_add(state.v, tree_scale(h / 2, kick)))
    v, further, found = _reaching(law, t1, h, kicked, args, start, iterations)
    impulse = tree_add(tree_scale(h / 2, delta), further)
    return State(tree_add(state.q, tree_scale(h, v)), v), impulse, found


def _reaching(
    law: AbstractEquations, t1: Array, h: Array, state: State, args: PyTree, start: SaddlePoint, iterations: int
) -> tuple[PyTree, PyTree, Bool[Array, ""]]:
    """v½ with G(t₁, q₀ + h v½) = 0, moved by reactions of the start of the step alone; their impulse; if it was found.

    state: (q₀, v) with the v to begin with.
    """
    if law.constraint is None:
        return state.v, start.multipliers, jnp.asarray(True)
    value, unit = law.constraint.value(args), jnp.where(h == 0, 1, h)

    def left(v: PyTree) -> PyTree:
        return value(t1, (tree_add(state.q, tree_scale(h, v)),))

    def corrected(v: PyTree, _: None) -> tuple[PyTree, tuple[PyTree, Array]]:
        step, delta = law.multiplier_solver(start, tree_zeros(v), tree_scale(-1 / unit, left(v)))
        return tree_add(v, step), (delta, max_abs(step))

    v, (deltas, updates) = lax.scan(corrected, state.v, None, length=iterations)
    size = jnp.maximum(max_abs(state.q), max_abs(tree_add(state.q, tree_scale(h, v))))
    found = jnp.abs(h) * updates[-1] <= jnp.finfo(h.dtype).eps ** 0.75 * size
    return v, jax.tree.map(lambda rows: jnp.sum(rows, axis=0), deltas), found


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


def force_at_rest(law: AbstractEquations, t: Array, state: State, args: PyTree) -> PyTree:
    """F(t, q): what the Euler–Lagrange equations leave at rest, where nothing dissipates."""
    return law.system(t, State(state.q, tree_zeros(state.v)), args)[1]


def is_separable(law: AbstractEquations, t: Array, state: State, args: PyTree) -> bool:
    """Whether the equations show that masses are constant and that, damping aside, forces depend on t and q alone."""
    probe = jax.tree.map(jnp.ones_like, state.q)

    def mass(t: Array, q: PyTree, v: PyTree, args: PyTree) -> PyTree:
        return jax.jvp(Instant(law, t, q, args).momentum, (v,), (probe,))[1]

    def force(t: Array, q: PyTree, v: PyTree, args: PyTree) -> PyTree:
        """∂L/∂q + Q, and the part of d/dt ∂L/∂v that q and t change."""
        change = jax.jvp(lambda t, q: Instant(law, t, q, args).momentum(v), (t, q), (jnp.ones_like(t), v))[1]
        return Instant(law, t, q, args).force(v), change

    at = (t, state.q, state.v, args)
    return not Traced(mass, *at).arguments & {0, 1, 2} and 2 not in Traced(force, *at).arguments


def _decay(law: AbstractEquations, begin: Array, end: Array) -> Array:
    return jnp.exp(-law.lagrangian.dissipation.log_growth(begin, end))


def _damped(law: AbstractEquations, t: Array, span: tuple[Array, Array], state: State, args: PyTree) -> State:
    """Dissipation alone at a fixed point, exactly: the velocity that the constraint prescribes is not damped."""
    slowed = State(state.q, tree_scale(_decay(law, *span), state.v))
    return kicked_onto_velocity(law, t, slowed, tree_zeros(state.v), args)[0]


def kicked_onto_velocity(
    law: AbstractEquations, t: Array, state: State, kick: PyTree, args: PyTree
) -> tuple[State, PyTree]:
    """v + M⁻¹ (kick − G_qᵀ μ) with DG = 0, and μ."""
    system, _, _ = law.system(t, state, args)
    if law.constraint is None:
        left = system.multipliers
    else:
        left = tree_scale(-1, law.constraint.rows(t, (state.q, state.v), args)[1])
    change, impulse = law.multiplier_solver(system, kick, left)
    return State(state.q, tree_add(state.v, change)), impulse
