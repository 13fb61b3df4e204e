"""(4): neurons as constraints, the XOR example, and Proposition 1 with its hypothesis and its proof."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PyTree

from lagrangian_learning.networks import (
    Digraph,
    Layered,
    RankReport,
    constraint_rank,
    state_jacobian,
    weight_jacobian,
    xor_network,
)

from .claim import Measured, Shared, as_claim
from .problems import Problem, by_hand, feedforward_problems, problems, relative, tree_of, worst

PATTERNS = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
XOR = np.array([0.0, 1.0, 1.0, 0.0])


@as_claim(
    "4",
    claim="One constraint a neuron: ξ_j − e_j for inputs, ξ_j − σ(m_jk ξ^k) for all others.",
    method="G, G_ξ and G_M of layered networks, digraphs and cycles at random points, against (4) in NumPy",
    tolerance=1e-12,
)
def neurons_as_constraints(shared: Shared) -> Measured:
    errors = {each.name: _error_of_4(each) for each in shared(problems)}
    return Measured(worst(list(errors.values())), errors, {})


def _error_of_4(each: Problem) -> float:
    """G, G_ξ and G_M at points off the constraints: those whose coordinates are the velocities of the problem."""
    network, stimulus = each.network, each.stimulus

    def evaluate(t: Array, x: PyTree, W: PyTree, x_dot: PyTree, W_dot: PyTree) -> tuple[Array, ...]:
        value = ravel_pytree(network.constraint(x_dot, W_dot, stimulus.input(t)))[0]
        return value, state_jacobian(network, x_dot, W_dot), weight_jacobian(network, x_dot, W_dot)

    hand, points = each.hand, zip(each.t, each.x_dot, each.w_dot, strict=True)
    expected = [(hand.constraint(x, w, each.input(t)[0]), *hand.jacobians(x, w)) for t, x, w in points]
    pairs = zip(each.on_every_seed(evaluate), zip(*expected, strict=True), strict=True)
    return worst([relative(found - np.stack(part), [np.stack(part)]) for found, part in pairs])


@as_claim(
    "XOR example",
    claim="G¹ … G⁵ as printed; a network of five neurons that computes XOR.",
    method="G of the package against the printed ones in NumPy; outputs for weights found by hand against XOR",
    tolerance=1e-10,
)
def xor_example(shared: Shared) -> Measured:
    del shared
    rng, network = np.random.default_rng(0), xor_network()
    formulas = [relative(*_printed_xor(network, *rng.normal(size=(2, 6)))) for _ in range(5)]
    W = jnp.asarray(_xor_weights())
    found = np.array([float(network.output(network.forward(W, jnp.asarray(u)))[0]) for u in PATTERNS])
    layered = Layered((2, 2, 1))
    matrices = (W[:4].reshape(2, 2), W[4:].reshape(1, 2))
    same = np.array([float(layered.forward(matrices, jnp.asarray(u))[-1][0]) for u in PATTERNS])
    details = {"G₁ … G₅ against the printed ones": worst(formulas)}
    details |= {f"output for {u[0]:.0f} {u[1]:.0f}": value for u, value in zip(PATTERNS, found, strict=True)}
    residual = max(worst(formulas), float(np.max(np.abs(found - XOR))), float(np.max(np.abs(same - found))))
    return Measured(residual, details, {})


def _printed_xor(network: Digraph, point: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """G1 = x1 − e1, …, G5 = x5 − σ(w53 x3 + w54 x4), neurons counted from one."""
    x1, x2, x3, x4, x5, e1 = point
    w31, w32, w41, w42, w53, w54 = w
    inner = np.tanh([w31 * x1 + w32 * x2, w41 * x1 + w42 * x2, w53 * x3 + w54 * x4])
    printed = np.array([x1 - e1, x2 - e1 / 2, x3 - inner[0], x4 - inner[1], x5 - inner[2]])
    found = network.constraint(jnp.asarray(point[:5]), jnp.asarray(w), jnp.array([e1, e1 / 2]))
    return np.asarray(found) - printed, [printed]


def _xor_weights(steep: float = 20.0, flat: float = 0.1, gain: float = 60.0) -> np.ndarray:
    """Both hidden neurons see e1 + e2, one steeply and one nearly linearly; their balance vanishes at e1 + e2 = 2."""
    balance = np.tanh(2 * steep) / np.tanh(2 * flat)
    return np.array([steep, steep, flat, flat, gain, -gain * balance])


# -- Proposition 1 -----------------------------------------------------------------------------------------------------


@as_claim(
    "Proposition 1",
    "Remark 10",
    claim="(G_ξ G_M) has full rank.",
    method="the package's G_ξ and rank report, against singular values of explicit Jacobians in NumPy",
    verdict="holds with a condition",
    tolerance=1e-12,
    remark="for W strictly lower triangular, or acyclic in any numbering: the hypothesis belongs in the statement.",
)
def proposition_1(shared: Shared) -> Measured:
    del shared
    found = [_rank_and_jacobian(p) for p in feedforward_problems()]
    numbered = [jacobian for _, jacobian, p in found if isinstance(p.network, Layered)]
    details = {
        "|det G_ξ − 1|": worst([abs(np.linalg.det(jacobian) - 1) for _, jacobian, _ in found]),
        "least singular value of (G_ξ G_M)": worst([_error_of_least_singular_value(*each) for each in found]),
    }
    demands = {
        "rank ν on every feedforward graph": all(int(report.rank) == p.hand.num_neurons for report, _, p in found),
        "G_ξ is lower triangular where neurons are numbered along the edges": not any(
            np.any(np.triu(jacobian, 1)) for jacobian in numbered
        ),
    }
    return Measured(worst(list(details.values())), details, demands)


def _rank_and_jacobian(p: Problem) -> tuple[RankReport, np.ndarray, Problem]:
    """The package's rank report and G_ξ at the last seed."""
    x_like, W_like = tree_of(p.network, p.hand)

    @jax.jit
    def evaluate(x: Array, w: Array) -> tuple[RankReport, Array]:
        at = (p.network, x_like(x), W_like(w))
        return constraint_rank(*at), state_jacobian(*at)

    report, jacobian = evaluate(jnp.asarray(p.x[-1]), jnp.asarray(p.w[-1]))
    return report, np.asarray(jacobian), p


