"""Constraints as mechanisms have them: rank that drops or is never full, any units, several kinds, none possible."""

import itertools

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import lagrangian_learning as ll

GRAVITY = 9.81
TIMES = np.linspace(0.0, 8.0, 9)


# -- parallel linkages -----------------------------------------------------------------------------------------------


def cranks(count):
    """Unit cranks from (k, 0), with unit masses at their ends, neighbours joined by unit rods: all move as one.

    Where they all lie along the rods, the gradients are dependent and other branches (antiparallel) begin.
    """
    anchors = np.stack([np.arange(count), np.zeros(count)], axis=1)

    def closed(t, q, args):
        ends = q.reshape(count, 2)
        rods = jnp.diff(ends, axis=0)
        return (jnp.sum((ends - anchors) ** 2, axis=1) - 1) / 2, (jnp.sum(rods**2, axis=1) - 1) / 2

    law = ll.EulerLagrange(
        ll.Lagrangian(lambda t, q, v, args: v @ v / 2 - GRAVITY * jnp.sum(q[1::2])), ll.Holonomic(closed)
    )
    start = ll.State(jnp.asarray((anchors + np.array([0, 1])).ravel()), jnp.asarray(np.tile([1.0, 0.0], count)))
    return law, start


@pytest.fixture(scope="module")
def turning():
    """The first crank's end by SciPy: φ̈ = g sin φ from the vertical, speed 1; it turns over and over."""
    run = solve_ivp(
        lambda t, y: [y[1], GRAVITY * np.sin(y[0])], (0, 8), [0.0, 1.0], "DOP853", TIMES, rtol=1e-13, atol=1e-13
    )
    return np.stack([np.sin(run.y[0]), np.cos(run.y[0])], axis=1)


@pytest.mark.parametrize(
    ("count", "solver"),
    [
        pytest.param(*given, marks=pytest.mark.slow)
        for given in ((2, None), (3, None), (2, ll.multipliers.DenseSaddlePoint()))
    ],
)
def test_rank_that_drops_on_the_way_costs_no_tolerance(turning, count, solver):
    """A parallel linkage passes its dead points some ten times: errors fall with the tolerance down to 1e-12."""
    law, start = cranks(count)
    law = ll.EulerLagrange(law.lagrangian, law.constraint, multiplier_solver=solver)
    run = jax.jit(lambda rtol: ll.simulate(law, start, TIMES, rtol=rtol, max_steps=4096))
    errors = []
    for rtol in (1e-6, 1e-8, 1e-10, 1e-12):
        path = run(rtol)
        errors.append(float(np.max(np.abs(path.q[:, :2] - turning))))
    assert errors[0] < 1e-3
    assert all(finer < coarser / 10 for coarser, finer in itertools.pairwise(errors))
    assert errors[-1] < 2e-10
    dead = ll.State(jnp.asarray(np.tile([1.0, 0.0], count) + np.repeat(np.arange(count), 2) * np.tile([1, 0], count)),
                    jnp.asarray(np.tile([0.0, 1.0], count)))  # fmt: skip
    assert int(law.regularity(0.0, dead).constraint_rank) < 2 * count - 1


def platform():
    """A bar of unit length, centre and angle as coordinates, on three parallel unit rods: one row is redundant."""
    places = np.array([-0.5, 0.1, 0.5])

    def closed(t, q, args):
        joints = q[:2] + places[:, None] * jnp.stack([jnp.cos(q[2]), jnp.sin(q[2])])
        feet = np.stack([places, np.zeros(3)], axis=1)
        return (jnp.sum((joints - feet) ** 2, axis=1) - 1) / 2

    masses = np.array([1.0, 1.0, 1 / 12])
    lagrangian = ll.Lagrangian(lambda t, q, v, args: jnp.sum(masses * v**2) / 2 - GRAVITY * q[1])
    return ll.EulerLagrange(lagrangian, ll.Holonomic(closed))


