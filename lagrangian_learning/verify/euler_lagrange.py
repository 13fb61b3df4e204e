"""(8)–(10): the Euler–Lagrange equations and the multipliers, derived by the package and written out by hand."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from lagrangian_learning._arrays import tree_dot
from lagrangian_learning.learning import CognitiveAction, Term
from lagrangian_learning.mechanics import ScheduledDissipation, State

from .claim import Measured, Shared, as_claim
from .handwritten import HandEquations, Moment
from .problems import Problem, feedforward_problems, problem, problems, relative, worst

MASS_X, MASS_W = 0.25, 0.8
COUPLING = 0.7


def weight(t: float) -> float:
    """ϖ = exp(t + ½ sin t): not exponential, so that no term hides behind a constant rate."""
    return math.exp(t + math.sin(t) / 2)


def weight_dot(t: float) -> float:
    """ϖ̇."""
    return (1 + math.cos(t) / 2) * weight(t)


class Motion(NamedTuple):
    """What the package finds on a problem: accelerations and normalised multipliers, ravelled, [S, …].

    x_ddot, w_ddot, delta: in full coordinates, derived by automatic differentiation;  reduced: Ẅ and δ in reduced
    coordinates, by sweeps; None where they are not asked for, or do not exist, as on cycles.
    """

    problem: Problem
    x_ddot: np.ndarray
    w_ddot: np.ndarray
    delta: np.ndarray
    reduced: tuple[np.ndarray, np.ndarray] | None


def action_of(network: PyTree, terms: tuple[Term, ...] = ()) -> CognitiveAction:
    """The action (5) with F = −ϖV (and further terms) and the weight above."""
    dissipation = ScheduledDissipation(lambda t: t + jnp.sin(t) / 2)
    return CognitiveAction(network, mass_x=MASS_X, mass_W=MASS_W, dissipation=dissipation, terms=terms)


def motions(shared: Shared) -> tuple[Motion, ...]:
    """Accelerations and multipliers on every problem and seed."""
    return tuple(motion(each) for each in shared(problems))


def motion(each: Problem, terms: tuple[Term, ...] = ()) -> Motion:
    """The package's solution of (8), (9) and D²G = 0 at the Cauchy data of the problem."""
    action, stimulus = action_of(each.network, terms), each.stimulus
    # A small problem of each kind is enough for the second formulation, and compiles in half the time.
    feedforward = each.network.feedforward and each.hand.num_neurons < 8 and not terms
    equations = action.law("full")

    def solve(t: Array, x: PyTree, W: PyTree, x_dot: PyTree, W_dot: PyTree) -> tuple[PyTree, ...]:
        (x_ddot, W_ddot), delta = equations.accelerations(t, State((x, W), (x_dot, W_dot)), stimulus)
        reduced = action.law().accelerations(t, State(W, W_dot), stimulus) if feedforward else ()
        return x_ddot, W_ddot, delta, *reduced

    x_ddot, w_ddot, delta, *reduced = (_ravelled(tree) for tree in each.on_every_seed(solve))
    return Motion(each, x_ddot, w_ddot, delta, (reduced[0], reduced[1]) if feedforward else None)


def _ravelled(tree: PyTree) -> np.ndarray:
    leaves = jax.tree.leaves(tree)
    return np.concatenate([leaf.reshape(len(leaf), -1) for leaf in leaves], axis=1)


# -- (8) and (9) -------------------------------------------------------------------------------------------------------


@as_claim(
    "8",
    claim="The constrained Euler–Lagrange equation of the neurons.",
    method="derived by automatic differentiation from (5) and (6), put into (8) as printed, in NumPy",
    tolerance=1e-10,
)
def neuron_equation(shared: Shared) -> Measured:
    return _left_over(shared(motions), _neuron_terms)


@as_claim(
    "9",
    claim="The constrained Euler–Lagrange equation of the weights.",
    method="derived by automatic differentiation from (5) and (6), put into (9) as printed, in NumPy",
    tolerance=1e-10,
)
def weight_equation(shared: Shared) -> Measured:
    return _left_over(shared(motions), _weight_terms)


def _left_over(found: tuple[Motion, ...], terms: Callable) -> Measured:
    errors = {}
    for each in found:
        parts = [terms(each, k) for k in range(len(each.problem.t))]
        errors[each.problem.name] = worst([relative(np.sum(part, axis=0), part) for part in parts])
    return Measured(worst(list(errors.values())), errors, {})


def _neuron_terms(each: Motion, k: int) -> list[np.ndarray]:
    """The terms of (8) as printed, λ = ϖδ and L_F = −ϖ V_ξ."""
    p, at = each.problem, moment(each.problem, k)
    force_x, _ = _force(p, k)
    return equations_of(p).neuron_terms(at, each.x_ddot[k], at.weight * each.delta[k], force_x)


def _weight_terms(each: Motion, k: int) -> list[np.ndarray]:
    """The terms of (9) as printed, with L_F = 0."""
    p, at = each.problem, moment(each.problem, k)
    _, force_w = _force(p, k)
    return equations_of(p).weight_terms(at, each.w_ddot[k], at.weight * each.delta[k], force_w)


def equations_of(p: Problem) -> HandEquations:
    """(8)–(10) of the problem's network by hand."""
    return HandEquations(p.hand, MASS_X, MASS_W)


