"""Kinetic energies against closed forms, finite differences, and each other's limits."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq

import lagrangian_learning as ll
from lagrangian_learning._arrays import tree_dot
from tests.helpers import flat

MOMENTA = {"a": jnp.array([0.3, -2.0]), "b": {"c": jnp.array([[5.0, 0.0]]), "none": None}}


def cosh(v):
    return sum(jnp.sum(jnp.cosh(leaf) - 1) for leaf in jax.tree.leaves(v))


def coupled(v):
    return cosh(v) + 0.1 * sum(jnp.sum(leaf) for leaf in jax.tree.leaves(v)) ** 2


ENERGIES = {
    "quadratic": ll.Quadratic(2.0),
    "masses a branch": ll.Quadratic({"a": 2.0, "b": 3.0}),
    "quartic": ll.Quartic(2.0, 0.3),
    "relativistic": ll.Relativistic(2.0, 0.5),
    "relativistic, slow": ll.Relativistic(20.0, 3.0),
    "relativistic, a layer": ll.Relativistic(2.0, 0.5, "layer"),
    "relativistic, each": ll.Relativistic(2.0, 0.5, "each"),
    "dual map": ll.DualMap(lambda p: cosh(jax.tree.map(lambda leaf: leaf / 4, p))),
    "by Newton": ll.Kinetic(cosh),
    "by Newton, coupled": ll.Kinetic(coupled),
}


@pytest.fixture(params=list(ENERGIES), scope="module")
def kinetic(request):
    return ENERGIES[request.param]


def test_velocities_are_the_slope_of_the_dual_and_momenta_that_of_the_energy(kinetic):
    velocity = kinetic.velocity(MOMENTA)
    np.testing.assert_allclose(flat(jax.grad(kinetic.dual)(MOMENTA)), flat(velocity), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(flat(jax.grad(kinetic.energy)(velocity)), flat(MOMENTA), rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(flat(kinetic.momentum(velocity)), flat(MOMENTA), rtol=1e-9, atol=1e-10)
    left = tree_dot(MOMENTA, velocity) - kinetic.energy(velocity) - kinetic.dual(MOMENTA)
    assert abs(left) < 1e-12


def test_at_rest_everything_is_zero_and_smooth(kinetic):
    """A run starts at p = 0: a norm has no derivative there, and the velocity has."""
    rest = jax.tree.map(jnp.zeros_like, MOMENTA)
    assert kinetic.dual(rest) == 0
    assert kinetic.energy(rest) == 0
    np.testing.assert_array_equal(flat(kinetic.velocity(rest)), 0)
    slope = jax.jvp(kinetic.velocity, (rest,), (MOMENTA,))[1]
    h = 1e-6
    expected = flat(kinetic.velocity(jax.tree.map(lambda leaf: h * leaf, MOMENTA))) / h
    np.testing.assert_allclose(flat(slope), expected, rtol=1e-5, atol=1e-9)


def test_velocities_have_second_derivatives(kinetic):
    """Also those that Newton's method finds: the derivative of a derivative through the solution."""

    def curvature(p):
        return jax.jvp(lambda p: jax.grad(kinetic.dual)(p), (p,), (MOMENTA,))[1]

    h = 1e-5
    ends = [flat(jax.grad(kinetic.dual)(jax.tree.map(lambda leaf, s=s: (1 + s * h) * leaf, MOMENTA))) for s in (1, -1)]
    np.testing.assert_allclose(flat(curvature(MOMENTA)), (ends[0] - ends[1]) / (2 * h), rtol=1e-7, atol=1e-9)


def test_the_quartic_velocity_is_the_root_of_its_cubic():
    mass, beta = 0.7, 0.4
    for p in (1e-9, 1e-3, 0.02, 0.5, 3.0, 1e6):
        root = brentq(lambda v, p=p: mass * v + 4 * beta * v**3 - p, 0, p / mass + 1, xtol=1e-300, rtol=1e-15)
        np.testing.assert_allclose(ll.Quartic(mass, beta).velocity(jnp.array(p)), root, rtol=1e-14)
    np.testing.assert_array_equal(ll.Quartic(mass, 0.0).velocity(jnp.array(p)), p / mass)
    slope = jax.grad(lambda beta: ll.Quartic(mass, beta).velocity(jnp.array(0.2)))
    np.testing.assert_allclose(slope(0.0), -4 * 0.2**3 / mass**4, rtol=1e-12)


