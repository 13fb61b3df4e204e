"""Total derivatives against derivatives along a known path."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy as sp

from lagrangian_learning.mechanics import total_derivative, weighted_derivative


def f(t, jet):
    q, v = jet
    return jnp.array([jnp.sin(t) * q[0] * v[1], q[1] ** 3 + t**2 * v[0]])


def symbolic():
    """f, and the entries of its jet, along q = (sin 2t, e^{−t})."""
    t = sp.Symbol("t")
    q = sp.Matrix([sp.sin(2 * t), sp.exp(-t)])
    v = q.diff(t)
    return t, q, sp.Matrix([sp.sin(t) * q[0] * v[1], q[1] ** 3 + t**2 * v[0]])


def numbers(matrix, t, at):
    return np.array(matrix.subs(t, at).evalf(20), dtype=float).ravel()


def jet_of(q, t, at, length):
    return tuple(jnp.asarray(numbers(q.diff(t, k), t, at)) for k in range(length))


@pytest.mark.parametrize("times", [0, 1, 2, 4])
def test_total_derivative_is_the_derivative_along_the_path(times):
    t, q, value = symbolic()
    at = 0.37
    result = total_derivative(f, times)(jnp.asarray(at), jet_of(q, t, at, 2 + times))
    np.testing.assert_allclose(result, numbers(value.diff(t, times) if times else value, t, at), rtol=1e-13)


@pytest.mark.parametrize("times", [1, 2, 3])
def test_weighted_derivative_is_the_derivative_with_the_weight_divided_out(times):
    t, q, value = symbolic()
    at = 0.37
    log_weight = sp.sin(t) + t**2 / 2
    weighted = (sp.exp(log_weight) * value).diff(t, times) / sp.exp(log_weight)
    result = weighted_derivative(f, lambda s: jnp.cos(s) + s, times)(jnp.asarray(at), jet_of(q, t, at, 2 + times))
    np.testing.assert_allclose(result, numbers(weighted, t, at), rtol=1e-13)


def test_jets_are_pytrees_and_so_are_values():
    def g(t, jet):
        (q,) = jet
        return {"product": q["a"] * q["b"][0], "time": t}

    q = {"a": jnp.asarray(2.0), "b": (jnp.asarray(3.0),)}
    v = {"a": jnp.asarray(5.0), "b": (jnp.asarray(7.0),)}
    result = total_derivative(g)(jnp.asarray(0.0), (q, v))
    assert result == {"product": 5.0 * 3.0 + 2.0 * 7.0, "time": 1.0}


def test_total_derivative_passes_through_linear_solves_and_relu():
    def h(t, jet):
        (q,) = jet
        matrix = jnp.eye(2) + jnp.outer(q, q)
        return jax.nn.relu(jnp.linalg.solve(matrix, q))

    q, v = jnp.array([0.5, 1.5]), jnp.array([-1.0, 2.0])
    step = 1e-6
    difference = (h(0.0, (q + step * v,)) - h(0.0, (q - step * v,))) / (2 * step)
    result = total_derivative(h)(jnp.asarray(0.0), (q, v))
    np.testing.assert_allclose(result, difference, rtol=1e-8)
