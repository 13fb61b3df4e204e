"""Borders of waves by Newton's method, against SciPy and closed forms (benchmarks/studies/wave_limits.py)."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.stats import linregress

from benchmarks.studies import wave_border
from benchmarks.studies.phase_diagram import FAITHFUL
from benchmarks.studies.wave_border import AIM, Lanes, begun_at, border, depth_run, drawn
from benchmarks.studies.wave_limits import misses, power_law


def curved(run, logs, direction, lanes):
    """A distance of 0.1 where ω = k c^0.9, k that of the lane, with a bend; and its derivative."""
    off = logs @ np.array([1.0, -0.9]) - lanes.theta
    return AIM + off + 0.05 * off**2, (1 + 0.1 * off) * (np.array([1.0, -0.9]) @ direction)


@pytest.mark.parametrize("moved", [0, 1])
def test_newton_finds_a_border_that_is_known(monkeypatch, moved):
    monkeypatch.setattr(wave_border, "linearised", curved)
    log_k = np.log([0.01, 0.05, 0.3])
    lanes = Lanes(None, jnp.zeros((3, 3)), log_k)
    found = border(depth_run(2), lanes, np.log([[0.03, 2.0]] * 3), moved)
    np.testing.assert_allclose(found.at[:, 0], log_k + 0.9 * found.at[:, 1], rtol=1e-9)
    np.testing.assert_allclose(found.exponent, 0.9, rtol=1e-9)
    np.testing.assert_array_less(found.error, 1e-9)
    np.testing.assert_array_equal(found.at[:, 1 - moved], np.log([0.03, 2.0])[1 - moved])
    assert found.runs.max() == len(found.path)


def folded(run, logs, direction, lanes):
    """A distance that rises with ω, but for stretches on which it falls."""
    z = logs @ np.array([1.0, -1.0]) - lanes.theta
    return AIM + z + 1.2 * np.sin(3 * z), (1 + 3.6 * np.cos(3 * z)) * (np.array([1.0, -1.0]) @ direction)


def bent(run, logs, direction, lanes):
    """A distance so steep at the border that Newton's own steps go ever farther beyond it, to this side and to that."""
    z = logs @ np.array([1.0, -1.0]) - lanes.theta
    slope = (z**2 + 0.01) ** -0.3 - 0.6 * z**2 * (z**2 + 0.01) ** -1.3
    return AIM + z * (z**2 + 0.01) ** -0.3, slope * (np.array([1.0, -1.0]) @ direction)


@pytest.mark.parametrize("moved", [0, 1])
@pytest.mark.parametrize("shape", [folded, bent])
@pytest.mark.filterwarnings("error")
def test_newton_settles_where_its_own_steps_would_not(monkeypatch, shape, moved):
    monkeypatch.setattr(wave_border, "linearised", shape)
    begin = np.zeros((9, 2))
    begin[:, 0] = np.linspace(-2.9, 3.1, 9)
    lanes = Lanes(None, jnp.zeros((9, 3)), np.zeros(9))
    found = border(depth_run(2), lanes, begin, moved)
    np.testing.assert_allclose(shape(None, found.at, np.ones(2), lanes)[0], AIM, atol=1e-9)


def test_lanes_together_move_to_the_border_of_their_median(monkeypatch):
    monkeypatch.setattr(wave_border, "linearised", curved)
    log_k = np.log([0.01, 0.3, 0.05, 0.6, 0.2, 0.4])
    found = border(depth_run(2), Lanes(None, jnp.zeros((6, 3)), log_k), np.zeros((6, 2)), together=3)
    np.testing.assert_allclose(np.exp(found.at[:, 0]), np.repeat([0.05, 0.4], 3), rtol=1e-8)


