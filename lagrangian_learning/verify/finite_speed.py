"""(18)–(20): neurons that answer with a delay, their Euler–Lagrange equations, and the term that (20) has lost."""

import math
from typing import NamedTuple

import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PyTree

from lagrangian_learning.learning import CognitiveAction
from lagrangian_learning.learning.laws import BackpropDiffusion
from lagrangian_learning.mechanics import DAlembert, EulerLagrange, ExponentialDissipation, State

from .claim import Measured, Shared, as_claim
from .problems import Problem, problems, relative, worst

MASS_X, MASS_W, THETA, SPEED = 0.3, 0.7, 1.3, 2.5
GAMMA = 0.8


class Delayed(NamedTuple):
    """The package's equations of finite speed at arbitrary points of one problem, ravelled, [S, …].

    Neurons and velocities of weights are those of the problem; δ is `delta`, any number; ẋ follows from (18).
    constraint: of (19), at the velocities of the problem;  x_dot … delta_dot: all masses finite;  dalembert: Ẅ under
    the rule of d'Alembert;  diffusion: ẋ, Ẇ, δ̇ of `BackpropDiffusion(costate="forward")`;  printed: the same at ϑ = 0.
    """

    problem: Problem
    delta: np.ndarray
    constraint: np.ndarray
    x_dot: np.ndarray
    x_ddot: np.ndarray
    w_ddot: np.ndarray
    delta_dot: np.ndarray
    dalembert: np.ndarray
    diffusion: tuple[np.ndarray, np.ndarray, np.ndarray]
    printed: tuple[np.ndarray, np.ndarray, np.ndarray]


def delayed(shared: Shared) -> tuple[Delayed, ...]:
    """A layered network, a digraph and one with cycles; x off the forward pass."""
    return tuple(_delayed(_off_rest(each)) for each in shared(problems)[::2])


def _off_rest(p: Problem) -> Problem:
    return p._replace(x=p.x + 0.3 * np.random.default_rng(1).normal(size=p.x.shape))


def _delayed(p: Problem) -> Delayed:
    network, stimulus, dissipation = p.network, p.stimulus, ExponentialDissipation(THETA)
    action = CognitiveAction(network, mass_x=MASS_X, mass_W=MASS_W, dissipation=dissipation, speed=SPEED)
    law, rule = action.law(), action.constraint
    dalembert = EulerLagrange(action.lagrangian, DAlembert(rule.fn))
    with_rate, without = (
        BackpropDiffusion(network, gamma=GAMMA, speed=SPEED, theta=rate, costate="forward") for rate in (THETA, 0.0)
    )
    deltas = np.random.default_rng(2).normal(size=p.x.shape)
    given = p._replace(x_dot=deltas)  # the δ at which the equations are compared travel in the place of ẋ

    def evaluate(t: Array, x: PyTree, W: PyTree, delta: PyTree, W_dot: PyTree) -> PyTree:
        value = rule.fn(t, (x, W), (delta, W_dot), stimulus)
        x_dot = with_rate.vector_field(t, State((x, W), None, multipliers=delta), stimulus).q[0]
        state = State((x, W), (x_dot, W_dot), multipliers=delta)
        change = law.vector_field(t, state, stimulus)
        other = dalembert.accelerations(t, State(state.q, state.v), stimulus)[0][1]
        diffusions = [rule.vector_field(t, state, stimulus) for rule in (with_rate, without)]
        flat = [(*change.q, change.multipliers) for change in diffusions]
        found = (value, x_dot, *change.v, change.multipliers, other), *flat
        return tuple(tuple(ravel_pytree(tree)[0] for tree in part) for part in found)

    all_masses, diffusion, printed = given.on_every_seed(evaluate)
    constraint, x_dot, x_ddot, w_ddot, delta_dot, other = all_masses
    return Delayed(p, deltas, constraint, x_dot, x_ddot, w_ddot, delta_dot, other, diffusion, printed)


class Written(NamedTuple):
    """The right sides of docs/theory.md's corrected equations at one seed, in NumPy: what each derivative should be."""

    x_dot: np.ndarray
    x_ddot: np.ndarray
    by_neuron: np.ndarray
    by_weight: np.ndarray
    slope: np.ndarray


