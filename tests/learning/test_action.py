"""`action(path, stimulus)`: the number (5), against SciPy's quadrature of the same path written out by hand."""

from types import SimpleNamespace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

import lagrangian_learning as ll

MASS_X, MASS_W, THETA, END = 0.3, 0.8, 0.9, 2.0
NETWORK = ll.Layered((1, 1))
STIMULUS = ll.Stimulus(lambda t: jnp.sin(t)[None], lambda t: jnp.cos(t)[None])


def x_in(t):
    return np.sin(t)


def x_out(t):
    return 0.5 * np.sin(2 * t)


def weight(t):
    return np.exp(-0.3 * t)


def path_at(num_times, end=END, dtype=np.float64):
    """Any curve will do, on its constraints or not; here with its exact rates."""
    t = np.linspace(0.0, end, num_times).astype(dtype)
    rows = {
        "ts": t,
        "x": (x_in(t)[:, None], x_out(t)[:, None]),
        "W": (weight(t)[:, None, None],),
        "x_dot": (np.cos(t)[:, None], np.cos(2 * t)[:, None]),
        "W_dot": (-0.3 * weight(t)[:, None, None],),
        "x_ddot": (-np.sin(t)[:, None], -2 * np.sin(2 * t)[:, None]),
        "W_ddot": (0.09 * weight(t)[:, None, None],),
    }
    return SimpleNamespace(**jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), rows))


def density(t):
    kinetic = MASS_X * (np.cos(t) ** 2 + np.cos(2 * t) ** 2) + MASS_W * (0.3 * weight(t)) ** 2
    return kinetic / 2 - (x_out(t) - np.cos(t)) ** 2 / 2


def make(theta=THETA, terms=()):
    return ll.CognitiveAction(
        NETWORK, mass_x=MASS_X, mass_W=MASS_W, dissipation=ll.ExponentialDissipation(theta), terms=terms
    )


@pytest.mark.slow
def test_value_converges_at_fourth_order_to_the_quadrature_of_scipy():
    expected = quad(lambda t: np.exp(THETA * t) * density(t), 0.0, END, epsabs=1e-13)[0]
    errors = [abs(float(make()(path_at(n + 1), STIMULUS)) - expected) for n in (20, 40, 80, 160)]
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert np.all(np.abs(orders - 4) < 0.3), (errors, orders)
    assert errors[-1] < 1e-7 * abs(expected)


def test_terms_inside_and_outside_the_weight_with_second_derivatives():
    """½ Σ ẍ² + ½ Ẅ² inside, t·w·ẋ_out outside, and decay of the weights."""
    terms = (
        ll.Term(lambda t, x, v, a, W, V, A, s: (a[0][0] ** 2 + a[1][0] ** 2 + A[0][0, 0] ** 2) / 2, 2, weighted=True),
        ll.Term(lambda t, x, v, a, W, V, A, s: t * W[0][0, 0] * v[1][0]),
        ll.WeightDecay(0.4),
    )

    def integrand(t):
        bend = (np.sin(t) ** 2 + 4 * np.sin(2 * t) ** 2 + (0.09 * weight(t)) ** 2) / 2
        inside = density(t) + bend - 0.2 * weight(t) ** 2
        return np.exp(THETA * t) * inside + t * weight(t) * np.cos(2 * t)

    expected = quad(integrand, 0.0, END, epsabs=1e-13)[0]
    assert abs(float(make(terms=terms)(path_at(641), STIMULUS)) - expected) < 1e-8 * abs(expected)


def test_on_uneven_times():
    """Exact for parabolas on any times: no dissipation, constant rates, a potential that is quadratic in t."""
    t = np.array([0.0, 0.1, 0.4, 0.5, 1.1, 1.9, 2.0])
    path = SimpleNamespace(
        ts=jnp.asarray(t),
        x=(jnp.asarray(t[:, None]), jnp.asarray(t[:, None])),
        W=(jnp.ones((7, 1, 1)),),
        x_dot=(jnp.ones((7, 1)), jnp.ones((7, 1))),
        W_dot=(jnp.zeros((7, 1, 1)),),
    )
    action = ll.CognitiveAction(NETWORK, mass_x=MASS_X, mass_W=MASS_W, dissipation=ll.NoDissipation())
    stimulus = ll.Stimulus(lambda t: t[None], jnp.array([0.5]))
    expected = MASS_X * 2.0 - ((1.5**3 + 0.5**3) / 6)
    np.testing.assert_allclose(action(path, stimulus), expected, rtol=1e-14)


