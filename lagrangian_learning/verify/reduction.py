"""(12)–(17): the reduction to backpropagation, and the three-neuron example."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PyTree

from lagrangian_learning.learning import SquaredError, delta_errors
from lagrangian_learning.learning.delta_errors import descent_force, loss
from lagrangian_learning.networks import Layered, state_jacobian

from .claim import Measured, Shared, as_claim
from .problems import Problem, cosine, feedforward_problems, relative, worst

POTENTIAL = SquaredError()


class Backprop:
    """δ, T and the force on the weights by the package, ∇V by `jax.grad`, on one problem; ravelled, [S, …]."""

    def __init__(self, each: Problem) -> None:
        network, stimulus = each.network, each.stimulus

        def evaluate(t: Array, x: PyTree, W: PyTree, x_dot: PyTree, W_dot: PyTree) -> tuple[Array, ...]:
            u, y = stimulus.input(t), stimulus.target(t)
            delta = delta_errors(network, POTENTIAL, x, W, y)
            force = descent_force(network, x, W, delta)
            slope = jax.grad(lambda W: loss(network, POTENTIAL, W, u, y))(W)
            T = state_jacobian(network, x, W).T
            return T, *(ravel_pytree(tree)[0] for tree in (delta, force, slope))

        self.problem = each
        self.T, self.delta, self.force, self.slope = each.on_every_seed(evaluate)


def backprops(shared: Shared) -> tuple[Backprop, ...]:
    """Every feedforward problem."""
    del shared
    return tuple(Backprop(each) for each in feedforward_problems())


@as_claim(
    "15",
    "Erratum 1",
    claim="Weights move by Ẇ = −σ′(a_i) δ_i x_j/γ.",
    method="σ′(a_i) δ_i x_j in NumPy, with the δ of (17), against ∇V by jax.grad",
    verdict="erratum",
    tolerance=1e-10,
    remark="the sign must be +: with (17), the printed form climbs the gradient.",
)
def weights_ascend(shared: Shared) -> Measured:
    corrected, printed, agreement = [], [], []
    for each in shared(backprops):
        p = each.problem
        for k in range(len(p.t)):
            descent = _plus_sigma_delta_x(p, k, each.delta[k])
            corrected.append(relative(descent + each.slope[k], [each.slope[k]]))
            agreement.append(relative(each.force[k] - descent, [descent]))
            printed.append(cosine(-descent, -each.slope[k]))
    details = {
        "cosine of the printed (15) with −∇V, largest": max(printed),
        "error of + σ′δx against −∇V": worst(corrected),
        "error of the package's force against + σ′δx": worst(agreement),
    }
    demands = {"the printed sign ascends: cosine −1 with −∇V": max(printed) < -1 + 1e-12}
    return Measured(max(worst(corrected), worst(agreement)), details, demands)


def _plus_sigma_delta_x(p: Problem, k: int, delta: np.ndarray) -> np.ndarray:
    """σ′(a_i) δ_i x_j for every weight, in NumPy."""
    slopes, _ = p.hand.slopes(p.x[k], p.w[k])
    return slopes[p.hand.target] * delta[p.hand.target] * p.x[k][p.hand.source]


@as_claim(
    "16",
    claim="In the limit (10) becomes G_ξ G_ξᵀ δ = −G_ξ V_ξ.",
    method="the package's backward sweep against a dense solution of (16) in NumPy",
    tolerance=1e-10,
)
def multipliers_of_the_limit(shared: Shared) -> Measured:
    errors = {}
    for each in shared(backprops):
        p = each.problem
        errors[p.name] = worst([_error_of_16(p, k, each.delta[k]) for k in range(len(p.t))])
    return Measured(worst(list(errors.values())), errors, {})


def _error_of_16(p: Problem, k: int, delta: np.ndarray) -> float:
    by_neuron, _ = p.hand.jacobians(p.x[k], p.w[k])
    solved = np.linalg.solve(by_neuron @ by_neuron.T, -by_neuron @ p.potential_slope(p.x[k]))
    return relative(delta - solved, [solved])


@as_claim(
    "17",
    claim="Tδ = −V_x with T upper triangular: δ is the delta error of backpropagation.",
    method="the package's backward sweep, put into (17) in NumPy, and against −dV/dx by complex steps",
    tolerance=1e-10,
)
def backward_structure(shared: Shared) -> Measured:
    left, by_grad, below = [], [], []
    for each in shared(backprops):
        p = each.problem
        for k in range(len(p.t)):
            T = p.hand.jacobians(p.x[k], p.w[k])[0].T
            slope = p.potential_slope(p.x[k])
            left.append(relative(T @ each.delta[k] + slope, [slope]))
            by_grad.append(relative(each.delta[k] - _by_injection(p, k), [each.delta[k]]))
        if isinstance(p.network, Layered):
            below.append(float(np.max(np.abs(np.tril(each.T, -1)))))
    details = {"Tδ + V_x": worst(left), "δ against −dV/dx": worst(by_grad), "T below its diagonal": max(below)}
    return Measured(max(worst(left), worst(by_grad)), details, {"T is upper triangular": max(below) == 0})


def _by_injection(p: Problem, k: int, step: float = 1e-20) -> np.ndarray:
    """−dV/dx_j, everything downstream following, by complex steps through a forward pass in NumPy."""
    hand, u = p.hand, p.input(p.t[k])[0]

    def value(j: int) -> complex:
        push = np.zeros(hand.num_neurons, complex)
        push[j] = 1j * step
        x = push.copy()
        for _ in range(hand.num_neurons):
            a = np.zeros(hand.num_neurons, complex)
            np.add.at(a, hand.target, p.w[k] * x[hand.source])
            x = np.tanh(a)
            x[: hand.num_inputs] = u
            x = x + push
        return np.sum((x[-hand.num_outputs :] - p.target) ** 2) / 2

    return np.array([-value(j).imag / step for j in range(hand.num_neurons)])


@as_claim(
    "17",
    "three-neuron example",
    claim="On a chain of input, hidden and output neuron: T as printed, δ₃ = −V_x₃, δ₂ = σ′w₃₂δ₃, δ₁ = σ′w₂₁δ₂.",
    method="matrix and deltas of the package against the printed formulas in NumPy",
    tolerance=1e-12,
)
def three_neurons(shared: Shared) -> Measured:
    del shared
    network, rng, errors = Layered((1, 1, 1)), np.random.default_rng(8), []
    for w21, w32, u, y in rng.normal(size=(5, 4)):
        x2 = np.tanh(w21 * u)
        s2, s3 = 1 - x2**2, 1 - np.tanh(w32 * x2) ** 2
        T = np.array([[1, -s2 * w21, 0], [0, 1, -s3 * w32], [0, 0, 1]])
        delta3 = y - np.tanh(w32 * x2)
        delta2 = s3 * w32 * delta3
        printed = np.array([s2 * w21 * delta2, delta2, delta3])
        W = (jnp.full((1, 1), w21), jnp.full((1, 1), w32))
        x = network.forward(W, jnp.array([u]))
        found = np.concatenate(delta_errors(network, POTENTIAL, x, W, jnp.array([y])))
        errors += [relative(found - printed, [printed]), relative(np.asarray(state_jacobian(network, x, W)).T - T, [T])]
    return Measured(worst(errors), {}, {})
