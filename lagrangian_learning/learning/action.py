"""The cognitive action (5): masses, a time weight, a potential, and a network whose neurons are constraints."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from lagrangian_learning._checks import instance, nonnegative, one_of, positive
from lagrangian_learning.mechanics import AbstractDissipation, AbstractMultiplierSolver, ExponentialDissipation
from lagrangian_learning.networks import AbstractNetwork
from lagrangian_learning.signals import Stimulus

from .abstract_action import AbstractAction
from .laws import FiniteSpeedDynamics, FullDynamics, ReducedDerivedDynamics, ReducedDynamics, SoftDynamics
from .laws.backprop_diffusion import positive_speed
from .laws.soft import check_soft, optional_stiffness, soft_solver
from .multipliers import AbstractNetworkMultipliers, chosen_solver
from .potential import AbstractPotential, SquaredError, Term, as_potential
from .quadrature import integrate_samples


def _mass_x(value: Any) -> Array:
    return nonnegative(value, "mass_x", "it is the mass of every neuron.")


def _mass_W(value: Any) -> Array:
    return positive(value, "mass_W", "weights without mass follow the gradient flow, ll.GradientFlow.")


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


class CognitiveAction(AbstractAction):
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
        stiffness: None for the constraints G = 0; a number κ > 0, in units of V over x², for soft ones: −½ κ |G|² in
            the density in their place (docs/theory.md §10). As κ → ∞ weights follow the hard constraints, up to 1/κ.

    `action.law()` gives the Euler–Lagrange equations (8)–(10); `action(path, stimulus)` the value of the action.
    Raises ValueError for masses out of range, and for a stiffness with a speed, with cycles, without mass of the
    neurons, or with terms of order 2.
    """

    network: AbstractNetwork
    potential: AbstractPotential = eqx.field(converter=as_potential, default=SquaredError())
    mass_x: Float[Array, "..."] = eqx.field(converter=_mass_x, default=1e-2)  # pyright: ignore[reportAssignmentType]
    mass_W: Float[Array, "..."] = eqx.field(converter=_mass_W, default=1.0)  # pyright: ignore[reportAssignmentType]
    dissipation: AbstractDissipation = eqx.field(default_factory=_unit_rate)
    terms: tuple[Term, ...] = eqx.field(converter=_terms, default=())
    speed: Float[Array, "..."] | None = eqx.field(converter=_speed, default=None)
    stiffness: Float[Array, "..."] | None = eqx.field(converter=optional_stiffness, default=None)

    def __check_init__(self) -> None:
        instance(self.network, "network", AbstractNetwork, "a network such as ll.Layered((2, 2, 1))")
        made = "a dissipation such as ll.ExponentialDissipation(theta=1.0)"
        instance(self.dissipation, "dissipation", AbstractDissipation, made)
        if self.stiffness is not None:
            check_soft(self)

    def law(
        self, coordinates: str | None = None, multiplier_solver: AbstractMultiplierSolver | None = None
    ) -> FullDynamics | ReducedDynamics | ReducedDerivedDynamics | FiniteSpeedDynamics | SoftDynamics:
        """The Euler–Lagrange equations (8)–(10) as a law for `simulate`.

        The array leaves of the law are those of the action: a constant changed in either is changed everywhere.

        Arguments:
            coordinates: "reduced" (default where a forward sweep solves the network) integrates (W, Ẇ) and slaves x, ẋ
                to them by the forward pass, so that nothing drifts; "full" integrates x and W and needs stabilisation.
                Both solve the same system for δ. With a finite speed or a stiffness only "full" exists.
            multiplier_solver: None picks by the structure of the action, never by values: conjugate gradients on sweeps
                for a feedforward network, a Schur complement for one with cycles, the closed form for a finite speed,
                the dense saddle point where terms can change the inertia.

        Raises ValueError for reduced coordinates on a network with cycles, which no forward sweep solves, or with a
        finite speed or a stiffness, where x is no function of W; and for a solver that cannot serve the action.
        """
        one_of(coordinates, "coordinates", (None, "reduced", "full"))
        if self.stiffness is not None:
            solver = soft_solver(self, coordinates, multiplier_solver)
            return SoftDynamics(self, solver)  # pyright: ignore[reportCallIssue]
        sweeps = self.network.feedforward and self.speed is None
        if coordinates == "reduced" and not sweeps:
            raise ValueError(
                "reduced coordinates need a feedforward network whose neurons answer at once (speed=None): "
                'use coordinates="full".'
            )
        delayed = self.speed is not None
        solver = chosen_solver(multiplier_solver, self.network, delayed=delayed, plain_inertia=self.plain_inertia)
        if delayed:
            return FiniteSpeedDynamics(self, solver)  # pyright: ignore[reportCallIssue]
        if coordinates == "full" or not sweeps:
            return FullDynamics(self, solver)  # pyright: ignore[reportCallIssue]
        structured = isinstance(solver, AbstractNetworkMultipliers)
        return ReducedDynamics(self, solver) if structured else ReducedDerivedDynamics(self, solver)

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
