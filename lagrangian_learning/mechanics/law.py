"""`AbstractLaw`: the one interface of everything that evolves in time."""

import abc
from typing import Any, NamedTuple

import equinox as eqx
from jaxtyping import Array, Bool, Float, PyTree

from .linear_part import AbstractLinearPart


class Rates(NamedTuple):
    """What one evaluation of a law gives: d state/dt, and the power dE/dt of its energy balance (None: no energy)."""

    state: PyTree
    power: Float[Array, ""] | None


class Residual(NamedTuple):
    """How far a state is off its constraints: max |G|, and max |DG| (order 2: over DG, D²G and D³G)."""

    position: Float[Array, ""]
    velocity: Float[Array, ""]


class AbstractLaw(eqx.Module):
    """An equation of motion ẏ = f(t, y, args), with what an integrator may want to know of it.

    `args` is whatever the equations take: parameters of a mechanical system, the `Stimulus` of a network.
    `diffrax.ODETerm(law.vector_field)` integrates any law without further help.
    """

    @abc.abstractmethod
    def vector_field(self, t: Any, state: PyTree, args: PyTree) -> PyTree:
        """d state/dt, of the same structure as the state."""

    @abc.abstractmethod
    def rates(self, t: Any, state: PyTree, args: PyTree) -> Rates:
        """d state/dt and the power, from one evaluation."""

    @abc.abstractmethod
    def observables(self, t: Any, state: PyTree, args: PyTree) -> dict[str, PyTree]:
        """Named quantities to record: coordinates q, velocities v, accelerations a, multipliers."""

    @abc.abstractmethod
    def residual(self, t: Any, state: PyTree, args: PyTree) -> Residual | None:
        """max |G| and max |DG|; None without constraints."""

    @abc.abstractmethod
    def energy(self, t: Any, state: PyTree, args: PyTree) -> Float[Array, ""] | None:
        """The energy whose rate is the power of `rates`; None where the law has none."""

    @abc.abstractmethod
    def project(self, t: Any, state: PyTree, args: PyTree) -> tuple[PyTree, Bool[Array, ""]]:
        """The state brought back onto its constraints, orthogonally in the mass metric, and whether that converged."""

    @abc.abstractmethod
    def baumgarte(self, alpha: Any, beta: Any) -> "AbstractLaw":
        """The same law with D²G + 2α DG + β² G = 0 in place of D²G = 0. ValueError without constraints."""

    @abc.abstractmethod
    def check(self, ts: Array, state: PyTree, args: PyTree) -> PyTree:
        """The state, after checks that state, args and times fit the law; ValueError or a run-time error if not."""

    @property
    @abc.abstractmethod
    def drifts(self) -> bool:
        """Whether integration errors can carry the state off its constraints."""

    @property
    @abc.abstractmethod
    def linear_part(self) -> AbstractLinearPart | None:
        """The stiff linear part A of ẏ = A y + N(t, y), for exponential steppers; None where there is none."""

    @property
    @abc.abstractmethod
    def description(self) -> dict[str, str]:
        """What a reader of a printed trajectory should know: equation, coordinates, multiplier solver."""

    @property
    @abc.abstractmethod
    def aliases(self) -> dict[str, tuple[str, int | None]]:
        """Further names of observables: {"x": ("q", 0)} calls the first component of q also x."""


class AbstractUnconstrainedLaw(AbstractLaw):
    """A law without holonomic constraints: nothing drifts, nothing is projected."""

    def residual(self, t: Any, state: PyTree, args: PyTree) -> Residual | None:
        return None

    def project(self, t: Any, state: PyTree, args: PyTree) -> tuple[PyTree, Bool[Array, ""]]:
        raise ValueError("this law has no constraints to project onto: leave the stabilisation out.")

    def baumgarte(self, alpha: Any, beta: Any) -> "AbstractLaw":
        raise ValueError("Baumgarte stabilisation needs constraints, and this law has none: leave it out.")

    @property
    def drifts(self) -> bool:
        return False


class AbstractMechanicalLaw(AbstractLaw):
    """A law whose state (q, v) is moved by Euler–Lagrange equations of its own, for steppers that look inside them."""

    @property
    @abc.abstractmethod
    def euler_lagrange(self) -> Any:
        """The `EulerLagrange` equations of the state."""

    @abc.abstractmethod
    def damping_drift(self) -> "AbstractMechanicalLaw":
        """The same law with D(ϖ DG) = 0 in place of D²G = 0: D²G + r DG = 0.

        The same on the constraints. Off them a velocity that violates DG = 0 decays like every other, at the rate r, so
        that q̈ + r v has no large part that depends on v; a stepper that takes −r v out keeps its order then.
        """


class AbstractBoundaryLaw(AbstractLaw):
    """A law with data at both ends: a causal part given at t0, and a costate known only at t1.

    The state splits into (causal, costate); `vector_field` moves both. `solve_boundary` needs nothing else.
    """

    @abc.abstractmethod
    def boundary_state(self, ts: Array, W: PyTree, args: PyTree, *, x: PyTree, W_dot: PyTree) -> PyTree:
        """The state at ts[0], its costate being a guess. ValueError or a run-time error for what has no solution."""

    @abc.abstractmethod
    def stationary(self, t: Any, state: PyTree, args: PyTree) -> PyTree:
        """The state with the waves that would stand still at t: a first guess of the solution there."""

    @abc.abstractmethod
    def split(self, state: PyTree) -> tuple[PyTree, PyTree]:
        """(causal, costate) of a state, or of the rates of one."""

    @abc.abstractmethod
    def joined(self, t: Any, causal: PyTree, costate: PyTree, args: PyTree) -> PyTree:
        """The state of a causal part and a costate."""

    @abc.abstractmethod
    def natural_condition(self, t: Any, state: PyTree, args: PyTree) -> PyTree:
        """What the costate must be at t1; depends on the causal part of the state alone."""

    @abc.abstractmethod
    def slowed(self, factor: Any) -> "AbstractBoundaryLaw":
        """The same law with learning that many times slower."""

    @abc.abstractmethod
    def unstable(self, t: Any, state: PyTree, args: PyTree) -> Bool[Array, ""]:
        """Whether the costate, moved forward in time, has begun to run away."""

    @property
    @abc.abstractmethod
    def fastest_rate(self) -> Array:
        """The rate, 1/time, of the layers that the solution may have at both ends."""
