"""The φ-functions of exponential integration, and what integrals over a step become of them."""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float

_RADIUS, _TAYLOR_TERMS = 3, 28  # 3²⁸/28! is below the rounding of float64


def phi_functions(highest: int, z: Float[Array, "*shape"]) -> list[Float[Array, "*shape"]]:
    """φ₀(z), …, φ_highest(z) for real z, with φ₀ = exp and φ_{k+1}(z) = (φ_k(z) − 1/k!)/z.

    Near zero the highest by Taylor's series and the recurrence downward, elsewhere the recurrence upward: each loses
    no digits where it is used.
    """
    small = jnp.abs(z) < _RADIUS
    near, far = jnp.where(small, z, 0), jnp.where(small, -_RADIUS, z)
    series = jnp.zeros_like(z)
    for n in reversed(range(_TAYLOR_TERMS)):
        series = series * near + 1 / math.factorial(n + highest)
    down, up = [series], [jnp.exp(far)]
    for k in range(highest):
        down.insert(0, near * down[0] + 1 / math.factorial(highest - k - 1))
        up.append((up[-1] - 1 / math.factorial(k)) / far)
    values = [jnp.where(small, inner, outer) for inner, outer in zip(down, up, strict=True)]
    return [jnp.exp(z), *values[1:]]


def phi_function(k: int, z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """φ_k(z) for real z."""
    return phi_functions(k, z)[k]


def decay_moments(
    exponent: Float[Array, ""], layer: Float[Array, ""], points: Float[Array, " points"], degree: int
) -> Float[Array, "points functions"]:
    """∫₀ᶜ e^{a(c−u)} f(u) du for f = 1, u, …, u^degree, e^{bu}, at every c of points; a: exponent, b: layer.

    What a forcing f leaves of a quantity that decays by e^{a} over the step.
    """
    phi = phi_functions(degree + 1, points * exponent)
    powers = [points ** (k + 1) * math.factorial(k) * phi[k + 1] for k in range(degree + 1)]
    return jnp.stack([*powers, points * _divided_difference(points * exponent, points * layer)], axis=1)


def rest_moments(
    layer: Float[Array, ""], points: Float[Array, " points"], degree: int
) -> Float[Array, "points functions"]:
    """The same at a = 0: ∫₀ᶜ f(u) du."""
    powers = [points ** (k + 1) / (k + 1) for k in range(degree + 1)]
    return jnp.stack([*powers, points * phi_function(1, points * layer)], axis=1)


def motion_moments(
    exponent: Float[Array, ""], points: Float[Array, " points"], degree: int
) -> tuple[Float[Array, "points functions"], Float[Array, "points functions"], Float[Array, "points functions"]]:
    """The same at a = 0 and at a = b; and with (e^{a(c−u)} − 1)/a: how far what decays carries its integral along."""
    phi, orders = phi_functions(degree + 2, points * exponent), range(degree + 1)
    rest = [points ** (k + 1) / (k + 1) for k in orders]
    decay = [points ** (k + 1) * math.factorial(k) * phi[k + 1] for k in orders]
    drift = [points ** (k + 2) * math.factorial(k) * phi[k + 2] for k in orders]
    return (
        jnp.stack([*rest, points * phi[1]], axis=1),
        jnp.stack([*decay, points * phi[0]], axis=1),
        jnp.stack([*drift, points**2 * (phi[1] - phi[2])], axis=1),
    )


def _divided_difference(a: Array, b: Array) -> Array:
    """(eᵃ − eᵇ)/(a − b), eᵃ where they are equal."""
    return jnp.exp(jnp.maximum(a, b)) * phi_function(1, -jnp.abs(a - b))
