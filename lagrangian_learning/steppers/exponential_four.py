"""An exponential Runge–Kutta method of fourth order at any ϑ, transients included."""

from typing import ClassVar, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lagrangian_learning._arrays import matmul
from lagrangian_learning._types import Terms
from lagrangian_learning.mechanics.linear_part import AbstractLinearPart
from lagrangian_learning.mechanics.phi_functions import rest_moments
from lagrangian_learning.mechanics.propagator import AbstractPropagator

from .exponential import AbstractExponentialRungeKutta, ExponentialInterpolation, Tableau
from .fitted import fitted_profile, polynomial_profile

# The nodes minimise, among simple fractions, the coefficients of the error of fifth order of both limits, ϑ → 0 and
# ϑ → ∞; they are a fifth of those of the classical method.
_NODES = (1 / 3, 1 / 6, 1 / 2, 1.0, 2 / 3)
_DEGREE = 4  # of the polynomials in the basis 1, u, …, u⁴, e^{bu}
_FUNCTIONS, _SLOPES = _DEGREE + 2, len(_NODES) + 2
_START, _THIRD, _SIXTH, _HALF, _END, _LAST, _ARRIVED = range(_SLOPES)


class _Profiles(NamedTuple):
    """Slopes as functions of time over the step: predicted before the last stage, and final."""

    predicted: Float[Array, "functions slopes"]
    final: Float[Array, "functions slopes"]


class ExponentialRK4(AbstractExponentialRungeKutta):
    """y₁ = e^{hA} y₀ + h ∫₀¹ e^{(1−u)hA} N(u) du, N(u) a quartic or a cubic and e^{bu} through slopes of fourth order.

    Fourth order, with an error estimate of third, for a law with a linear part A: damped motion under ϑ, decay at a
    speed c. From ϑ = 0 to ∞ the order of W is the same, also from rest or where the force jumps, when Ẇ relaxes within
    1/ϑ: that transient e^{bu}, b = −ϑh, is among the functions that the quadrature is exact for. Methods that
    interpolate by polynomials alone (Krogstad 2005; Hochbruck and Ostermann 2005) lose the order there, at an error of
    h/(6ϑ). Six evaluations a step.

    The stages: U₂ by a constant slope; U₃ and U₄ by straight lines; U₅, at the end of the step, by a parabola; and U₆
    by the best interpolation R of what is known then, corrected so that the errors of stages cancel in the result:

        b₆ U₆ = b₆ ∫R + Σ_{i=3,4,5} b_i (∫R − U_i),    ∫R = e^{c_i hA} y₀ + h ∫₀^{c_i} e^{(c_i−u)hA} R(u) du.

    Arguments:
        linear_part: as in `ExponentialMidpoint`.

    The error estimate adds, entry by entry, what stage six has changed against R, and what the slope at the end of the
    step would change in place of that of stage five, which is all that Ẇ depends on when ϑh is large.
    """

    linear_part: AbstractLinearPart | None = None
    nodes: ClassVar[tuple[float, ...]] = _NODES
    term_structure: ClassVar = diffrax.AbstractTerm
    interpolation_cls: ClassVar = ExponentialInterpolation

    def order(self, terms: Terms) -> int:
        return 4

    def tableau(self, over: AbstractPropagator) -> Tableau:
        profiles = _profiles(over.layer)
        dtype = over.layer.dtype
        b = matmul(rest_moments(over.layer, jnp.ones(1, dtype), _DEGREE)[0], profiles.final)
        moments = over.moments(jnp.asarray(_NODES, dtype), _DEGREE)
        rows = jax.tree.map(lambda m: _rows(m, profiles, b), moments)
        errors = jax.tree.map(lambda m: _errors(m[_END - 1], profiles), moments)
        return Tableau(rows, errors, profiles.final, b)


def _profiles(layer: Float[Array, ""]) -> _Profiles:
    known, everything = (_START, _SIXTH, _HALF, _END), (_START, _SIXTH, _HALF, _LAST, _END)
    return _Profiles(
        fitted_profile(_nodes(known), known, _FUNCTIONS, _SLOPES, layer),
        fitted_profile(_nodes(everything), everything, _FUNCTIONS, _SLOPES, layer),
    )


def _nodes(places: tuple[int, ...]) -> tuple[float, ...]:
    return tuple((0.0, *_NODES)[place] for place in places)


def _early(places: tuple[int, ...]) -> Float[np.ndarray, "functions slopes"]:
    return polynomial_profile(_nodes(places), places, _FUNCTIONS, _SLOPES)


# What each stage but the last takes the slope to be.
_EARLY = np.stack(
    [_early((_START,)), _early((_START, _THIRD)), _early((_START, _SIXTH)), _early((_START, _SIXTH, _HALF))]
)


def _rows(moments: Float[Array, "nodes functions"], profiles: _Profiles, b: Float[Array, " slopes"]) -> Array:
    """Weights of the slopes in stages two to six, and in the step."""
    early = jnp.asarray(_EARLY, moments.dtype)
    stages = jnp.einsum("kf,kfs->ks", moments[: len(_EARLY)], early, precision="highest")
    ideal = matmul(moments, profiles.predicted)
    compensated = (_SIXTH, _HALF, _END)
    missed = sum(b[place] * (ideal[place - 1] - stages[place - 1]) for place in compensated)
    last = ideal[_LAST - 1] + missed / b[_LAST]
    return jnp.concatenate([stages, last[None], matmul(moments[_END - 1], profiles.final)[None]])


def _errors(moments: Float[Array, " functions"], profiles: _Profiles) -> Array:
    """Weights of the slopes in the two error estimates."""
    final, predicted = matmul(moments, profiles.final), matmul(moments, profiles.predicted)
    arrival = jnp.zeros_like(final).at[_END].set(-final[_END]).at[_ARRIVED].set(final[_END])
    return jnp.stack([final - predicted, arrival])
