"""`Compiled` is `eqx.filter_jit` for positional arguments; `shapes_of` and `remembered` work once for what is alike."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lagrangian_learning._calls import Compiled, remembered, shapes_of


class Spring(eqx.Module):
    stiffness: jax.Array
    name: str = eqx.field(static=True)
    force: object


def test_modules_and_functions_go_in_and_come_out():
    spring = Spring(jnp.asarray(2.0), "soft", jnp.sin)

    def stretched(spring, by, nothing):
        return eqx.tree_at(lambda s: s.stiffness, spring, spring.force(by) * spring.stiffness), nothing

    found, nothing = Compiled(stretched)(spring, jnp.asarray(1.0), None)
    assert nothing is None
    assert (found.name, found.force) == ("soft", jnp.sin)
    assert found.stiffness == eqx.filter_jit(stretched)(spring, jnp.asarray(1.0), None)[0].stiffness


def test_it_is_traced_once_for_what_looks_alike():
    traced = []

    def scaled(by, values):
        traced.append(by)
        return by * values

    call = Compiled(scaled)
    assert call(2, jnp.ones(3)).shape == call(2, jnp.zeros(3)).shape
    assert len(traced) == 1
    assert call(3, jnp.ones(3))[0] == 3
    assert call(3, jnp.ones(4)).shape == (4,)
    assert len(traced) == 3


def test_a_run_time_error_keeps_its_message():
    call = Compiled(lambda x: eqx.error_if(x, x < 0, "a negative number"))
    assert call(jnp.asarray(1.0)) == 1
    with pytest.raises(eqx.EquinoxRuntimeError, match="a negative number"):
        call(jnp.asarray(-1.0))


def test_it_is_differentiated_and_mapped():
    call = Compiled(lambda spring, x: spring.stiffness * x**2)
    spring = Spring(jnp.asarray(2.0), "soft", jnp.sin)
    assert jax.grad(lambda x: call(spring, x))(jnp.asarray(3.0)) == 12
    assert jax.jit(jax.vmap(lambda x: call(spring, x)))(jnp.arange(3.0))[2] == 8


def test_shapes_are_traced_once_and_anew_for_another_dtype():
    traced = []

    def product(matrix, vector):
        traced.append(None)
        return matrix @ vector

    def found(dtype):
        return shapes_of(product, jax.ShapeDtypeStruct((2, 3), dtype), jnp.ones(3, dtype))

    assert found(jnp.float32).shape == found(jnp.float32).shape == (2,)
    assert len(traced) == 1
    assert found(jnp.float64).dtype == jnp.float64
    with pytest.raises(TypeError, match="same shape"):
        shapes_of(product, jnp.ones((2, 3)), jnp.ones(4))


def test_results_are_remembered_for_equal_leaves_of_equal_types():
    found = []

    @remembered
    def doubled(tree, name):
        found.append((tree, name))
        if tree[0] == 0:
            raise ValueError("zero")
        return [2 * leaf for leaf in tree]

    assert doubled([1, 2.0], "a") is doubled([1, 2.0], "a")
    for other in ([True, 2.0], [1.0, 2.0], [1, 2.0, 3]):
        doubled(other, "a")
    doubled([1, 2.0], "b")
    assert len(found) == 5
    for values in (jnp.ones(2), np.ones(2)):  # which may change, or cannot be compared
        assert doubled([1, values], "a") is not doubled([1, values], "a")
    for _ in range(2):
        with pytest.raises(ValueError, match="zero"):
            doubled([0], "a")
