"""What a Lagrangian refuses, and how density, weight and the term outside the weight go together."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lagrangian_learning.mechanics import (
    EulerLagrange,
    ExponentialDissipation,
    Holonomic,
    Lagrangian,
    ScheduledDissipation,
)

pytestmark = pytest.mark.usefixtures("unchecked")


def free(t, q, v, args):
    return 0.5 * v @ v


@pytest.mark.parametrize("order", [0, 3, -1, 1.5, "2", None])
def test_order_is_one_or_two(order):
    with pytest.raises(ValueError, match="order must be one of 1, 2"):
        Lagrangian(free, order=order)


@pytest.mark.parametrize("density", [None, 3.0, jnp.ones(2), "v**2"])
def test_density_is_callable(density):
    with pytest.raises(ValueError, match="density must be callable"):
        Lagrangian(density)


def test_the_term_outside_the_weight_is_callable():
    with pytest.raises(ValueError, match="unweighted must be callable"):
        Lagrangian(free, unweighted=3.0)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("dissipation", [0.5, None, ExponentialDissipation])
def test_dissipation_is_a_dissipation(dissipation):
    with pytest.raises(ValueError, match="dissipation must be a dissipation such as"):
        Lagrangian(free, dissipation)


@pytest.mark.parametrize("bad", [lambda t, q, v, args: v**2, lambda t, q, v, args: jnp.ones((1, 1))])
def test_density_is_scalar(bad):
    law = EulerLagrange(Lagrangian(bad))
    with pytest.raises(ValueError, match="must return a scalar, got shape"):
        law.initial_state(0.0, jnp.ones(2), jnp.ones(2))


def test_a_density_without_return_value_is_told_so():
    def forgetful(t, q, v, args):
        0.5 * v @ v  # pyright: ignore[reportUnusedExpression]

    with pytest.raises(ValueError, match="returned nothing"):
        EulerLagrange(Lagrangian(forgetful)).initial_state(0.0, jnp.ones(2), jnp.ones(2))


def test_a_constraint_without_return_value_is_told_so():
    def forgetful(t, q, args):
        q @ q - 1  # pyright: ignore[reportUnusedExpression]

    with pytest.raises(ValueError, match="returned nothing"):
        EulerLagrange(Lagrangian(free), Holonomic(forgetful)).initial_state(0.0, jnp.ones(2), jnp.ones(2))


def test_wrapping_is_asked_for():
    with pytest.raises(ValueError, match=r"wrap the density as ll\.Lagrangian"):
        EulerLagrange(free)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"wrap the function as ll\.Holonomic"):
        EulerLagrange(Lagrangian(free), lambda t, q, args: q)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="fn must be callable"):
        Holonomic(None)  # pyright: ignore[reportArgumentType]


def test_outside_the_weight_means_divided_by_it():
    """L/ϖ = ℓ + F/ϖ, with 1/ϖ = e^{−(f(t) − f(0))}."""
    lagrangian = Lagrangian(
        free, ScheduledDissipation(lambda t: jnp.sin(t) + 4), unweighted=lambda t, q, v, args: q @ v
    )
    t, q, v = jnp.asarray(1.1), jnp.array([1.0, 2.0]), jnp.array([3.0, 5.0])
    np.testing.assert_allclose(lagrangian.normalised(t, (q, v), None), 17 + 13 * np.exp(-np.sin(1.1)), rtol=1e-15)


def test_order_is_no_leaf():
    lagrangian = Lagrangian(lambda t, q, v, a, args: a @ a, ExponentialDissipation(0.4), order=2)
    assert [float(leaf) for leaf in jax.tree.leaves(lagrangian)] == [0.4]
