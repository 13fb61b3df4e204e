"""(5)–(7) and Table 1: the action, its constraints along a motion, its stationarity, and how index reduction drifts."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PyTree

from lagrangian_learning._arrays import tree_dot
from lagrangian_learning.learning import CognitiveAction
from lagrangian_learning.learning.laws import FullDynamics
from lagrangian_learning.mechanics import ExponentialDissipation, Lagrangian, State, functional_derivative
from lagrangian_learning.networks import Layered
from lagrangian_learning.signals import Sinusoids, Stimulus

from .claim import Measured, Shared, as_claim
from .problems import Problem, by_hand, layers, problems, relative, tree_of, worst
from .stepping import Field, rk4
from .table_one import table_one

MASS_X, MASS_W, THETA, END = 0.2, 0.5, 0.8, 2.0
KAPPA, SMALL = 0.6, 0.3
STEPS_END, STEPS, MOMENTS = 6.0, 60, 800


def _parts() -> tuple[CognitiveAction, PyTree, Stimulus]:
    network = Layered((2, 3, 1))
    action = CognitiveAction(network, mass_x=MASS_X, mass_W=MASS_W, dissipation=ExponentialDissipation(THETA))
    stimulus = Stimulus(Sinusoids(jnp.array([1.0, 2.0]), 1.0, jnp.array([0.1, 0.5])), jnp.array([0.4]))
    return action, jax.tree.map(lambda leaf: leaf[0], layers((2, 3, 1), 4, 1)), stimulus


# -- (5) ---------------------------------------------------------------------------------------------------------------


class Path(NamedTuple):
    """What `action(path, stimulus)` reads of a trajectory."""

    ts: Array
    x: PyTree
    W: PyTree
    x_dot: PyTree
    W_dot: PyTree


@as_claim(
    "5",
    claim="A(x, W) = ∫ ½ (m_x|ẋ|² + m_W|Ẇ|²) ϖ dt + ∫ F dt.",
    method="the package's value of a curve in closed form, against Gauss–Legendre quadrature of the integrand in NumPy",
    tolerance=1e-10,
)
def action(shared: Shared) -> Measured:
    del shared
    action = CognitiveAction(Layered((1, 1)), mass_x=MASS_X, mass_W=MASS_W, dissipation=ExponentialDissipation(THETA))
    stimulus = Stimulus(lambda t: jnp.sin(t)[None], lambda t: jnp.cos(t)[None])
    t, weights = _gauss_legendre(40)
    expected = float(np.sum(weights * _density(t)))
    value = jax.jit(lambda path: action(path, stimulus))
    errors = [abs(float(value(_curve(n + 1))) / expected - 1) for n in (200, 400, 3200)]
    order = float(np.log2(errors[0] / errors[1]))
    details = {"order of the package's quadrature": order, "error at 400 times": errors[1]}
    return Measured(errors[-1], details, {"fourth order in the time step": abs(order - 4) < 0.2})


def _curve(num_times: int) -> Path:
    """Any curve will do, on its constraints or not: x = (sin t, ½ sin 2t), w = e^{−0.3 t}."""
    t = jnp.linspace(0.0, END, num_times)
    w = jnp.exp(-SMALL * t)[:, None, None]
    x, x_dot = (jnp.sin(t)[:, None], jnp.sin(2 * t)[:, None] / 2), (jnp.cos(t)[:, None], jnp.cos(2 * t)[:, None])
    return Path(t, x, (w,), x_dot, (-SMALL * w,))


def _density(t: np.ndarray) -> np.ndarray:
    """The integrand of (5) along it, F = −ϖ ½ (x_out − y)², by hand."""
    kinetic = MASS_X * (np.cos(t) ** 2 + np.cos(2 * t) ** 2) + MASS_W * (SMALL * np.exp(-SMALL * t)) ** 2
    return np.exp(THETA * t) * (kinetic - (np.sin(2 * t) / 2 - np.cos(t)) ** 2) / 2


def _gauss_legendre(count: int) -> tuple[np.ndarray, np.ndarray]:
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return END / 2 * (nodes + 1), END / 2 * weights


# -- (6), (7) ----------------------------------------------------------------------------------------------------------


def residuals(shared: Shared) -> tuple[np.ndarray, np.ndarray]:
    """max |G| after each step of RK4 on (8)–(10) in full coordinates, by (4) in NumPy: bare, and projected."""
    del shared
    action, W, stimulus = _parts()
    law = action.law("full")

    def run(correct: Field | None) -> tuple[Array, Array]:
        def change(t: Array, state: State) -> State:
            return law.vector_field(t, state, stimulus)

        path = rk4(change, law.initial_state(0.0, W, args=stimulus), STEPS_END, STEPS, correct)
        x, w = (jax.vmap(lambda leaf: ravel_pytree(leaf)[0])(part) for part in path.q)
        return x, w

    def project(t: Array, state: State) -> State:
        assert isinstance(law, FullDynamics)
        return law.project(t, state, stimulus)[0]

    bare, projected = jax.jit(lambda: (run(None), run(project)))()
    return _off_constraints(action, *bare), _off_constraints(action, *projected)


def _off_constraints(action: CognitiveAction, x: Array, w: Array) -> np.ndarray:
    hand, ts = by_hand(action.network), np.linspace(0.0, STEPS_END, STEPS + 1)
    inputs = np.sin(np.array([1.0, 2.0]) * ts[:, None] + np.array([0.1, 0.5]))  # e of `_parts`
    rows = zip(np.asarray(x), np.asarray(w), inputs, strict=True)
    return np.array([np.max(np.abs(hand.constraint(*row))) for row in rows])


@as_claim(
    "6",
    claim="G^j(t, x(t), W(t)) = 0 along the motion.",
    method="a motion in full coordinates, by RK4 and the package's projection after each step, put into (4) in NumPy",
    tolerance=1e-12,
)
def subsidiary_conditions(shared: Shared) -> Measured:
    off = float(np.max(shared(residuals)[1]))
    return Measured(off, {"max |G| over 60 steps": off}, {})


@as_claim(
    "7",
    "8",
    "9",
    claim="The Euler–Lagrange equations of A* are (8) and (9), with L_F = F_q − d(F_q̇)/dt + d²(F_q̈)/dt².",
    method="Euler operator by nested forward mode on the integrand of (7), F of ẍ and Ẅ too, against (8), (9) by hand",
    tolerance=1e-10,
)
def constrained_functional(shared: Shared) -> Measured:
    errors = {each.name: _error_of_functional(each) for each in (shared(problems)[0], shared(problems)[4])}
    return Measured(worst(list(errors.values())), errors, {})


def _error_of_functional(p: Problem) -> float:
    """The Euler operator on the integrand of (7), against the left sides of (8) and (9), at random jets to order 4."""
    rng = np.random.default_rng(6)
    x, w = (rng.normal(size=(5, part.shape[1])) for part in (p.x, p.w))
    t, lam = 0.7, rng.normal(size=p.hand.num_neurons)
    lagrangian = Lagrangian(_constrained_density(p, jnp.asarray(lam)), order=2)
    jet = tuple((jnp.asarray(a), jnp.asarray(b)) for a, b in zip(x, w, strict=True))
    found = jax.jit(lambda t, jet: functional_derivative(lagrangian, t, jet, None))(jnp.asarray(t), jet)
    pairs = zip(found, _left_sides(p, t, lam, x, w), strict=True)
    return worst([relative(np.asarray(side) - np.sum(terms, axis=0), terms) for side, terms in pairs])


def _constrained_density(p: Problem, lam: Array):
    """The integrand of A* with λ(t) = λ + t λ/2, and an F of t, x, ẋ, ẍ, W, Ẇ and Ẅ."""
    network, stimulus = p.network, p.stimulus
    x_like, W_like = tree_of(network, p.hand)

    def density(t: Array, q: Any, v: Any, a: Any, args: None) -> Array:
        (x, w), (x_dot, w_dot), (x_ddot, w_ddot) = q, v, a
        kinetic = jnp.exp(THETA * t) * (MASS_X * tree_dot(x_dot, x_dot) + MASS_W * tree_dot(w_dot, w_dot)) / 2
        residual = ravel_pytree(network.constraint(x_like(x), W_like(w), stimulus.input(t)))[0]
        F = jnp.cos(t) * tree_dot(x_ddot, x_ddot) / 2 + KAPPA * tree_dot(w_ddot, w_ddot) / 2
        F += jnp.sin(t) * jnp.sum(x * x_dot**2 / 2) + jnp.sin(t) * jnp.sum(w**2 * w_dot) / 2
        return kinetic - jnp.dot(lam * (1 + t / 2), residual) + F

    return density


def _left_sides(
    p: Problem, t: float, lam: np.ndarray, x: np.ndarray, w: np.ndarray
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The terms of (8) and of (9), L_F differentiated by hand; x and w hold derivatives 0 to 4."""
    weight, sin, cos = np.exp(THETA * t), np.sin(t), np.cos(t)
    lam = lam * (1 + t / 2)
    by_neuron, by_weight = p.hand.jacobians(x[0], w[0])
    of_x = sin * x[1] ** 2 / 2 - (cos * x[0] * x[1] + sin * (x[1] ** 2 + x[0] * x[2]))
    of_x = of_x + (-cos * x[2] - 2 * sin * x[3] + cos * x[4])
    of_w = -cos * w[0] ** 2 / 2 + KAPPA * w[4]
    neurons = [-MASS_X * weight * x[2], -MASS_X * THETA * weight * x[1], -lam @ by_neuron, of_x]
    weights = [-MASS_W * weight * w[2], -MASS_W * THETA * weight * w[1], -lam @ by_weight, of_w]
    return neurons, weights


