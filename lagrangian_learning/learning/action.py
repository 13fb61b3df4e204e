"""The cognitive action (5): masses, a time weight, a potential, and a network whose neurons are constraints."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from lagrangian_learning._arrays import cast, is_concrete, tree_add, tree_dot, tree_scale
from lagrangian_learning._checks import require
from lagrangian_learning.learning.laws.backprop_diffusion import positive_speed
from lagrangian_learning.learning.laws.coordinates import FullDynamics, ReducedDynamics
from lagrangian_learning.learning.laws.finite_speed import FiniteSpeedDynamics
from lagrangian_learning.learning.laws.swept import SweptEquations
from lagrangian_learning.learning.multipliers.block_tridiagonal import BlockTridiagonal, eliminates_faster
from lagrangian_learning.learning.multipliers.finite_speed import FiniteSpeedMultipliers
from lagrangian_learning.learning.multipliers.network_multipliers import AbstractNetworkMultipliers
from lagrangian_learning.learning.multipliers.waves import ConjugateGradients, NetworkSchur
from lagrangian_learning.mechanics import (
    AbstractDissipation,
    AbstractMultiplierSolver,
    DenseSaddlePoint,
    EulerLagrange,
    ExponentialDissipation,
    Holonomic,
    Lagrangian,
    Vakonomic,
)
from lagrangian_learning.networks import AbstractNetwork
from lagrangian_learning.signals import Stimulus

from .checks import one_number
from .potential import AbstractPotential, SquaredError, Term, as_potential
from .quadrature import integrate_samples


def _mass_x(value: Any) -> Array:
    mass = one_number(value, "mass_x")
    return require(mass, jnp.isfinite(mass) & (mass >= 0), "mass_x must be finite and >= 0.")


def _mass_W(value: Any) -> Array:
    mass = one_number(value, "mass_W")
    remedy = "mass_W must be finite and > 0: weights without mass follow the gradient flow (14)."
    return require(mass, jnp.isfinite(mass) & (mass > 0), remedy)


def _terms(terms: Term | Sequence[Term]) -> tuple[Term, ...]:
    terms = (terms,) if isinstance(terms, Term) else terms
    terms = tuple(terms) if isinstance(terms, Sequence) else (terms,)
    if not all(isinstance(term, Term) for term in terms):
        raise ValueError("terms must be ll.Term modules: wrap each function as ll.Term(fn, order=…, weighted=…).")
    return terms


def _speed(value: Any) -> Array | None:
    return None if value is None else positive_speed(value)


def _unit_rate() -> AbstractDissipation:
    # A factory: an array made at import would start JAX's backends before its user can choose or distribute them.
    return ExponentialDissipation(1.0)


class CognitiveAction(eqx.Module):
    """A(x, W) = ∫ (½ m_x |ẋ|² + ½ m_W |Ẇ|² − V(x_out, y)) ϖ dt + ∫ F dt subject to G(t, x, W) = 0   ((5) and (6)).

    Arguments:
        network: a network of this library; its neurons are the constraints (4).
        potential: V(x_out, y), `SquaredError()` by default; any callable.
        mass_x: m_x ≥ 0, the mass of every neuron.
        mass_W: m_W > 0, the mass of every weight.
        dissipation: the weight ϖ(t), e^{t} by default; γ = ϑ m_W is the friction on the weights.
        terms: further terms, see `Term` and `WeightDecay`.
        speed: None for neurons that answer at once, constraints (4); a number c > 0, in 1/time, for information that
            travels at a finite speed, constraints (19).

    `action.law()` gives the Euler–Lagrange equations (8)–(10); `action(path, stimulus)` the value of the action.
    Raises ValueError for masses out of range.
    """

    network: AbstractNetwork
    potential: AbstractPotential = eqx.field(converter=as_potential, default=SquaredError())
    mass_x: Float[Array, "..."] = eqx.field(converter=_mass_x, default=1e-2)  # pyright: ignore[reportAssignmentType]
    mass_W: Float[Array, "..."] = eqx.field(converter=_mass_W, default=1.0)  # pyright: ignore[reportAssignmentType]
    dissipation: AbstractDissipation = eqx.field(default_factory=_unit_rate)
    terms: tuple[Term, ...] = eqx.field(converter=_terms, default=())
    speed: Float[Array, "..."] | None = eqx.field(converter=_speed, default=None)

    def __check_init__(self) -> None:
        if not isinstance(self.network, AbstractNetwork):
            raise ValueError("network must be a network such as ll.Layered((2, 2, 1)).")
        if not isinstance(self.dissipation, AbstractDissipation):
            raise ValueError("dissipation must be a dissipation such as ll.ExponentialDissipation(theta=1.0).")

    @property
    def order(self) -> int:
        """1, or 2 when a term uses ẍ or Ẅ."""
        return max((1, *(term.order for term in self.terms)))

    @property
    def lagrangian(self) -> Lagrangian:
        """The action as a `Lagrangian` of q = (x, W), its densities divided by their weight."""
        outside = any(not term.weighted for term in self.terms)
        return Lagrangian(
            _Density(self), self.dissipation, self.order, unweighted=_UnweightedTerms(self) if outside else None
        )

    @property
    def constraint(self) -> Holonomic | Vakonomic:
        """G(t, (x, W), stimulus) = 0, (4); with a speed ẋ/c + G(t, (x, W), stimulus) = 0, (19)."""
        neurons = _NetworkConstraint(self.network)
        return Holonomic(neurons) if self.speed is None else Vakonomic(_DelayedConstraint(neurons, self.speed))

    def euler_lagrange(self, multiplier_solver: AbstractMultiplierSolver | None = None) -> EulerLagrange:
        """(8)–(10) as a law of `mechanics` on q = (x, W), v = (ẋ, Ẇ).

        multiplier_solver None picks by structure: waves for a feedforward network, or block elimination for layers of
        at most 512 heavy neurons, (m_x/m_W) width ≥ 30, if the masses are known and not traced; a Schur complement for
        a network with cycles; the dense saddle point where terms can change the inertia. The law's description tells.
        """
        return EulerLagrange(self.lagrangian, self.constraint, multiplier_solver=self._solver(multiplier_solver))

    def law(
        self, coordinates: str | None = None, multiplier_solver: AbstractMultiplierSolver | None = None
    ) -> FullDynamics | ReducedDynamics | FiniteSpeedDynamics:
        """The Euler–Lagrange equations (8)–(10) as a law for `simulate`.

        Arguments:
            coordinates: "reduced" (default where a forward sweep solves the network) integrates (W, Ẇ) and slaves x, ẋ
                to them by the forward pass, so that nothing drifts; "full" integrates x and W and needs stabilisation.
                Both solve the same system for δ. With a finite speed only "full" exists.
            multiplier_solver: see `euler_lagrange`.

        Raises ValueError for reduced coordinates on a network with cycles, which no forward sweep solves, or with a
        finite speed, where x is no function of W.
        """
        if coordinates not in (None, "reduced", "full"):
            raise ValueError(f'coordinates must be "reduced" or "full", got {coordinates!r}.')
        sweeps = self.network.feedforward and self.speed is None
        if coordinates == "reduced" and not sweeps:
            raise ValueError(
                "reduced coordinates need a feedforward network whose neurons answer at once (speed=None): "
                'use coordinates="full".'
            )
        equations = self.euler_lagrange(multiplier_solver)
        if self.speed is not None:
            return FiniteSpeedDynamics(self.network, self.potential, equations, self.speed)
        if coordinates == "full" or not sweeps:
            return FullDynamics(self.network, self.potential, equations)
        return ReducedDynamics(self.network, self.potential, equations, self._swept(equations.multiplier_solver))

    def __call__(self, path: Any, stimulus: Stimulus, *, normalised: bool = False) -> Float[Array, ""]:
        """The value of the action along a trajectory, by quadrature over its saved times (fourth order).

        Arguments:
            path: a trajectory with x, W, x_dot, W_dot (and x_ddot, W_ddot for order 2) at times ts [T], T ≥ 4.
            normalised: divide by ϖ(t₁), which keeps the value finite however large ϑ t₁ is.

        Raises a run-time error when the value overflows and normalised is False.
        """
        jets = [(path.x, path.W), (path.x_dot, path.W_dot)]
        if self.order == 2:
            jets.append((path.x_ddot, path.W_ddot))
        shift = self.dissipation.log_weight(path.ts[-1]) if normalised else jnp.zeros_like(path.ts[-1])

        def density(t: Array, jet: tuple[PyTree, ...]) -> Array:
            weight = jnp.exp(self.dissipation.log_weight(t) - shift)
            outside = jnp.exp(-shift) * self.outside(t, jet, stimulus)
            return weight * self.inside(t, jet, stimulus) + outside

        value = integrate_samples(path.ts, jax.vmap(density)(path.ts, tuple(jets)))
        message = "the action overflows, because ϖ(t₁) does: ask for normalised=True, the action divided by ϖ(t₁)."
        return eqx.error_if(value, ~jnp.isfinite(value), message)

    def inside(self, t: Array, jet: tuple[PyTree, ...], stimulus: Stimulus) -> Float[Array, ""]:
        """½ m_x |ẋ|² + ½ m_W |Ẇ|² − V + weighted terms, on the jet ((x, W), (ẋ, Ẇ)[, (ẍ, Ẅ)])."""
        (x, _), (x_dot, W_dot) = jet[:2]
        kinetic = cast(self.mass_x, x) * tree_dot(x_dot, x_dot) + cast(self.mass_W, x) * tree_dot(W_dot, W_dot)
        value = kinetic / 2 - self.potential(self.network.output(x), stimulus.target(t))
        return sum((term(t, jet, stimulus) for term in self.terms if term.weighted), start=value)

    def outside(self, t: Array, jet: tuple[PyTree, ...], stimulus: Stimulus) -> Float[Array, ""]:
        """The terms F that stand outside the weight."""
        unweighted = (term(t, jet, stimulus) for term in self.terms if not term.weighted)
        return sum(unweighted, start=jnp.zeros_like(t))

    def _swept(self, solver: AbstractMultiplierSolver) -> SweptEquations | None:
        if not isinstance(solver, AbstractNetworkMultipliers):
            return None
        return SweptEquations(self.network, self.potential, self.terms, self.dissipation, solver)

    def _solver(self, solver: AbstractMultiplierSolver | None) -> AbstractMultiplierSolver:
        structured = all(term.order == 0 for term in self.terms)
        if isinstance(solver, AbstractNetworkMultipliers | NetworkSchur | FiniteSpeedMultipliers) and not structured:
            raise ValueError(
                "terms of order 1 or 2 can change the inertia, which structured multiplier solvers take to be m_x and "
                "m_W: use ll.multipliers.DenseSaddlePoint(), or declare order=0 for terms of t, x and W alone."
            )
        if solver is not None:
            return solver
        if not structured:
            return DenseSaddlePoint()
        if self.speed is not None:
            return FiniteSpeedMultipliers(self.mass_x, self.mass_W, self.speed)
        if eliminates_faster(self.network, self.mass_x, self.mass_W):
            return BlockTridiagonal(self.network, self.mass_x, self.mass_W)
        if self.network.feedforward:
            return ConjugateGradients(self.network, self.mass_x, self.mass_W)
        massless = is_concrete(self.mass_x) and not bool(jnp.all(self.mass_x > 0))
        return DenseSaddlePoint() if massless else NetworkSchur(self.network, self.mass_x, self.mass_W)


class _Density(eqx.Module):
    action: CognitiveAction

    def __call__(self, t: Array, *jet_and_stimulus: Any) -> Array:
        *jet, stimulus = jet_and_stimulus
        return self.action.inside(t, tuple(jet), stimulus)


class _UnweightedTerms(eqx.Module):
    action: CognitiveAction

    def __call__(self, t: Array, *jet_and_stimulus: Any) -> Array:
        *jet, stimulus = jet_and_stimulus
        return self.action.outside(t, tuple(jet), stimulus)


class _DelayedConstraint(eqx.Module):
    neurons: "_NetworkConstraint"
    speed: Array

    def __call__(self, t: Array, q: tuple[PyTree, PyTree], v: tuple[PyTree, PyTree], stimulus: Stimulus) -> PyTree:
        lag = tree_scale(1 / cast(self.speed, q), v[0])
        return tree_add(lag, self.neurons(t, q, stimulus))


class _NetworkConstraint(eqx.Module):
    network: AbstractNetwork

    def __call__(self, t: Array, q: tuple[PyTree, PyTree], stimulus: Stimulus) -> PyTree:
        return self.network.constraint(q[0], q[1], stimulus.input(t))
