"""Elimination of low rank against block elimination, which shares the linearisation with it and nothing else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import lagrangian_learning as ll
from lagrangian_learning.learning.multipliers import BlockTridiagonal, ConjugateGradients, LowRankElimination
from lagrangian_learning.learning.multipliers.low_rank import eliminated
from tests.helpers import relative

TAPERED = (9, 12, 12, 5, 12, 12, 3)


def system(sizes, key, factor=2.5, mass_ratio=1e-1, dtype=jnp.float64):
    """G linearised at weights of `factor` times those of init, a load, and the mass ratio."""
    network = ll.Layered(sizes, bias=True)
    W = jax.tree.map(lambda w: factor * w, network.init(key, dtype))
    x = network.forward(W, jnp.cos(jnp.arange(sizes[0], dtype=dtype)))
    load = jax.tree.map(lambda leaf: jnp.sin(1 + jnp.arange(leaf.size, dtype=dtype)), x)
    return network.linearised(x, W), load, jnp.asarray(mass_ratio, dtype)


@jax.jit
def by_blocks(linearised, load, ratio):
    return BlockTridiagonal().solve(linearised, load, ratio)


def solved(solver):
    return jax.jit(lambda linearised, load, ratio: solver.solution(linearised, load, ratio))


@pytest.mark.parametrize("sizes", [pytest.param((12,) * 9, marks=pytest.mark.slow), TAPERED], ids=["equal", "tapered"])
def test_heavy_weights_take_few_steps_to_the_solution_of_block_elimination(sizes, key):
    at = system(sizes, key)
    found, plain = solved(LowRankElimination(rank=6))(*at), solved(ConjugateGradients())(*at)
    mu, delta = by_blocks(*at)
    assert relative(found.value, mu) < 1e-10
    assert relative(found.image, delta) < 1e-9
    assert float(found.residual) <= 1e-12
    assert int(found.steps) <= int(plain.steps) / 2


def test_the_whole_rank_is_the_elimination_itself(key):
    at = system((8,) * 6, key)
    assert int(solved(LowRankElimination(rank=8, rtol=1e-8))(*at).steps) <= 3


@pytest.mark.parametrize("rank", [1, 100])
def test_any_rank_gives_the_solution(rank, key):
    at = system(TAPERED, key)
    assert relative(solved(LowRankElimination(rank=rank))(*at).image, by_blocks(*at)[1]) < 1e-9


def test_no_mass_is_backpropagation_in_one_step(key):
    linearised, load, _ = system(TAPERED, key)
    found = solved(LowRankElimination())(linearised, load, jnp.asarray(0.0))
    assert int(found.steps) == 1
    assert relative(found.image, linearised.backward(load)) < 1e-12


@pytest.mark.slow
def test_float32_is_as_exact_as_conjugate_gradients(key):
    at = system((12,) * 9, key, dtype=jnp.float32)
    found, plain = solved(LowRankElimination())(*at), solved(ConjugateGradients())(*at)
    exact = by_blocks(*jax.tree.map(lambda leaf: leaf.astype(jnp.float64), at))[1]
    assert {leaf.dtype for leaf in found.image} == {jnp.dtype("float32")}
    assert relative(found.image, exact) < max(2 * relative(plain.image, exact), 1e-5)


def test_too_few_steps_are_no_number(key):
    found = solved(LowRankElimination(rank=1, max_steps=1))(*system((8,) * 6, key))
    assert np.all(np.isnan(ravel_pytree(found.value)[0]))
    assert int(found.steps) == 1
    assert float(found.residual) > 1e-9


def test_lanes_under_vmap(key):
    linearised, load, _ = system((6,) * 5, key)
    solve = jax.jit(jax.vmap(lambda ratio: LowRankElimination().solution(linearised, load, ratio).image))
    ratios = jnp.array([0.0, 1e-3, 1e-1])
    for k, ratio in enumerate(ratios):
        assert relative(jax.tree.map(lambda leaf: leaf[k], solve(ratios)), by_blocks(linearised, load, ratio)[1]) < 1e-9  # noqa: B023  # called at once


@pytest.mark.parametrize(
    ("given", "named"), [({"rank": 0}, "rank"), ({"rtol": -1.0}, "rtol"), ({"max_steps": 0}, "max_steps")]
)
def test_settings_that_do_not_fit(given, named):
    with pytest.raises(ValueError, match=named):
        LowRankElimination(**given)


def test_digraphs_are_refused_by_name():
    action = ll.CognitiveAction(ll.networks.xor_network(), mass_x=0.1)
    with pytest.raises(ValueError, match=r"for ll.Layered networks only.*ConjugateGradients"):
        action.law(multiplier_solver=LowRankElimination())


@pytest.mark.slow
def test_derivatives_are_those_of_block_elimination(key):
    def number(point, solver):
        return ravel_pytree(solver.multipliers(*point))[0].sum()

    at = system((5, 6, 6, 4), key)
    gradients = [
        jax.jit(jax.grad(lambda load, s=s: number((at[0], load, at[2]), s)))(at[1])
        for s in (LowRankElimination(), BlockTridiagonal())
    ]
    assert relative(*gradients) < 1e-9


def test_narrow_networks_keep_at_least_one_direction(key):
    at = system((3, 3, 3), key)
    by_default, by_one = (solved(LowRankElimination(rank=rank))(*at) for rank in (None, 1))
    np.testing.assert_array_equal(ravel_pytree(by_default.image)[0], ravel_pytree(by_one.image)[0])
    assert int(by_default.steps) == int(by_one.steps)


@pytest.mark.parametrize("scale", [0.0, 1e-200])
def test_the_size_of_the_load_does_not_matter(scale, key):
    linearised, load, ratio = system((3, 3, 3), key)
    small = jax.tree.map(lambda leaf: scale * leaf, load)
    found = solved(LowRankElimination())(linearised, small, ratio)
    wanted = ravel_pytree(by_blocks(linearised, load, ratio)[1])[0]
    np.testing.assert_allclose(ravel_pytree(found.image)[0], scale * wanted, rtol=1e-8)
    assert float(found.residual) < 1e-9


def test_pivots_keep_no_more_than_their_rank(key):
    linearised, _, ratio = system(TAPERED, key)
    widths = [pivot.columns.shape[1] for pivot in eliminated(linearised, ratio, 4)]
    assert (widths[:3], max(widths)) == ([0, 0, 4], 4)
