"""(14) and (16): gradient descent and backpropagation as limits of damped descent and of the action."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PyTree

from lagrangian_learning.learning import CognitiveAction, SquaredError, delta_errors
from lagrangian_learning.learning.laws import DampedDescent, GradientFlow
from lagrangian_learning.mechanics import ExponentialDissipation, State
from lagrangian_learning.signals import Stimulus

from .claim import Measured, Shared, as_claim
from .problems import Problem, feedforward_problems, slope, tree_of
from .stepping import rk4

POTENTIAL = SquaredError()
MASSES, RATIOS = (1e-1, 1e-2, 3e-3, 1e-3), (1e-2, 1e-3, 1e-4)
END, STEPS = 2.0, 4000
SLOPE = 0.05  # how far a fitted rate may be from its integer


class Limits(NamedTuple):
    """Distances of weights at t = 2, γ = ϑ m_W = 1 fixed.

    From gradient flow, for each of MASSES: descent, damped descent (13);  action, with m_x = m_W²;  heavy, with
    m_x = 0.1 m_W.  From damped descent, at m_W = 0.1 and for each m_x/m_W of RATIOS: neurons.
    """

    descent: np.ndarray
    action: np.ndarray
    heavy: np.ndarray
    neurons: np.ndarray


def limits(shared: Shared) -> Limits:
    """All of them, by RK4 on the laws' right sides."""
    del shared
    p = feedforward_problems()[0]
    W = tree_of(p.network, p.hand)[1](jnp.asarray(p.w[0]))

    def end(law: Any) -> Array:
        return ravel_pytree(_last(law, law.initial_state(0.0, W, args=p.stimulus), p.stimulus))[0]

    def descent(mass_W: Array) -> Array:
        return end(DampedDescent(p.network, POTENTIAL, mass_W, ExponentialDissipation(1 / mass_W)))

    def action(mass_x: Array, mass_W: Array) -> Array:
        return end(CognitiveAction(p.network, POTENTIAL, mass_x, mass_W, ExponentialDissipation(1 / mass_W)).law())

    masses, ratios, tenth = np.array(MASSES), np.array(RATIOS), np.full(len(RATIOS), 0.1)
    neurons = np.concatenate([masses**2, 0.1 * masses, 0.1 * ratios])
    damped = np.asarray(jax.jit(jax.vmap(descent))(jnp.asarray(masses)))
    found = jax.jit(jax.vmap(action))(jnp.asarray(neurons), jnp.asarray(np.concatenate([masses, masses, tenth])))
    light, heavy, others = np.split(np.asarray(found), np.cumsum([len(masses), len(masses)]))
    flow = np.asarray(jax.jit(lambda: end(GradientFlow(p.network, POTENTIAL, 1.0)))())
    goals = ((damped, flow), (light, flow), (heavy, flow), (others, damped[0]))
    return Limits(*(np.linalg.norm(ends - goal, axis=1) for ends, goal in goals))


def _last(law: Any, state: State, stimulus: Stimulus) -> PyTree:
    """The weights at END. Steps short enough for the largest ϑ, 1/MASSES[-1]."""
    path = rk4(lambda t, y: law.vector_field(t, y, stimulus), state, END, STEPS)
    return jax.tree.map(lambda leaf: leaf[-1], path.q)


@as_claim(
    "14",
    claim="For ϑ → ∞ with ϑ m_W → γ, (13) becomes the gradient method.",
    method="weights at t = 2 of both equations by RK4; log–log fit of their distance against 1/ϑ",
    tolerance=SLOPE,
)
def gradient_flow(shared: Shared) -> Measured:
    return Measured(*rate(MASSES, shared(limits).descent, 1), {})


def rate(parameters: Sequence[float], errors: np.ndarray, expected: float) -> tuple[float, dict[str, float]]:
    """|fitted slope − expected|, and the numbers behind it."""
    fitted = slope(np.asarray(parameters), errors)
    named = {f"error at {parameter:.0e}": error for parameter, error in zip(parameters, errors, strict=True)}
    return abs(fitted - expected), {"fitted rate": fitted} | named


@as_claim(
    "14",
    claim="For m_x → 0, m_W → 0 and m_x/m_W → 0, (8)–(10) reproduce (14).",
    method="weights at t = 2 of the action and of gradient flow by RK4; log–log fits against m_W and against m_x/m_W",
    tolerance=SLOPE,
)
def action_to_gradient_flow(shared: Shared) -> Measured:
    found = shared(limits)
    by_mass, by_ratio = slope(np.array(MASSES), found.action), slope(np.array(RATIOS), found.neurons)
    details = {
        "rate in m_W, m_x = m_W²": by_mass,
        "rate in m_x/m_W, against (13)": by_ratio,
        "m_x = 0.1 m_W: rate": slope(np.array(MASSES), found.heavy),
        "m_x = 0.1 m_W: error that stays": found.heavy[-1],
    }
    stays = {"with m_x/m_W held, the error stays": found.heavy[-1] > 50 * found.action[-1]}
    return Measured(max(abs(by_mass - 1), abs(by_ratio - 1)), details, stays)


@as_claim(
    "10",
    "16",
    claim="In the limit, (10) becomes (16).",
    method="δ of (10) against δ of (16) at fixed Cauchy data; log–log fit against m_x/m_W",
    tolerance=SLOPE,
)
def limit_of_the_multipliers(shared: Shared) -> Measured:
    del shared
    ratios = 10.0 ** -np.arange(2.0, 7.0)
    errors = _distances_from_backprop(feedforward_problems()[0], jnp.asarray(ratios))
    return Measured(*rate(ratios.tolist(), errors, 1), {})


def _distances_from_backprop(p: Problem, ratios: Array, mass_W: float = 1e-3) -> np.ndarray:
    """max |δ − δ of (16)| over the problem's Cauchy data for each m_x/m_W, at ϑ = 1/m_W."""
    weight, stimulus = ExponentialDissipation(1 / mass_W), p.stimulus

    def distances(t: Array, x: PyTree, W: PyTree, x_dot: PyTree, W_dot: PyTree) -> Array:
        limit = ravel_pytree(delta_errors(p.network, POTENTIAL, x, W, stimulus.target(t)))[0]

        def distance(ratio: Array) -> Array:
            equations = CognitiveAction(p.network, POTENTIAL, ratio * mass_W, mass_W, weight).law("full")
            _, delta = equations.accelerations(t, State((x, W), (x_dot, W_dot)), stimulus)
            return jnp.max(jnp.abs(ravel_pytree(delta)[0] - limit))

        return jax.vmap(distance)(ratios)

    return np.max(p.on_every_seed(distances), axis=0)