@pytest.mark.slow
def test_redundant_constraints_run_by_default_and_their_rank_is_reported():
    """The bar moves as a pendulum of unit length, without turning."""
    law = platform()
    start = law.initial_state(0.0, np.array([0.6, -0.8, 0.0]), np.zeros(3))
    assert "3 coordinates, 3 constraints of rank 2" in str(law.regularity(0.0, start))
    path = ll.simulate(law, start, [0.0, 2.0], rtol=1e-10)
    run = solve_ivp(
        lambda t, y: [y[1], -GRAVITY * np.cos(y[0])],
        (0, 2),
        [np.arctan2(-0.8, 0.6), 0.0],
        "DOP853",
        rtol=1e-12,
        atol=1e-12,
    )
    exact = [np.cos(run.y[0, -1]), np.sin(run.y[0, -1]), 0.0]
    np.testing.assert_allclose(path.q[-1], exact, atol=2e-8)
    assert path.stats["max_constraint_residual"] < 1e-13


# -- units -----------------------------------------------------------------------------------------------------------


def scaled_density(t, q, v, args):
    length, _ = args
    return (v / length) @ (v / length) / 2 - 9 * q[1] / length


def scaled_rod(t, q, args):
    length, unit = args
    return unit * ((q / length) @ (q / length) - 1)


def position(t, observables):
    return observables["q"]


SCALED = ll.EulerLagrange(ll.Lagrangian(scaled_density), ll.Holonomic(scaled_rod))
UNITS = ((1.0, 1.0), (1e-9, 1.0), (1e9, 1.0), (1.0, 1e-12), (1.0, 1e12), (1e-9, 1e12))


@pytest.mark.parametrize("dtype", [np.float64, pytest.param(np.float32, marks=pytest.mark.slow)])
def test_lengths_and_the_units_of_a_constraint_change_no_step(dtype):
    """Lengths 1e-9 to 1e9 and G scaled by 1e±12: as many steps within two, the same relative accuracy.

    Times stay, so that g scales with the length; a start that is a ten-thousandth off is refused in every unit.
    """
    rtol, found = dtype(1e-9 if dtype is np.float64 else 1e-5), []
    for length, unit in UNITS:
        args = (dtype(length), dtype(unit))
        q, v = np.array([0.6, -0.8], dtype) * args[0], np.array([0.8, 0.6], dtype) * args[0]
        start = SCALED.initial_state(0.0, q, v, args)
        path = ll.simulate(SCALED, start, [0.0, 3.0], args, rtol=rtol, atol=rtol * args[0], save=position)
        found.append((path.saved[-1] / args[0], int(path.stats["num_steps"])))
        with pytest.raises(ValueError, match="off the constraint"):
            SCALED.initial_state(0.0, q * dtype(1 + 1e-4), v, args)
    for q, steps in found[1:]:
        assert abs(steps - found[0][1]) <= 2, found
        np.testing.assert_allclose(q, found[0][0], atol=3 * rtol)


# -- several kinds ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_blade_on_a_sphere_against_equations_written_out():
    """(x, y, z) on the unit sphere and a blade that must follow its own turning angle φ: holonomic and d'Alembert.

    The blade's plane is turned by φ about the vertical: ẋ sin φ = ẏ cos φ. φ = ωt turns freely, and a = −δ q + μ n with
    n = (sin φ, −cos φ, 0) and multipliers from the two differentiated constraints, a two by two system.
    """
    omega = 0.7
    lagrangian = ll.Lagrangian(lambda t, q, v, args: v @ v / 2 - GRAVITY * q[2])
    sphere = ll.Holonomic(lambda t, q, args: (q[:3] @ q[:3] - 1) / 2)
    blade = ll.DAlembert(lambda t, q, v, args: v[0] * jnp.sin(q[3]) - v[1] * jnp.cos(q[3]))
    law = ll.EulerLagrange(lagrangian, [sphere, blade])
    q, v = np.array([0.6, 0.0, -0.8, 0.0]), np.array([0.8, 0.0, 0.6, omega])
    start = law.initial_state(0.0, q, v)

    def rates(t, y):
        q, v = y[:3], y[3:]
        n, turned = (
            np.array([np.sin(omega * t), -np.cos(omega * t), 0.0]),
            np.array([np.cos(omega * t), np.sin(omega * t), 0]),
        )
        weight = np.array([0, 0, -GRAVITY])
        matrix = np.array([[q @ q, q @ n], [q @ n, n @ n]])
        right = [-(v @ v) - q @ weight, -omega * turned @ v - n @ weight]
        delta, mu = np.linalg.solve(matrix, right)
        return [*v, *(weight + delta * q + mu * n)]

    exact = solve_ivp(rates, (0, 2), [*q[:3], *v[:3]], "DOP853", rtol=1e-12, atol=1e-12).y[:, -1]
    path = ll.simulate(law, start, [0.0, 2.0], rtol=1e-10)
    np.testing.assert_allclose(path.q[-1], [*exact[:3], 2 * omega], atol=1e-7)
    assert path.stats["max_constraint_residual"] < 1e-12
    delta, mu = path.multipliers
    assert delta.shape == mu.shape == (2,)
    assert float(path.stats["max_energy_defect_absolute"]) < 1e-7  # the reactions do no work


