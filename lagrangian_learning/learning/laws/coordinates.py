"""The Euler–Lagrange equations (8)–(10) of a network, in full and in reduced coordinates."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from lagrangian_learning._arrays import all_finite, as_time
from lagrangian_learning._checks import require
from lagrangian_learning.learning.potential import AbstractPotential
from lagrangian_learning.mechanics import (
    AbstractMechanicalLaw,
    DampedMotion,
    EulerLagrange,
    Rates,
    Residual,
    State,
    total_derivative,
)
from lagrangian_learning.networks import AbstractNetwork, guard_rank
from lagrangian_learning.signals import Stimulus

from .network_law import AbstractNetworkLaw, AbstractUnreducedLaw
from .start import known_regular, regular_start, weights_state
from .swept import SweptEquations


class FullDynamics(AbstractUnreducedLaw, AbstractMechanicalLaw):
    """(8)–(10) on q = (x, W): neurons are integrated and kept on their constraints by stabilisation.

    `accelerations` returns ((ẍ, Ẅ), δ). Made by `CognitiveAction.law("full")`.
    """

    network: AbstractNetwork
    potential: AbstractPotential
    equations: EulerLagrange

    def initial_state(
        self, t0: Any, W: PyTree, stimulus: Stimulus, W_dot: PyTree = None, *, cauchy: str = "general", **higher: PyTree
    ) -> State:
        """Consistent Cauchy data from weights: x is the forward pass, ẋ its derivative; see `ReducedDynamics`."""
        reduced = weights_state(self, t0, W, stimulus, W_dot, cauchy, **higher)
        t0 = as_time(t0, reduced.q)
        reduced = eqx.tree_at(lambda s: s.q, reduced, self._guarded(reduced.q, stimulus.input(t0)))
        return regular_start(self.equations, t0, lifted(self.network, t0, reduced, stimulus), stimulus)

    def _guarded(self, W: PyTree, u: Array) -> PyTree:
        """W, once its cycles are known to be regular: ẋ does not exist on others, and says so in no clear words."""
        if self.network.feedforward:
            return W
        x = guard_rank(self.network, self.network.forward(W, u), W)
        return require(W, all_finite(x), "the neurons of this network are not finite at the start.")

    def damping_drift(self) -> "FullDynamics":
        return FullDynamics(self.network, self.potential, self.equations.damping_drift())

    @property
    def euler_lagrange(self) -> EulerLagrange:
        return self.equations

    def check(self, ts: Array, state: State, args: Stimulus) -> State:
        self.check_stimulus(ts, args)
        state = self.equations.check(ts, state, args)
        self.network.check_weights(state.q[1])
        return state

    @property
    def linear_part(self) -> DampedMotion | None:
        return self.equations.linear_part

    @property
    def description(self) -> dict[str, str]:
        return _description(self, "full (x and W)")


class ReducedDynamics(AbstractNetworkLaw):
    """(8)–(10) on q = W: x, ẋ follow from (W, Ẇ) by the forward pass and its derivative, so that nothing drifts.

    The mass matrix of these coordinates is m_W I + m_x JᵀJ, J = ∂x/∂W (THEORY §3); it is never formed, since Ẅ and δ
    come from the same saddle-point system as in full coordinates: derived by differentiation, or, where the multiplier
    solver knows the network, written as sweeps (`SweptEquations`). `accelerations` returns (Ẅ, δ).
    Made by `CognitiveAction.law()`.
    """

    network: AbstractNetwork
    potential: AbstractPotential
    equations: EulerLagrange
    swept: SweptEquations | None = None

    def initial_state(
        self, t0: Any, W: PyTree, stimulus: Stimulus, W_dot: PyTree = None, *, cauchy: str = "general", **higher: PyTree
    ) -> State:
        """Consistent Cauchy data from weights (THEORY §4).

        Arguments:
            W, W_dot: weights and their velocities, W_dot zero by default. A second-order action also takes W_ddot and
                W_dddot by keyword, zero by default.
            stimulus: a `Stimulus` whose input has one entry an input neuron.
            cauchy: "general" keeps Ẇ and lets ẋ(0) = −G_ξ⁻¹(G_t + G_M Ẇ) follow; "paper" is (11), all velocities zero,
                and raises where G_t ≠ 0, since then (11) is inconsistent.

        Raises ValueError for weights, signals or settings that do not fit; NaN anywhere is an error, and so are terms
        of the action that leave accelerations undetermined.
        """
        state = weights_state(self, t0, W, stimulus, W_dot, cauchy, **higher)
        if known_regular(self.equations):
            return state
        return self._weights(regular_start(self.equations, t0, self.full_state(t0, state, stimulus), stimulus))

    def accelerations(self, t: Any, state: State, stimulus: Stimulus) -> tuple[PyTree, PyTree]:
        """(Ẅ, δ); for a second-order action the fourth derivative in place of Ẅ."""
        if self.swept is not None:
            evaluated = self.swept(as_time(t, state.q), state.q, state.v, stimulus)
            return evaluated.W_ddot, evaluated.delta
        (_, top), delta = self.equations.accelerations(t, self.full_state(t, state, stimulus), stimulus)
        return top, delta

    def full_state(self, t: Any, state: State, stimulus: Stimulus) -> State:
        return lifted(self.network, as_time(t, state.q), state, stimulus)

    def vector_field(self, t: Any, state: State, args: Stimulus) -> State:
        if self.swept is not None:
            return State(state.v, self.swept(as_time(t, state.q), state.q, state.v, args).W_ddot)
        return self._weights(self.equations.vector_field(t, self.full_state(t, state, args), args))

    def rates(self, t: Any, state: State, args: Stimulus) -> Rates:
        if self.swept is not None:
            return self._swept_rates(as_time(t, state.q), state, args)
        rates = self.equations.rates(t, self.full_state(t, state, args), args)
        return Rates(self._weights(rates.state), rates.power)

    def observables(self, t: Any, state: State, args: Stimulus) -> dict[str, PyTree]:
        if self.swept is not None:
            return self._swept_observables(as_time(t, state.q), state, args)
        full = self.equations.observables(t, self.full_state(t, state, args), args)
        delta = full.pop("multipliers")
        neurons = {name: full[key][0] for key, name in (("q", "x"), ("v", "x_dot"), ("a", "x_ddot"))}
        return {key: value[1] for key, value in full.items()} | neurons | {"multipliers": delta}

    def residual(self, t: Any, state: State, args: Stimulus) -> Residual | None:
        return self.equations.residual(t, self.full_state(t, state, args), args)

    def energy(self, t: Any, state: State, args: Stimulus) -> Array:
        return self.equations.energy(t, self.full_state(t, state, args), args)

    def project(self, t: Any, state: State, args: Stimulus, **settings: Any) -> tuple[State, Array]:
        return state, jnp.asarray(True)

    def baumgarte(self, alpha: Any, beta: Any) -> "ReducedDynamics":
        raise ValueError("reduced coordinates satisfy the constraints exactly: leave the stabilisation out.")

    def check(self, ts: Array, state: State, args: Stimulus) -> State:
        self.check_stimulus(ts, args)
        state = self.equations.check(ts, state, args)
        self.network.check_weights(state.q)
        return state

    @property
    def drifts(self) -> bool:
        return False

    @property
    def linear_part(self) -> DampedMotion | None:
        return self.equations.linear_part

    @property
    def description(self) -> dict[str, str]:
        return _description(self, "reduced (W alone, x by the forward pass)")

    @property
    def aliases(self) -> dict[str, tuple[str, int | None]]:
        return {"W": ("q", None), "W_dot": ("v", None), "W_ddot": ("a", None)}

    def _swept_rates(self, t: Array, state: State, stimulus: Stimulus) -> Rates:
        assert self.swept is not None
        evaluated = self.swept(t, state.q, state.v, stimulus)
        power = self.swept.power(t, state.q, state.v, evaluated, stimulus)
        return Rates(State(state.v, evaluated.W_ddot), power)

    def _swept_observables(self, t: Array, state: State, stimulus: Stimulus) -> dict[str, PyTree]:
        assert self.swept is not None
        evaluated = self.swept(t, state.q, state.v, stimulus)
        x_ddot = self.swept.neuron_accelerations(t, state.q, state.v, evaluated, stimulus)
        weights = {"q": state.q, "v": state.v, "a": evaluated.W_ddot}
        neurons = {"x": evaluated.x, "x_dot": evaluated.x_dot, "x_ddot": x_ddot}
        return weights | neurons | {"multipliers": evaluated.delta}

    def _weights(self, full: State) -> State:
        entries = (full.q, full.v, full.a, full.j)
        return State(*(None if entry is None else entry[1] for entry in entries))


def lifted(network: AbstractNetwork, t: Array, state: State, stimulus: Stimulus) -> State:
    """(W, Ẇ, …) completed by x, ẋ, … of the forward pass x = f(W, e(t)): G = DG = … = 0 exactly."""
    levels = [level for level in (state.q, state.v, state.a, state.j) if level is not None]

    def forward(s: Array, jet: tuple[PyTree, ...]) -> PyTree:
        return network.forward(jet[0], stimulus.input(s))

    x, x_dot = jax.jvp(forward, (t, (levels[0],)), (jnp.ones_like(t), (levels[1],)))
    higher = [total_derivative(forward, k)(t, tuple(levels[: k + 1])) for k in range(2, len(levels))]
    return State(*zip((x, x_dot, *higher), levels, strict=True))


def _description(law: AbstractNetworkLaw, coordinates: str) -> dict[str, str]:
    network = law.network
    kind = "feedforward" if network.feedforward else "cyclic"
    return {
        "equation": "Euler–Lagrange equations of the cognitive action, (8)–(10)",
        "network": f"{kind}, {network.num_neurons} neurons, {network.num_weights} weights",
        "coordinates": coordinates,
        "multipliers": law.equations.multiplier_solver.name,
    }
