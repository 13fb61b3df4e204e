"""Interpolation of a slope over a step by polynomials and the transient that a stiff step cannot resolve."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def polynomial_profile(
    nodes: tuple[float, ...], places: tuple[int, ...], functions: int, slopes: int
) -> Float[np.ndarray, "functions slopes"]:
    """Cardinal polynomials C on the nodes: N(u) = Σ_j (Σ_k C[k, j] u^k) N_j, with the N_j in the columns `places`.

    Rows are the functions 1, u, …, e^{bu}.
    """
    profile = np.zeros((functions, slopes))
    profile[: len(nodes), list(places)] = np.linalg.inv(np.vander(nodes, increasing=True))
    return profile


def fitted_profile(
    nodes: tuple[float, ...], places: tuple[int, ...], functions: int, slopes: int, layer: Float[Array, ""]
) -> Float[Array, "functions slopes"]:
    """The same in the span of 1, u, …, u^{m−1} and e^{bu}, on 0 and m more nodes; b: layer.

    Exact where the slope is smooth but for a transient e^{bu} that is over before the first node: a velocity that
    relaxes to the slope of the potential within 1/ϑ. With P the polynomial through the nodes beyond 0,

        N(u) = P(u) + (N₀ − P(0)) ω(u),    ω(u) = (e^{bu} − Πe^{bu})/(1 − Πe^{bu}(0)),

    Π the same interpolation. For |b| ≤ 1 the step resolves the transient, and ω is its limit Π_i (1 − u/c_i) at b = 0,
    which divides by no small number.
    """
    later = np.asarray(nodes[1:])
    smooth = polynomial_profile(nodes[1:], places[1:], functions, slopes)
    excess = np.zeros(slopes)
    excess[places[0]] = 1.0
    excess = excess - smooth[0]
    resolved = np.zeros(functions)
    resolved[: len(nodes)] = np.polynomial.polynomial.polyfromroots(later) / np.prod(-later)
    through = jnp.asarray(smooth[:, list(places[1:])], layer.dtype)
    safe = jnp.where(layer < -1, layer, -1)
    interpolated = jnp.matmul(through, jnp.exp(safe * jnp.asarray(later, layer.dtype)), precision="highest")
    transient = (-interpolated).at[-1].add(1) / (1 - interpolated[0])
    omega = jnp.where(layer < -1, transient, jnp.asarray(resolved, layer.dtype))
    return jnp.asarray(smooth, layer.dtype) + omega[:, None] * jnp.asarray(excess, layer.dtype)
