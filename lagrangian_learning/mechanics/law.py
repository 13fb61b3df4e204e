"""`AbstractLaw`: the one interface of everything that evolves in time, and the parts that a law has or has not."""

import abc
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
from jaxtyping import Array, Bool, Float, PyTree

from .charge import AbstractCharge
from .linear_part import AbstractLinearPart
from .method import compiled
from .state import State


class Rates(NamedTuple):
    """One evaluation of a law: d state/dt, and the power dE/dt of its energy balance (None: it has none)."""

    state: PyTree
    power: Float[Array, ""] | None = None


class Residual(NamedTuple):
    """Distance of a state from its constraints: max |G|, and max |DG| (order 2: over DG, D²G and D³G)."""

    position: Float[Array, ""]
    velocity: Float[Array, ""]


class AbstractConstrainedPart(eqx.Module):
    """The constraints of a law whose state can drift off them."""

    @abc.abstractmethod
    def residual(self, t: Any, state: PyTree, args: PyTree) -> Residual:
        """max |G| and max |DG|."""

    @abc.abstractmethod
    def project(
        self, t: Any, state: PyTree, args: PyTree, allowed: PyTree | None = None
    ) -> tuple[PyTree, Bool[Array, ""]]:
        """The state brought back onto its constraints, orthogonally in the mass metric, and whether that converged.

        allowed: the largest last update that counts as converged, a pytree like the state; None: rounding.
        """

    @abc.abstractmethod
    def baumgarte(self, alpha: Any, beta: Any) -> "AbstractLaw":
        """The law with D²G + 2α DG + β² G = 0 in place of D²G = 0."""


class EnergyReading(NamedTuple):
    """E, and p·v, which is twice the kinetic energy where that is quadratic; None: the law does not say."""

    energy: Float[Array, ""]
    moving: Float[Array, ""] | None


class AbstractEnergyPart(eqx.Module):
    """The energy of a law, whose rate of change is the power of `AbstractLaw.rates`."""

    @abc.abstractmethod
    def energy(self, t: Any, state: PyTree, args: PyTree) -> Float[Array, ""]:
        """E, in units of action over time."""

    def reading(self, t: Any, state: PyTree, args: PyTree) -> EnergyReading:
        """E with p·v, against which a run measures the defect of its energy balance; by default E alone."""
        return EnergyReading(self.energy(t, state, args), None)


class AbstractMechanicalPart(eqx.Module):
    """Euler–Lagrange equations of a state (q, v), for steppers that look inside them."""

    @abc.abstractmethod
    def damping_drift(self) -> "AbstractLaw":
        """The law with D(ϖ DG) = 0 in place of D²G = 0: D²G + r DG = 0.

        The same on the constraints. Off them a velocity that violates DG = 0 decays like every other, at the rate r, so
        that q̈ + r v has no large part that depends on v; a stepper that takes −r v out keeps its order then.
        """


class AbstractLaw(eqx.Module):
    """An equation of motion ẏ = f(t, y, args).

    A law is its `rates`; everything else has a default that is true of any law, and is added where there is more to
    say. `args` is whatever the equations take: parameters of a mechanical system, the `Stimulus` of a network.
    `diffrax.ODETerm(law.vector_field)` integrates any law without further help.
    """

    @abc.abstractmethod
    def rates(self, t: Any, state: PyTree, args: PyTree) -> Rates:
        """`Rates(d state/dt)`, of the structure of the state; with the power where the law has an energy."""

    @compiled
    def vector_field(self, t: Any, state: PyTree, args: PyTree = None) -> PyTree:
        """d state/dt."""
        return self.rates(t, state, args).state

    def observables(self, t: Any, state: PyTree, args: PyTree) -> dict[str, PyTree]:
        """Named quantities to record; by default the fields of the state, or the state itself as "q"."""
        fields = vars(state) if isinstance(state, eqx.Module) else {"q": state}
        return {name: value for name, value in fields.items() if value is not None}

    def initial_state(self, t0: Any, q: PyTree, v: PyTree = None, args: PyTree = None) -> PyTree:
        """A state at t0 from coordinates q and velocities v; by default they are taken as they are."""
        return State(q, v)

    def check(self, ts: Array, state: PyTree, args: PyTree) -> PyTree:
        """The state, after checks that state, args and times fit the law; ValueError or a run-time error if not."""
        return state

    def stops(self, t: Any, state: PyTree, args: PyTree) -> Bool[Array, ""] | None:
        """Whether a run must end in this state as `RESULTS.unstable_costate`; None: never."""
        return None

    @property
    def constrained_part(self) -> AbstractConstrainedPart | None:
        """The constraints that integration errors carry the state off: by default the law itself where it has them."""
        return self if isinstance(self, AbstractConstrainedPart) else None

    @property
    def solves_multipliers(self) -> bool:
        """Whether the rates rest on a linear system for multipliers, which can be singular or not converge."""
        return self.constrained_part is not None

    @property
    def energy_part(self) -> AbstractEnergyPart | None:
        """The energy: by default the law itself where it is an `AbstractEnergyPart`."""
        return self if isinstance(self, AbstractEnergyPart) else None

    @property
    def linear_part(self) -> AbstractLinearPart | None:
        """The stiff linear part A of ẏ = A y + N(t, y), for exponential steppers; None where there is none."""
        return None

    @property
    def mechanical_part(self) -> AbstractMechanicalPart | None:
        """The Euler–Lagrange equations of a state (q, v): by default the law itself where it is made of them."""
        return self if isinstance(self, AbstractMechanicalPart) else None

    def charge_of(self, generator: Callable[..., PyTree]) -> AbstractCharge:
        """What `ll.charge(law, generator)` returns; ValueError for a law without a Lagrangian."""
        raise ValueError(
            f"{type(self).__name__} has no Lagrangian of finite mass, and so no Noether charge: take an "
            "ll.EulerLagrange, a law of a cognitive action, ll.DampedDescent or ll.GradientFlow."
        )

    def splitting(self, given: AbstractLinearPart | None = None) -> tuple[AbstractLinearPart | None, "AbstractLaw"]:
        """The linear part A that an exponential stepper takes out, and the law whose N = f − A y it integrates then.

        given: A in place of `linear_part`.
        """
        return self.linear_part if given is None else given, self

    @property
    def description(self) -> dict[str, str]:
        """What a printed trajectory says of the law: equation, coordinates, multiplier solver."""
        return {"equation": type(self).__name__}

    @property
    def aliases(self) -> dict[str, tuple[str, int | None]]:
        """Further names of observables: {"x": ("q", 0)} calls the first component of q also x."""
        return {}


class AbstractBoundaryLaw(AbstractLaw):
    """A law with data at both ends: a causal part given at t0, and a costate known only at t1.

    The state splits into (causal, costate); `rates` moves both. `solve_boundary` needs nothing else.
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

    @property
    @abc.abstractmethod
    def fastest_rate(self) -> Array:
        """The rate, 1/time, of the layers that the solution may have at both ends."""
