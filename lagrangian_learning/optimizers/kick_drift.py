"""`optimizer`: damped descent as an Optax gradient transformation, for any model that has gradients."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int, PyTree

from lagrangian_learning._checks import about, kind_of, nonnegative, positive


class KickDriftState(NamedTuple):
    """Ẇ, like the parameters, and how many steps have been taken."""

    velocity: PyTree
    count: Int[Array, ""]


def optimizer(
    gamma: Any, theta: Any = jnp.inf, *, step: float | Array | Callable[[Array], Array] = 1.0
) -> optax.GradientTransformation:
    """v ← β v − ((1 − β)/γ) ∇V,  W ← W + h v,  β = e^{−ϑh}: the law (13) by `KickDrift` (docs/theory.md §6).

    The same as `optax.sgd(h * (1 - beta) / gamma, momentum=beta)` to rounding, and at ϑ = ∞ as `optax.sgd(h / gamma)`:
    momentum is the mass of the weights, m_W = γ/ϑ. Neurons have no mass here, m_x = 0, since an optimizer receives
    gradients alone; `CognitiveAction` has both.

    Arguments:
        gamma: γ > 0, the friction; 1/γ is the learning rate a unit of time.
        theta: ϑ > 0, in 1/time; ∞, the default, is gradient descent without momentum.
        step: h > 0, the time of a step: a number, or a schedule as in Optax, a function of the number of steps taken,
            which returns one finite number h ≥ 0; h = 0 changes nothing.

    Returns an `optax.GradientTransformation` for parameters that are any pytree of floating arrays (of an Equinox model
    `eqx.filter(model, eqx.is_inexact_array)`); its state holds the velocities. Raises ValueError for constants out of
    range, for parameters that are not real floating arrays, and for gradients that are not like them; a schedule that
    is negative, NaN or infinite is an error too, of Equinox where it is traced.
    """
    gamma = positive(gamma, "gamma", "it is 1/learning rate.")
    theta = positive(theta, "theta", "it is γ/m_W, jnp.inf for gradient descent without momentum.", finite=False)
    if not callable(step):
        step = positive(step, "step", "it is the time of a step.")

    def init(params: PyTree) -> KickDriftState:
        _check_parameters(params)
        return KickDriftState(jax.tree.map(jnp.zeros_like, params), jnp.zeros((), jnp.int32))

    def update(updates: PyTree, state: KickDriftState, params: PyTree = None) -> tuple[PyTree, KickDriftState]:
        del params
        _check_gradients(updates, state.velocity)
        h = _scheduled(step(state.count)) if callable(step) else jnp.asarray(step)
        friction, rate, h = _in_one_dtype(gamma, theta, h)
        # A step of no time changes nothing, also where ϑ = ∞ and ϑh would be no number.
        exponent = jnp.where(h > 0, -rate * jnp.where(h > 0, h, 1), 0)
        beta, share = jnp.exp(exponent), -jnp.expm1(exponent) / friction

        def kicked(velocity: Array, gradient: Array) -> Array:
            return beta.astype(velocity.dtype) * velocity - share.astype(velocity.dtype) * gradient

        velocity = jax.tree.map(kicked, state.velocity, updates)
        moved = jax.tree.map(lambda v: h.astype(v.dtype) * v, velocity)
        return moved, KickDriftState(velocity, state.count + 1)

    return optax.GradientTransformation(init, update)  # pyright: ignore[reportArgumentType]


def _in_one_dtype(*constants: Array) -> tuple[Array, ...]:
    """Constants of any floating dtypes in the widest of them, also under strict promotion."""
    widest = max((constant.dtype for constant in constants), key=lambda dtype: jnp.finfo(dtype).bits)
    return tuple(constant.astype(widest) for constant in constants)


def _scheduled(h: Any) -> Array:
    with about("step"):
        return nonnegative(h, "what the schedule returns", "it is the time of this step.")


def _check_parameters(params: PyTree) -> None:
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if not (hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.floating)):
            raise ValueError(
                f"params{jax.tree_util.keystr(path)} must be a real floating array, got {kind_of(leaf)}: leave out "
                "what cannot be learned, as eqx.filter(model, eqx.is_inexact_array) does."
            )


def _check_gradients(updates: PyTree, velocity: PyTree) -> None:
    if jax.tree.structure(updates) != jax.tree.structure(velocity):
        raise ValueError("the gradients (updates) have another structure than the parameters that init was given.")
    pairs = zip(jax.tree_util.tree_leaves_with_path(updates), jax.tree.leaves(velocity), strict=True)
    for (path, gradient), like in pairs:
        if jnp.shape(gradient) != like.shape or jnp.result_type(gradient) != like.dtype:
            raise ValueError(
                f"the gradient updates{jax.tree_util.keystr(path)} is {kind_of(gradient)}, and its parameter "
                f"{kind_of(like)}: give gradients like the parameters that init was given."
            )