@pytest.mark.parametrize("over", ["weights", "layer", "each"])
def test_relativistic_velocities_in_numpy(over):
    mass, speed = 2.0, 0.5
    parts = {"a": np.array([0.3, -2.0]), "b": np.array([5.0, 0.0])}
    everything = np.sqrt(sum(np.sum(part**2) for part in parts.values()))
    sizes = {
        "weights": dict.fromkeys(parts, everything),
        "layer": {name: np.sqrt(np.sum(part**2)) for name, part in parts.items()},
        "each": {name: np.abs(part) for name, part in parts.items()},
    }[over]
    found = ll.Relativistic(mass, speed, over).velocity(MOMENTA)
    for name, part in parts.items():
        expected = speed * part / np.sqrt(sizes[name] ** 2 + (mass * speed) ** 2)
        np.testing.assert_allclose(flat(found[name]), expected, rtol=1e-14)


def test_a_layer_is_a_branch_of_the_first_fork():
    """Containers of one child are passed through, as of Flax's {"params": {...}} and of Equinox's models."""
    tree = {"params": {"Dense_0": {"kernel": jnp.array([3.0]), "bias": jnp.array([4.0])}, "Dense_1": jnp.array([-7.0])}}
    found = ll.Relativistic(0.0, 1.0, "layer").velocity(tree)
    np.testing.assert_allclose(flat(found), [0.8, 0.6, -1.0], rtol=1e-15)
    np.testing.assert_allclose(ll.Relativistic(0.0, 1.0, "layer").dual(tree), 12.0, rtol=1e-15)
    single = ll.Relativistic(0.0, 1.0, "layer").velocity(jnp.array([3.0, 4.0]))
    np.testing.assert_allclose(single, [0.6, 0.8], rtol=1e-15)


def test_the_limits_of_a_relativistic_energy():
    p = jax.tree.leaves(MOMENTA)[0]
    np.testing.assert_array_equal(ll.Relativistic(2.0, jnp.inf).velocity(p), p / 2)
    np.testing.assert_array_equal(ll.Relativistic(0.0, 0.5, "each").velocity(p), 0.5 * jnp.sign(p))
    np.testing.assert_array_equal(ll.Relativistic(0.0, 0.5, "each").velocity(0 * p), 0)
    gradient = jax.grad(lambda kinetic: kinetic.dual(p))(ll.Relativistic(2.0, jnp.inf))
    np.testing.assert_allclose(gradient.mass, -jnp.sum(p * p) / 8, rtol=1e-14)
    assert gradient.speed == 0


@pytest.mark.parametrize(("mass", "speed"), [(1.0, 1e20), (1e-20, 1e20), (1e-30, 1.0), (1.0, 1e-20)])
def test_single_precision_does_not_overflow(mass, speed):
    """(mc)² would, and |p|²."""
    p = np.array([3e20, -4e20, 1e-12], np.float32)
    kinetic = ll.Relativistic(mass, speed)
    found = kinetic.velocity(jnp.asarray(p))
    exact = np.asarray(p, float)
    expected = speed * exact / np.sqrt(np.sum(exact**2) + (mass * speed) ** 2)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-38)
    assert np.all(np.isfinite(jax.jacobian(kinetic.velocity)(jnp.asarray(p[2:]))))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_energy_keeps_the_dtype(kinetic, dtype):
    p = jax.tree.map(lambda leaf: leaf.astype(dtype), MOMENTA)
    found = jax.tree.leaves((kinetic.velocity(p), kinetic.dual(p), kinetic.momentum(kinetic.velocity(p))))
    assert {leaf.dtype for leaf in found} == {jnp.dtype(dtype)}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ll.Quadratic(0.0), "mass must be finite and > 0"),
        (lambda: ll.Quadratic((1.0, -1.0)), "mass must be finite and > 0"),
        (lambda: ll.Quartic(1.0, -1.0), "beta must be finite and >= 0"),
        (lambda: ll.Relativistic(-1.0), "mass must be finite and >= 0"),
        (lambda: ll.Relativistic(1.0, 0.0), "speed must be > 0"),
        (lambda: ll.Relativistic(1.0, 1.0, "weight"), "over must be one of 'weights', 'layer', 'each'"),
        (lambda: ll.Kinetic(3.0), "fn must be callable"),
        (lambda: ll.Kinetic(lambda v: v).velocity(jnp.ones(3)), "a kinetic energy must return a scalar"),
        (lambda: ll.Quadratic((1.0, 2.0)).check(jnp.ones(3)), "such as a tuple of one a layer; got a tuple of 2"),
        (lambda: ll.Relativistic(1.0, 1.0).momentum(jnp.ones(3)), "below the speed of the kinetic energy"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_bad_energies_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_an_energy_that_is_not_convex_is_named():
    concave = ll.Kinetic(lambda v: -jnp.sum(v**2))
    with pytest.raises(ValueError, match="must be convex, smooth and at rest in 0"):
        concave.velocity(jnp.ones(2))
    with pytest.raises(RuntimeError, match="must be convex, smooth and at rest in 0"):
        jax.block_until_ready(eqx.filter_jit(concave.velocity)(jnp.ones(2)))
    assert np.all(np.isnan(ll.Kinetic(cosh).velocity(jnp.array([jnp.nan, 1.0]))))
