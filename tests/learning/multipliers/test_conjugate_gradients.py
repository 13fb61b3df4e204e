"""Conjugate gradients against NumPy's dense solve, and what they report of themselves."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lagrangian_learning as ll
from lagrangian_learning.learning.multipliers.conjugate_gradients import conjugate_gradients

SIZE = 12


@pytest.fixture(scope="module")
def matrix():
    """Symmetric positive definite, with four different eigenvalues: exact arithmetic ends after four steps."""
    rng = np.random.default_rng(7)
    vectors, _ = np.linalg.qr(rng.normal(size=(SIZE, SIZE)))
    return vectors @ np.diag(np.repeat([0.5, 1.0, 2.0, 7.0], 3)) @ vectors.T


def split(flat):
    return (flat[:5], {"rest": flat[5:]})


def product(matrix):
    def apply(tree):
        image = jnp.asarray(matrix, tree[0].dtype) @ jnp.concatenate([tree[0], tree[1]["rest"]])
        return split(image), split(image[::-1])

    return apply


def flat(tree):
    return np.concatenate([tree[0], tree[1]["rest"]])


def test_solution_steps_and_residual(matrix):
    right = np.cos(np.arange(SIZE))
    found = conjugate_gradients(product(matrix), split(jnp.asarray(right)), 1e-12, 100)
    np.testing.assert_allclose(flat(found.value), np.linalg.solve(matrix, right), rtol=1e-11, atol=1e-13)
    assert int(found.steps) == 4
    left = np.linalg.norm(matrix @ flat(found.value) - right) / np.linalg.norm(right)
    assert left < 1e-12
    assert float(found.residual) < 1e-12


def test_a_guess_saves_steps(matrix):
    right = np.cos(np.arange(SIZE))
    exact = np.linalg.solve(matrix, right)
    near = split(jnp.asarray(exact * (1 + 1e-9)))
    found = conjugate_gradients(product(matrix), split(jnp.asarray(right)), 1e-8, 100, near)
    assert int(found.steps) == 0
    np.testing.assert_allclose(flat(found.value), exact, rtol=1e-8)


def test_too_few_steps_are_no_number(matrix):
    found = conjugate_gradients(product(matrix), split(jnp.cos(jnp.arange(1.0 * SIZE))), 1e-12, 2)
    assert np.all(np.isnan(flat(found.value)))
    assert float(found.residual) > 1e-12
    assert int(found.steps) == 2


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e30])
def test_size_of_the_right_side_does_not_matter_in_float32(matrix, scale):
    right = np.float32(scale) * np.cos(np.arange(SIZE, dtype=np.float32))
    found = conjugate_gradients(product(matrix), split(jnp.asarray(right)), 1e-6, 100)
    expected = np.linalg.solve(matrix, right.astype(np.float64))
    np.testing.assert_allclose(flat(found.value), expected, rtol=1e-4, atol=2e-6 * scale)
    assert flat(found.value).dtype == np.float32
    assert float(found.residual) <= 1e-6


def test_a_nan_ends_at_once_and_leaves_other_lanes_alone(matrix):
    good = jnp.stack([jnp.cos(jnp.arange(1.0 * SIZE)), jnp.ones(SIZE), jnp.sin(jnp.arange(1.0 * SIZE))])
    solve = jax.jit(jax.vmap(lambda b: conjugate_gradients(product(matrix), split(b), 1e-12, 100)))
    lanes = solve(good.at[1].set(jnp.nan))
    expected = solve(good)
    for lane in (0, 2):
        for got, wanted in zip(jax.tree.leaves(lanes), jax.tree.leaves(expected), strict=True):
            np.testing.assert_array_equal(got[lane], wanted[lane])
    assert int(lanes.steps[1]) == 0
    assert np.all(np.isnan(lanes.value[0][1]))


@pytest.mark.slow
def test_a_run_reports_multipliers_that_were_not_found():
    network = ll.Layered((2, 3, 1))
    law = ll.CognitiveAction(network, mass_x=10.0).law(multiplier_solver=ll.multipliers.ConjugateGradients(max_steps=1))
    stimulus = ll.Stimulus(ll.Sinusoids(jnp.array([1.0, 1.6]), 1.0, 0.5), jnp.array([0.4]))
    W = network.init(jax.random.key(0))
    start = law.initial_state(0.0, W, jax.tree.map(jnp.cos, W), stimulus)
    path = ll.simulate(law, start, jnp.array([0.0, 0.1]), stimulus, dt0=0.05, solver=diffrax.Heun(), throw=False)
    assert path.result == ll.RESULTS.singular_multipliers
