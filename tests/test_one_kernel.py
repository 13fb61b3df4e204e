"""Loops as one kernel of a CPU: what fits is computed right, at its limits too, and nothing else is marked."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import lagrangian_learning as ll
from lagrangian_learning import _one_kernel
from lagrangian_learning._one_kernel import fits, one_kernel
from tests.laws import Motion, Oscillator

VECTOR, MATRIX = np.linspace(0.1, 1.0, 32), np.random.default_rng(0).normal(size=(32, 32)) / 32

PLACES = np.array([2, 7, 2, 0, 8, 1])  # those of numbers that are added up, one of them twice


def often(step):
    def loop(x, w):
        return lax.fori_loop(0, 5, lambda _, x: step(x, w).astype(x.dtype), x)

    return loop


def inner_loop(x, w):
    return lax.while_loop(lambda carry: carry[0] < 3, lambda carry: (carry[0] + 1, jnp.tanh(carry[1])), (0, x))[1]


def stages(x, w):
    return lax.scan(lambda carry, row: (carry / 2 + row, None), x, w[:3])[0]


FIT = {
    "an argument that nothing reads": lambda x, w: jnp.tanh(x),
    "an argument that nothing reads in the end": lambda x, w: jnp.where(
        jnp.asarray(w[0, 0] > 1, int) * 0 > 0, 2 * x, x
    ),
    "product of matrices": lambda x, w: x + jnp.sum(w[:6, :6] @ w[:6, 6:12]) / 9,
    "batched product": lambda x, w: x + jnp.sum(jnp.einsum("bij,bjk->bik", *w[:12, :12].reshape(2, 2, 6, 6))) / 9,
    "matrix on vector": lambda x, w: w @ x,
    "vector on matrix": lambda x, w: x @ w,
    "inner product": lambda x, w: x * jnp.dot(x, x) / 9,
    "sums": lambda x, w: x + (jnp.sum(w[:16, :16]) + jnp.sum(w[:16, :16], 0)[0] + jnp.sum(w[:16, :16], 1)[0]) / 9,
    "sum of an outer product": lambda x, w: x + jnp.sum(jnp.outer(x, x[:16])) / 99,
    "outer product": lambda x, w: x + jnp.outer(x, x)[jnp.asarray(x[0], int) % 32] / 9,
    "extrema": lambda x, w: x / (1 + jnp.max(x) + jnp.max(w[:16, :16], 1)[0] - jnp.min(x)),
    "all": lambda x, w: jnp.where(jnp.all(x > 0) | jnp.any(x < -1), x / 2, x + 1),
    "functions": lambda x, w: jnp.tanh(x) + jnp.exp(-jnp.abs(x)) + jnp.sin(x) * jnp.cos(x) + jax.nn.sigmoid(x) + x**2,
    "logarithms": lambda x, w: (
        jnp.log1p(jnp.abs(x)) + jnp.expm1(-jnp.abs(x)) + jnp.sqrt(jnp.abs(x)) + jnp.abs(x) ** 1.5
    ),
    "rows": lambda x, w: x + w[jnp.asarray(x[0], int) % 3] + lax.dynamic_slice(x, (jnp.asarray(x[1], int) % 2,), (1,)),
    "updates": lambda x, w: lax.dynamic_update_index_in_dim(x, x[3], jnp.asarray(x[0], int) % 32, 0),
    "shapes": lambda x, w: jnp.concatenate([x[16:], jnp.pad(x[:8], (0, 8))]) + x[::-1] + jnp.stack([x, x]).T[:, 0],
    "running sums": lambda x, w: jnp.cumsum(x) / 32,
    "a loop": inner_loop,
    "stages": stages,
    "bits": lambda x, w: x + lax.clz(jnp.asarray(x[0], jnp.int32)).astype(x.dtype) / 32,
    "scattered sums": lambda x, w: x + jnp.zeros(9, x.dtype).at[PLACES].add(x[:6])[2] / 9,
    "scattered sums of rows": lambda x, w: x + jnp.zeros((3, 8), x.dtype).at[PLACES % 2].add(w[:6, :8])[1, 1] / 9,
    "scattered sums of columns": lambda x, w: x + jnp.sum(jnp.zeros((6, 5), x.dtype).at[:, 3].add(x[:6])[:, 3]) / 9,
    "scattered sums of entries": lambda x, w: x + jnp.zeros((3, 8), x.dtype).at[PLACES % 3, PLACES].add(x[:6])[1, 7],
    "sums scattered outside": lambda x, w: x + jnp.zeros(4, x.dtype).at[PLACES].add(x[:6], mode="drop")[1] / 9,
    "next number": lambda x, w: jnp.nextafter(x, x + 1) / 2,
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", FIT)
def test_what_fits_is_computed_right(name, dtype):
    loop, given = often(FIT[name]), (jnp.asarray(VECTOR, dtype), jnp.asarray(MATRIX, dtype))
    compiled = jax.jit(one_kernel(loop)).lower(*given).compile()
    assert "xla_cpu_small_call" in compiled.as_text()
    expected = jax.jit(loop)(*given)
    assert np.max(np.abs(compiled(*given) - expected)) <= 30 * np.finfo(dtype).eps * np.max(np.abs(expected))


DO_NOT_FIT = {
    "scattered sums of many": lambda x, w: x + jnp.zeros(17, x.dtype).at[jnp.arange(32) % 9].add(x)[2] / 9,
    "scattered sums of parts": lambda x, w: x + jnp.zeros((3, 8), x.dtype).at[PLACES[:2], :4].add(w[:2, :4])[2, 0],
    "scattered sums pushed inside": lambda x, w: x + jnp.zeros(4, x.dtype).at[PLACES].add(x[:6], mode="clip")[3] / 9,
    "scattered numbers": lambda x, w: x + jnp.zeros(9, x.dtype).at[PLACES].set(x[:6])[8] / 9,
    "product of matrices": lambda x, w: x + jnp.sum(w[:7, :6] @ w[:6, :6]),
    "sum": lambda x, w: x + jnp.sum(jnp.outer(x, x[:17])),
    "sort": lambda x, w: jnp.sort(x),
    "factorisation": lambda x, w: x + jnp.linalg.cholesky(jnp.eye(3) * x[0])[0, 0],
    "callback": lambda x, w: eqx.error_if(x, jnp.isnan(x), "NaN"),
    "many numbers": lambda x, w: x + (jnp.tile(x, 40) * 2)[0],
}


@pytest.mark.parametrize("name", DO_NOT_FIT)
def test_what_does_not_fit_is_not_marked(name):
    given = (jnp.asarray(VECTOR), jnp.asarray(MATRIX))
    assert not fits(jax.make_jaxpr(often(DO_NOT_FIT[name]))(*given))
    text = jax.jit(one_kernel(often(DO_NOT_FIT[name]))).lower(*given).as_text()
    assert "xla_cpu_small_call" not in text


def test_constants_and_what_xla_finds_unread():
    """XLA aborts the process at a marked call of which it can tell that it reads no more than some arguments."""

    def loop(x, w, unread, constant):
        x = often(lambda x, w: jnp.tanh(x) + constant[0])(x, w)
        return x + (0 * jnp.asarray(w[0, 0] > 1, int) * unread).astype(x.dtype), constant, unread

    kernel = one_kernel(loop)
    run = jax.jit(lambda x, w: kernel(x, w, jnp.asarray(3), jnp.asarray([0.5, 8.0]))[0])
    given = (jnp.asarray(VECTOR), jnp.asarray(MATRIX))
    assert marked(run, *given)
    expected = loop(*given, 3, jnp.array([0.5, 8.0]))[0]
    np.testing.assert_allclose(run(*given), expected, rtol=1e-14)


@pytest.mark.parametrize("known", [False, True])
def test_large_arguments_are_handed_over_as_they_lie(known):
    """Tables that are looked up, read or not, of any type, known beforehand or not."""
    table, flags = jnp.linspace(0.5, 1.5, 5000), jnp.arange(3000) % 3 == 0

    def loop(x, table, flags, unread):
        k = jnp.asarray(100 * jnp.abs(x[0]), int)
        return often(lambda x, w: jnp.where(flags[k], x * table[k], x / table[k + 1]))(x, None), unread

    def run(x, table, flags):
        return one_kernel(loop)(x, table, flags, jnp.zeros(4000))[0]

    given = (jnp.asarray(VECTOR), table, flags)
    if known:
        assert marked(lambda x: run(x, table, flags), given[0])
        found = jax.jit(lambda x: run(x, table, flags))(given[0])
    else:
        assert marked(run, *given)
        found = jax.jit(run)(*given)
    np.testing.assert_allclose(found, loop(*given, 0)[0], rtol=1e-14)


def test_what_nobody_uses_is_not_computed():
    def loop(x, w):
        return often(lambda x, w: jnp.tanh(w @ x))(x, w), often(lambda x, w: jnp.sin(x))(x, w)

    first = jax.jit(lambda x, w: one_kernel(loop)(x, w)[0]).lower(jnp.asarray(VECTOR), jnp.asarray(MATRIX))
    both = jax.jit(one_kernel(loop)).lower(jnp.asarray(VECTOR), jnp.asarray(MATRIX))
    assert "sine" in both.as_text()
    assert "sine" not in first.as_text()
    expected = jax.jit(loop)(jnp.asarray(VECTOR), jnp.asarray(MATRIX))
    np.testing.assert_allclose(first.compile()(VECTOR, MATRIX), expected[0], rtol=1e-12)


def test_its_derivatives():
    loop = often(lambda x, w: jnp.tanh(w @ x))
    given = (jnp.asarray(VECTOR), jnp.asarray(MATRIX))
    along = (jnp.cos(given[0]), jnp.sin(given[1]))
    for kernel, plain in (
        (one_kernel(loop), loop),
        (lambda x, w: one_kernel(loop)(x, jnp.asarray(MATRIX)), lambda x, w: loop(x, MATRIX)),
    ):
        for a, b in zip(jax.jvp(kernel, given, along), jax.jvp(plain, given, along), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-13)
    pulled, expected = (
        jax.grad(lambda x, run=run: jnp.sum(scanned_often(run)(x)))(given[0]) for run in (one_kernel, lambda f: f)
    )
    np.testing.assert_allclose(pulled, expected, rtol=1e-13)


def scanned_often(made):
    def loop(x):
        return lax.scan(lambda x, _: (jnp.tanh(x) * x, None), x, None, length=5)[0]

    return made(loop)


def test_a_gradient_is_one_kernel_too():
    start = Motion(jnp.ones(2), jnp.zeros(2))

    def value(state, adjoint=ll.Replay()):  # noqa: B008
        path = ll.simulate(Oscillator(2.0), state, [0.0, 1.0, 3.0], dt0=0.05, solver=diffrax.Heun(), adjoint=adjoint)
        return jnp.sum(path.q**2)

    gradient = jax.jit(jax.grad(value))
    text = gradient.lower(start).as_text()
    assert text.count("xla_cpu_small_call") == 2  # forward and back
    expected = jax.grad(lambda state: value(state, diffrax.RecursiveCheckpointAdjoint()))(start)
    for a, b in zip(jax.tree.leaves(gradient(start)), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def marked(run, *given):
    """Traced afresh: JAX remembers the trace of a function."""
    return "xla_cpu_small_call" in jax.jit(lambda *given: run(*given)).lower(*given).as_text()


def test_not_under_vmap_not_elsewhere_and_not_with_other_versions(monkeypatch):
    loop = one_kernel(often(lambda x, w: jnp.tanh(x)))
    given = (jnp.asarray(VECTOR), jnp.asarray(MATRIX))
    assert marked(loop, *given)
    lanes = jax.vmap(loop, (0, None))
    rows = jnp.stack([given[0], 2 * given[0]])
    assert not marked(lanes, rows, given[1])
    np.testing.assert_allclose(lanes(rows, given[1])[1], loop(rows[1], given[1]), rtol=1e-14)
    elsewhere = jax.jit(loop).trace(*given).lower(lowering_platforms=("tpu",)).as_text()
    assert "xla_cpu_small_call" not in elsewhere
    monkeypatch.setattr(_one_kernel, "TESTED", {"jax": ("0.9", "0.10.2")})
    assert not marked(loop, *given)


@pytest.mark.parametrize(
    "settings", [{"dt0": 0.05, "solver": diffrax.Heun()}, {"rtol": 1e-8}], ids=["constant", "adaptive"]
)
def test_a_run_is_the_same(settings, monkeypatch):
    def run(state):
        return ll.simulate(Oscillator(2.0), state, [0.0, 1.0, 3.0], adjoint=ll.Replay(), **settings)

    start = Motion(jnp.ones(2), jnp.zeros(2))
    one = run(start)
    assert marked(lambda state: run(state).final_state, start)
    monkeypatch.setattr(_one_kernel, "tested", lambda: False)
    jax.clear_caches()
    other = run(start)
    assert not marked(lambda state: run(state).final_state, start)
    assert one.stats["num_steps"] == other.stats["num_steps"]
    for a, b in zip(jax.tree.leaves(one.saved), jax.tree.leaves(other.saved), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)
    jax.clear_caches()
