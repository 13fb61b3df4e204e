"""The limits of the action: gradient flow, and damped descent of massive weights on massless neurons."""

from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from lagrangian_learning._arrays import as_time, cast, tree_add, tree_dot, tree_scale
from lagrangian_learning._checks import about, instance, positive, time
from lagrangian_learning.learning.charges import DescentCharge, FlowCharge, flow_charge
from lagrangian_learning.learning.checks import (
    check_constants,
    check_state,
    checked_velocities,
    without_velocities,
)
from lagrangian_learning.learning.losses import Downhill, NetworkLoss
from lagrangian_learning.learning.potential import AbstractPotential, SquaredError, as_potential
from lagrangian_learning.mechanics import (
    AbstractDissipation,
    AbstractEnergyPart,
    AbstractLaw,
    DampedMotion,
    EnergyReading,
    ExponentialDissipation,
    Rates,
    State,
    compiled,
)
from lagrangian_learning.networks import AbstractNetwork
from lagrangian_learning.signals import Stimulus


def friction(value: Any) -> Array:
    """γ > 0 as a constant; ValueError otherwise."""
    return positive(value, "gamma", "it is 1/learning rate.")


class AbstractDescent(AbstractLaw, AbstractEnergyPart):
    """A law of the weights alone: neurons without mass follow at once, x = f(W, e(t)), and δ is backpropagation."""

    network: eqx.AbstractVar[AbstractNetwork]
    potential: eqx.AbstractVar[AbstractPotential]
    velocities_held: eqx.AbstractClassVar[int]

    def __check_init__(self) -> None:
        instance(self.network, "network", AbstractNetwork, "a network such as ll.Layered((2, 2, 1))")

    def initial_state(self, t0: Any, q: PyTree, v: PyTree = None, args: Stimulus | None = None) -> State:
        """Weights q = W, and their velocities v = Ẇ (0 by default) where the law holds them, checked with the stimulus.

        Raises ValueError for weights or signals that do not fit, and for velocities of a law that holds none.
        """
        with about("q"):
            W = self.network.check_weights(q)
        W_dot = checked_velocities(self.network, W, v) if self.velocities_held else without_velocities(v)
        self.loss.check_args(time(t0, "t0", W), W, args)
        return State(W, W_dot)

    def check(self, ts: Array, state: State, args: Stimulus) -> State:
        check_state(state, self.velocities_held)
        self.loss.check_args(ts, state.q, args)
        self.network.check_weights(state.q)
        return check_constants(state, self)

    @property
    def aliases(self) -> dict[str, tuple[str, int | None]]:
        names = zip(("W", "W_dot", "W_ddot"), ("q", "v", "a")[: self.velocities_held + 2], strict=False)
        return {name: (key, None) for name, key in names}

    @property
    def loss(self) -> NetworkLoss:
        """V(f(W, e(t)), y(t))."""
        return NetworkLoss(self.network, self.potential)


class GradientFlow(AbstractDescent):
    """Ẇ = −V_W/γ, (14): as Ẇ_ij = +σ′(a_i) δ_i x_j/γ with T δ = −V_x, (15)–(17), one forward and one adjoint sweep.

    The limit m_x → 0, m_W → 0, m_x/m_W → 0 at ϑ = γ/m_W of the cognitive action. Neurons follow at once, x = f(W, e).

    Arguments:
        network: a feedforward network, or one whose cycles its forward pass solves.
        potential: V(x_out, y).
        gamma: γ > 0, the friction; 1/γ is the learning rate, weight change a unit of time and gradient.

    The state holds q = W; observables are W, W_dot, x and the multipliers δ.
    """

    network: AbstractNetwork
    potential: AbstractPotential = eqx.field(converter=as_potential, default=SquaredError())
    velocities_held: ClassVar[int] = 0
    gamma: Float[Array, "..."] = eqx.field(converter=friction, default=1.0)  # pyright: ignore[reportAssignmentType]

    @compiled
    def velocities(self, t: Any, state: State, args: Any = None) -> tuple[PyTree, PyTree]:
        """(Ẇ, δ)."""
        downhill = self.loss.downhill(as_time(t, state.q), state.q, args)
        return self._velocity(downhill), downhill.found["multipliers"]

    def rates(self, t: Any, state: State, args: Stimulus) -> Rates:
        t = as_time(t, state.q)
        downhill = self.loss.downhill(t, state.q, args)
        W_dot, explicit = self._velocity(downhill), self.loss.explicit_rate(t, state.q, downhill, args)
        return Rates(State(W_dot, None), explicit - cast(self.gamma, t) * tree_dot(W_dot, W_dot))

    def observables(self, t: Any, state: State, args: Stimulus) -> dict[str, PyTree]:
        downhill = self.loss.downhill(as_time(t, state.q), state.q, args)
        return {"q": state.q, "v": self._velocity(downhill)} | downhill.found

    @compiled
    def energy(self, t: Any, state: State, args: Any = None) -> Array:
        """V itself: dV/dt = V_t − γ |Ẇ|²."""
        return self.loss(as_time(t, state.q), state.q, args)

    def reading(self, t: Any, state: State, args: Any = None) -> EnergyReading:
        energy = self.energy(t, state, args)
        return EnergyReading(energy, jnp.zeros_like(energy))  # nothing has mass

    def charge_of(self, generator: Callable[..., PyTree]) -> FlowCharge:
        return flow_charge(self, generator)

    @property
    def description(self) -> dict[str, str]:
        return {"equation": "gradient flow (14)", "multipliers": "one adjoint sweep, (17)"}

    def _velocity(self, downhill: Downhill) -> PyTree:
        return tree_scale(1 / cast(self.gamma, downhill.force), downhill.force)


