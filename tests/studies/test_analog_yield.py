"""Analog networks of unequal parts, against equations by hand and differences (benchmarks/studies/analog_yield.py)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lagrangian_learning as ll
from benchmarks.studies import analog_network, analog_yield
from benchmarks.studies.analog_network import (
    NETWORK,
    PARTS,
    SPEED,
    SPREAD,
    begun_at,
    devices,
    loss,
    made,
    of_all,
    speeds,
    stimulus,
)
from benchmarks.studies.analog_yield import LEARNED, NOMINAL, WIDTH, chosen, judged, misses, smooth, smooth_yield

UNEQUAL = NOMINAL + np.array([0.3, -0.4, 0.2, -0.1, 0.5, 0.0, -0.3])


def double(tree):
    return jax.tree.map(lambda leaf: leaf.astype(jnp.float64), tree)


@pytest.fixture
def device():
    return jax.tree.map(lambda leaf: leaf[0], double(devices(jax.random.key(0), 1)))


def test_rates_are_those_of_the_equations_by_hand(device):
    law, signals = made(jnp.asarray(UNEQUAL), device), stimulus(device)
    start = begun_at(device)
    rng = np.random.default_rng(0)
    start = jax.tree.map(lambda leaf: leaf + 0.3 * rng.normal(size=leaf.shape), start)
    found = law.rates(0.7, start, signals).state
    (x, W), delta = jax.tree.map(np.asarray, (start.q, start.multipliers))
    u, y = (np.asarray(part(jnp.asarray(0.7))) for part in (signals.input, signals.target))
    c, e, eta = (jax.tree.map(np.asarray, part) for part in (law.speed, law.error_speed, law.rate))
    z1, z2 = np.tanh(W[0] @ x[0]), np.tanh(W[1] @ x[1])
    p1, p2 = (1 - z1**2) * delta[1], (1 - z2**2) * delta[2]
    expected = (
        (c[0] * (u - x[0]), c[1] * (z1 - x[1]), c[2] * (z2 - x[2])),
        (eta[0] * np.outer(p1, x[0]), eta[1] * np.outer(p2, x[1])),
        (e[0] * (W[0].T @ p1 - delta[0]), e[1] * (W[1].T @ p2 - delta[1]), e[2] * (y - x[2] - delta[2])),
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), (*found.q, found.multipliers), expected)


def test_equal_parts_are_backprop_diffusion(device):
    equal = device._replace(**{name: jax.tree.map(jnp.zeros_like, getattr(device, name)) for name in
                               ("speed", "error_speed", "rate")})  # fmt: skip
    design = jnp.log(jnp.array([0.5, 0.5, *(SPEED,) * 5]))
    start, signals = begun_at(device), stimulus(device)
    ours = made(design, equal).rates(1.0, start, signals).state
    law = ll.BackpropDiffusion(NETWORK, ll.SquaredError(), 2.0, SPEED)
    theirs = law.rates(1.0, start, signals).state
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12), ours, theirs)


def test_parts_are_log_normal_about_the_design_and_the_power_is_given():
    many = devices(jax.random.key(1), 4000)
    laws = jax.vmap(made, (None, 0))(jnp.asarray(UNEQUAL, jnp.float32), many)
    c = np.asarray(speeds(jnp.asarray(UNEQUAL)))
    assert np.dot(PARTS, c) == pytest.approx(SPEED * sum(PARTS), rel=1e-12)
    np.testing.assert_allclose(c[2] / c[0], np.exp(0.3), rtol=1e-12)
    parts = [(laws.speed[1], c[1]), (laws.error_speed[2], c[4]), (laws.rate[0], 0.4 * np.exp(0.3))]
    for drawn, nominal in parts:
        off = np.log(np.asarray(drawn) / nominal)
        np.testing.assert_allclose(off.mean(axis=0), 0, atol=4 * SPREAD / np.sqrt(4000))
        np.testing.assert_allclose(off.std(axis=0), SPREAD, rtol=0.06)
        assert np.abs(off).max() <= 3.001 * SPREAD


def test_the_smooth_yield_is_one_half_at_the_threshold():
    found = np.asarray(smooth(LEARNED * np.exp([-WIDTH, 0.0, WIDTH, np.inf])))
    np.testing.assert_allclose(found, [1 / (1 + np.exp(-1)), 0.5, 1 / (1 + np.e), 0], rtol=1e-6, atol=1e-12)


def test_a_search_keeps_the_best_so_far(monkeypatch):
    monkeypatch.setattr(analog_yield, "of_all", lambda designs, given: np.tile(np.abs(designs[:, :1] - 3), (1, 4)))
    designs = np.array([[0.0], [2.0], [9.0], [3.0 + 1e-3], [5.0]])
    search = chosen(jax.random.key(0), designs, 4)
    assert search.design == pytest.approx(3.001)
    np.testing.assert_allclose(search.path[:, 0], [0, 2, 2, 3.001, 3.001])
    np.testing.assert_allclose(search.runs, [4, 8, 12, 16, 20])


def test_a_yield_has_the_error_of_a_binomial_share(monkeypatch):
    losses = np.array([0.1, 0.5, 2.0, np.inf]) * LEARNED
    monkeypatch.setattr(analog_yield, "of_all", lambda designs, given: losses[None])
    found = judged(NOMINAL, None)
    assert found["yield"] == 0.5
    assert found["error"] == pytest.approx(0.25)


def test_misses_are_named():
    found = {"nominal": {"yield": 0.5, "error": 0.01}, "random search": {"yield": 0.7, "error": 0.01},
             "centred by gradient": {"yield": 0.55, "error": 0.01}}  # fmt: skip
    assert misses(found) == [
        "centring yields 55.0%, and nominal 50.0%",
        "centring yields 55.0%, and random search 70.0%",
    ]


@pytest.mark.slow
def test_the_gradient_through_learning_is_that_of_differences(monkeypatch):
    monkeypatch.setattr(analog_network, "DURATION", 8.0)
    few = double(devices(jax.random.key(2), 3))
    design = jnp.asarray(UNEQUAL)
    slope = jax.jit(jax.grad(smooth_yield))(design, few)
    value = jax.jit(smooth_yield)
    steps = 1e-4 * np.eye(7)
    differences = [(value(design + step, few) - value(design - step, few)) / 2e-4 for step in steps]
    np.testing.assert_allclose(slope, differences, rtol=1e-6, atol=1e-9)
    assert abs(np.sum(slope[2:])) < 1e-9  # speeds that all grow alike are the same division of the power


@pytest.mark.slow
def test_the_batch_and_the_differentiable_run_end_alike(monkeypatch):
    monkeypatch.setattr(analog_network, "DURATION", 8.0)
    few = devices(jax.random.key(3), 4)
    single, ended = jax.jit(jax.vmap(loss, (None, 0)))(jnp.asarray(UNEQUAL, jnp.float32), few)
    assert np.all(ended)
    np.testing.assert_allclose(of_all(UNEQUAL[None], few)[0], single, rtol=1e-4)
