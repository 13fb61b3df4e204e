"""Derivatives through constrained motion, against other coordinates and closed forms (mechanics_by_gradient.py)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from benchmarks.studies import mechanics_arm as arm, mechanics_crank as crank, mechanics_linkage as linkage
from benchmarks.studies.mechanics_by_gradient import misses

# -- the linkage -------------------------------------------------------------------------------------------------------

LINE = np.random.default_rng(0).normal(size=(linkage.RECORDS, 4, 5))


def straight(logs, force, W):
    """A motion that is linear in the logarithms, so that one formula gives what a fit must find."""
    return jnp.einsum("rwp,p->rw", LINE, logs)


def joints_of(angle):
    """A and B as complex numbers: B by the law of cosines in the triangle A, B, pivot."""
    A = linkage.CRANK * np.exp(1j * angle)
    across = linkage.GROUND - A
    cosine = (linkage.COUPLER**2 + abs(across) ** 2 - linkage.ROCKER**2) / (2 * linkage.COUPLER * abs(across))
    return A, A + linkage.COUPLER * across / abs(across) * np.exp(1j * np.arccos(cosine))


def crank_alone(force, damping, end):
    """The crank's angle by SciPy, from its energy as a function of the angle; no constraint, no multiplier."""
    k, h = linkage.CONSTANTS, 1e-4

    def parts(angle):
        A, B = joints_of(angle)
        stretch = abs(B - complex(*linkage.ANCHOR)) - linkage.REST
        potential = linkage.GRAVITY * (k["m_A"] * A.imag + k["m_B"] * B.imag) + k["k"] * stretch**2 / 2
        slope = (joints_of(angle + h)[1] - joints_of(angle - h)[1]) / (2 * h)
        return k["m_A"] * linkage.CRANK**2 + k["m_B"] * abs(slope) ** 2, potential - force * A.imag

    def rates(t, y):
        (above, high), (below, low) = parts(y[0] + h), parts(y[0] - h)
        inertia, drop, bend = parts(y[0])[0], (high - low) / (2 * h), (above - below) / (2 * h)
        return [y[1], -(bend * y[1] ** 2 / 2 + drop + damping * linkage.CRANK**2 * y[1]) / inertia]

    return solve_ivp(
        rates, (0, end[-1]), [linkage.PUSHED if force else linkage.FREE, 0.0], t_eval=end, rtol=1e-9, atol=1e-10
    ).y[0]


@pytest.mark.parametrize("force", [linkage.FORCE, 0.0])
def test_the_linkage_moves_as_its_crank_alone(force):
    seen = linkage.linkage_case(force).weights.reshape(-1, 2, 2)
    angles = crank_alone(force, linkage.CONSTANTS["c"], linkage.TIMES)
    A, B = np.vectorize(joints_of)(angles)
    np.testing.assert_allclose(seen[:, 0] @ [1, 1j], A, atol=2e-6)
    np.testing.assert_allclose(seen[:, 1] @ [1, 1j], B, atol=2e-6)


def test_fits_side_by_side_are_those_of_linear_regression():
    case = linkage.linkage_case(linkage.FORCE)._replace(predicted=straight)
    truth = case.truth
    exact = np.asarray(straight(truth, None, None))
    seen = exact + 0.1 * np.random.default_rng(1).normal(size=(3, *exact.shape))
    seen[:, 0, :2] = 0.5  # what the first angle is read from
    found = linkage.fits(case, seen, lanes=2)  # the fourth lane is spare
    matrix = LINE.reshape(-1, 5)
    for k in range(3):
        expected, squares = np.linalg.lstsq(matrix, seen[k].ravel(), rcond=None)[:2]
        np.testing.assert_allclose(found.logs[k], expected, rtol=1e-6)
        covariance = squares[0] / (len(matrix) - 5) * np.linalg.inv(matrix.T @ matrix)
        np.testing.assert_allclose(found.deviations()[k], np.sqrt(np.diag(covariance)), rtol=1e-6)
        known = matrix[:, 1:]
        variance = squares[0] / (len(matrix) - 4)
        np.testing.assert_allclose(
            found.deviations(slice(1, None))[k], np.sqrt(variance * np.diag(np.linalg.inv(known.T @ known))), rtol=1e-6
        )


def test_a_regression_of_exact_derivatives_is_near_the_constants():
    """Five instants and a polynomial of degree 4 leave an error that falls with their spacing."""
    found = linkage.regressed(linkage.linkage_case(linkage.FORCE).weights, linkage.FORCE, 5)
    np.testing.assert_allclose(found, list(linkage.CONSTANTS.values()), rtol=0.03)


@pytest.mark.slow
def test_what_a_free_motion_does_not_show_is_the_scale():
    """Masses, spring and damper times 7 move as before; with a known force they do not."""
    logs = jnp.asarray(linkage.linkage_case(0.0).truth)
    scaled = logs + jnp.log(7.0) * jnp.array([1.0, 1, 1, 1, 0])
    free, pushed = jnp.zeros(()), jnp.asarray(linkage.FORCE)
    run = jax.jit(linkage.predicted)
    np.testing.assert_allclose(run(scaled, free, None), run(logs, free, None), atol=1e-11)
    assert np.abs(run(scaled, pushed, None) - run(logs, pushed, None)).max() > 1e-2


def test_the_direction_seen_least():
    slopes = np.random.default_rng(2).normal(size=(30, 3))
    slopes[:, 2] = -slopes[:, 0]
    np.testing.assert_allclose(np.abs(linkage.least_seen(slopes)), [np.sqrt(0.5), 0, np.sqrt(0.5)], atol=1e-12)


# -- the slider-crank --------------------------------------------------------------------------------------------------


