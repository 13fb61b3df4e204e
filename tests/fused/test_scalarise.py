"""`scalarise` against the functions themselves and NumPy, primitive by primitive, and what it leaves out or refuses."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from lagrangian_learning.fused.scalars import NotScalarError, program_of, scalarise

X = np.array([[0.3, -1.2, 2.0], [0.7, 0.1, -0.4]])
SQUARE = np.array([[0.1, 2.0, -1.0], [3.0, -0.2, 0.5], [1.0, 0.4, 0.3]])
SYMMETRIC = SQUARE @ SQUARE.T + np.eye(3)

# name: (function in JAX, the same in NumPy, arguments)
AGAINST_NUMPY = {
    "matrix product": (lambda a, b: a @ b, np.matmul, (X, SQUARE)),
    "batched product": (
        lambda a, b: jnp.einsum("bij,bjk->bki", a, b),
        lambda a, b: np.einsum("bij,bjk->bki", a, b),
        (np.stack([SQUARE, SYMMETRIC]), np.stack([SYMMETRIC, SQUARE])),
    ),
    "sums and extrema": (
        lambda x: (x.sum(0), x.prod(), x.max(1), x.min(), jnp.argmax(x), jnp.argmin(x, axis=1)),
        lambda x: (x.sum(0), x.prod(), x.max(1), x.min(), np.argmax(x), np.argmin(x, axis=1)),
        (X,),
    ),
    "cumulations": (
        lambda x: (jnp.cumsum(x, 1), lax.cumsum(x, 0, reverse=True), jnp.cumprod(x, 0)),
        lambda x: (np.cumsum(x, 1), np.cumsum(x[::-1], 0)[::-1], np.cumprod(x, 0)),
        (X,),
    ),
    "moving entries": (
        lambda x: (x.T[::-1], jnp.pad(x, ((1, 0), (0, 2)), constant_values=5.0), jnp.tile(x, (2, 1)), x[1:, ::2]),
        lambda x: (x.T[::-1], np.pad(x, ((1, 0), (0, 2)), constant_values=5.0), np.tile(x, (2, 1)), x[1:, ::2]),
        (X,),
    ),
    "indices known": (
        lambda x: (x[:, np.array([2, 0, 2])], x.at[1, np.array([0, 0])].add(3.0), jnp.stack(jnp.split(x, 3, 1))),
        lambda x: (
            x[:, [2, 0, 2]],
            x + np.array([[0, 0, 0], [6.0, 0, 0]]),
            np.stack(np.split(x, 3, 1)),
        ),
        (X,),
    ),
    "indices computed": (
        lambda x, k: (x[k], x[:, k + 1], x.at[k, 2].set(9.0), lax.dynamic_slice(x, (k, k), (1, 2))),
        lambda x, k: (
            x[k],
            x[:, k + 1],
            np.where((np.arange(2) == k)[:, None] & (np.arange(3) == 2), 9.0, x),
            x[k : k + 1, k : k + 2],
        ),
        (X, np.int32(1)),
    ),
    "Cholesky": (jnp.linalg.cholesky, np.linalg.cholesky, (SYMMETRIC,)),
    "LU with pivots": (lambda a, b: jnp.linalg.solve(a, b), np.linalg.solve, (SQUARE, X.T)),
    "inverse": (jnp.linalg.inv, np.linalg.inv, (SQUARE,)),
    "branches": (
        lambda x: (lax.cond(x[0, 0] > 0, jnp.sin, jnp.cos, x), lax.switch(jnp.int32(7), [jnp.sin, jnp.exp], x)),
        lambda x: (np.sin(x), np.exp(x)),
        (X,),
    ),
    "loops": (
        lambda x: (
            lax.scan(lambda c, row: (c + row, c * row), x[0], x, reverse=True),
            lax.fori_loop(0, 3, lambda i, y: y * x + i, x),
        ),
        lambda x: (((x.sum(0) + x[0]), np.stack([(x[0] + x[1]) * x[0], x[0] * x[1]])), ((x * x) * x + 1) * x + 2),
        (X,),
    ),
    "powers and roots": (
        lambda x: (x**3, x**-2, jnp.sqrt(x**2), jnp.hypot(x, 1.0), jnp.round(x), jnp.sign(x)),
        lambda x: (x**3, x**-2.0, np.sqrt(x**2), np.hypot(x, 1.0), np.round(x), np.sign(x)),
        (X,),
    ),
}


def leaves(tree):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


@pytest.mark.parametrize("name", AGAINST_NUMPY)
def test_against_numpy(name):
    ours, theirs, arguments = AGAINST_NUMPY[name]
    arguments = tuple(jnp.asarray(argument) for argument in arguments)
    program, _ = program_of(ours, *arguments)
    assert not program.calls
    found = scalarise(ours)(*arguments)
    for got, expected in zip(leaves(found), leaves(theirs(*map(np.asarray, arguments))), strict=True):
        assert got.shape == expected.shape
        np.testing.assert_allclose(got, expected, rtol=1e-13, atol=1e-14)


def random_function(seed):
    """A chain of random operations on two arrays [3] and [3, 3], without a second implementation."""
    rng = np.random.default_rng(seed)
    steps = rng.integers(0, 8, 4)

    def function(x, a):
        for k in steps:
            x = [
                lambda x: jnp.tanh(a @ x),
                lambda x: x * x[::-1] / 4 + 1,
                lambda x: jnp.where(x > 0, x, jnp.sin(x)),
                lambda x: x - jnp.mean(x),
                lambda x: jnp.cumsum(x) / 2,
                lambda x: x[jnp.argmax(x)] * x,
                lambda x: x.at[0].set(x[1] * x[2]),
                lambda x: jax.jvp(lambda y: jnp.sin(a @ y), (x,), (x,))[1],
            ][k](x)
        return x, jax.grad(lambda y: jnp.sum(jnp.cos(a @ y)))(x)

    return function


def test_random_functions_agree_with_themselves():
    """Against the same functions run by JAX as they are: eighteen chains of operations, in one compilation each way."""
    x, a = jnp.asarray([0.3, -0.7, 1.1]), jnp.asarray(SQUARE)
    functions = [random_function(seed) for seed in range(18)]
    plain = jax.jit(lambda x, a: [f(x, a) for f in functions])(x, a)
    ours = jax.jit(lambda x, a: [scalarise(f)(x, a) for f in functions])(x, a)
    for got, expected in zip(leaves(ours), leaves(plain), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-13)


def test_structural_zeros_cost_nothing():
    """The derivative of x ↦ (x₀², x₁³, …) is diagonal: only its diagonal is computed."""
    powers = lambda x: jnp.stack([x[0] ** 2, x[1] ** 3, x[2] * 5])  # noqa: E731
    program, _ = program_of(jax.jacfwd(powers), jnp.ones(3))
    assert program.flops <= 3  # 2x, x² and 3x²
    assert sum(node.is_constant for node in program.results[0].ravel()) == 7


def test_equal_expressions_are_computed_once():
    program, _ = program_of(lambda x: jnp.sin(x[0] * x[1]) + jnp.sin(x[1] * x[0]) ** 2, jnp.ones(2))
    assert program.operations["sin"] == 1
    assert program.transcendentals == 1


def test_under_vmap_and_grad():
    def function(x, a):
        return jnp.linalg.solve(a, jnp.tanh(x))

    xs = jnp.linspace(-1, 1, 12).reshape(4, 3)
    batch = jax.jit(jax.vmap(scalarise(function), (0, None)))(xs, jnp.asarray(SQUARE))
    expected = np.linalg.solve(SQUARE, np.tanh(np.asarray(xs)).T).T
    np.testing.assert_allclose(batch, expected, rtol=1e-12)
    slope = jax.grad(lambda x: scalarise(function)(x, jnp.asarray(SQUARE))[0])(xs[0])
    np.testing.assert_allclose(slope, np.linalg.inv(SQUARE)[0] * (1 - np.tanh(xs[0]) ** 2), rtol=1e-12)


def test_loops_of_unknown_length_stay_loops_and_give_the_same():
    """Newton's method for √a, stopped by its residual."""

    def root(a):
        return lax.while_loop(lambda x: jnp.abs(x * x - a) > 1e-14 * a, lambda x: (x + a / x) / 2, a)

    program, _ = program_of(root, jnp.asarray(2.0))
    assert program.calls == ("while",)
    np.testing.assert_allclose(jax.vmap(scalarise(root))(jnp.asarray([2.0, 9.0])), [2**0.5, 3.0], rtol=1e-14)


