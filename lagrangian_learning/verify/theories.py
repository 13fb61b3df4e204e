"""Theories beyond the paper: soft constraints, optimisers as actions, charges, echo (docs/theory.md §10)."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PyTree

from lagrangian_learning._arrays import tree_dot, tree_scale
from lagrangian_learning.echo import echo_gradient
from lagrangian_learning.learning import CognitiveAction, PredictiveCoding, Rescaling, SquaredError
from lagrangian_learning.learning.laws import Descent, GradientFlow
from lagrangian_learning.learning.losses import NetworkLoss
from lagrangian_learning.mechanics import (
    AbstractKinetic,
    Bregman,
    EulerLagrange,
    ExponentialDissipation,
    Lagrangian,
    Phase,
    Quadratic,
    Quartic,
    Relativistic,
    State,
    charge,
)
from lagrangian_learning.optimizers import optimizer
from lagrangian_learning.simulate import simulate
from lagrangian_learning.steppers import Rattle

from .claim import Measured, Shared, as_claim
from .problems import Problem, feedforward_problems, relative, worst

POTENTIAL = SquaredError()
SOFT, STEP = (1e4, 1e6, 1e8), 0.1


@as_claim(
    "soft constraints",
    claim="With −½κ|G|² in place of G = 0 and neurons at rest, the weights follow backpropagation up to 1/κ.",
    method="the slope of log error against log κ, the stationary errors by Newton's method against an adjoint sweep",
    tolerance=0.05,
)
def neurons_at_rest(shared: Shared) -> Measured:
    del shared
    p = feedforward_problems()[0]

    def respond(t: Array, x: PyTree, W: PyTree, x_dot: PyTree, W_dot: PyTree) -> Array:
        laws = [PredictiveCoding(p.network, POTENTIAL, 1.0, 0.0, stiffness=kappa) for kappa in SOFT]
        exact = ravel_pytree(GradientFlow(p.network, POTENTIAL, 1.0).velocities(t, State(W, None), p.stimulus)[0])[0]
        found = [ravel_pytree(law.velocities(t, State(W, None), p.stimulus)[0])[0] for law in laws]
        return jnp.stack([jnp.max(jnp.abs(each - exact)) / jnp.max(jnp.abs(exact)) for each in found])

    errors = p.on_every_seed(respond)[0].reshape(-1, len(SOFT)).max(axis=0)
    slope = float(np.polyfit(np.log(SOFT), np.log(errors), 1)[0])
    details = {f"error at κ = {kappa:.0e}": float(error) for kappa, error in zip(SOFT, errors, strict=True)}
    return Measured(abs(slope + 1), {"slope in κ": slope, **details}, {"κ = 1e8 has 1e-6": bool(errors[-1] < 1e-6)})


def _energies() -> dict[str, AbstractKinetic]:
    return {"½m|v|²": Quadratic(0.4), "½m|v|² + βΣv⁴": Quartic(0.4, 0.3), "relativistic": Relativistic(0.4, 20.0)}


@as_claim(
    "optimisers",
    claim="Ẇ = K*_p(p), (D + r) p = −s V_W are the Euler–Lagrange equations of K(Ẇ) − s V.",
    method="Ẅ by the derived equations of the density, against the derivative of K*_p(p) along the law in (W, p)",
    tolerance=1e-9,
)
def kinetic_energies(shared: Shared) -> Measured:
    del shared
    p, dissipation = feedforward_problems()[0], Bregman(3.0, 0.2, 0.1)
    details = {name: _apart(p, kinetic, dissipation) for name, kinetic in _energies().items()}
    return Measured(worst(list(details.values())), details, {})


def _apart(p: Problem, kinetic: AbstractKinetic, dissipation: Bregman) -> float:
    loss = NetworkLoss(p.network, POTENTIAL)
    law = Descent(loss, kinetic, dissipation)

    def density(t: Array, W: PyTree, W_dot: PyTree, stimulus: PyTree) -> Array:
        return kinetic.energy(W_dot) - dissipation.factor(t) * loss(t, W, stimulus)

    derived = EulerLagrange(Lagrangian(density, dissipation))

    def respond(t: Array, x: PyTree, W: PyTree, x_dot: PyTree, W_dot: PyTree) -> tuple[Array, Array]:
        t = t + 1.0  # the friction of Bregman begins behind 0
        state = Phase(W, kinetic.momentum(W_dot))
        rates = law.vector_field(t, state, p.stimulus)
        found = jax.jvp(kinetic.velocity, (state.p,), (rates.p,))[1]
        expected = derived.accelerations(t, State(W, W_dot), p.stimulus)[0]
        return ravel_pytree(found)[0], ravel_pytree(expected)[0]

    found, expected = p.on_every_seed(respond)
    return relative(found - expected, [expected])


@as_claim(
    "optimisers",
    claim="A step of kick and drift with ½m|v|² is SGD with momentum, e^{−ϑh} being the momentum.",
    method="twenty steps of the optimiser on a network, against optax.sgd",
    tolerance=1e-10,
)
def momentum(shared: Shared) -> Measured:
    del shared
    p, theta, mass = feedforward_problems()[0], 2.0, 0.5
    beta = float(np.exp(-theta * STEP))
    ours = optimizer(kinetic=Quadratic(mass), dissipation=ExponentialDissipation(theta), step=STEP)
    theirs = optax.sgd(STEP * (1 - beta) / (theta * mass), momentum=beta)
    found, expected, start = p.on_every_seed(
        lambda t, x, W, x_dot, W_dot: (_trained(p, ours, W), _trained(p, theirs, W), ravel_pytree(W)[0])
    )
    moved = relative(expected - start, [expected])
    return Measured(relative(found - expected, [expected]), {"moved by": moved}, {"it moves": moved > 1e-3})


def _trained(p: Problem, transformation: optax.GradientTransformation, W: PyTree) -> Array:
    flow = GradientFlow(p.network, POTENTIAL, 1.0)

    def step(carry: tuple[PyTree, PyTree], k: Array) -> tuple[tuple[PyTree, PyTree], None]:
        W, memory = carry
        slope = tree_scale(-1, flow.velocities(STEP * k, State(W, None), p.stimulus)[0])
        change, memory = transformation.update(slope, memory, W)
        return (optax.apply_updates(W, change), memory), None

    return ravel_pytree(jax.lax.scan(step, (W, transformation.init(W)), jnp.arange(20.0))[0][0])[0]


@as_claim(
    "Noether charges",
    claim="Rescaling of adjacent layers has the charge p·g, which moves as (D + r) Q = ℓ_q·g + ℓ_v·Dg − δ·G_q g.",
    method="the derivative of p·g along (8)–(10) by forward mode, against the right side, which needs no accelerations",
    tolerance=1e-9,
)
def rescaling_of_layers(shared: Shared) -> Measured:
    del shared
    p = feedforward_problems()[0]
    law = CognitiveAction(p.network, POTENTIAL, 0.3, 0.4, ExponentialDissipation(0.8)).law()
    kept = charge(law, Rescaling(0))

    def respond(t: Array, x: PyTree, W: PyTree, x_dot: PyTree, W_dot: PyTree) -> tuple[Array, Array, Array]:
        state = State(W, W_dot)
        field = law.vector_field(t, state, p.stimulus)
        one = jnp.ones_like(t)
        moved = jax.jvp(lambda s, y: kept(s, y, p.stimulus).value, (t, state), (one, field))[1]
        found = kept(t, state, p.stimulus)
        return moved, found.rate, found.parts.dissipation

    moved, rate, faded = p.on_every_seed(respond)
    broken = relative(rate - faded, [rate])
    details = {"D Q against the right side": relative(moved - rate, [rate]), "broken beside friction": broken}
    return Measured(relative(moved - rate, [rate]), details, {"the kinetic energy breaks it": broken > 1e-3})


@as_claim(
    "echo",
    claim="A run back in time, nudged by the cost, has the gradient of the run forward by every constant.",
    method="the echo of (8)–(10) on a network in full coordinates, against reverse mode through the same steps",
    tolerance=1e-8,
)
def gradient_by_echo(shared: Shared) -> Measured:
    del shared
    p = feedforward_problems()[0]
    action = CognitiveAction(p.network, POTENTIAL, 0.3, 0.4, ExponentialDissipation(0.8))
    ts = np.array([0.0, 1.0])

    def far(q: tuple[PyTree, PyTree]) -> Array:
        return tree_dot(q[1], q[1]) / 2

    def respond(t: Array, x: PyTree, W: PyTree, x_dot: PyTree, W_dot: PyTree) -> tuple[Array, Array]:
        del t, x, x_dot
        law = action.law("full")
        start = law.initial_state(0.0, W, W_dot, p.stimulus)
        dt0 = 1 / 40

        def ends(law: PyTree) -> Array:
            path = simulate(law, start, ts, p.stimulus, solver=Rattle(), dt0=dt0, watch="nothing")
            return far(path.final_state.q)

        expected = ravel_pytree(eqx.filter_grad(ends)(law))[0]
        terminal = lambda q, args: far(q)  # noqa: E731
        echo = echo_gradient(law, start, ts, p.stimulus, None, terminal=terminal, dt0=dt0, nudge=1e-3)
        return ravel_pytree(echo.by_law)[0], expected

    found, expected = p.on_every_seed(respond)
    error = relative(found - expected, [expected])
    return Measured(error, {"echo against reverse mode": error}, {})