def test_the_spring_is_as_long_and_pulls_as_published():
    q, v, (k, c) = np.array([0.7, 1.2, -0.4]), np.array([0.3, -0.2, 0.5]), crank.SPRING
    q1, x, p = q
    square = x**2 - x * (np.cos(p) + 0.5 * np.cos(q1)) + 1.25 / 4 + 0.25 * np.cos(p - q1)
    assert float(crank.length(jnp.asarray(q))) == pytest.approx(np.sqrt(square), rel=1e-14)
    by_q = np.array([
        0.5 * (np.sin(p - q1) / 2 + x * np.sin(q1)) / 2, -(np.cos(p) / 2 - x + 0.25 * np.cos(q1)),
        (x * np.sin(p) - 0.5 * np.sin(p - q1) / 2) / 2,
    ])  # fmt: skip
    f = (k * (np.sqrt(square) - 1) + c * by_q @ v / np.sqrt(square)) / np.sqrt(square)
    push = crank.forces(0.0, jnp.asarray(q), jnp.asarray(v), jnp.asarray(crank.SPRING))
    np.testing.assert_allclose(push, -f * by_q + [0, 1, -np.sin(p)], rtol=1e-13)


@pytest.mark.slow
def test_gradients_of_the_slider_crank_are_the_published_one():
    found = crank.crank_gradients(rounds=1)
    assert found["integral"] == pytest.approx(crank.INTEGRAL, abs=1e-7)
    assert max(found["from_published"].values()) < 1e-4
    assert max(found["from_converged"].values()) < 1e-6
    assert found["apart"] < 1e-6


# -- the arm -----------------------------------------------------------------------------------------------------------


def wavy():
    return np.array([4.0, 2.0]) * np.sin(np.arange(arm.KNOTS)[:, None] * [0.7, 1.1] + [0.2, 1.0])


@pytest.mark.slow
def test_the_arm_ends_where_two_angles_end():
    torques = wavy()
    path = arm.precisely(jnp.asarray(torques))
    places, speeds = arm.in_angles(torques)
    np.testing.assert_allclose(path.final_state.q, places, atol=1e-7)
    np.testing.assert_allclose(path.final_state.v, speeds, atol=1e-6)
    assert path.constraint_residual.max() < 1e-12


def test_torques_do_work_on_the_angles_that_they_turn():
    """Power at an instant: shoulder · θ̇₁ + elbow · (θ̇₂ − θ̇₁)."""
    p, r, dp, dr = 0.6, -1.1, 2.0, -3.0
    arms = arm.LENGTHS[:, None] * np.array([[np.sin(p), -np.cos(p)], [np.sin(r), -np.cos(r)]])
    turns = arm.LENGTHS[:, None] * np.array([[dp * np.cos(p), dp * np.sin(p)], [dr * np.cos(r), dr * np.sin(r)]])
    push = arm.forces(0.3, jnp.asarray(np.cumsum(arms, axis=0)), jnp.zeros((2, 2)), jnp.asarray(wavy()))
    shoulder, elbow = (np.interp(0.3, arm.TIMES, wavy()[:, k]) for k in range(2))
    power = float(np.sum(np.asarray(push) * np.cumsum(turns, axis=0)))
    assert power == pytest.approx(shoulder * dp + elbow * (dr - dp), rel=1e-12)


def test_effort_is_an_integral():
    t = np.linspace(0, arm.END, 200_001)
    tau = np.stack([np.interp(t, arm.TIMES, wavy()[:, k]) for k in range(2)])
    assert float(arm.effort(jnp.asarray(wavy()))) == pytest.approx(np.trapezoid(np.sum(tau**2, axis=0), t), rel=1e-8)


def test_torques_stay_within_their_bounds():
    assert np.all(np.abs(arm.torques_of(jnp.linspace(-50.0, 50.0, 2 * arm.KNOTS))) <= arm.BOUNDS)


def test_evolution_with_an_adapted_covariance_finds_the_bottom_of_a_bowl():
    """An ellipsoid of axes 1 to 100, which one step size for all directions does not descend."""
    scale, rng = np.geomspace(1.0, 100.0, 2 * arm.KNOTS), np.random.default_rng(0)

    def bowl(unknowns):
        return np.sum(scale * (np.asarray(unknowns) - 1) ** 2)

    found = arm.searched(arm.by_covariance, bowl, np.zeros(2 * arm.KNOTS), 16_000, rng)
    assert found.calls[-1] <= 16_000
    assert np.all(np.diff(found.least) <= 0)
    np.testing.assert_allclose(found.unknowns, 1, atol=1e-2)


@pytest.mark.slow
def test_the_gradient_of_the_swing_is_its_central_difference():
    slope, difference, still = arm.along_a_direction(np.random.default_rng(0))
    assert slope == pytest.approx(difference, rel=1e-6)
    assert still < 1e-12


def test_misses_are_named():
    one = {"name": "linkage", "constants": ["k"], "noiseless": [1e-3], "hit": [0.5]}
    gradients = {"from_published": {"forward mode": 1.0}, "apart": 1.0}
    end = {"loss": 1.0, "distance": 1.0, "speed": 0.0, "apart": 1.0}
    swing = {"slope": 1.0, "difference": 2.0, "searches": {"Adam": {"ends": [end]}}}
    assert misses([one], gradients, swing) == [
        "linkage: k without noise is 1.0e-03 off",
        "linkage: 50 % of the intervals hold k",
        "slider-crank: forward mode is 1.0e+00 from the published gradient",
        "slider-crank: gradients are 1.0e+00 apart",
        "arm: the gradient is not the central difference",
        "arm: it ends 1.0e+00 m and 0.0e+00 m/s from upright at rest",
        "arm: SciPy in two angles ends 1.0e+00 elsewhere",
    ]
