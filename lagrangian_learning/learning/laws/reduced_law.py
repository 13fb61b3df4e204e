"""What the laws in reduced coordinates q = W have in common: their start, their energy, their names."""

from typing import Any

from jaxtyping import Array, PyTree

from lagrangian_learning._arrays import as_time
from lagrangian_learning.learning.checks import check_state
from lagrangian_learning.mechanics import AbstractEnergyPart, AbstractEulerLagrange, DampedMotion, State, compiled
from lagrangian_learning.signals import Stimulus

from .action_law import AbstractActionLaw, described, lifted
from .full import FullDynamics
from .start import known_regular, regular_start, weights_state


class AbstractReducedDynamics(AbstractActionLaw, AbstractEnergyPart):
    """(8)–(10) on q = W: neurons follow the weights, x = f(W, e(t)), and the constraints hold exactly."""

    @property
    def equations(self) -> AbstractEulerLagrange:
        return FullDynamics(self.action, self.multiplier_solver)  # pyright: ignore[reportCallIssue]

    def full_state(self, t: Any, state: State, stimulus: Stimulus) -> State:
        return lifted(self.network, as_time(t, state.q), state, stimulus)

    def initial_state(
        self,
        t0: Any,
        q: PyTree,
        v: PyTree = None,
        args: Stimulus | None = None,
        *,
        a: PyTree = None,
        j: PyTree = None,
        cauchy: str = "general",
    ) -> State:
        """Consistent Cauchy data from weights (docs/theory.md §4).

        Arguments:
            q, v: weights W and their velocities Ẇ, zero by default. A second-order action also takes a = Ẅ and j by
                keyword, zero by default.
            args: a `Stimulus` whose input has one entry an input neuron.
            cauchy: "general" keeps Ẇ and lets ẋ(0) = −G_ξ⁻¹(G_t + G_M Ẇ) follow; "paper" is (11), all velocities zero,
                and raises where G_t ≠ 0, since then (11) is inconsistent.

        Raises ValueError for weights, signals or settings that do not fit; NaN anywhere is an error, and so are terms
        of the action that leave accelerations undetermined.
        """
        state = weights_state(self, t0, q, v, args, cauchy, a, j)
        if known_regular(self.multiplier_solver):
            return state
        assert args is not None
        return in_weights(regular_start(self.equations, t0, self.full_state(t0, state, args), args))

    @compiled
    def energy(self, t: Any, state: State, args: Any = None) -> Array:
        """½ m_x |ẋ|² + ½ m_W |Ẇ|² + V − F, or its like for an action of second order (docs/theory.md §3)."""
        return self.equations.energy(t, self.full_state(t, state, args), args)

    def check(self, ts: Array, state: State, args: Stimulus) -> State:
        self.check_stimulus(ts, args)
        check_state(state, 2 * self.action.order - 1)
        self.network.check_weights(state.q)
        return state

    @property
    def solves_multipliers(self) -> bool:
        return True

    @property
    def linear_part(self) -> DampedMotion | None:
        return DampedMotion(self.action.dissipation) if self.action.order == 1 else None

    @property
    def description(self) -> dict[str, str]:
        return described(self, "reduced (W alone, x by the forward pass)")

    @property
    def aliases(self) -> dict[str, tuple[str, int | None]]:
        return {"W": ("q", None), "W_dot": ("v", None), "W_ddot": ("a", None)}


def in_weights(full: State) -> State:
    """The weights' part of a state, or of the rates of one, in full coordinates."""
    entries = (full.q, full.v, full.a, full.j)
    return State(*(None if entry is None else entry[1] for entry in entries))