def test_kinds_that_do_not_combine_are_refused_by_name():
    lagrangian = ll.Lagrangian(lambda t, q, v, args: v @ v / 2)
    rod, blade = ll.Holonomic(lambda t, q, args: q @ q - 1), ll.Vakonomic(lambda t, q, v, args: v[0])
    with pytest.raises(ValueError, match="Vakonomic does not combine with other constraints: put all of them into"):
        ll.EulerLagrange(lagrangian, [rod, blade])
    with pytest.raises(ValueError, match="constraint is an empty list: for no constraints pass None"):
        ll.EulerLagrange(lagrangian, [])
    with pytest.raises(ValueError, match=r"wrap each function, as ll\.Holonomic"):
        ll.EulerLagrange(lagrangian, [rod, lambda t, q, args: q[0]])
    assert ll.EulerLagrange(lagrangian, [rod]).constraint is rod


# -- what cannot be ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "code"),
    [pytest.param({"dt0": 0.01}, "projection_failed", marks=pytest.mark.slow), ({}, "step_underflow")],
    ids=["constant", "adaptive"],
)
def test_a_constraint_that_becomes_impossible_is_never_successful(settings, code):
    """A rod that shrinks to nothing at t = 1."""
    law = ll.EulerLagrange(
        ll.Lagrangian(lambda t, q, v, args: v @ v / 2), ll.Holonomic(lambda t, q, args: q @ q - (1 - t))
    )
    state = ll.State(jnp.array([1.0, 0.0]), jnp.array([-0.5, 0.0]))
    path = ll.simulate(law, state, [0.0, 1.1], throw=False, max_steps=2000, **settings)
    assert bool(path.result == getattr(ll.RESULTS, code)), path.result


def test_without_stabilisation_a_run_that_drifts_away_says_so():
    """A turning rod by Euler's method: |q| grows by the factor √(1 + h²) a step, to 1.28 in fifty."""
    law = ll.EulerLagrange(ll.Lagrangian(lambda t, q, v, args: v @ v / 2), ll.Holonomic(lambda t, q, args: q @ q - 1))
    start = law.initial_state(0.0, np.array([1.0, 0.0]), np.array([0.0, 1.0]))
    run = {"solver": diffrax.Euler(), "stabilisation": ll.NoStabilisation(), "throw": False}
    assert bool(ll.simulate(law, start, [0.0, 5.0], dt0=0.1, **run).result == ll.RESULTS.constraint_drift)
    assert bool(ll.simulate(law, start, [0.0, 0.5], dt0=0.01, **run).result == ll.RESULTS.successful)


def test_contradictory_constraints_have_no_start():
    """q₀ = 0 and q₀ = 1e-3: the shortest update of least squares is zero halfway between the two."""
    law = ll.EulerLagrange(
        ll.Lagrangian(lambda t, q, v, args: v @ v / 2), ll.Holonomic(lambda t, q, args: (q[0], q[0] - 1e-3))
    )
    with pytest.raises(ValueError, match="did not converge"):
        law.initial_state(0.0, np.array([0.3, 1.0]), np.zeros(2), consistent="project", tolerance=1e-6)


