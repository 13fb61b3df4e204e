"""(12) and (13): the action without neurons, and the damped descent that follows from it."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PyTree

from lagrangian_learning._arrays import tree_dot
from lagrangian_learning.learning import CognitiveAction, SquaredError
from lagrangian_learning.learning.delta_errors import loss
from lagrangian_learning.learning.laws import DampedDescent
from lagrangian_learning.mechanics import EulerLagrange, ExponentialDissipation, Lagrangian, State
from lagrangian_learning.networks import AbstractNetwork
from lagrangian_learning.signals import Stimulus

from .claim import Measured, Shared, as_claim
from .problems import Problem, feedforward_problems, problem, relative, worst

POTENTIAL = SquaredError()
MASS_W, THETA, MASS_X = 0.4, 3.0, 0.3


class Descent(NamedTuple):
    """Ẅ of one problem by four laws, ravelled, [S, m].

    massless: (8)–(10) at m_x = 0;  free: (12), which knows no neuron;  printed: the package's (13);
    massive, carried: the same first two at m_x > 0, ½ m_x |df/dt|² added to (12).
    """

    problem: Problem
    massless: np.ndarray
    free: np.ndarray
    printed: np.ndarray
    massive: np.ndarray
    carried: np.ndarray


def _descent(each: Problem) -> Descent:
    network, weight, stimulus = each.network, ExponentialDissipation(THETA), each.stimulus
    laws = (
        CognitiveAction(network, POTENTIAL, 0.0, MASS_W, weight).law(),
        EulerLagrange(Lagrangian(_eliminated(network, 0.0), weight)),
        DampedDescent(network, POTENTIAL, MASS_W, weight),
        CognitiveAction(network, POTENTIAL, MASS_X, MASS_W, weight).law(),
        EulerLagrange(Lagrangian(_eliminated(network, MASS_X), weight)),
    )

    def solve(t: Array, x: PyTree, W: PyTree, x_dot: PyTree, W_dot: PyTree) -> tuple[Array, ...]:
        return tuple(ravel_pytree(law.accelerations(t, State(W, W_dot), stimulus)[0])[0] for law in laws)

    return Descent(each, *each.on_every_seed(solve))


def _eliminated(network: AbstractNetwork, mass_x: float) -> Callable:
    """The density of (12), ½ m_W |Ẇ|² − V(f(W, e), y), with ½ m_x |df/dt|² for neurons that have mass."""

    def density(t: Array, W: PyTree, W_dot: PyTree, stimulus: Stimulus) -> Array:
        def forward(t: Array, W: PyTree) -> PyTree:
            return network.forward(W, stimulus.input(t))

        value = MASS_W * tree_dot(W_dot, W_dot) / 2 - loss(network, POTENTIAL, W, stimulus.input(t), stimulus.target(t))
        if not mass_x:
            return value
        x_dot = jax.jvp(forward, (t, W), (jnp.ones_like(t), W_dot))[1]
        return value + mass_x * tree_dot(x_dot, x_dot) / 2

    return density


def descents(shared: Shared) -> tuple[Descent, ...]:
    """A layered network and a digraph."""
    del shared
    return tuple(_descent(each) for each in feedforward_problems()[:3:2])


@as_claim(
    "12",
    "Erratum 7",
    claim="The outputs f^i_W are the values of x^{ν−i}, i = 1, …, η.",
    method="neurons found in NumPy, picked by both numberings, against the outputs of the package's forward pass",
    verdict="erratum",
    tolerance=1e-12,
    remark="x^{ν−i+1}, i = 1, …, η; E(t) in the loss beside it is not defined, and e(t) is meant.",
)
def outputs_of_the_network(shared: Shared) -> Measured:
    del shared
    p = feedforward_problems()[1]
    size, count = p.hand.num_neurons, p.hand.num_outputs
    corrected = [size - i + 1 for i in range(1, count + 1)]
    printed = [size - i for i in range(1, count + 1)]
    by_one = np.concatenate([[np.nan], p.x[0]])  # neurons are counted from one
    outputs = _outputs_of_the_package(p)
    error = relative(by_one[corrected] - outputs[::-1], [outputs])
    wrong = relative(by_one[printed] - outputs[::-1], [outputs])
    details = {"x^{ν−i+1} against the outputs": error, "x^{ν−i} against the outputs": wrong}
    return Measured(error, details, {"x^{ν−i} leaves the last neuron out": wrong > 1e-3 and size not in printed})


def _outputs_of_the_package(p: Problem) -> np.ndarray:
    def respond(t: Array, x: PyTree, W: PyTree, x_dot: PyTree, W_dot: PyTree) -> Array:
        return p.network.output(p.network.forward(W, p.stimulus.input(t)))

    return p.on_every_seed(respond)[0]


@as_claim(
    "12",
    claim="With m_x = 0 the constrained theory is equivalent to the unconstrained one of (12).",
    method="Ẅ of (8)–(10) at m_x = 0 against the Euler–Lagrange equations of (12), which know no constraint",
    tolerance=1e-10,
)
def unconstrained_action(shared: Shared) -> Measured:
    found = shared(descents)
    without = worst([relative(each.massless - each.free, [each.free]) for each in found])
    carried = worst([relative(each.massive - each.carried, [each.carried]) for each in found])
    apart = min(relative(each.massive - each.massless, [each.massless]) for each in found)
    details = {"m_x = 0 against (12)": without, "m_x > 0 against (12) with ½ m_x |df/dt|²": carried}
    details["m_x > 0 against (12) as printed"] = apart
    return Measured(max(without, carried), details, {"with m_x > 0 it is another theory": apart > 1e-3})


@as_claim(
    "13",
    claim="The Euler equations of (12) are Ẅ + ϑẆ = −V_W/m_W.",
    method="derived by automatic differentiation from (12), against (13) with V_W by explicit Jacobians in NumPy",
    tolerance=1e-10,
)
def damped_descent(shared: Shared) -> Measured:
    derived, by_hand = [], []
    for each in shared(descents):
        p = each.problem
        expected = np.stack([-THETA * p.w_dot[k] + _force(p, k) / MASS_W for k in range(len(p.t))])
        derived.append(relative(each.free - expected, [expected]))
        by_hand.append(relative(each.printed - expected, [expected]))
    details = {"Euler–Lagrange of (12)": worst(derived), "the package's damped descent": worst(by_hand)}
    return Measured(worst(list(details.values())), details, {})


def _force(p: Problem, k: int) -> np.ndarray:
    """−V_W in NumPy, by the Jacobians of the constraints: V_W = −V_ξ G_ξ⁻¹ G_M."""
    by_neuron, by_weight = p.hand.jacobians(p.x[k], p.w[k])
    return p.potential_slope(p.x[k]) @ np.linalg.solve(by_neuron, by_weight)


@as_claim(
    "13",
    claim="ϖ(t) is responsible for the dissipative behaviour, without which nothing is learned.",
    method="dE/dt of ½ m_W |Ẇ|² + V along the motion by forward mode, against −ϑ m_W |Ẇ|²; with ϖ = 1 it vanishes",
    tolerance=1e-12,
)
def dissipation(shared: Shared) -> Measured:
    del shared
    p = problem("layered 2-3-1", feedforward_problems()[0].network, 21)
    still = Stimulus(jnp.asarray(np.sin(p.phase)), jnp.asarray(p.target))
    damped, free = (DampedDescent(p.network, POTENTIAL, MASS_W, ExponentialDissipation(r)) for r in (THETA, 0.0))

    def power(t: Array, x: PyTree, W: PyTree, x_dot: PyTree, W_dot: PyTree) -> tuple[Array, ...]:
        state = State(W, W_dot)
        return tuple(_rate_of_energy(law, t, state, still) for law in (damped, free))

    with_weight, without = p.on_every_seed(power)
    expected = -THETA * MASS_W * np.sum(p.w_dot**2, axis=1)
    details = {
        "dE/dt against −ϑ m_W |Ẇ|²": relative(with_weight - expected, [expected]),
        "dE/dt with ϖ = 1": relative(without, [expected]),
    }
    return Measured(worst(list(details.values())), details, {"energy falls": bool(np.all(with_weight < 0))})


def _rate_of_energy(law: DampedDescent, t: Array, state: State, stimulus: Stimulus) -> Array:
    """dE/dt of ½ m_W |Ẇ|² + V along the motion, by forward mode."""
    return jax.jvp(lambda s: law.energy(t, s, stimulus), (state,), (law.vector_field(t, state, stimulus),))[1]
