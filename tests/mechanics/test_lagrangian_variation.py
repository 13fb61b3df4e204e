"""The functional derivative against SymPy's Euler equations, with the weight left in and divided out afterwards."""

import jax.numpy as jnp
import numpy as np
import pytest
import sympy as sp
from sympy.calculus.euler import euler_equations

from lagrangian_learning.mechanics import (
    ExponentialDissipation,
    Lagrangian,
    NoDissipation,
    ScheduledDissipation,
    functional_derivative,
)

THETA = 0.7


def density(m, c, t, *jet):
    """A density without symmetry, of two coordinates, written once for SymPy and once for JAX (m)."""
    terms = []
    for k, (one, two) in enumerate(jet):
        terms += [c[6 * k] * one**2 * (1 + two**2), c[6 * k + 1] * one * two * m.cos(t), c[6 * k + 2] * two**3]
        terms += [c[6 * k + 3] * m.sin(one * two) * t, c[6 * k + 4] * two**2, c[6 * k + 5] * one]
    (q, p), (v, w) = jet[:2]
    terms += [q * p * v * w, m.exp(-(q**2)) * w**2]
    if len(jet) == 3:
        a, b = jet[2]
        terms += [a * b * q, m.cos(v) * b**2 + p * a**2 * w]
    return sum(terms)


LOG_WEIGHTS = {
    "none": (NoDissipation(), lambda t: sp.Integer(0) * t),
    "exponential": (ExponentialDissipation(THETA), lambda t: sp.Rational(7, 10) * t),
    "scheduled": (
        ScheduledDissipation(lambda t: 2 + 0.5 * jnp.sin(3 * t) + 0.25 * t**2),
        lambda t: sp.Rational(1, 2) * sp.sin(3 * t) + t**2 / 4,
    ),
}


def reference(order, coefficients, outside, log_weight, at, jet):
    """(ϖ⁻¹ δA/δq) at a jet, A = ∫ ϖℓ + F, by SymPy."""
    t = sp.Symbol("t")
    functions = [sp.Function("q")(t), sp.Function("p")(t)]
    path = [[fn.diff(t, k) if k else fn for fn in functions] for k in range(order + 1)]
    weight = sp.exp(log_weight(t))
    whole = weight * density(sp, coefficients, t, *path)
    if outside is not None:
        whole += density(sp, outside, t, *path)
    equations = euler_equations(whole, functions, t)
    values = []
    for equation in equations:
        left = equation.lhs / weight
        for k in reversed(range(2 * order + 1)):
            for i, fn in enumerate(functions):
                left = left.subs(fn.diff(t, k) if k else fn, sp.Float(float(jet[k][i]), 30))
        values.append(float(left.subs(t, sp.Float(at, 30)).evalf(30)))
    return values


@pytest.mark.parametrize("unweighted", [False, True])
@pytest.mark.parametrize("weight", LOG_WEIGHTS)
@pytest.mark.parametrize("order", [1, 2])
def test_equals_sympy(order, weight, unweighted, rng):
    dissipation, log_weight = LOG_WEIGHTS[weight]
    coefficients = rng.normal(size=6 * (order + 1)).tolist()
    outside = rng.normal(size=6 * (order + 1)).tolist() if unweighted else None
    jet = tuple(rng.normal(size=2) for _ in range(2 * order + 1))
    at = 0.83

    def ours(c):
        return lambda t, *jet_and_args: density(jnp, c, t, *jet_and_args[:-1])

    lagrangian = Lagrangian(
        ours(coefficients), dissipation, order=order, unweighted=None if outside is None else ours(outside)
    )
    result = functional_derivative(lagrangian, jnp.asarray(at), tuple(jnp.asarray(c) for c in jet), None)
    np.testing.assert_allclose(result, reference(order, coefficients, outside, log_weight, at, jet), rtol=1e-12)


def test_a_total_derivative_in_the_density_changes_nothing():
    """Gauge freedom: D S(t, q) added to ℓ (ϖ = 1) leaves the functional derivative as it is."""

    def plain(t, q, v, args):
        return 0.5 * v @ v - jnp.cos(q[0]) * q[1]

    def gauged(t, q, v, args):
        return (
            plain(t, q, v, args)
            + jnp.cos(t) * q[0] ** 2 * q[1]
            + jnp.sin(t) * (2 * q[0] * q[1] * v[0] + q[0] ** 2 * v[1])
        )

    jet = (jnp.array([0.3, -1.2]), jnp.array([0.5, 2.0]), jnp.array([-0.7, 0.1]))
    t = jnp.asarray(0.9)
    np.testing.assert_allclose(
        functional_derivative(Lagrangian(gauged), t, jet, None),
        functional_derivative(Lagrangian(plain), t, jet, None),
        rtol=1e-13,
    )
