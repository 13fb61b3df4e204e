"""Cauchy data: what is accepted, what is moved onto the constraint and how, and what is refused with which words."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lagrangian_learning.mechanics import EulerLagrange, Holonomic, Lagrangian, State

MASSES = np.array([1.0, 50.0])


@pytest.fixture
def free():
    return EulerLagrange(Lagrangian(lambda t, q, v, args: 0.5 * v @ v))


@pytest.fixture
def weighted():
    """Unequal masses on an ellipse, so that orthogonal means orthogonal in the mass metric."""
    lagrangian = Lagrangian(lambda t, q, v, args: 0.5 * (jnp.asarray(MASSES) * v) @ v)
    return EulerLagrange(lagrangian, Holonomic(lambda t, q, args: q[0] ** 2 + 3 * q[1] ** 2 - 1))


# -- what is accepted ------------------------------------------------------------------------------------------------


def test_consistent_data_are_returned_untouched(pendulum):
    q, v = jnp.array([0.6, -0.8]), jnp.array([0.8, 0.6])
    state = pendulum.initial_state(0.0, q, v)
    assert isinstance(state, State)
    np.testing.assert_array_equal(state.q, q)
    np.testing.assert_array_equal(state.v, v)
    assert state.a is None
    assert state.j is None
    assert state.multipliers is None


@pytest.mark.parametrize("t0", [0, 0.5, np.float32(0.5), jnp.asarray(0.5)])
def test_time_may_be_any_number_and_coordinates_integers(pendulum, t0):
    state = pendulum.initial_state(t0, np.array([1, 0]), np.array([0, 2]))
    assert state.q.dtype == state.v.dtype == jnp.float64


def test_an_inconsistent_start_says_how_far_off_it_is_and_what_to_do(pendulum):
    with pytest.raises(ValueError, match=r'off the constraint G = DG = 0 \(max \|G\| = 0\.105.*consistent="project"'):
        pendulum.initial_state(0.0, jnp.array([1.1, 0.0]), jnp.array([0.0, 0.5]))
    with pytest.raises(ValueError, match=r"max \|DG\| = 0\.5"):
        pendulum.initial_state(0.0, jnp.array([1.0, 0.0]), jnp.array([0.5, 0.5]))


def test_an_inconsistent_start_says_which_constraint_is_off():
    """Three rods of length 1: the third is too long by 0.2, and the first moves along itself."""

    def rods(t, q, args):
        return {"first": q[0] @ q[0] - 1, "others": jnp.sum((q[1:] - q[:-1]) ** 2, axis=1) - 1}

    law = EulerLagrange(Lagrangian(lambda t, q, v, args: jnp.sum(v * v) / 2), Holonomic(rods))
    q, v = jnp.array([[1.0, 0.0], [2.0, 0.0], [3.2, 0.0]]), jnp.array([[0.5, 0.0]] * 3)
    where = r"max \|G\| = 0\.4\d* at G\['others'\]\[1\], max \|DG\| = 1\.0 at DG\['first'\]\)"
    with pytest.raises(ValueError, match=where):
        law.initial_state(0.0, q, v)


def test_the_tolerance_is_an_argument(pendulum):
    off = jnp.array([1.0 + 1e-6, 0.0])
    with pytest.raises(ValueError, match="off the constraint"):
        pendulum.initial_state(0.0, off, jnp.zeros(2))
    assert pendulum.initial_state(0.0, off, jnp.zeros(2), tolerance=1e-5).q[0] == off[0]


# -- projection ------------------------------------------------------------------------------------------------------


def test_projection_lands_on_the_constraint(weighted):
    state = weighted.initial_state(0.0, jnp.array([1.3, -0.7]), jnp.array([1.0, 1.0]), consistent="project")
    residual = weighted.residual(0.0, state, None)
    assert max(residual) < 1e-14


def test_velocities_are_projected_orthogonally_in_the_mass_metric(weighted):
    """The correction does no work on any motion the constraint allows: (v′ − v)ᵀ M w = 0 for G_q w = 0."""
    q = jnp.array([0.5, -0.5])
    v = jnp.array([1.0, 0.25])
    state = weighted.initial_state(0.0, q, v, consistent="project")
    np.testing.assert_allclose(state.q, q, atol=1e-15)
    allowed = np.array([-6 * q[1], 2 * q[0]])
    np.testing.assert_allclose((np.asarray(state.v - v) * MASSES) @ allowed, 0, atol=1e-13)
    assert np.max(np.abs(state.v - v)) > 0.1


def test_a_small_position_error_is_removed_orthogonally_in_the_mass_metric(weighted):
    on = np.array([0.5, -0.5])
    normal = np.array([2 * on[0], 6 * on[1]]) / MASSES
    off = on + 1e-5 * normal
    state, converged = eqx.filter_jit(weighted.project)(0.0, State(jnp.asarray(off), jnp.zeros(2)), None)
    assert bool(converged)
    np.testing.assert_allclose(state.q, on, atol=1e-9)  # second order in the error


def test_projecting_twice_changes_nothing(driven, driven_start, driven_args):
    once = driven.initial_state(0.2, *driven_start, driven_args, consistent="project")
    twice, converged = eqx.filter_jit(driven.project)(0.2, once, driven_args)
    assert bool(converged)
    for left, right in zip(jax.tree.leaves(once), jax.tree.leaves(twice), strict=True):
        np.testing.assert_allclose(left, right, atol=1e-15)


def test_a_moving_constraint_carries_the_velocity_along():
    """q on a line that moves: G = q₀ − sin 3t, so the consistent velocity is 3 cos 3t, the other one is kept."""
    law = EulerLagrange(
        Lagrangian(lambda t, q, v, args: 0.5 * v @ v), Holonomic(lambda t, q, args: q[0] - jnp.sin(3 * t))
    )
    state = law.initial_state(0.2, jnp.zeros(2), jnp.array([0.0, 7.0]), consistent="project")
    np.testing.assert_allclose(state.q, [np.sin(0.6), 0], atol=1e-15)
    np.testing.assert_allclose(state.v, [3 * np.cos(0.6), 7], atol=1e-15)


@pytest.mark.slow
def test_second_order_data_are_checked_and_projected_on_every_level(elastica):
    q, v, a, j = jnp.array([1.1, 0.1]), jnp.array([0.2, 1.0]), jnp.array([-0.3, 0.5]), jnp.array([0.1, 0.9])
    with pytest.raises(ValueError, match="off the constraint"):
        elastica.initial_state(0.0, q, v, a=a, j=j)
    state = elastica.initial_state(0.0, q, v, a=a, j=j, consistent="project")
    q, v, a, j = (np.asarray(x) for x in (state.q, state.v, state.a, state.j))
    tower = [0.5 * (q @ q - 1), q @ v, v @ v + q @ a, 3 * v @ a + q @ j]
    np.testing.assert_allclose(tower, 0, atol=1e-14)
    # D²G alone off: the third level counts too
    with pytest.raises(ValueError, match="off the constraint"):
        elastica.initial_state(0.0, q, v, a=a + 1e-3 * q, j=j)


def test_a_projection_that_cannot_succeed_is_told(pendulum):
    lagrangian = Lagrangian(lambda t, q, v, args: 0.5 * v @ v)
    impossible = EulerLagrange(lagrangian, Holonomic(lambda t, q, args: q @ q + 1))
    with pytest.raises(ValueError, match=r"did not converge .*or check that it can be satisfied"):
        impossible.initial_state(0.0, jnp.array([1.1, 0.3]), jnp.zeros(2), consistent="project")


def test_traced_data_raise_at_run_time(pendulum):
    make = jax.jit(lambda q: pendulum.initial_state(0.0, q, jnp.zeros(2)))
    make(jnp.array([0.0, 1.0]))
    with pytest.raises(Exception, match="off the constraint"):
        jax.block_until_ready(make(jnp.array([0.0, 1.1])))
    with pytest.raises(Exception, match=r"t0 must be finite|may not contain NaN or inf"):
        jax.block_until_ready(make(jnp.array([0.0, jnp.nan])))


# -- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", ["t0", "q", "v"])
def test_values_that_are_not_finite(free, pendulum, place, value):
    data = {"t0": 0.0, "q": np.array([0.0, 1.0]), "v": np.array([1.0, 0.0])}
    data[place] = np.where(np.ones(np.shape(data[place]), bool), value, data[place])
    for law in (free, pendulum):
        for consistent in ("check", "project"):
            with pytest.raises(ValueError, match=r"t0 must be finite|may not contain NaN or inf"):
                law.initial_state(data["t0"], data["q"], data["v"], consistent=consistent)


@pytest.mark.parametrize(
    ("q", "v"),
    [
        (np.ones(2), np.ones(3)),
        (np.ones(2), 1.0),
        (np.ones(2), np.ones((2, 1))),
        ({"a": np.ones(2)}, np.ones(2)),
        ({"a": np.ones(2)}, {"b": np.ones(2)}),
        ((np.ones(2), np.ones(1)), (np.ones(2),)),
    ],
)
def test_velocities_of_another_shape(free, q, v):
    with pytest.raises(ValueError, match=r"v has shapes .* give v the structure of q"):
        free.initial_state(0.0, q, v)


def test_without_velocities_it_starts_from_rest(pendulum):
    state = pendulum.initial_state(0.0, np.array([0.6, -0.8]))
    np.testing.assert_array_equal(state.v, 0)


@pytest.mark.parametrize(
    ("q", "message"),
    [
        ((), "q has no coordinates"),
        ({}, "q has no coordinates"),
        (None, "q must be arrays of real numbers, got None"),
        (np.zeros(0), "q has no coordinates"),
        (np.ones(2, complex), "q must be real"),
        ((np.ones(2, np.float32), np.ones(2)), "q mixes dtypes"),
    ],
)
def test_coordinates_that_are_none(free, q, message):
    with pytest.raises(ValueError, match=message):
        free.initial_state(0.0, q, q)


def test_time_is_a_scalar(free):
    with pytest.raises(ValueError, match="t0 must be one number"):
        free.initial_state(np.zeros(3), np.ones(2), np.ones(2))


@pytest.mark.parametrize("tolerance", [-1e-9, 0.0, np.nan])
def test_tolerances_are_positive(pendulum, tolerance):
    with pytest.raises(ValueError, match="tolerance must be finite and > 0"):
        pendulum.initial_state(0.0, np.array([0.0, 1.0]), np.zeros(2), tolerance=tolerance)


def test_modes_that_do_not_exist(free):
    with pytest.raises(ValueError, match="consistent must be one of 'check', 'project'"):
        free.initial_state(0.0, np.ones(2), np.ones(2), consistent="yes")


def test_accelerations_belong_to_second_order(free, elastica):
    one = np.ones(2)
    with pytest.raises(ValueError, match="leave a and j out"):
        free.initial_state(0.0, one, one, a=one)
    with pytest.raises(ValueError, match="needs the initial accelerations a and jerks j"):
        elastica.initial_state(0.0, one, one, a=one)
    with pytest.raises(ValueError, match="j has shapes"):
        elastica.initial_state(0.0, one, one, a=one, j=np.ones(3))
    with pytest.raises(ValueError, match=r"t0 must be finite|may not contain NaN or inf"):
        elastica.initial_state(0.0, one, one, a=one, j=np.array([1.0, np.nan]))


@pytest.mark.usefixtures("unchecked")
def test_check_refuses_what_is_no_state(free, elastica):
    ts = jnp.linspace(0.0, 1.0, 3)
    state = free.initial_state(0.0, np.ones(2), np.ones(2))
    assert free.check(ts, state, None) is not None
    with pytest.raises(ValueError, match=r"comes from law\.initial_state"):
        free.check(ts, (np.ones(2), np.ones(2)), None)
    with pytest.raises(ValueError, match=r"comes from law\.initial_state"):
        elastica.check(ts, state, None)


def test_multipliers_that_follow_are_no_part_of_the_state(pendulum):
    state = pendulum.initial_state(0.0, jnp.array([1.0, 0.0]), args={"unread": jnp.asarray(1.0)})
    assert state.multipliers is None