# -- Table 1 -----------------------------------------------------------------------------------------------------------


@as_claim(
    "Table 1",
    claim="The cognitive action is the dual of the action in mechanics.",
    method="reverse-mode derivative of A along admissible variations of a motion, over that of a curve beside it",
    tolerance=1e-8,
)
def stationary_action(shared: Shared) -> Measured:
    del shared
    action, W, stimulus = _parts()
    rng, ts = np.random.default_rng(5), jnp.linspace(0.0, END, MOMENTS + 1)
    etas = jax.tree.map(lambda w: jnp.asarray(rng.normal(size=(6, *w.shape))), W)

    @jax.jit
    def variations() -> tuple[Array, Array, Array]:
        law = action.law()
        motion = rk4(
            lambda t, y: law.vector_field(t, y, stimulus), law.initial_state(0.0, W, args=stimulus), END, MOMENTS
        )
        bent = jax.tree.map(lambda w: w + 0.1 * jnp.sin(3 * ts).reshape(-1, 1, 1), motion.q)
        bent_dot = jax.tree.map(lambda v: v + 0.3 * jnp.cos(3 * ts).reshape(-1, 1, 1), motion.v)
        both = jax.tree.map(lambda a, b: jnp.stack([a, b]), (motion.q, motion.v), (bent, bent_dot))
        first = functools.partial(_first_variation, action, stimulus, ts)
        along, beside = jax.vmap(jax.vmap(first, (0, None, None)), (None, 0, 0))(etas, *both)
        path = _admissible(action, stimulus, ts, motion.q, motion.v)
        return along, beside, table_one(path, action, stimulus).action

    along, beside, value = map(np.asarray, variations())
    details = {
        "action along the motion": float(value),
        "largest first variation along the motion": float(np.max(np.abs(along))),
        "along a curve beside it": float(np.max(np.abs(beside))),
    }
    return Measured(float(np.max(np.abs(along)) / np.max(np.abs(beside))), details, {})


