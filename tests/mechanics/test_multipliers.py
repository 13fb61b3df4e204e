"""The saddle-point system: its two dense solvers against NumPy, scales of 1e12, zero masses, and what is singular."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lagrangian_learning.mechanics import (
    DenseSaddlePoint,
    DenseSchur,
    EulerLagrange,
    Holonomic,
    Lagrangian,
    SaddlePoint,
    State,
)
from lagrangian_learning.mechanics.multipliers import _free_directions, regularity

SOLVERS = [DenseSaddlePoint(), DenseSchur()]


def system_of(inertia, jacobian):
    """A system of given matrices, on coordinates and multipliers that are pytrees."""
    inertia, jacobian = jnp.asarray(inertia), jnp.asarray(jacobian)
    n, k = jacobian.shape[1], jacobian.shape[0]

    def flat(a):
        return jnp.concatenate([a["first"], a["rest"]])

    def like_coordinates(vector):
        return {"first": vector[:1], "rest": vector[1:]}

    return SaddlePoint(
        inertia=lambda a: like_coordinates(inertia @ flat(a)),
        jacobian=lambda a: (jacobian @ flat(a),),
        coordinates=like_coordinates(jnp.zeros(n)),
        multipliers=(jnp.zeros(k),),
        t=jnp.asarray(0.0),
        jet=(),
        args=None,
    )


def numpy_solution(inertia, jacobian, force, closing):
    k, n = jacobian.shape
    matrix = np.block([[inertia, jacobian.T], [jacobian, np.zeros((k, k))]])
    solution = np.linalg.solve(matrix, np.concatenate([force, closing]))
    return solution[:n], solution[n:]


def solve(solver, system, force, closing):
    force = {"first": jnp.asarray(force[:1]), "rest": jnp.asarray(force[1:])}
    top, (delta,) = jax.jit(lambda f, g: solver(system, f, g))(force, (jnp.asarray(closing),))
    return np.concatenate([top["first"], top["rest"]]), np.asarray(delta)


@pytest.mark.parametrize("solver", SOLVERS)
def test_dense_solvers_equal_numpy(solver, rng):
    n, k = 7, 3
    inertia, jacobian = np.diag(rng.uniform(0.5, 2, n)), rng.normal(size=(k, n))
    force, closing = rng.normal(size=n), rng.normal(size=k)
    top, delta = solve(solver, system_of(inertia, jacobian), force, closing)
    expected_top, expected_delta = numpy_solution(inertia, jacobian, force, closing)
    np.testing.assert_allclose(top, expected_top, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(delta, expected_delta, rtol=1e-12)


def test_saddle_point_takes_a_full_indefinite_inertia(rng):
    n, k = 6, 2
    inertia = rng.normal(size=(n, n))
    inertia, jacobian = inertia + inertia.T, rng.normal(size=(k, n))
    force, closing = rng.normal(size=n), rng.normal(size=k)
    top, delta = solve(DenseSaddlePoint(), system_of(inertia, jacobian), force, closing)
    expected_top, expected_delta = numpy_solution(inertia, jacobian, force, closing)
    np.testing.assert_allclose(top, expected_top, rtol=1e-11)
    np.testing.assert_allclose(delta, expected_delta, rtol=1e-11)


@pytest.mark.parametrize("solver", SOLVERS)
def test_masses_that_differ_by_1e12_cost_no_accuracy(solver):
    """Weights W₁, W₂ on a pulley: a₁ + a₂ = 0, a₁ = (m₁ − m₂)g/(m₁ + m₂), tension δ = 2 m₁ m₂ g/(m₁ + m₂)."""
    m1, m2, g = 1e6, 1e-6, 9.81
    inertia, jacobian = np.diag([m1, m2]), np.array([[1.0, 1.0]])
    top, delta = solve(solver, system_of(inertia, jacobian), np.array([m1 * g, m2 * g]), np.zeros(1))
    a = (m1 - m2) * g / (m1 + m2)
    np.testing.assert_allclose(top, [a, -a], rtol=1e-14)
    np.testing.assert_allclose(delta, [2 * m1 * m2 * g / (m1 + m2)], rtol=1e-9 if solver is SOLVERS[1] else 1e-12)


def test_zero_mass_is_fine_in_the_saddle_point():
    """A massless coordinate slaved to a heavy one: x = 2W, V = x, so δ = −V_x = −1 and m Ẅ = 2δ."""
    inertia, jacobian = np.diag([0.0, 4.0]), np.array([[1.0, -2.0]])
    top, delta = solve(DenseSaddlePoint(), system_of(inertia, jacobian), np.array([-1.0, 0.0]), np.zeros(1))
    np.testing.assert_allclose(delta, [-1.0], rtol=1e-15)
    np.testing.assert_allclose(top, [-1.0, -0.5], rtol=1e-15)


def test_zero_mass_in_the_schur_complement_is_an_error_with_its_remedy():
    system = system_of(np.diag([0.0, 4.0]), np.array([[1.0, -2.0]]))
    with pytest.raises(Exception, match="divides by every mass, and one is not positive"):
        solve(DenseSchur(), system, np.array([-1.0, 0.0]), np.zeros(1))


def test_a_coupled_inertia_in_the_schur_complement_is_an_error_with_its_remedy():
    system = system_of(np.array([[2.0, 0.5], [0.5, 2.0]]), np.array([[1.0, -2.0]]))
    with pytest.raises(Exception, match="needs a diagonal inertia"):
        solve(DenseSchur(), system, np.array([-1.0, 0.0]), np.zeros(1))


def test_no_constraints_and_no_mass_matrix_assembled_wrongly(rng):
    """Two links in angles: the unconstrained inertia couples the coordinates."""

    def double_pendulum(t, q, v, args):
        coupling = v[0] * v[1] * jnp.cos(q[0] - q[1])
        return v[0] ** 2 + 0.5 * v[1] ** 2 + coupling + 9.81 * (2 * jnp.cos(q[0]) + jnp.cos(q[1]))

    q, v = rng.normal(size=2), rng.normal(size=2)
    law = EulerLagrange(Lagrangian(double_pendulum))
    top, delta = law.accelerations(0.0, State(jnp.asarray(q), jnp.asarray(v)))
    c, s = np.cos(q[0] - q[1]), np.sin(q[0] - q[1])
    force = [-(v[1] ** 2) * s - 2 * 9.81 * np.sin(q[0]), v[0] ** 2 * s - 9.81 * np.sin(q[1])]
    np.testing.assert_allclose(top, np.linalg.solve([[2, c], [c, 1]], force), rtol=1e-13)
    assert delta.shape == (0,)


def test_derivative_of_a_solve_against_finite_differences(rng):
    inertia, jacobian = np.diag(rng.uniform(0.5, 2, 4)), jnp.asarray(rng.normal(size=(2, 4)))
    force, closing = rng.normal(size=4), rng.normal(size=2)

    def first(solver, scale):
        system = system_of(scale * inertia, jacobian * jnp.sin(scale))
        forces = {"first": jnp.asarray(force[:1]), "rest": jnp.asarray(force[1:])}
        top, (delta,) = solver(system, forces, (jnp.asarray(closing),))
        return top["first"][0] + delta[1]

    h, at = 1e-5, jnp.asarray(1.3)
    for solver in SOLVERS:
        f = jax.jit(lambda s, solver=solver: first(solver, s))
        difference = (f(at + h) - f(at - h)) / (2 * h)
        for derivative in (jax.grad, jax.jacfwd):
            np.testing.assert_allclose(jax.jit(derivative(f))(at), difference, rtol=1e-8)


# -- regularity ------------------------------------------------------------------------------------------------------


def report(inertia, jacobian):
    return jax.jit(lambda: regularity(system_of(inertia, jacobian)))()


def test_regular_system_and_how_it_prints():
    result = report(np.eye(3), np.eye(3)[:1])
    assert bool(result.regular)
    assert str(result).startswith("regular: 3 coordinates, 1 constraints of rank 1, singular values ")
    golden = (1 + np.sqrt(5)) / 2  # of [[1, 1], [1, 0]]
    np.testing.assert_allclose([result.largest, result.smallest], [golden, 1 / golden], rtol=1e-14)


@pytest.mark.parametrize("masses", [[1e-12, 1.0, 1e6], [1.0, 0.0, 1.0]])
def test_neither_small_nor_zero_masses_make_a_system_singular_by_themselves(masses):
    assert bool(report(np.diag(masses), np.array([[0.0, 1.0, 1.0]])).regular)


def test_dependent_constraints_are_reported():
    result = report(np.eye(3), np.array([[1.0, 2.0, 3.0], [0.0, 1.0, 0.0], [1.0, 1.0, 3.0]]))
    assert int(result.constraint_rank) == 2
    assert not bool(result.regular)
    assert "REDUNDANT (least-norm multipliers): 3 coordinates, 3 constraints of rank 2" in str(result)
    assert bool(result.determined)


def test_a_constraint_that_vanishes_is_reported():
    result = report(np.eye(2), np.zeros((1, 2)))
    assert int(result.constraint_rank) == 0
    assert not bool(result.regular)
    assert not bool(result.determined)


def test_inertia_singular_on_the_kernel_of_the_constraints_is_reported():
    result = report(np.diag([1.0, 0.0, 0.0]), np.array([[0.0, 1.0, 0.0]]))
    assert int(result.constraint_rank) == 1
    assert not bool(result.regular)
    assert not bool(result.determined)


def test_more_free_weights_than_an_acceleration_term_of_x_alone_reaches():
    """docs/theory.md §2: F = ½ẍ² with x = w₁w₂ is singular, as there are more weights than rank ∂x/∂W."""
    lagrangian = Lagrangian(lambda t, q, v, a, args: 0.5 * a[0] ** 2, order=2)
    law = EulerLagrange(lagrangian, Holonomic(lambda t, q, args: q[0] - q[1] * q[2]))
    q, zero = jnp.array([0.35, 0.5, 0.7]), jnp.zeros(3)
    assert not bool(law.regularity(0.0, State(q, zero, zero, zero)).regular)
    with pytest.raises(ValueError, match=r"singular at the start.*Give a mass"):
        law.initial_state(0.0, q, zero, a=zero, j=zero)


def test_singular_start_is_an_error_with_its_remedy_and_the_rank():
    lagrangian = Lagrangian(lambda t, q, v, args: 0.5 * v @ v)
    vanishing = EulerLagrange(lagrangian, Holonomic(lambda t, q, args: (q[0], q[1] ** 2)))
    with pytest.raises(ValueError, match=r"at the start \(constraints of rank 1 of 2\).*gradient of G vanishes"):
        vanishing.initial_state(0.0, jnp.zeros(2), jnp.zeros(2))


def test_redundant_constraints_start_and_have_the_shortest_multipliers():
    """The same rod twice, once doubled: of all multipliers with that reaction the shortest, for rows of unit length."""
    lagrangian = Lagrangian(lambda t, q, v, args: 0.5 * v @ v - 9.81 * q[1])
    twice = EulerLagrange(lagrangian, Holonomic(lambda t, q, args: ((q @ q - 1) / 2, q @ q - 1)))
    state = twice.initial_state(0.0, jnp.array([0.6, -0.8]), jnp.array([0.8, 0.6]))
    top, delta = twice.accelerations(0.0, state)
    tension = 1 + 9.81 * 0.8
    np.testing.assert_allclose(top, tension * np.array([-0.6, 0.8]) - np.array([0, 9.81]), rtol=1e-12)
    # scaled to unit rows the two share equally: the second, twice as long, has half the multiplier
    np.testing.assert_allclose(delta, [tension / 2, tension / 4], rtol=1e-7)
    assert "REDUNDANT" in str(twice.regularity(0.0, state))


def test_no_constraints_have_no_rank():
    found = report(np.eye(3), np.zeros((0, 3)))
    assert (int(found.constraint_rank), bool(found.regular), bool(found.determined)) == (0, True, True)


def test_free_directions_are_the_kernel_of_dependent_constraints():
    rank, kernel = _free_directions(jnp.array([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]), 1e-12)
    assert int(rank) == 1
    np.testing.assert_allclose(kernel, np.diag([0.0, 1.0, 1.0]), atol=1e-15)