def test_the_power_law_is_that_of_linear_regression():
    rng = np.random.default_rng(0)
    found = [{"layers": layers, "ratio": np.exp(rng.normal(-np.log(layers), 0.3, 5))} for layers in (2, 4, 8)]
    expected = linregress(np.repeat(np.log([2, 4, 8]), 5), np.log(np.concatenate([one["ratio"] for one in found])))
    law = power_law(found)
    assert law["exponent"] == pytest.approx(expected.slope, rel=1e-10)
    assert law["error"] == pytest.approx(expected.stderr, rel=1e-10)
    assert np.log(law["at_one_layer"]) == pytest.approx(expected.intercept, rel=1e-10)


def test_misses_are_named():
    diagram = {"omega": np.array([1.0, 2.0]), "recorded": np.array([1.1, 2.0]), "cell": 0.18, "cosine": 0.98}
    one = {"layers": 3, "error": 1e-12, "off_by_c": 1e-3, "off_differences": np.nan}
    assert misses(diagram, [one]) == [
        "the recorded border is 9.1 % off",
        "the diagram's own run has a cosine 1.0e-02 off at Newton's border",
        "3 layers: off_by_c is 1.0e-03",
        "3 layers: off_differences is nan",
    ]


def by_scipy(W, phase, omega, run):
    """√(1 − cosine), the least of two layers, of (18) and (20) written by hand; c = 1."""
    W1, W2 = W
    rates, offsets = omega * np.array([1.0, 0.77]), phase[:2]

    def signals(t):
        return np.sin(rates * t + offsets), 0.5 * np.sin(1.19 * omega * t + phase[2:])

    def waves(t, y):
        x0, x1, x2, d0, d1, d2 = np.split(y, np.cumsum([2, 4, 1, 2, 4]))
        (u, goal), z1, z2 = signals(t), np.tanh(W1 @ x0), np.tanh(W2 @ x1)
        back0, back1 = W1.T @ ((1 - z1**2) * d1), W2.T @ ((1 - z2**2) * d2)
        return np.concatenate([u - x0, z1 - x1, z2 - x2, back0 - d0, back1 - d1, goal - x2 - d2])

    def forces(x0, x1, d1, d2):
        p1, p2 = (1 - np.tanh(W1 @ x0) ** 2) * d1, (1 - np.tanh(W2 @ x1) ** 2) * d2
        return np.outer(p1, x0), np.outer(p2, x1)

    instants = run.interval / omega * np.arange(run.waited, run.waited + run.samples + 1)
    y = solve_ivp(waves, (0, instants[-1]), np.zeros(14), "DOP853", instants, rtol=1e-10, atol=1e-12).y.T
    formed = [forces(one[:2], one[2:6], one[9:13], one[13:]) for one in y]
    true = []
    for t in instants:
        u, goal = signals(t)
        x1 = np.tanh(W1 @ u)
        x2 = np.tanh(W2 @ x1)
        d2 = goal - x2
        true.append(forces(u, x1, W2.T @ ((1 - x2**2) * d2), d2))
    cosines = []
    for layer in range(2):
        a, b = (np.array([one[layer] for one in all_times]).ravel() for all_times in (formed, true))
        cosines.append(a @ b / np.sqrt((a @ a) * (b @ b)))
    return np.sqrt(1 - min(cosines))


@pytest.mark.slow
def test_scipy_has_the_same_border_and_the_same_derivative():
    run = depth_run(2)
    lanes = drawn(run.network, 1, 2)
    found = border(run, lanes, begun_at(lanes, 2))
    for k, (omega, slope) in enumerate(zip(found.ratio, found.slope, strict=True)):
        W, phase = [np.asarray(w[k]) for w in lanes.W], np.asarray(lanes.phase[k])
        assert by_scipy(W, phase, omega, run) == pytest.approx(np.sqrt(1 - FAITHFUL), rel=1e-3)
        up, down = (np.log(by_scipy(W, phase, omega * np.exp(h), run)) for h in (1e-3, -1e-3))
        assert slope == pytest.approx((up - down) / 2e-3, rel=1e-3)