def test_weights_that_overflow_are_normalised_or_refused():
    """ϑ = 1e6 over t = 10: e^{1e7}. Divided by ϖ(t₁) the integral is that of its last moments."""
    action = make(theta=1e6)
    path = path_at(2001, end=10.0)
    value = float(action(path, STIMULUS, normalised=True))
    assert np.isfinite(value)
    with pytest.raises(RuntimeError, match=r"the action overflows, because ϖ\(t₁\) does: ask for normalised=True"):
        action(path, STIMULUS)
    resolved = make(theta=5.0)(path, STIMULUS, normalised=True)
    expected = quad(lambda t: np.exp(5.0 * (t - 10)) * density(t), 0.0, 10.0, epsabs=1e-13)[0]
    np.testing.assert_allclose(resolved, expected, rtol=1e-6)


def test_normalised_is_the_value_over_the_final_weight():
    path = path_at(41)
    ratio = make()(path, STIMULUS) / make()(path, STIMULUS, normalised=True)
    np.testing.assert_allclose(ratio, np.exp(THETA * END), rtol=1e-13)


def test_float32_and_jit_and_the_derivative_in_the_masses():
    value = make()(path_at(41, dtype=np.float32), STIMULUS)
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, make()(path_at(41), STIMULUS), rtol=1e-5)

    def of_mass(mass):
        return eqx.tree_at(lambda a: a.mass_x, make(), mass)(path_at(641), STIMULUS)

    kinetic = quad(lambda t: np.exp(THETA * t) * (np.cos(t) ** 2 + np.cos(2 * t) ** 2) / 2, 0.0, END)[0]
    np.testing.assert_allclose(jax.jit(jax.grad(of_mass))(jnp.asarray(0.3)), kinetic, rtol=1e-8)


def test_too_few_times():
    with pytest.raises(ValueError, match="at least 4 saved times, got 3: save more"):
        make()(path_at(3), STIMULUS)


def test_defaults_are_those_of_the_docstrings():
    action, descent = ll.CognitiveAction(NETWORK), ll.DampedDescent(NETWORK)
    assert [float(each) for each in (action.mass_x, action.mass_W, action.dissipation.theta)] == [1e-2, 1.0, 1.0]
    assert (action.terms, action.speed, type(action.potential)) == ((), None, ll.SquaredError)
    assert [float(each) for each in (descent.mass_W, descent.dissipation.theta)] == [1.0, 1.0]
    assert float(ll.GradientFlow(NETWORK).gamma) == 1.0
    diffusion = ll.BackpropDiffusion(NETWORK)
    assert [float(each) for each in (diffusion.gamma, diffusion.speed, diffusion.theta)] == [1.0, 10.0, 0.0]
    assert (diffusion.costate, diffusion.undo_gain) == ("sign_flip", False)
    assert not action.law("full").equations.damps_drift


def test_forces_of_terms_outside_the_weight_are_divided_by_it():
    inside = ll.Term(lambda t, x, _, __, W, *___: jnp.sum(W[0]) * x[1][0], order=0, weighted=True)
    outside = ll.Term(lambda t, x, *_: jnp.sin(t) * x[0][0], order=0)
    q = ((jnp.array([0.3]), jnp.array([0.7])), (jnp.array([[1.1]]),))
    found = make(terms=(inside, outside)).forces_density(jnp.asarray(2.0), q, STIMULUS)
    np.testing.assert_allclose(found, 1.1 * 0.7 + np.exp(-2 * THETA) * np.sin(2.0) * 0.3, rtol=1e-14)
