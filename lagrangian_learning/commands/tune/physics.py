"""The constants of a cognitive action that are tuned: friction over time, a mass for each layer, the neurons' mass."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import lagrangian_learning as ll

from .task import Case, Task

KNOTS = 7


class Physics(eqx.Module):
    """Logarithms of all constants. A frame takes one unit of time. Draws of physics have an axis of draws first.

    log_thetas: of ϑ at times spread evenly over the run; one alone is a ϑ that does not change.
    log_rates: of 1/(ϑ₀ m_l) for each layer, ϑ₀ the first ϑ: what a frame's gradient moves the weights by.
    log_mass_x: of m_x over the geometric mean of the m_l.
    """

    log_thetas: Float[Array, "*draws knots"]
    log_rates: Float[Array, "*draws layers"]
    log_mass_x: Float[Array, "*draws"]

    @property
    def thetas(self) -> Array:
        """ϑ at the knots."""
        return jnp.exp(self.log_thetas)

    @property
    def masses(self) -> Array:
        """m_l."""
        return jnp.exp(-self.log_rates - self.log_thetas[0])

    @property
    def mass_x(self) -> Array:
        """m_x."""
        return jnp.exp(self.log_mass_x + jnp.mean(jnp.log(self.masses)))

    def law(self, task: Task) -> Any:
        """(8)–(10) with these constants."""
        knots = np.linspace(0.0, task.frames, max(2, len(self.log_thetas)))
        action = ll.CognitiveAction(
            ll.Rescaled(task.network, tuple(1 / jnp.sqrt(self.masses))),
            task.potential,
            mass_x=self.mass_x,
            mass_W=1.0,
            dissipation=ll.PiecewiseLinearDissipation(knots, jnp.broadcast_to(self.thetas, knots.shape)),
        )
        return action.law(multiplier_solver=ll.multipliers.ConjugateGradients(rtol=RTOL))


RTOL = 1e-4  # of the multipliers: frames differ from each other by far more


def with_knots(physics: Physics, knots: int = KNOTS) -> Physics:
    """The same physics, with a ϑ that can change."""
    return eqx.tree_at(lambda found: found.log_thetas, physics, jnp.repeat(physics.log_thetas, knots))


def learned(physics: Physics, task: Task, case: Case) -> Array:
    """The score of one run of learning: see `Task`."""
    law = physics.law(task)
    start = law.initial_state(0.0, law.network.coordinates(case.W), args=case.stimulus)
    return _run(law, start, task, case, _times(task, task.frames))[1]


def learned_in_windows(physics: Physics, task: Task, case: Case, windows: int) -> Array:
    """The mean of the scores of windows of one run: no derivative goes back over the start of its window."""
    law = physics.law(task)
    length = task.frames // windows
    start = law.initial_state(0.0, law.network.coordinates(case.W), args=case.stimulus)

    def window(state: ll.State, first: Array) -> tuple[ll.State, Array]:
        cut = (law.network.coordinates(jax.lax.stop_gradient(law.network.weights(part))) for part in (state.q, state.v))
        return _run(law, ll.State(*cut), task, case, first + _times(task, length))

    firsts = jnp.arange(0.0, windows * length, length)
    return jnp.mean(jax.lax.scan(window, start, firsts)[1])


def _run(law: Any, start: ll.State, task: Task, case: Case, ts: Array) -> tuple[ll.State, Array]:
    """The state at the end, and the score. A run that failed scores as if it had learned nothing."""

    def loss(t: Array, observables: dict[str, Any]) -> Array:
        W = law.network.weights(observables["W"])
        return task.loss(W, case.stimulus.input(t), case.stimulus.target(t))

    path = ll.simulate(
        law, start, ts, case.stimulus, solver=ll.KickDrift(), dt0=1.0, max_steps=task.frames, watch="nothing",
        save=loss if task.on_line else _nothing, throw=False,
    )  # fmt: skip
    W = law.network.weights(path.final_state.q)
    score = task.score_of(W, path.saved[:-1] if task.on_line else None)
    return path.final_state, jnp.where(path.result == ll.RESULTS.successful, score, task.worst)


def _times(task: Task, length: int) -> Array:
    return jnp.arange(length + 1.0) if task.on_line else jnp.array([0.0, length])


def _nothing(t: Array, observables: dict[str, Any]) -> tuple[()]:
    return ()