def positive_mass(value: Any) -> Array:
    """m_W > 0 as a constant; ValueError otherwise."""
    return positive(value, "mass_W", "weights without mass follow ll.GradientFlow, (14).")


class DampedDescent(AbstractDescent):
    """Ẅ + ϑ Ẇ = −V_W/m_W, (13): the Euler–Lagrange equation of (12), the limit m_x = 0 of the cognitive action.

    Arguments:
        network, potential: as in `GradientFlow`.
        mass_W: m_W > 0.
        dissipation: the weight ϖ(t); `ExponentialDissipation(theta)` for (13) as printed, any other in its place.

    γ = ϑ m_W is the friction; m_W → 0 at fixed γ is the gradient flow (14). The state holds q = W, v = Ẇ.
    """

    network: AbstractNetwork
    potential: AbstractPotential = eqx.field(converter=as_potential, default=SquaredError())
    velocities_held: ClassVar[int] = 1
    mass_W: Float[Array, "..."] = eqx.field(converter=positive_mass, default=1.0)  # pyright: ignore[reportAssignmentType]
    # A factory: an array made at import would start the backend before the user can configure it.
    dissipation: AbstractDissipation = eqx.field(default_factory=lambda: ExponentialDissipation(1.0))

    def __check_init__(self) -> None:
        made = "a dissipation such as ll.ExponentialDissipation(theta=1.0)"
        instance(self.dissipation, "dissipation", AbstractDissipation, made)

    @compiled
    def accelerations(self, t: Any, state: State, args: Any = None) -> tuple[PyTree, PyTree]:
        """(Ẅ, δ), δ the delta errors of (17)."""
        t = as_time(t, state.q)
        downhill = self.loss.downhill(t, state.q, args)
        return self._acceleration(t, state, downhill), downhill.found["multipliers"]

    def rates(self, t: Any, state: State, args: Stimulus) -> Rates:
        t = as_time(t, state.q)
        downhill = self.loss.downhill(t, state.q, args)
        friction = self.dissipation.rate(t) * cast(self.mass_W, t) * tree_dot(state.v, state.v)
        power = self.loss.explicit_rate(t, state.q, downhill, args) - friction
        return Rates(State(state.v, self._acceleration(t, state, downhill)), power)

    def observables(self, t: Any, state: State, args: Stimulus) -> dict[str, PyTree]:
        t = as_time(t, state.q)
        downhill = self.loss.downhill(t, state.q, args)
        weights = {"q": state.q, "v": state.v, "a": self._acceleration(t, state, downhill)}
        return weights | downhill.found

    @compiled
    def energy(self, t: Any, state: State, args: Any = None) -> Array:
        """½ m_W |Ẇ|² + V."""
        t = as_time(t, state.q)
        return cast(self.mass_W, t) * tree_dot(state.v, state.v) / 2 + self.loss(t, state.q, args)

    def reading(self, t: Any, state: State, args: Any = None) -> EnergyReading:
        moving = cast(self.mass_W, as_time(t, state.q)) * tree_dot(state.v, state.v)
        return EnergyReading(self.energy(t, state, args), moving)

    @property
    def linear_part(self) -> DampedMotion:
        return DampedMotion(self.dissipation)

    def charge_of(self, generator: Callable[..., PyTree]) -> DescentCharge:
        return DescentCharge(self, generator)

    @property
    def description(self) -> dict[str, str]:
        return {"equation": "damped descent (13)", "multipliers": "one adjoint sweep, (17)"}

    def _acceleration(self, t: Array, state: State, downhill: Downhill) -> PyTree:
        drag = tree_scale(-self.dissipation.rate(t), state.v)
        return tree_add(drag, tree_scale(1 / cast(self.mass_W, t), downhill.force))
