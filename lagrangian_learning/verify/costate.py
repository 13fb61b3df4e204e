"""(20) in time: how its δ grows, where it rests, what becomes of it as c → ∞, and how local it is."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PyTree

from lagrangian_learning.boundary import solve_boundary
from lagrangian_learning.learning import SquaredError
from lagrangian_learning.learning.laws import BackpropDiffusion, GradientFlow, layer_gains
from lagrangian_learning.learning.laws.backprop_diffusion import Costate, direction
from lagrangian_learning.mechanics import State
from lagrangian_learning.networks import Layered
from lagrangian_learning.signals import Sinusoids, Stimulus
from lagrangian_learning.simulate import simulate

from .claim import Measured, Shared, as_claim
from .limits import MASSES, SLOPE, limits, rate
from .problems import Problem, feedforward_problems, problem, relative, slope, tree_of, worst
from .stepping import rk4

POTENTIAL = SquaredError()
END, STEPS = 40.0, 8000
CASES: tuple[tuple[Costate, float], ...] = (("forward", 0.0), ("forward", 0.4), ("forward", 2.0), ("sign_flip", 0.0))
SPEEDS = (100.0, 300.0, 1000.0)
SIZES = (3, 5, 4, 2)  # of the second feedforward problem


@as_claim(
    "20",
    "Erratum 3",
    claim="The differential equation of δ in (20) gives the correct updating rule.",
    method="δ alone, by RK4 on the package's vector field: fitted rates against sc − ϑ, ends against backprop",
    verdict="erratum",
    tolerance=1e-8,
    remark="forward in time it grows as e^{ct}: it is a boundary-value problem, or its sign must be flipped.",
)
def costate_in_time(shared: Shared) -> Measured:
    """Rates of growth of δ on the outputs, to which nothing feeds back, and where the stable rules end."""
    del shared
    p = problem("layered 2-3-1", Layered((2, 3, 1)), 1)
    paths = _deltas_in_time(p)
    rates, expected = [], []
    for (rule, theta), path in zip(CASES, paths, strict=True):
        rest = _stationary(p, rule, theta)
        start, later = (abs(path[k, -1] - rest[-1]) for k in (0, STEPS // 40))
        rates.append(float(np.log(later / start)) / (END / 40))
        expected.append(direction(rule) - theta)
    flipped, backprop = paths[-1][-1], _stationary(p, "sign_flip", 0.0)
    arrival = relative(flipped - backprop, [backprop])
    printed = float(np.linalg.norm(paths[0][STEPS // 2]))
    details = {f"{rule}, ϑ = {theta:g} c: rate/c": found for (rule, theta), found in zip(CASES, rates, strict=True)}
    details |= {"|δ| of (20) as printed after 20/c": printed, "sign flip, δ after 40/c against backprop": arrival}
    demands = {"(20) forward in time explodes": printed > 1e8, "simulate refuses it": _is_refused(p)}
    return Measured(max(arrival, worst(list(np.abs(np.subtract(rates, expected))))), details, demands)


def _deltas_in_time(p: Problem) -> list[np.ndarray]:
    """δ(t) [STEPS + 1, ν] from 0 to END for every case at c = 1, x and W frozen: RK4 on the package's vector field."""
    W = tree_of(p.network, p.hand)[1](jnp.asarray(p.w[0]))
    x = p.network.forward(W, p.stimulus.input(jnp.asarray(p.t[0])))
    still = Stimulus(x[0], jnp.asarray(p.target))
    zero = jax.tree.map(jnp.zeros_like, x)

    def path(rule: Costate, theta: Array) -> Array:
        law = BackpropDiffusion(p.network, POTENTIAL, 1.0, 1.0, theta, costate=rule)

        def change(t: Array, delta: PyTree) -> PyTree:
            return law.vector_field(t, State((x, W), None, multipliers=delta), still).multipliers

        return jnp.concatenate(rk4(change, zero, END, STEPS), axis=1)

    thetas = jnp.array([theta for rule, theta in CASES if rule == "forward"])
    forward = jax.jit(jax.vmap(lambda theta: path("forward", theta)))(thetas)
    flipped = jax.jit(lambda: path("sign_flip", jnp.asarray(0.0)))()
    return [*np.asarray(forward), np.asarray(flipped)]