def _first_variation(
    action: CognitiveAction, stimulus: Stimulus, ts: Array, eta: PyTree, W: PyTree, W_dot: PyTree
) -> Array:
    """dA/dε for W + ε η with η(0) = η(T) = 0, neurons following as the constraints ask."""
    bump, bump_dot = (ts * (END - ts)) ** 2, 4 * ts * (END - ts) * (END / 2 - ts)

    def along(epsilon: Array, path: PyTree, weight: Array) -> PyTree:
        return jax.tree.map(lambda w, e: w + epsilon * weight.reshape(-1, 1, 1) * e, path, eta)

    def value(epsilon: Array) -> Array:
        moved, moved_dot = along(epsilon, W, bump), along(epsilon, W_dot, bump_dot)
        return action(_admissible(action, stimulus, ts, moved, moved_dot), stimulus)

    return jax.grad(value)(jnp.asarray(0.0))


def _admissible(action: CognitiveAction, stimulus: Stimulus, ts: Array, W: PyTree, W_dot: PyTree) -> Path:
    def lift(t: Array, W: PyTree, W_dot: PyTree) -> tuple[PyTree, PyTree]:
        def forward(t: Array, W: PyTree) -> PyTree:
            return action.network.forward(W, stimulus.input(t))

        return jax.jvp(forward, (t, W), (jnp.ones_like(t), W_dot))

    x, x_dot = jax.vmap(lift)(ts, W, W_dot)
    return Path(ts, x, W, x_dot, W_dot)


# -- remark 8: drift ---------------------------------------------------------------------------------------------------


@as_claim(
    "10",
    "Remark 8",
    claim="Differentiating the constraints twice and solving (8)–(10) keeps them.",
    method="(8)–(10) in full coordinates by RK4, with nothing and with the package's projection, put into (4) in NumPy",
    verdict="holds with a condition",
    tolerance=1e-12,
    remark="only in exact integration: G drifts unless it is stabilised, or x slaved to W (reduced coordinates).",
)
def index_reduction_drifts(shared: Shared) -> Measured:
    bare, projected = (float(np.max(off)) for off in shared(residuals))
    details = {"(10) alone: max |G| over 60 steps": bare, "projected after each step": projected}
    return Measured(projected, details, {"(10) alone leaves the constraints": bare > 1e-6})
