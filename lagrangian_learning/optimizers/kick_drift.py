"""`optimizer`: descent of any kinetic energy as an Optax gradient transformation, for any model that has gradients."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PyTree

from lagrangian_learning._checks import about, kind_of, nonnegative, positive
from lagrangian_learning.mechanics import (
    AbstractDissipation,
    AbstractKinetic,
    Bregman,
    Damping,
    ExponentialDissipation,
    as_kinetic,
)


class KickDriftState(NamedTuple):
    """Ẇ, like the parameters, and how many steps have been taken."""

    velocity: PyTree
    count: Int[Array, ""]


class MomentumState(NamedTuple):
    """p = K_v(Ẇ), like the parameters, at least in float32; the steps taken; and the time t that they took."""

    momentum: PyTree
    count: Int[Array, ""]
    time: Float[Array, ""]


def optimizer(
    gamma: Any = None,
    theta: Any = None,
    *,
    kinetic: AbstractKinetic | Callable[[PyTree], Array] | None = None,
    dissipation: AbstractDissipation | None = None,
    factor: Any = None,
    step: float | Array | Callable[[Array], Array] = 1.0,
) -> optax.GradientTransformation:
    """p ← e^{−∫r} p − I ∇V,  W ← W + h K*_p(p): `Descent` by `KickDrift`, as a transformation (docs/theory.md §11).

    Two ways to say the physics. `optimizer(gamma, theta)` is v ← β v − ((1 − β)/γ) ∇V, W ← W + h v, β = e^{−ϑh}: the
    law (13), the same as `optax.sgd(h * (1 - beta) / gamma, momentum=beta)` to rounding, and at ϑ = ∞ as
    `optax.sgd(h / gamma)`. `optimizer(kinetic=...)` takes any kinetic energy, and is that with `Quadratic(γ/ϑ)` and
    `ExponentialDissipation(ϑ)`. Neurons have no mass here, m_x = 0, since an optimizer receives gradients alone;
    `CognitiveAction` has both.

    Arguments:
        gamma: γ > 0, the friction; 1/γ is the learning rate a unit of time.
        theta: ϑ > 0, in 1/time; ∞, the default, is gradient descent without momentum.
        kinetic: K(v), such as `Relativistic(mass, speed)`, or a convex function; in place of gamma and theta.
        dissipation: the weight ϖ(t) of `kinetic`; e^t by default. A `Bregman` one begins at its t0.
        factor: s ≥ 0 of `kinetic`, a number or a function s(t), as in `Descent`.
        step: h > 0, the time of a step: a number, or a schedule as in Optax, a function of the number of steps taken,
            which returns one finite number h ≥ 0; h = 0 changes nothing.

    Returns an `optax.GradientTransformation` for parameters that are any pytree of floating arrays (of an Equinox model
    `eqx.filter(model, eqx.is_inexact_array)`); its state holds velocities or momenta, the latter in float32 where the
    parameters have less. Raises ValueError for constants out of range, for parameters that are not real floating
    arrays, and for gradients that are not like them; a schedule that is negative, NaN or infinite is an error too, of
    Equinox where it is traced.
    """
    if not callable(step):
        step = positive(step, "step", "it is the time of a step.")
    if kinetic is None:
        if dissipation is not None or factor is not None:
            raise ValueError("dissipation and factor belong to a kinetic energy: give kinetic=, or gamma and theta.")
        if gamma is None:
            raise ValueError("give gamma, the friction, or kinetic=, a kinetic energy such as ll.Quadratic(mass).")
        return _heavy_ball(gamma, jnp.inf if theta is None else theta, step)
    if gamma is not None or theta is not None:
        raise ValueError(
            "a kinetic energy has its own mass, and its friction is dissipation=ll.ExponentialDissipation(theta): "
            "leave gamma and theta out."
        )
    damping = Damping(ExponentialDissipation(1.0) if dissipation is None else dissipation, factor)
    return _any_energy(as_kinetic(kinetic), damping, step)


def _heavy_ball(gamma: Any, theta: Any, step: Any) -> optax.GradientTransformation:
    gamma = positive(gamma, "gamma", "it is 1/learning rate.")
    theta = positive(theta, "theta", "it is γ/m_W, jnp.inf for gradient descent without momentum.", finite=False)

    def init(params: PyTree) -> KickDriftState:
        _check_parameters(params)
        return KickDriftState(jax.tree.map(jnp.zeros_like, params), jnp.zeros((), jnp.int32))

    def update(updates: PyTree, state: KickDriftState, params: PyTree = None) -> tuple[PyTree, KickDriftState]:
        del params
        _check_gradients(updates, state.velocity)
        friction, rate, h = _in_one_dtype(gamma, theta, _length(step, state.count))
        # A step of no time changes nothing, also where ϑ = ∞ and ϑh would be no number.
        exponent = jnp.where(h > 0, -rate * jnp.where(h > 0, h, 1), 0)
        beta, share = jnp.exp(exponent), -jnp.expm1(exponent) / friction

        def kicked(velocity: Array, gradient: Array) -> Array:
            return beta.astype(velocity.dtype) * velocity - share.astype(velocity.dtype) * gradient

        velocity = jax.tree.map(kicked, state.velocity, updates)
        moved = jax.tree.map(lambda v: h.astype(v.dtype) * v, velocity)
        return moved, KickDriftState(velocity, state.count + 1)

    return optax.GradientTransformation(init, update)  # pyright: ignore[reportArgumentType]


def _any_energy(kinetic: AbstractKinetic, damping: Damping, step: Any) -> optax.GradientTransformation:
    begin = damping.dissipation.t0 if isinstance(damping.dissipation, Bregman) else jnp.zeros(())

    def init(params: PyTree) -> MomentumState:
        _check_parameters(params)
        kinetic.check(params)
        momentum = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, _accumulated(leaf.dtype)), params)
        return MomentumState(momentum, jnp.zeros((), jnp.int32), begin)

    def update(updates: PyTree, state: MomentumState, params: PyTree = None) -> tuple[PyTree, MomentumState]:
        del params
        _check_gradients(updates, state.momentum)
        t, h = _in_one_dtype(state.time, _length(step, state.count))
        # Constant friction needs no time, whose difference would lose the digits of a short step.
        span = (jnp.zeros_like(h), h) if damping.steady else (t, t + h)
        kept, share = jnp.exp(-damping.growth(*span)), damping.impulse(*span)

        def kicked(momentum: Array, gradient: Array) -> Array:
            return kept.astype(momentum.dtype) * momentum - share.astype(momentum.dtype) * gradient.astype(
                momentum.dtype
            )

        momentum = jax.tree.map(kicked, state.momentum, updates)
        velocity = kinetic.velocity(momentum)
        moved = jax.tree.map(lambda v, gradient: (h.astype(v.dtype) * v).astype(gradient.dtype), velocity, updates)
        return moved, MomentumState(momentum, state.count + 1, (t + h).astype(state.time.dtype))

    return optax.GradientTransformation(init, update)  # pyright: ignore[reportArgumentType]


def _length(step: Any, count: Array) -> Array:
    """h of this step, of a schedule what it returns."""
    if not callable(step):
        return jnp.asarray(step)
    with about("step"):
        return nonnegative(step(count), "what the schedule returns", "it is the time of this step.")


def _accumulated(dtype: Any) -> Any:
    """The dtype of momenta: that of the parameters, float32 where they have less."""
    return dtype if jnp.finfo(dtype).bits >= 32 else jnp.float32


def _in_one_dtype(*constants: Array) -> tuple[Array, ...]:
    """Constants of any floating dtypes in the widest of them, also under strict promotion."""
    widest = max((constant.dtype for constant in constants), key=lambda dtype: jnp.finfo(dtype).bits)
    return tuple(constant.astype(widest) for constant in constants)


def _check_parameters(params: PyTree) -> None:
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if not (hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.floating)):
            raise ValueError(
                f"params{jax.tree_util.keystr(path)} must be a real floating array, got {kind_of(leaf)}: leave out "
                "what cannot be learned, as eqx.filter(model, eqx.is_inexact_array) does."
            )


def _check_gradients(updates: PyTree, accumulated: PyTree) -> None:
    if jax.tree.structure(updates) != jax.tree.structure(accumulated):
        raise ValueError("the gradients (updates) have another structure than the parameters that init was given.")
    pairs = zip(jax.tree_util.tree_leaves_with_path(updates), jax.tree.leaves(accumulated), strict=True)
    for (path, gradient), like in pairs:
        given = jnp.result_type(gradient)
        fits = jnp.issubdtype(given, jnp.floating) and like.dtype in (given, _accumulated(given))
        if jnp.shape(gradient) != like.shape or not fits:
            raise ValueError(
                f"the gradient updates{jax.tree_util.keystr(path)} is {kind_of(gradient)}, and its parameter "
                f"{kind_of(like)}: give gradients like the parameters that init was given."
            )