def _stationary(p: Problem, rule: Costate, theta: float, k: int = 0) -> np.ndarray:
    """δ with s (Tδ + V_ξ) = (ϑ/c) δ, x and W frozen, in NumPy; theta is ϑ/c. At ϑ = 0 it is backprop's."""
    by_neuron, _ = p.hand.jacobians(p.x[k], p.w[k])
    matrix = by_neuron.T - direction(rule) * theta * np.eye(p.hand.num_neurons)
    return np.linalg.solve(matrix, -p.potential_slope(p.x[k]))


def _is_refused(p: Problem) -> bool:
    law = BackpropDiffusion(p.network, POTENTIAL, 1.0, 1.0, 0.0, costate="forward")
    W = p.network.init(jax.random.key(0))
    try:
        simulate(law, law.initial_state(0.0, W, args=p.stimulus), jnp.array([0.0, END]), p.stimulus)
    except ValueError as error:
        return "grows exponentially forward in time" in str(error)
    return False


@as_claim(
    "20",
    "Erratum 2",
    claim="In the limit ϑ → ∞ with ϑ m_W = γ, δ of (20) is the delta error.",
    method="δ at rest, x frozen, by dense solves in NumPy, against backprop's and the package's gain of every layer",
    verdict="erratum",
    tolerance=1e-10,
    remark="at rest δ is (1 − ϑ/c)^{−(L−l+1)} times backprop's: ϑ/c → 0 is needed, and ϑ → ∞ at fixed c gives δ → 0.",
)
def stationary_costate(shared: Shared) -> Measured:
    del shared
    p = feedforward_problems()[1]
    sizes, errors = SIZES, []
    for rule, theta in (("forward", 0.3), ("forward", 2.0), ("forward", 2.6), ("sign_flip", 0.7)):
        gains = np.repeat(_gains_of_the_package(theta, rule), sizes)
        for k in range(len(p.t)):
            expected = gains * _stationary(p, rule, 0.0, k)
            errors.append(relative(_stationary(p, rule, theta, k) - expected, [expected]))
    small = 10.0 ** -np.arange(2.0, 5.0)
    fitted = slope(small, np.array([np.max(np.abs(_gains_of_the_package(ratio) - 1)) for ratio in small]))
    vanishing = float(np.max(np.abs(_gains_of_the_package(1e4))))
    details = {
        "stationary δ against (1 − sϑ/c)^{−(L−l+1)} backprop": worst(errors),
        "ϑ/c → 0: rate towards backprop": fitted,
        "ϑ/c = 10⁴: largest gain": vanishing,
    }
    demands = {
        "backprop is reached at first order in ϑ/c": abs(fitted - 1) < SLOPE,
        "with ϑ → ∞ at fixed c, as printed, δ vanishes": vanishing < 1e-3,
    }
    return Measured(worst(errors), details, demands)


def _gains_of_the_package(theta: float, rule: Costate = "forward") -> np.ndarray:
    """Of δ at rest over that of backprop, layer by layer; theta is ϑ/c."""
    return np.asarray(layer_gains(rule, 1.0, theta, len(SIZES) - 1))


# -- c → ∞ -------------------------------------------------------------------------------------------------------------


def _learner() -> tuple[Layered, PyTree, Stimulus]:
    network = Layered((2, 3, 1))
    stimulus = Stimulus(Sinusoids(jnp.array([1.0, 1.7]), 1.0, jnp.array([0.2, 0.9])), jnp.array([0.5]))
    return network, network.init(jax.random.key(1)), stimulus


@as_claim(
    "20",
    "Erratum 3",
    claim="As c → ∞, (20) reproduces backpropagation.",
    method="weights at t = 2 of the sign-flipped (20) and of gradient flow by RK4; log–log fit against c",
    verdict="holds with a condition",
    tolerance=SLOPE,
    remark="with the sign of δ̇ flipped, so that it can be integrated forward in time.",
)
def infinite_speed(shared: Shared) -> Measured:
    del shared
    network, W, stimulus = _learner()

    def end(law: Any) -> State:
        path = rk4(lambda t, y: law.vector_field(t, y, stimulus), law.initial_state(0.0, W, args=stimulus), 2.0, 2000)
        return jax.tree.map(lambda leaf: leaf[-1], path)

    def diffusion(speed: Array) -> Array:
        return ravel_pytree(end(BackpropDiffusion(network, POTENTIAL, 1.0, speed)).q[1])[0]

    goal = np.asarray(jax.jit(lambda: ravel_pytree(end(GradientFlow(network, POTENTIAL, 1.0)).q)[0])())
    found = np.asarray(jax.jit(jax.vmap(diffusion))(jnp.array(SPEEDS)))
    return Measured(*rate(SPEEDS, np.linalg.norm(found - goal, axis=1), -1), {})