def written(p: Problem, k: int) -> Written:
    """(18) and its derivative, with the Jacobians of its right side."""
    u, u_dot, _ = p.input(p.t[k])
    by_neuron, by_weight = p.hand.jacobians(p.x[k], p.w[k])
    x_dot = -SPEED * p.hand.constraint(p.x[k], p.w[k], u)
    moved = by_neuron @ x_dot + by_weight @ p.w_dot[k]
    moved[: p.hand.num_inputs] -= u_dot
    return Written(x_dot, -SPEED * moved, by_neuron, by_weight, p.potential_slope(p.x[k]))


def each_seed(shared: Shared):
    """(what the package found, its seed k, what is written by hand), for every problem and seed."""
    for found in shared(delayed):
        for k in range(len(found.problem.t)):
            yield found, k, written(found.problem, k)


# -- (18) and (19) -----------------------------------------------------------------------------------------------------


@as_claim(
    "18",
    claim="c⁻¹ẋ = −x + σ(Wx), which in stationary situation is the neuron equation of (6).",
    method="ẋ of the package against (18) in NumPy, on cycles too; where the neurons have settled it vanishes",
    tolerance=1e-12,
)
def neuron_delay(shared: Shared) -> Measured:
    moving = [relative(found.x_dot[k] - hand.x_dot, [hand.x_dot]) for found, k, hand in each_seed(shared)]
    details = {
        "ẋ against c (σ(Wx) − x)": worst(moving),
        "ẋ where G = 0 of (4) holds": worst([_speed_at_rest(p) for p in shared(problems)[::2]]),
    }
    return Measured(worst(list(details.values())), details, {})


def _speed_at_rest(p: Problem) -> float:
    """max |ẋ| of the package's law where the neurons, in NumPy, have settled."""
    law, stimulus = BackpropDiffusion(p.network, speed=SPEED), p.stimulus

    def velocity(t: Array, x: PyTree, W: PyTree, x_dot: PyTree, W_dot: PyTree) -> Array:
        return ravel_pytree(law.vector_field(t, State((x, W), None, multipliers=x_dot), stimulus).q[0])[0]

    return float(np.max(np.abs(p.on_every_seed(velocity))))


@as_claim(
    "19",
    "Erratum 7",
    claim="G^i = c⁻¹ẋ^i + x^i − σ(w_ik x^k), i = 1, …, r.",
    method="G of the package at random points against (19) in NumPy, for neurons and for inputs",
    verdict="erratum",
    tolerance=1e-12,
    remark="i = 1, …, ν, and for input neurons c⁻¹ẋ + x − e: as printed they would forget their input.",
)
def delayed_constraints(shared: Shared) -> Measured:
    errors, printed = [], []
    for found, k, _ in each_seed(shared):
        p = found.problem
        u = p.input(p.t[k])[0]
        moved = found.delta[k] / SPEED
        expected = moved + p.hand.constraint(p.x[k], p.w[k], u)
        errors.append(relative(found.constraint[k] - expected, [expected]))
        # (18) has σ(Σ w x) = σ(0) = 0 where no edge enters.
        as_printed = moved + p.hand.constraint(p.x[k], p.w[k], np.zeros_like(u))
        printed.append(relative(found.constraint[k] - as_printed, [expected]))
    details = {"G of (19) for all ν neurons": worst(errors), "as printed it is off by, at least": min(printed)}
    demands = {"as printed, input neurons forget their input": min(printed) > 1e-3}
    return Measured(worst(errors), details, demands)


# -- the equations before (20) -----------------------------------------------------------------------------------------


@as_claim(
    "19",
    claim="The three Euler equations of A* in terms of λ.",
    method="derived by automatic differentiation from action and constraint, put into the printed equations in NumPy",
    tolerance=1e-10,
)
def euler_equations_of_19(shared: Shared) -> Measured:
    neurons, weights = [], []
    for found, k, hand in each_seed(shared):
        p, weight = found.problem, math.exp(THETA * found.problem.t[k])
        lam, lam_dot = weight * found.delta[k], weight * (found.delta_dot[k] + THETA * found.delta[k])
        inertia = [-MASS_W * weight * found.w_ddot[k], -MASS_W * THETA * weight * p.w_dot[k]]
        terms = [*inertia, -lam @ hand.by_weight]
        weights.append(relative(np.sum(terms, axis=0), terms))
        inertia = [-MASS_X * weight * found.x_ddot[k], -MASS_X * THETA * weight * hand.x_dot]
        terms = [*inertia, lam_dot / SPEED, -lam @ hand.by_neuron, -weight * hand.slope]
        neurons.append(relative(np.sum(terms, axis=0), terms))
    details = {"of the neurons": worst(neurons), "of the weights": worst(weights)}
    return Measured(worst(list(details.values())), details, {})


