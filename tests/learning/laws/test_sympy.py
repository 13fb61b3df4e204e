"""SymPy's `LagrangesMethod` on the XOR network: the equations of motion of eleven coordinates and five constraints."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
import sympy as sp
from sympy.physics.mechanics import LagrangesMethod, dynamicsymbols

import lagrangian_learning as ll
from tests.problems import XOR_WEIGHTS, xor_action

MASS_X, MASS_W, THETA, TIME = 0.4, 0.7, 1.3, 0.9
WEIGHTS = XOR_WEIGHTS
RATES = np.array([0.2, -0.4, 0.7, 0.1, 0.5, -0.3])
EDGES = ((1, 3), (2, 3), (1, 4), (2, 4), (3, 5), (4, 5))


def derived_by_sympy():
    """Mass matrix and forcing of [q̇, q̈, λ], for L = e^{ϑt}(½ m_x |ẋ|² + ½ m_W |ẇ|² − ½ (x₅ − y)²) and G1 to G5."""
    t = dynamicsymbols._t
    x, w = dynamicsymbols("x1:6"), dynamicsymbols("w1:7")
    e = {1: sp.sin(t), 2: sp.cos(2 * t)}
    activity = {j: sum(w[k] * x[i - 1] for k, (i, target) in enumerate(EDGES) if target == j) for j in (3, 4, 5)}
    constraints = [x[j - 1] - (e[j] if j < 3 else sp.tanh(activity[j])) for j in range(1, 6)]
    kinetic = sum(MASS_X * c.diff(t) ** 2 for c in x) / 2 + sum(MASS_W * c.diff(t) ** 2 for c in w) / 2
    lagrangian = sp.exp(THETA * t) * (kinetic - (x[4] - sp.Rational(3, 10) * sp.sin(t)) ** 2 / 2)
    method = LagrangesMethod(lagrangian, [*x, *w], hol_coneqs=constraints)
    method.form_lagranges_equations()
    q = sp.symbols("q:11")
    v = sp.symbols("v:11")
    plain = {c.diff(t): s for c, s in zip([*x, *w], v, strict=True)} | dict(zip([*x, *w], q, strict=True))
    # Velocities before coordinates: the derivative of a replaced coordinate would vanish.
    matrices = [
        m.subs(dict(list(plain.items())[:11])).subs(dict(list(plain.items())[11:]))
        for m in (method.mass_matrix_full, method.forcing_full)
    ]
    return sp.lambdify([t, q, v], matrices, "numpy", cse=True)


@pytest.fixture(scope="module")
def found():
    action = xor_action(MASS_X, MASS_W, THETA)
    stimulus = ll.Stimulus(lambda t: jnp.stack([jnp.sin(t), jnp.cos(2 * t)]), lambda t: 0.3 * jnp.sin(t)[None])
    law = action.law("full")
    state = law.initial_state(TIME, jnp.asarray(WEIGHTS), jnp.asarray(RATES), stimulus)
    (x_ddot, W_ddot), delta = eqx.filter_jit(law.accelerations)(TIME, state, stimulus)
    join = lambda pair: np.concatenate([np.asarray(part) for part in pair])  # noqa: E731
    return join(state.q), join(state.v), join((x_ddot, W_ddot)), np.asarray(delta)


@pytest.fixture(scope="module")
def system(found):
    """SymPy's matrices at our state, λ divided by ϖ and signed as in (7)."""
    q, v, _, _ = found
    matrix, forcing = (np.array(m, float) for m in derived_by_sympy()(TIME, q, v))
    return matrix, forcing.ravel()


def test_accelerations_and_multipliers_are_those_of_sympy(found, system):
    _, v, top, delta = found
    solved = np.linalg.solve(*system)
    np.testing.assert_allclose(solved[:11], v, rtol=1e-12)
    np.testing.assert_allclose(top, solved[11:22], rtol=0, atol=1e-12 * np.max(np.abs(top)))
    # SymPy subtracts (∂G/∂q)ᵀλ from the momentum's side of the equations: its λ is −ϖδ.
    multipliers = -solved[22:] / np.exp(THETA * TIME)
    np.testing.assert_allclose(delta, multipliers, rtol=0, atol=1e-12 * np.max(np.abs(delta)))


def test_our_solution_leaves_nothing_over_in_the_equations_of_sympy(found, system):
    _, v, top, delta = found
    matrix, forcing = system
    ours = np.concatenate([v, top, -np.exp(THETA * TIME) * delta])
    terms = np.max(np.abs(matrix * ours), axis=1) + np.abs(forcing)
    assert np.max(np.abs(matrix @ ours - forcing) / terms) < 1e-12