def test_velocity_constraints_without_velocities_and_states_of_other_laws_are_named():
    lagrangian = ll.Lagrangian(lambda t, q, v, args: v @ v / 2)
    q, v = np.array([1.0, 0.0]), np.zeros(2)
    for rule in (ll.DAlembert, ll.Vakonomic):
        law = ll.EulerLagrange(lagrangian, rule(lambda t, q, v, args: q @ q - 1))
        given = {"multipliers": np.zeros(())} if rule is ll.Vakonomic else {}
        with pytest.raises(ValueError, match=r"does not depend on the velocities v: use ll\.Holonomic"):
            law.initial_state(0.0, q, v, **given)
    blade = ll.EulerLagrange(lagrangian, ll.Vakonomic(lambda t, q, v, args: v[0] - q[1] * v[1]))
    with pytest.raises(ValueError, match="this law's has q, v, multipliers, and this one q, v"):
        ll.simulate(blade, ll.State(jnp.asarray(q), jnp.asarray(v)), [0.0, 1.0])


# -- inertia that is singular ------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("solver", [None, ll.multipliers.DenseSaddlePoint()])
def test_a_massless_coordinate_is_carried_along_under_projection(solver):
    """A pendulum and s = xy without mass, of potential s: with x = sin φ, y = −cos φ, φ̈ = −g sin φ + cos 2φ."""
    law = ll.EulerLagrange(
        ll.Lagrangian(lambda t, q, v, args: v[:2] @ v[:2] / 2 - GRAVITY * q[1] - q[2]),
        ll.Holonomic(lambda t, q, args: ((q[:2] @ q[:2] - 1) / 2, q[2] - q[0] * q[1])),
        **({} if solver is None else {"multiplier_solver": solver}),
    )
    start = law.initial_state(0.0, np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.5, 0.5]))
    exact = solve_ivp(
        lambda t, y: [y[1], -GRAVITY * np.sin(y[0]) + np.cos(2 * y[0])], (0, 3), [np.pi / 2, 0.5], "DOP853",
        rtol=1e-12, atol=1e-12,
    ).y[:, -1]  # fmt: skip
    path = ll.simulate(law, start, [0.0, 3.0], rtol=1e-10)
    x, y = np.sin(exact[0]), -np.cos(exact[0])
    np.testing.assert_allclose(path.q[-1], [x, y, x * y], atol=1e-8)
    np.testing.assert_allclose(path.v[-1, 2], exact[1] * -np.cos(2 * exact[0]), atol=1e-7)
    assert path.stats["max_constraint_residual"] < 1e-13
    assert path.stats["max_velocity_residual"] < 1e-12


@pytest.mark.slow
@pytest.mark.parametrize("solver", [ll.multipliers.ConjugateGradients(), ll.multipliers.BlockTridiagonal()])
def test_network_solvers_under_projection_follow_the_reduced_motion(solver):
    """Neurons as constrained coordinates, projected after each step, against the equations without constraints."""
    network = ll.Layered((2, 3, 1))
    action = ll.CognitiveAction(network, mass_x=0.01, mass_W=1.0, dissipation=ll.ExponentialDissipation(1.0))
    stimulus = ll.Stimulus(ll.Sinusoids(jnp.array([1.0, 1.6]), 0.7, 0.1), jnp.array([0.4]))
    W, times = network.init(jax.random.key(0)), np.linspace(0.0, 3.0, 4)
    full, reduced = action.law(coordinates="full", multiplier_solver=solver), action.law()
    paths = [
        ll.simulate(law, law.initial_state(0.0, W, args=stimulus), times, stimulus, rtol=1e-9, max_steps=4096)
        for law in (full, reduced)
    ]
    for found, wanted in zip(*(jax.tree.leaves(path.W) for path in paths), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-6)
    assert "projection" in str(paths[0])
    assert paths[0].stats["max_constraint_residual"] < 1e-10
    assert paths[0].stats["max_velocity_residual"] < 1e-10
