"""Memory of traced functions against counts by hand."""

import jax
import jax.numpy as jnp

from lagrangian_learning.costs.peak_memory import most_alive

N = 100
A = 8 * N  # bytes of one array


def alive(fn, *args):
    return most_alive(jax.make_jaxpr(fn)(*args).jaxpr)


def test_results_live_until_they_are_last_read():
    x = jnp.ones(N)
    # x is given; sin x dies when its cosine is there.
    assert alive(lambda x: jnp.cos(jnp.sin(x)), x) == 2 * A

    def held(x):
        first = jnp.sin(x)
        last = jnp.cos(jnp.cos(jnp.cos(first)))
        return first * last

    # sin x waits for the product, while one cosine makes the next, and the last makes the product.
    assert alive(held, x) == 3 * A
    assert alive(lambda x: (jnp.sin(x), jnp.cos(x), jnp.tan(x)), x) == 3 * A


def test_what_a_loop_holds_within_is_beside_its_results():
    def body(_, x):
        return jnp.cos(jnp.outer(x, x)) @ x

    x = jnp.ones(N)
    one = alive(lambda x: body(0, x), x)
    assert one == 2 * N * A
    # A counter beside the array, and the loop's own result while its body runs.
    looped = alive(lambda x: jax.lax.fori_loop(0, 7, body, x), x)
    assert one + A <= looped <= one + A + 64


def test_what_nobody_reads_dies_at_once():
    x = jnp.ones(N)
    outer = N * A + 2 * A  # and its two factors
    assert alive(lambda x: (jnp.outer(x, x), jnp.outer(x, x)[0])[1], x) == outer
