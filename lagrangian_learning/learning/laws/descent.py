"""`Descent`: motion of the weights downhill, for any kinetic energy and any friction."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from lagrangian_learning._arrays import as_time, time_derivative, tree_add, tree_dot, tree_scale
from lagrangian_learning._checks import about, constants_in_range, require, time
from lagrangian_learning.learning.charges import MomentumCharge
from lagrangian_learning.learning.losses import AbstractLoss, Downhill, as_loss, velocities_like
from lagrangian_learning.mechanics import (
    AbstractDissipation,
    AbstractEnergyPart,
    AbstractKinetic,
    AbstractLaw,
    Bregman,
    DampedMomenta,
    Damping,
    EnergyReading,
    ExponentialDissipation,
    Phase,
    Quadratic,
    Rates,
    Relativistic,
    as_kinetic,
    compiled,
)


class Descent(AbstractLaw, AbstractEnergyPart):
    """Ẇ = K*_p(p), ṗ = −r p − s V_W: the Euler–Lagrange equations of ℓ = K(Ẇ) − s V, p = K_v(Ẇ)   (docs/theory.md §11).

    Every optimiser with momentum that follows from a kinetic energy: `Quadratic` is the heavy ball, `Relativistic`
    clips and normalises, `Bregman` for dissipation is Nesterov's acceleration in continuous time. One step of
    `KickDrift` is the optimiser `ll.optimizer` with the same arguments.

    Arguments:
        loss: V: a network (with `SquaredError`), a `NetworkLoss(network, potential)`, or a function V(t, W, args).
        kinetic: K, an `AbstractKinetic` or a convex function K(v); ½|v|² by default.
        dissipation: the weight ϖ(t), r = d/dt log ϖ; e^t by default.
        factor: s ≥ 0, a number or a function s(t); None: that of a `Bregman` dissipation, and 1 of every other.

    The state is a `Phase`, q = W and the momenta p = K_v(Ẇ), which keep their digits where velocities are bounded.
    Observables are W, W_dot, p, and of a network x and the multipliers δ. The mass of neurons has no place here, since
    it makes the kinetic energy depend on W; `CognitiveAction` has it. Raises ValueError for arguments of another kind.
    """

    loss: AbstractLoss
    kinetic: AbstractKinetic
    damping: Damping

    def __init__(
        self,
        loss: Any,
        kinetic: AbstractKinetic | Callable[[PyTree], Array] | None = None,
        dissipation: AbstractDissipation | None = None,
        factor: Any = None,
    ) -> None:
        self.loss = as_loss(loss)
        self.kinetic = Quadratic(1.0) if kinetic is None else as_kinetic(kinetic)
        self.damping = Damping(ExponentialDissipation(1.0) if dissipation is None else dissipation, factor)

    @property
    def dissipation(self) -> AbstractDissipation:
        """The weight ϖ(t)."""
        return self.damping.dissipation

    def initial_state(self, t0: Any, q: PyTree, v: PyTree = None, args: PyTree = None, *, p: PyTree = None) -> Phase:
        """Weights q = W, with velocities v = Ẇ or momenta p, at rest by default.

        Raises ValueError for weights, velocities or args that do not fit, for v and p together, and for a start before
        that of a `Bregman` dissipation, t > 0.
        """
        if v is not None and p is not None:
            raise ValueError("v and p say the same thing, p = K_v(v): give one of them.")
        with about("q"):
            W = self.loss.check_weights(q)
        self.kinetic.check(W)
        t0 = self._started(time(t0, "t0", W))
        self.loss.check_args(t0, W, args)
        if v is None:
            return Phase(W, velocities_like(self.loss, W, p, "p"))
        return Phase(W, self.kinetic.momentum(velocities_like(self.loss, W, v, "v")))

    def check(self, ts: Array, state: Phase, args: PyTree) -> Phase:
        if not isinstance(state, Phase):
            raise ValueError(
                "the state of this law holds weights and momenta: make it by law.initial_state(t0, W, args=...)."
            )
        self.loss.check_args(ts, state.q, args)
        self.loss.check_weights(state.q)
        self.kinetic.check(state.q)
        self._started(jnp.ravel(ts)[0])
        state = constants_in_range(
            state, self.dissipation, above_zero=("order", "scale", "t0"), from_zero=("theta", "thetas")
        )
        if isinstance(self.kinetic, Relativistic):
            return constants_in_range(state, self.kinetic, from_zero=("mass",))
        return constants_in_range(state, self.kinetic, above_zero=("mass",), from_zero=("beta",))

    @compiled
    def velocities(self, t: Any, state: Phase, args: Any = None) -> PyTree:
        """Ẇ = K*_p(p)."""
        return self.kinetic.velocity(state.p)

    def rates(self, t: Any, state: Phase, args: Any) -> Rates:
        t = as_time(t, state.q)
        downhill, v = self.loss.downhill(t, state.q, args), self.kinetic.velocity(state.p)
        r = self.dissipation.rate(t)
        p_dot = tree_add(tree_scale(-r, state.p), tree_scale(self.damping.factor_at(t), downhill.force))
        return Rates(Phase(v, p_dot), self._power(t, state, v, downhill, args))

    def observables(self, t: Any, state: Phase, args: Any) -> dict[str, PyTree]:
        downhill = self.loss.downhill(as_time(t, state.q), state.q, args)
        return {"q": state.q, "v": self.kinetic.velocity(state.p), "p": state.p} | downhill.found

    @compiled
    def energy(self, t: Any, state: Phase, args: Any = None) -> Float[Array, ""]:
        """E = K*(p) + s V: dE/dt = −r p·Ẇ + s V_t + ṡ V."""
        t = as_time(t, state.q)
        return self.kinetic.dual(state.p) + self.damping.factor_at(t) * self.loss(t, state.q, args)

    def reading(self, t: Any, state: Phase, args: Any = None) -> EnergyReading:
        return EnergyReading(self.energy(t, state, args), tree_dot(state.p, self.kinetic.velocity(state.p)))

    def charge_of(self, generator: Callable[..., PyTree]) -> MomentumCharge:
        return MomentumCharge(self, generator)

    @property
    def linear_part(self) -> DampedMomenta:
        return DampedMomenta(self.kinetic, self.damping)

    @property
    def aliases(self) -> dict[str, tuple[str, int | None]]:
        return {"W": ("q", None), "W_dot": ("v", None)}

    @property
    def description(self) -> dict[str, str]:
        return {
            "equation": "descent of a kinetic energy, (D + r) p = −s V_W",
            "kinetic energy": type(self.kinetic).__name__,
            "dissipation": type(self.dissipation).__name__,
        }

    def _power(self, t: Array, state: Phase, v: PyTree, downhill: Downhill, args: Any) -> Float[Array, ""]:
        friction = self.dissipation.rate(t) * tree_dot(state.p, v)
        driven = self.damping.factor_at(t) * self.loss.explicit_rate(t, state.q, downhill, args)
        if self.damping.steady:
            return driven - friction
        return driven - friction + time_derivative(self.damping.factor_at, t) * downhill.value

    def _started(self, t: Array) -> Array:
        if not isinstance(self.dissipation, Bregman):
            return t
        return require(t, t > 0, "ll.Bregman begins at a time t0 > 0, where its friction (p + 1)/t does: start there.")
