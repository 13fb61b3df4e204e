"""What the study `learned_action` is about: the truth, the action that is learned, and a law without structure."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

import lagrangian_learning as ll

SIZES, OTHER_SIZES = (2, 3, 1), (2, 5, 1)
MASS_X, MASS_W, THETA = 0.03, 1.0, 0.6
ABOVE, BELOW, WIDTH = 1.0, 0.4, 0.2  # slopes of the true loss for outputs above and below the target; how it is rounded
PRICE, CORNER = 0.1, 0.1  # slope of the true price of a weight, and how it is rounded
HIDDEN, DEPTH = 8, 2  # of the networks that stand for an unknown function of a number
FORCE_HIDDEN = 32  # of the force without structure


class Pinball(ll.AbstractPotential):
    """V = Σ w log(e^{a r/w} + e^{−b r/w}), r = x − y: worse above the target than below, rounded over w."""

    above: Array
    below: Array
    width: Array

    def __call__(self, x_out: Array, y: Array) -> Float[Array, ""]:
        r = (x_out - y) / self.width
        return jnp.sum(self.width * jnp.logaddexp(self.above * r, -self.below * r))


class Price(eqx.Module):
    """−Σ φ(w) over all weights: a term of an action. `of_weight` is φ, of a number."""

    of_weight: Callable[[Array], Array]

    def __call__(self, t: Array, x: Any, x_dot: Any, x_ddot: Any, W: PyTree, *_: Any) -> Float[Array, ""]:
        return -jnp.sum(jax.vmap(self.of_weight)(ravel_pytree(W)[0]))


class Rounded(eqx.Module):
    """φ = p √(w² + c²): nearly p |w|, so that small weights go to zero."""

    price: Array
    corner: Array

    def __call__(self, w: Array) -> Array:
        return self.price * jnp.sqrt(w**2 + self.corner**2)


class Unknown(eqx.Module):
    """½ κ s² + MLP(s / unit) of a number s.

    Learned, κ stays zero and the MLP is the whole function. Of the physics that one number tunes, the MLP stays zero.
    """

    curvature: Array
    mlp: eqx.nn.MLP
    unit: float = eqx.field(static=True)

    def __call__(self, s: Array) -> Array:
        return self.curvature * s**2 / 2 + self.mlp(s[None] / self.unit)


class OfError(ll.AbstractPotential):
    """V = Σ f(x − y), f a function of a number."""

    of_error: Callable[[Array], Array]

    def __call__(self, x_out: Array, y: Array) -> Float[Array, ""]:
        return jnp.sum(jax.vmap(self.of_error)(x_out - y))


class Model(NamedTuple):
    """What moves the weights beside masses and friction: V by the error, and φ by the weight."""

    of_error: Unknown
    of_weight: Unknown


def law(potential: Callable, of_weight: Callable, sizes: tuple[int, ...] = SIZES) -> ll.AbstractLaw:
    """(8)–(10) of the action with this potential and this price of weights."""
    term = ll.Term(Price(of_weight), order=0, weighted=True)
    dissipation = ll.ExponentialDissipation(THETA)
    return ll.CognitiveAction(ll.Layered(sizes), potential, MASS_X, MASS_W, dissipation, term).law()


def true_parts() -> tuple[Pinball, Rounded]:
    """The potential and the price that the fits do not know."""
    return Pinball(*map(jnp.asarray, (ABOVE, BELOW, WIDTH))), Rounded(jnp.asarray(PRICE), jnp.asarray(CORNER))


def true_law(sizes: tuple[int, ...] = SIZES) -> ll.AbstractLaw:
    """The law that moved the weights."""
    return law(*true_parts(), sizes)


def learned_law(model: Model, sizes: tuple[int, ...] = SIZES) -> ll.AbstractLaw:
    """The law of a model."""
    return law(OfError(model.of_error), model.of_weight, sizes)


def unknown(key: Array) -> Model:
    """Functions of which nothing is known: MLPs as Equinox draws them, and no quadratic part."""
    return Model(*(
        Unknown(jnp.zeros(()), eqx.nn.MLP(1, "scalar", HIDDEN, DEPTH, jnp.tanh, key=one, dtype=float), unit)
        for one, unit in zip(jax.random.split(key), (0.25, 0.4), strict=True)
    ))  # fmt: skip


def quadratic(model: Model) -> Model:
    """Half the squared error, no price, and the MLPs all zero."""
    zero = jax.tree.map(lambda leaf: jnp.zeros_like(leaf) if eqx.is_array(leaf) else leaf, model)
    return eqx.tree_at(lambda model: model.of_error.curvature, zero, jnp.ones(()))


def freed(model: Model, *, numbers: bool) -> Model:
    """1 for each number of a model that a fit moves, 0 for the others: the two curvatures, or all else."""
    arrays = eqx.filter(model, eqx.is_array)
    mask = jax.tree.map(lambda leaf: jnp.full_like(leaf, 0.0 if numbers else 1.0), arrays)
    curvatures = jnp.full((), 1.0 if numbers else 0.0)
    return eqx.tree_at(lambda m: (m.of_error.curvature, m.of_weight.curvature), mask, (curvatures, curvatures))


class Structureless(ll.AbstractLaw):
    """Ẅ = −ϑ Ẇ + MLP(W, x, e, y)/m_W: a neural ODE that knows mass, friction and neurons, and no action."""

    mlp: eqx.nn.MLP

    @property
    def aliases(self) -> dict[str, tuple[str, int | None]]:
        return {"W": ("q", None), "W_dot": ("v", None)}

    def initial_state(self, t0: Any, q: PyTree, v: PyTree = None, args: Any = None) -> ll.State:
        """Weights, and their velocities, zero by default."""
        return ll.State(q, jax.tree.map(jnp.zeros_like, q) if v is None else v)

    def rates(self, t: Any, state: ll.State, args: ll.Stimulus) -> ll.Rates:
        flat, unravel = ravel_pytree(state.q)
        x = ll.Layered(SIZES).forward(state.q, args.input(t))
        force = unravel(self.mlp(jnp.concatenate([flat, *x, args.target(t)])) / MASS_W)
        return ll.Rates(ll.State(state.v, jax.tree.map(lambda f, v: f - THETA * v, force, state.v)))


def itself(law: ll.AbstractLaw) -> ll.AbstractLaw:
    """The law of a model that is one."""
    return law


def structureless(key: Array) -> Structureless:
    """The neural ODE as Equinox draws it."""
    network = ll.Layered(SIZES)
    return Structureless(
        eqx.nn.MLP(network.num_weights + network.num_neurons + 1, network.num_weights, FORCE_HIDDEN, DEPTH, jnp.tanh,
                   key=key, dtype=float)
    )  # fmt: skip


def drawn(key: Array, sizes: tuple[int, ...] = SIZES) -> tuple[ll.Stimulus, PyTree]:
    """A stimulus and first weights."""
    keys = jax.random.split(key, 7)

    def uniform(k: int, n: int, low: float, high: float) -> Array:
        return jax.random.uniform(keys[k], (n,), float, low, high)

    turn = 2 * jnp.pi
    shown = ll.Sinusoids(uniform(0, 2, 0.5, 2.0), uniform(1, 2, 0.6, 1.2), uniform(2, 2, 0.0, turn), 0.2)
    target = ll.Sinusoids(uniform(3, 1, 0.2, 1.0), uniform(4, 1, 0.3, 0.9), uniform(5, 1, 0.0, turn))
    W = ll.Layered(sizes).init(keys[6], jnp.dtype(float))
    return ll.Stimulus(shown, target), jax.tree.map(lambda w: 1.5 * w, W)