def moment(p: Problem, k: int) -> Moment:
    """The problem at its seed k."""
    t = p.t[k]
    return Moment(p.x[k], p.w[k], p.x_dot[k], p.w_dot[k], p.input(t)[2], weight(t), weight_dot(t))


def _force(p: Problem, k: int) -> tuple[np.ndarray, np.ndarray]:
    """L_F of F = −ϖV, by x and by W."""
    return -weight(p.t[k]) * p.potential_slope(p.x[k]), np.zeros(p.w.shape[1])


@as_claim(
    "8",
    "9",
    "10",
    claim="Neurons can be eliminated: the constraints are solved for x, and the motion of the weights stays the same.",
    method="Ẅ and δ by sweeps over (W, Ẇ) alone, against those that automatic differentiation derives for (x, W)",
    tolerance=1e-10,
)
def reduced_coordinates(shared: Shared) -> Measured:
    errors = {each.problem.name: _error_of_reduced(each, *each.reduced) for each in shared(motions) if each.reduced}
    return Measured(worst(list(errors.values())), errors, {})


def _error_of_reduced(each: Motion, w_ddot: np.ndarray, delta: np.ndarray) -> float:
    return max(relative(w_ddot - each.w_ddot, [each.w_ddot]), relative(delta - each.delta, [each.delta]))


# -- (10) --------------------------------------------------------------------------------------------------------------


@as_claim(
    "10",
    claim="A linear system gives the multipliers explicitly.",
    method="the package's waves and Schur complements against (10) with explicit gradients and Hessians in NumPy",
    tolerance=1e-10,
)
def multipliers(shared: Shared) -> Measured:
    errors, without = {}, []
    for each in shared(motions):
        forces = [_force(each.problem, k) for k in range(len(each.problem.t))]
        errors[each.problem.name] = worst([_error(each, k, *force) for k, force in enumerate(forces)])
        without += [_error(each, k, *force, gamma_2=False) for k, force in enumerate(forces)]
    least = float(np.min(without))
    demands = {"without its second derivatives of G, (10) gives other multipliers": least > 1e-3}
    return Measured(worst(list(errors.values())), errors | {"least error without second derivatives": least}, demands)


# -- remark 8: how far (10) is explicit --------------------------------------------------------------------------------


def _gyroscopic(t, x, x_dot, x_ddot, W, W_dot, W_ddot, args):
    return COUPLING * jnp.sin(t) * x[0] * x_dot[-1] * W[0]


def _kinetic(t, x, x_dot, x_ddot, W, W_dot, W_ddot, args):
    return COUPLING * tree_dot(x_dot, x_dot) / 2


@as_claim(
    "10",
    "Remark 8",
    claim="(10) expresses the multipliers by coordinates and velocities, whatever F is.",
    method="the derived multipliers against (10), for F affine and F quadratic in ẋ, with L_F differentiated by hand",
    verdict="holds with a condition",
    tolerance=1e-10,
    remark="F at most affine in ẋ and Ẇ and free of ẍ and Ẅ: otherwise L_F contains the accelerations.",
)
def explicit_multipliers(shared: Shared) -> Measured:
    p = problem("digraph of 7", feedforward_problems()[2].network, 31)
    affine, quadratic = motion(p, (Term(_gyroscopic),)), motion(p, (Term(_kinetic),))
    seeds = range(len(p.t))
    explicit = worst([_error(affine, k, *_force_of_gyroscopic(p, k)) for k in seeds])
    implicit = worst([_error(quadratic, k, *_force_of_kinetic(p, k, quadratic.x_ddot[k])) for k in seeds])
    naive = min(_error(quadratic, k, *_force_of_kinetic(p, k, 0 * quadratic.x_ddot[k])) for k in seeds)
    details = {
        "F affine in ẋ: error of (10)": explicit,
        "F = ½κ|ẋ|², accelerations known: error of (10)": implicit,
        "F = ½κ|ẋ|², accelerations unknown: least error of (10)": naive,
    }
    demands = {"with F quadratic in ẋ, (10) needs the accelerations it should give": naive > 1e-3}
    return Measured(max(explicit, implicit), details, demands)


def _error(found: Motion, k: int, force_x: np.ndarray, force_w: np.ndarray, *, gamma_2: bool = True) -> float:
    """Of the package's λ at seed k, against (10) as printed."""
    p, at = found.problem, moment(found.problem, k)
    lam = at.weight * found.delta[k]
    return relative(lam - equations_of(p).multipliers(at, force_x, force_w, gamma_2=gamma_2), [lam])


def _force_of_gyroscopic(p: Problem, k: int) -> tuple[np.ndarray, np.ndarray]:
    """L_F of −ϖV + κ sin t · x₀ ẋ_ν w₀, differentiated by hand."""
    t, x, w, x_dot, w_dot = p.t[k], p.x[k], p.w[k], p.x_dot[k], p.w_dot[k]
    force_x, force_w = _force(p, k)
    force_x[0] += COUPLING * np.sin(t) * x_dot[-1] * w[0]
    force_x[-1] -= COUPLING * (np.cos(t) * x[0] * w[0] + np.sin(t) * (x_dot[0] * w[0] + x[0] * w_dot[0]))
    force_w[0] += COUPLING * np.sin(t) * x[0] * x_dot[-1]
    return force_x, force_w


def _force_of_kinetic(p: Problem, k: int, x_ddot: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """L_F of −ϖV + ½κ|ẋ|²: it contains ẍ."""
    force_x, force_w = _force(p, k)
    return force_x - COUPLING * x_ddot, force_w
