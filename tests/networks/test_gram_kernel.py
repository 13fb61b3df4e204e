import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lagrangian_learning.networks.linearisation import PRODUCTS, gram_kernel


@pytest.mark.parametrize("bias", [False, True])
def test_it_is_the_gram_matrix_of_the_inputs(bias):
    x = np.random.default_rng(0).normal(size=(4, 6))
    np.testing.assert_allclose(gram_kernel(jnp.asarray(x), 5, bias=bias), x @ x.T + bias, rtol=1e-14)
    np.testing.assert_allclose(gram_kernel(jnp.asarray(x[0]), 5, bias=bias), x[0] @ x[0] + bias, rtol=1e-14)


def operations(function, *shapes):
    like = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    return jax.jit(function).lower(*like).compile().cost_analysis()["flops"]


def with_kernel(x, *errors):
    kernel = x @ x.T
    return [kernel @ error for error in errors]


def without_kernel(x, *errors):
    return [x @ (x.T @ error) for error in errors]


@pytest.mark.parametrize("sizes", [(32, 64, 128), (128, 64, 16), (16, 5, 40), (40, 64, 9), (64, 16, 16)])
def test_it_is_formed_where_xla_counts_fewer_operations(sizes):
    """The rule against XLA's own count of PRODUCTS products, with K and without."""
    batch, below, above = sizes
    shapes = [(batch, below), *[(batch, above)] * PRODUCTS]
    fewer = operations(with_kernel, *shapes) < operations(without_kernel, *shapes)
    assert (gram_kernel(jnp.zeros((batch, below)), above, bias=False) is not None) == fewer