@as_claim(
    "20",
    "Erratum 2",
    claim="In terms of δ = e^{−ϑt}λ: −m_x ẍ − m_x ϑẋ + c⁻¹δ̇ − δG_ξ − V_ξ = 0.",
    method="δ̇ derived by automatic differentiation, against the equation with and without −ϑδ in NumPy",
    verdict="erratum",
    tolerance=1e-10,
    remark="c⁻¹(δ̇ + ϑδ) in place of c⁻¹δ̇: the derivative of e^{ϑt} has been lost, here and in (20).",
)
def missing_term(shared: Shared) -> Measured:
    corrected, printed = [], []
    for found, k, hand in each_seed(shared):
        inertia = MASS_X * (hand.x_ddot + THETA * hand.x_dot)
        as_printed = SPEED * (inertia + found.delta[k] @ hand.by_neuron + hand.slope)
        expected = as_printed - THETA * found.delta[k]
        corrected.append(relative(found.delta_dot[k] - expected, [expected]))
        printed.append(relative(found.delta_dot[k] - as_printed, [expected]))
    details = {"δ̇ with −ϑδ": worst(corrected), "δ̇ as printed is off by, at least": min(printed)}
    demands = {"the printed equation is not that of the action": min(printed) > 1e-2}
    return Measured(worst(corrected), details, demands)


@as_claim(
    "20",
    claim="For vanishing masses and ϑ m_W = γ the equations reduce to (20).",
    method="the package's law against (20) in NumPy; what the action adds to it against c m_x (ẍ + ϑẋ)",
    verdict="holds with a condition",
    tolerance=1e-10,
    remark="with −ϑδ in the equation of δ, c m_x → 0 and m_W → 0 (the paper prints “m_x → 0” twice).",
)
def backprop_diffusion(shared: Shared) -> Measured:
    with_rate, without, limit = [], [], []
    for found, k, hand in each_seed(shared):
        delta = found.delta[k]
        printed = (hand.x_dot, -delta @ hand.by_weight / GAMMA, SPEED * (delta @ hand.by_neuron + hand.slope))
        corrected = (*printed[:2], printed[2] - THETA * delta)
        with_rate += [relative(f[k] - e, [e]) for f, e in zip(found.diffusion, corrected, strict=True)]
        without += [relative(f[k] - e, [e]) for f, e in zip(found.printed, printed, strict=True)]
        rest = found.delta_dot[k] - corrected[2] - SPEED * MASS_X * (found.x_ddot[k] + THETA * hand.x_dot)
        limit.append(relative(rest, [found.delta_dot[k]]))
    details = {
        "the package's law with ϑ": worst(with_rate),
        "the package's law at ϑ = 0, against (20) as printed": worst(without),
        "all masses finite, less (20) with −ϑδ, against c m_x (ẍ + ϑẋ)": worst(limit),
    }
    return Measured(worst(list(details.values())), details, {})


@as_claim(
    "19",
    "Remark 11",
    claim="Stationarity under non-holonomic constraints by the rule of the Lagrange multipliers.",
    method="Ẅ under the multiplier rule and under d'Alembert's, both derived, against formulas in NumPy",
    verdict="holds with a condition",
    tolerance=1e-10,
    remark="the rule is the vakonomic one; under d'Alembert's, that of mechanics, no force acts on W.",
)
def multiplier_rule(shared: Shared) -> Measured:
    still, driven = [], []
    for found, k, hand in each_seed(shared):
        drag = -THETA * found.problem.w_dot[k]
        still.append(relative(found.dalembert[k] - drag, [drag]))
        expected = drag - found.delta[k] @ hand.by_weight / MASS_W
        driven.append(relative(found.w_ddot[k] - expected, [expected]))
    apart = min(relative(f.dalembert[k] - f.w_ddot[k], [f.w_ddot[k]]) for f, k, _ in each_seed(shared))
    details = {
        "d'Alembert: Ẅ + ϑẆ": worst(still),
        "multiplier rule: Ẅ + ϑẆ against σ′δx/m_W": worst(driven),
        "the rules differ by, at least": apart,
    }
    demands = {"the two rules differ": apart > 1e-3}
    return Measured(max(worst(still), worst(driven)), details, demands)