@as_claim(
    "20",
    "Erratum 3",
    claim="As c → ∞, (20) reproduces backpropagation.",
    method="weights in the middle of the boundary-value problem (Newton on a collocation) and of gradient flow",
    verdict="holds with a condition",
    tolerance=SLOPE,
    remark="as a boundary-value problem with δ(t₁) = 0, at interior times and with ϑ/c → 0.",
)
def boundary_value_reading(shared: Shared) -> Measured:
    del shared
    network, W, stimulus = _learner()
    end, steps = 3.0, 1200
    flow = GradientFlow(network, POTENTIAL, 1.0)
    start = flow.initial_state(0.0, W, args=stimulus)
    path = jax.jit(lambda: rk4(lambda t, y: flow.vector_field(t, y, stimulus), start, end, steps).q)()
    goal = jax.tree.map(lambda leaf: leaf[steps // 2], path)

    @jax.jit
    def distance(speed: Array) -> Array:
        law = BackpropDiffusion(network, POTENTIAL, 1.0, speed, 1.0, costate="forward")
        found = solve_boundary(law, W, jnp.linspace(0.0, end, 7), stimulus).W
        # In the middle: away from the layer of width 1/(c − ϑ) at the end.
        return jnp.linalg.norm(ravel_pytree(jax.tree.map(lambda a, b: a[3] - b, found, goal))[0])

    return Measured(*rate(SPEEDS, np.array([float(distance(jnp.asarray(speed))) for speed in SPEEDS]), -1), {})


@as_claim(
    "20",
    "Erratum 7",
    claim="The limit is m_x → 0, m_x → 0 and m_x/m_W → 0.",
    method="weights at t = 2 of the action and of gradient flow, for m_W → 0, and with m_W held while m_x vanishes",
    verdict="erratum",
    tolerance=SLOPE,
    remark="the second one is m_W → 0, without which the weights keep their inertia.",
)
def limit_before_20(shared: Shared) -> Measured:
    found = shared(limits)
    residual, details = rate(MASSES, found.action, 1)
    details["m_x = 0, m_W = 0.1 held: error that stays"] = found.descent[0]
    return Measured(residual, details, {"m_x → 0 alone does not give first-order weights": found.descent[0] > 1e-2})


@as_claim(
    "20",
    claim="The diffusion is fully local in space and time.",
    method="the Jacobian of the right side of (20) on a random digraph by forward mode, against the edges",
    tolerance=0.0,
)
def locality(shared: Shared) -> Measured:
    """Who depends on whom: the Jacobian of the right side of (20) on a digraph, against its edges."""
    del shared
    p = feedforward_problems()[3]
    law, hand, stimulus = BackpropDiffusion(p.network, POTENTIAL, 1.0, 10.0), p.hand, p.stimulus

    def change(x: Array, delta: Array) -> tuple[Array, Array, Array]:
        moved = law.vector_field(p.t[0], State((x, jnp.asarray(p.w[0])), None, multipliers=delta), stimulus)
        return *moved.q, moved.multipliers

    delta = jnp.asarray(np.random.default_rng(4).normal(size=hand.num_neurons))
    jacobian = jax.jit(jax.jacfwd(change, (0, 1)))(jnp.asarray(p.x[0]), delta)
    (x_by_x, _), (_, W_by_delta), (_, delta_by_delta) = jax.tree.map(np.asarray, jacobian)
    edge = np.eye(hand.num_neurons, dtype=bool)
    edge[hand.target, hand.source] = True
    own = np.zeros(W_by_delta.shape, bool)
    own[np.arange(len(hand.target)), hand.target] = True
    parts = ((x_by_x, edge), (delta_by_delta, edge.T), (W_by_delta, own))
    foreign = [float(np.max(np.abs(matrix[~allowed]))) for matrix, allowed in parts]
    names = ("ẋ by neurons that no edge links", "δ̇ by δ that no edge links", "Ẇ by δ of other neurons")
    reach = min(float(np.min(np.abs(matrix[allowed]))) for matrix, allowed in parts[2:])
    return Measured(max(foreign), dict(zip(names, foreign, strict=True)), {"neighbours do act": reach > 0})