def _error_of_least_singular_value(report: RankReport, jacobian: np.ndarray, p: Problem) -> float:
    del jacobian
    expected = np.linalg.svd(np.hstack(p.hand.jacobians(p.x[-1], p.w[-1])), compute_uv=False)[-1]
    return abs(float(report.singular_value) / expected - 1)


@as_claim(
    "Proposition 1",
    "Remark 10",
    claim="The proposition depends heavily on a triangular W.",
    method="loops of two neurons, tanh and logistic: the package's ranks against NumPy's and values by hand",
    tolerance=1e-12,
)
def rank_on_cycles(shared: Shared) -> Measured:
    del shared
    x, ones = jnp.zeros(3), jnp.ones(2)
    loop = ((1, 2), (2, 1))
    cases = (
        (Digraph(3, loop, 1, 1, "tanh"), x, ones),
        (Digraph(3, loop, 1, 1, "logistic"), x, ones),
        (Digraph(3, (*loop, (0, 1)), 1, 1), x.at[0].set(1.0), jnp.array([1.0, 1.0, 0.0])),
    )
    reports = [constraint_rank(*case) for case in cases]
    tanh, logistic, fed = (float(report.rank) for report in reports)
    # The least singular values by hand: I − W of the loop is singular, I − W/4 has 1 − 1/4.
    expected, found = [0.0, 0.75], [float(report.state_singular_value) for report in reports[:2]]
    details = {
        "tanh loop, w = 1, x = 0: rank of 3": tanh,
        "the same, logistic": logistic,
        "tanh loop fed by an input of 1 through w = 0": fed,
    }
    demands = {
        "a tanh loop loses rank": tanh == 2 and not bool(reports[0].full_rank),
        "a logistic loop does not": logistic == 3,
        "one d_j ≠ 0 on the loop restores it": fed == 3,
        "NumPy finds the same rank of the tanh loop": _dense_rank(cases[0][0], ones) == tanh,
    }
    return Measured(float(np.max(np.abs(np.subtract(expected, found)))), details, demands)


def _dense_rank(network: Digraph, w: Array) -> int:
    by_neuron, by_weight = by_hand(network).jacobians(np.zeros(3), np.asarray(w))
    return int(np.linalg.matrix_rank(np.hstack([by_neuron, by_weight])))


@as_claim(
    "Proposition 1",
    "Erratum 7",
    claim="In the proof: G^i_ξi = 1, and G^i_ξi = 0 for all i > j.",
    method="entries of the package's G_ξ of a random layered network, by forward mode",
    verdict="erratum",
    tolerance=0.0,
    remark="read G^j_ξi = 0 for i > j.",
)
def proof_of_proposition_1(shared: Shared) -> Measured:
    del shared
    network, rng = Layered((2, 3, 2)), np.random.default_rng(3)
    x_like, W_like = tree_of(network, by_hand(network))
    at = x_like(jnp.asarray(rng.normal(size=7))), W_like(jnp.asarray(rng.normal(size=12)))
    by_neuron = np.asarray(jax.jit(lambda x, W: state_jacobian(network, x, W))(*at))
    later = float(np.max(np.abs(np.triu(by_neuron, 1))))
    own = float(np.min(np.abs(np.diag(by_neuron))))
    earlier = float(np.max(np.abs(np.tril(by_neuron, -1))))
    details = {"largest G^j_ξi, i > j": later, "G^i_ξi": own, "largest G^j_ξi, i < j": earlier}
    demands = {
        "the printed “G^i_ξi = 0 for all i > j” contradicts G^i_ξi = 1": own == 1,
        "entries with i < j do not vanish": earlier > 0,
    }
    return Measured(later, details, demands)