def test_long_tables_are_looked_up_and_eigenvalues_stay_calls():
    table = jnp.arange(10_000.0)
    looked_up = scalarise(lambda k, table: table[k] + 1)
    assert float(looked_up(jnp.int32(7777), table)) == 7778
    assert program_of(jnp.linalg.eigvalsh, jnp.asarray(SYMMETRIC))[0].calls
    found = scalarise(jnp.linalg.eigvalsh)(jnp.asarray(SYMMETRIC))
    np.testing.assert_allclose(found, np.linalg.eigvalsh(SYMMETRIC), rtol=1e-12)


def test_a_run_time_check_that_fails_gives_nan():
    def checked(x):
        return 2 * eqx.error_if(x, x < 0, "negative")

    np.testing.assert_array_equal(jax.vmap(scalarise(checked))(jnp.asarray([1.0, -1.0])), [2.0, np.nan])


@pytest.mark.parametrize(
    ("function", "argument", "message"),
    [
        (lambda x: jax.pure_callback(np.sin, x, x), jnp.ones(2), "calls back to Python"),
        (lambda x: (jax.debug.print("{}", x), x)[1], jnp.ones(2), "calls back to Python .debug_"),
        (lambda x: jax.random.normal(jax.random.key(0), x.shape) * x, jnp.ones(2), "random"),
        (lambda x: lax.scan(lambda c, row: (c + row, None), 0.0, x)[0], jnp.ones(5000), "too large to unroll"),
        (lambda x: lax.fori_loop(0, 10**6, lambda i, y: y * 1.1 + i, x), jnp.ones(2), "scalar operations"),
    ],
)
def test_what_is_no_arithmetic_is_refused_by_name(function, argument, message):
    with pytest.raises(NotScalarError, match=message):
        program_of(function, argument, limit=6000)


def test_a_closure_over_a_traced_array():
    """Inside jit the arrays that a function closes over are traced too."""

    @jax.jit
    def outer(a, x):
        return scalarise(lambda x: a @ x)(x)

    np.testing.assert_allclose(outer(jnp.asarray(SQUARE), jnp.asarray(X[0])), SQUARE @ X[0], rtol=1e-14)


def test_float32_stays_float32():
    found = scalarise(lambda x, a: jnp.linalg.solve(a, jnp.sin(x) / 2))(
        jnp.asarray(X[0], jnp.float32), jnp.asarray(SQUARE, jnp.float32)
    )
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, np.linalg.solve(SQUARE, np.sin(X[0]) / 2), rtol=2e-5)
