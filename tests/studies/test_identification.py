"""Fits of constants, against closed forms (benchmarks/studies/identification.py)."""

import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.studies.identification import JUDGED, Case, action_case, fitted, misses, regressed, sgd_case

RECORDS, WEIGHTS = 6, 5
DESIGN = np.random.default_rng(0).normal(size=(RECORDS, WEIGHTS, 2))


def straight(log_constants, stimulus, W):
    """Weights that are linear in the logarithms of two constants, so that one formula gives what a fit must find."""
    return W + jnp.einsum("rwp,p->rw", DESIGN, log_constants)


@pytest.fixture
def case():
    constants, W = {"a": 2.0, "b": 0.5}, np.ones(WEIGHTS)
    weights = np.asarray(straight(np.log(list(constants.values())), None, W))
    return Case("straight", constants, straight, None, W, weights, first=2)


@pytest.mark.parametrize("used", [RECORDS, 4])
def test_a_fit_is_that_of_linear_regression(case, used):
    seen = case.noisy(0.1, np.random.default_rng(1))
    fit = fitted(case, seen, case.off, used)
    matrix, aims = DESIGN[:used].reshape(-1, 2), (seen - case.W)[:used].ravel()
    expected, squares = np.linalg.lstsq(matrix, aims, rcond=None)[:2]
    np.testing.assert_allclose(fit.log_constants, expected, rtol=1e-6)
    covariance = squares[0] / (len(aims) - 2) * np.linalg.inv(matrix.T @ matrix)
    np.testing.assert_allclose(fit.covariance, covariance, rtol=1e-6)
    np.testing.assert_allclose(fit.deviations, np.sqrt(np.diag(covariance)), rtol=1e-6)


def test_a_fit_begins_off_by_a_factor_of_two_each_way(case):
    np.testing.assert_allclose(np.exp(case.off - case.truth), [2.0, 0.5])


def test_misses_are_named():
    noisy = {"hit": np.array([0.9, 0.5])}
    one = {
        "name": "run",
        "constants": {"a": 1.0, "b": 2.0},
        "noiseless": {"errors": np.array([1e-3, 1e-9])},
        "noisy": noisy,
    }
    assert misses([one]) == ["run: a without noise is 1.0e-03 off", "run: 50 % of the intervals hold b"]


@pytest.mark.slow
def test_optax_is_found_to_rounding_and_a_regression_of_all_steps_too():
    case = sgd_case(steps=100)
    fit = fitted(case, case.weights, case.off)
    np.testing.assert_allclose(fit.log_constants, case.truth, atol=1e-9)
    np.testing.assert_allclose(np.log(regressed(case, case.every_step)), case.truth, atol=1e-9)
    noisy = fitted(case, case.noisy(JUDGED, np.random.default_rng(0)), case.off)
    np.testing.assert_array_less(np.abs(noisy.log_constants - case.truth), 4 * noisy.deviations)


@pytest.mark.slow
def test_masses_and_friction_are_found_from_the_weights_alone():
    case = action_case(records=20)
    fit = fitted(case, case.weights, case.off)
    np.testing.assert_allclose(fit.log_constants, case.truth, atol=1e-6)
