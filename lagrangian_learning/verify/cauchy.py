"""(11): Cauchy data, and how smooth an input (10) needs."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PyTree

from lagrangian_learning.learning import CognitiveAction
from lagrangian_learning.learning.laws import FullDynamics
from lagrangian_learning.mechanics import State
from lagrangian_learning.networks import Layered
from lagrangian_learning.signals import Stimulus

from .claim import Measured, Shared, as_claim
from .euler_lagrange import MASS_W, MASS_X, action_of
from .problems import Problem, feedforward_problems, problem, relative, worst

TINY = 1e-12


def _moving() -> tuple[Problem, ...]:
    return feedforward_problems()[::2]


@as_claim(
    "11",
    "Remark 9",
    claim="G = 0, G_τ = 0, ẋ = 0 and Ẇ = 0 at the start is one consistent way to impose Cauchy conditions.",
    method="G and its rate in NumPy at starts made by the package: those of (11), and those with any Ẇ(0)",
    verdict="holds with a condition",
    tolerance=1e-12,
    remark="only where ė(0) = 0, and more than is needed: any Ẇ(0) is consistent with ẋ(0) = −G_ξ⁻¹(G_t + G_M Ẇ).",
)
def cauchy_data(shared: Shared) -> Measured:
    del shared
    general = {p.name: _rates_of_constraints(p, "general", p.stimulus, p.w_dot) for p in _moving()}
    rest = {p.name: _rates_of_constraints(p, "paper", _at_rest(p), np.zeros_like(p.w_dot)) for p in _moving()}
    details = {
        "(11), input at rest: |G| and |ġ|": worst(list(rest.values())),
        "any Ẇ(0), moving input: |G| and |ġ|": worst(list(general.values())),
    }
    return Measured(worst(list(details.values())), details, {})


def _at_rest(p: Problem) -> Stimulus:
    """An input with ė = 0 at every start of the problem: it does not move at all."""
    return Stimulus(jnp.asarray(np.sin(p.phase)), jnp.asarray(p.target))


def _rates_of_constraints(p: Problem, cauchy: str, stimulus: Stimulus, w_dot: np.ndarray) -> float:
    """max |G|, |ġ| in NumPy at the states that the package makes."""
    law = action_of(p.network).law("full")
    assert isinstance(law, FullDynamics)

    def start(t: Array, x: PyTree, W: PyTree, x_dot: PyTree, W_dot: PyTree) -> tuple[Array, Array]:
        state = law.initial_state(t, W, W_dot, stimulus, cauchy=cauchy)
        return ravel_pytree(state.q[0])[0], ravel_pytree(state.v[0])[0]

    moved = p._replace(w_dot=w_dot)
    x, x_dot = moved.on_every_seed(start)
    left = []
    for k, t in enumerate(p.t):
        u, u_dot, _ = p.input(t) if cauchy == "general" else (np.sin(p.phase), np.zeros(p.hand.num_inputs), None)
        by_neuron, by_weight = p.hand.jacobians(x[k], p.w[k])
        rate = by_neuron @ x_dot[k] + by_weight @ w_dot[k]
        rate[: p.hand.num_inputs] -= u_dot
        left += [np.max(np.abs(p.hand.constraint(x[k], p.w[k], u))), np.max(np.abs(rate))]
    return worst(left)


@as_claim(
    "11",
    "Erratum 5",
    claim="G_τ(0, x(0), W(0)) = 0 is an additional constraint on x(0) and W(0).",
    method="G_τ by forward mode against −ė in NumPy, and its Jacobian by x and W",
    verdict="erratum",
    tolerance=1e-12,
    remark="G_τ = −ė contains neither x nor W: it constrains the stimulus.",
)
def time_term_of_the_constraints(shared: Shared) -> Measured:
    del shared
    p = feedforward_problems()[0]
    network, stimulus, errors, slopes = p.network, p.stimulus, [], []
    x_like = ravel_pytree(network.forward(network.init(jax.random.key(0)), jnp.zeros(2)))[1]
    W_like = ravel_pytree(network.init(jax.random.key(0)))[1]

    def G_t(x: Array, w: Array, t: Array) -> Array:
        def value(s: Array) -> Array:
            return ravel_pytree(network.constraint(x_like(x), W_like(w), stimulus.input(s)))[0]

        return jax.jvp(value, (t,), (jnp.ones_like(t),))[1]

    both = jax.jit(lambda *at: (G_t(*at), jax.jacfwd(G_t, (0, 1))(*at)))
    for x, w, t in zip(p.x_dot, p.w_dot, p.t, strict=True):
        found, by_state = both(*map(jnp.asarray, (x, w, t)))
        expected = np.concatenate([-p.input(t)[1], np.zeros(p.hand.num_neurons - p.hand.num_inputs)])
        errors.append(relative(np.asarray(found) - expected, [expected]))
        slopes += [float(jnp.max(jnp.abs(part))) for part in by_state]
    details = {"G_τ against −ė": worst(errors), "its derivatives by x and W": max(slopes)}
    demands = {
        "G_τ does not depend on x or W": max(slopes) == 0,
        "(11) with a moving input is refused": _is_refused(p),
    }
    return Measured(worst(errors), details, demands)


def _is_refused(p: Problem) -> bool:
    law = action_of(p.network).law("full")
    assert isinstance(law, FullDynamics)
    try:
        law.initial_state(0.3, p.network.init(jax.random.key(0)), args=p.stimulus, cauchy="paper")
    except ValueError:
        return True
    return False


# -- how smooth an input must be ---------------------------------------------------------------------------------------


@as_claim(
    "4",
    "10",
    "Erratum 6",
    claim="e of class C¹ is enough.",
    method="the jump of the multipliers where ë jumps, by the package on both sides and by (10) in NumPy",
    verdict="erratum",
    tolerance=1e-9,
    remark="(10) contains G_ττ = −ë: e must be of class C².",
)
def smoothness_of_the_input(shared: Shared) -> Measured:
    del shared
    p = problem("layered 2-3-1", Layered((2, 3, 1)), 9)
    once, twice = _jumps(p)
    by_neuron, by_weight = p.hand.jacobians(p.x[0], p.w[0])
    of_e = np.zeros(p.hand.num_neurons)
    of_e[: p.hand.num_inputs] = -2.0  # G_ττ = −ë, and ë jumps from −1 to 1
    expected = np.linalg.solve(by_neuron @ by_neuron.T / MASS_X + by_weight @ by_weight.T / MASS_W, of_e)
    error = relative(once - expected, [expected])
    details = {
        "e of class C¹: jump of δ": float(np.max(np.abs(once))),
        "the jump against (10) with the jump of ë": error,
        "e of class C²: jump of δ": float(np.max(np.abs(twice))),
    }
    demands = {
        "with e of class C¹ alone the multipliers jump": details["e of class C¹: jump of δ"] > 0.1,
        "with e of class C² they do not": details["e of class C²: jump of δ"] < 1e-9,
    }
    return Measured(error, details, demands)


def _jumps(p: Problem) -> tuple[np.ndarray, np.ndarray]:
    """The jump of the package's δ at t = 0 under inputs that move as t|t|/2, of class C¹, and as t²|t|/2, C²."""
    action = CognitiveAction(p.network, mass_x=MASS_X, mass_W=MASS_W)
    equations, target = action.law("full"), jnp.asarray(p.target)

    def delta(t: Array, x: PyTree, W: PyTree, x_dot: PyTree, W_dot: PyTree) -> Array:
        def under(smooth: Array) -> Array:
            def moving(s: Array) -> Array:
                return s * jnp.abs(s) * jnp.where(smooth, s, 1.0) / 2 + jnp.asarray(p.phase)

            stimulus = Stimulus(moving, target)
            return ravel_pytree(equations.accelerations(t, State((x, W), (x_dot, W_dot)), stimulus)[1])[0]

        return jax.vmap(under)(jnp.array([False, True]))

    first = p._replace(**{name: np.stack([getattr(p, name)[0]] * 2) for name in ("x", "w", "x_dot", "w_dot")})
    before, after = first._replace(t=np.array([-TINY, TINY])).on_every_seed(delta)
    return tuple(after - before)
