"""Loops of arithmetic as one kernel of a CPU: marked so, computed right, and nothing else let in."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from lagrangian_learning.fused.lanewise import Lanewise, Table, kept
from lagrangian_learning.fused.one_kernel import fits_one_kernel, one_kernel

LANES = 64


def logistic_maps(count, rows):
    return lax.fori_loop(0, count, lambda _, x: [3.7 * x[0] * (1 - x[0])], rows)


@pytest.fixture(scope="module")
def compiled():
    like = [jax.ShapeDtypeStruct((LANES,), np.float64)]
    return jax.jit(one_kernel(logistic_maps)).lower(20, like).compile()


def test_the_loop_is_one_marked_call_and_its_inside_bears_no_mark(compiled):
    marked = [line for line in compiled.as_text().splitlines() if 'inlineable="false"' in line]
    assert len(marked) == 1
    assert re.search(r"= .* call\(.*xla_cpu_small_call", marked[0])


def test_it_is_the_same_loop(compiled):
    x = start = np.linspace(0.1, 0.9, LANES)
    for _ in range(20):
        x = 3.7 * x * (1 - x)
    # Chaotic: 20 maps grow a rounding by some 1e5.
    np.testing.assert_allclose(compiled(20, [jnp.asarray(start)])[0], x, atol=1e-10)


def test_only_arithmetic_entry_by_entry_on_a_cpu_fits(monkeypatch):
    number = jax.ShapeDtypeStruct((3,), np.float64)
    plain = Lanewise(lambda x: jnp.tanh(x) @ x, number).program
    assert fits_one_kernel(plain, [[[1.0]]])
    assert not fits_one_kernel(plain, [[Table(np.zeros(3))]])
    assert not fits_one_kernel(Lanewise(jnp.sort, number).program, [])  # a call on an array
    assert not fits_one_kernel(Lanewise(lambda x: jax.scipy.special.gammainc(x, x), number).program, [])  # a loop
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert not fits_one_kernel(plain, [])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_what_is_kept_keeps_its_bits(dtype):
    """A division by one, that XLA must not see through."""
    tiny = np.finfo(dtype).tiny
    values = np.asarray([0.0, -0.0, 1.5, tiny, -tiny, np.finfo(dtype).max, np.inf, -np.inf, np.nan], dtype)
    np.testing.assert_array_equal(jax.jit(kept)(values), values)
    assert "divide" in jax.jit(kept).lower(values).compile().as_text()
