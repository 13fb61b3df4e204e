"""Charges of mechanics (docs/theory.md §12): closed forms, and rates against differences of Q written in NumPy."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lagrangian_learning as ll
from tests.problems import GRAVITY, INERTIA, KNIFE_EDGE_START, MASS, SLOPE, circle, cycloid, knife_edge

THETA = 0.3
TIMES = np.linspace(0.0, 3.0, 13)


def differenced(values, step):
    """dQ/dt at the inner ones of equidistant values, by central differences of fourth order."""
    return (values[:-4] - 8 * values[1:-3] + 8 * values[3:-1] - values[4:]) / (12 * step)


def fine_run(law, state, charge, args=None, step=2e-3, steps=40):
    """A run in constant steps, saved at each."""
    ts = np.linspace(0.0, steps * step, steps + 1)
    return ll.simulate(law, state, ts, args, dt0=step, charges={"Q": charge}), step


def turning(q, v):
    """x v_y − y v_x, in NumPy."""
    q, v = np.asarray(q), np.asarray(v)
    return q[:, 0] * v[:, 1] - q[:, 1] * v[:, 0]


def test_angular_momentum_in_a_central_field_decays_by_friction_alone():
    lagrangian = ll.Lagrangian(lambda t, q, v, args: v @ v / 2 + 1 / jnp.sqrt(q @ q), ll.ExponentialDissipation(THETA))
    law = ll.EulerLagrange(lagrangian)
    state = law.initial_state(0.0, jnp.array([1.0, 0.2]), jnp.array([0.1, 1.0]))
    path = ll.simulate(law, state, TIMES, charges={"L": ll.charge(law, ll.SpaceRotation())})
    spin = path.charges["L"]
    np.testing.assert_allclose(spin.value, turning(path.q, path.v), rtol=1e-14)
    np.testing.assert_allclose(spin.value, 0.98 * np.exp(-THETA * TIMES), rtol=0, atol=1e-9)
    np.testing.assert_allclose(spin.balance, 0, atol=1e-9)
    np.testing.assert_allclose(spin.rate, -THETA * spin.value, rtol=1e-13)
    np.testing.assert_allclose([spin.parts.kinetic, spin.parts.potential], 0, atol=1e-15)


def spherical_pendulum():
    """A heavy point on the unit sphere in Cartesian coordinates, the third axis up."""
    density = lambda t, q, v, args: v @ v / 2 - 9.81 * q[2]  # noqa: E731
    law = ll.EulerLagrange(ll.Lagrangian(density, ll.ExponentialDissipation(THETA)), ll.Holonomic(circle))
    return law, law.initial_state(0.0, jnp.array([0.6, 0.0, -0.8]), jnp.array([0.4, 1.5, 0.3]))


@pytest.mark.slow
def test_angular_momentum_of_a_spherical_pendulum_about_the_vertical():
    law, state = spherical_pendulum()
    generators = {"vertical": ll.SpaceRotation(0, 1), "horizontal": ll.SpaceRotation(1, 2)}
    generators["off the axis"] = ll.SpaceRotation(0, 1, center=jnp.array([0.3, -0.2, 0.0]))
    path = ll.simulate(law, state, TIMES, charges={name: ll.charge(law, g) for name, g in generators.items()})
    vertical, off = path.charges["vertical"], path.charges["off the axis"]
    np.testing.assert_allclose(vertical.value, turning(path.q, path.v), rtol=1e-13)
    np.testing.assert_allclose(vertical.value, 0.9 * np.exp(-THETA * TIMES), rtol=0, atol=1e-9)
    for charge in path.charges.values():
        np.testing.assert_allclose(charge.balance, 0, atol=1e-9)
    # Gravity breaks the second, and the sphere the third: its reaction −qδ has a moment about another axis.
    q, delta = np.asarray(path.q), np.asarray(path.multipliers)
    np.testing.assert_allclose(path.charges["horizontal"].parts.potential, -9.81 * q[:, 1], rtol=1e-12)
    np.testing.assert_allclose(off.parts.constraint, delta * (0.2 * q[:, 0] + 0.3 * q[:, 1]), rtol=1e-10, atol=1e-12)
    assert np.max(np.abs(off.parts.constraint)) > 1


@pytest.mark.slow
def test_linear_momentum_moves_by_the_force():
    """m v of a particle under the force sin t: m v = ∫ sin t e^{ϑ(s − t)} ds."""
    lagrangian = ll.Lagrangian(lambda t, q, v, args: 1.3 * v @ v, ll.ExponentialDissipation(THETA))
    law = ll.EulerLagrange(lagrangian, forces=lambda t, q, v, args: jnp.stack([jnp.sin(t), 0 * t]))
    state = law.initial_state(0.0, jnp.zeros(2), jnp.zeros(2))
    momentum = ll.charge(law, lambda t, q, args: (1.0, 0.0) if isinstance(q, tuple) else jnp.array([1.0, 0.0]))
    kept = ll.simulate(law, state, TIMES, charges={"P": momentum}).charges["P"]
    expected = (THETA * np.sin(TIMES) - np.cos(TIMES) + np.exp(-THETA * TIMES)) / (1 + THETA**2)
    np.testing.assert_allclose(kept.value, expected, rtol=0, atol=1e-9)
    np.testing.assert_allclose(kept.parts.forces, np.sin(TIMES), atol=1e-15)
    np.testing.assert_allclose(kept.balance, 0, atol=1e-9)


def swaying(t, q, args):
    """A generator that depends on time and on the coordinates of `driven`."""
    return {"p": jnp.stack([q["s"] * q["p"][1], -(q["p"][0] ** 2) * jnp.cos(t)]), "s": jnp.sin(t) + q["p"][0]}


def test_moving_constraint_with_forces_and_any_generator(driven, driven_start, driven_args):
    """Every part at once; Q and its rate of change are written in NumPy."""
    state = driven.initial_state(0.0, *driven_start, driven_args, consistent="project")
    charge = ll.charge(driven, swaying)
    path, step = fine_run(driven, state, charge, driven_args)
    t, (p, s), (u, w) = path.ts, (np.asarray(path.q[k]) for k in "ps"), (np.asarray(path.v[k]) for k in "ps")
    value = 1.7 * (u[:, 0] * s * p[:, 1] - u[:, 1] * p[:, 0] ** 2 * np.cos(t)) + w * (np.sin(t) + p[:, 0])
    kept = path.charges["Q"]
    np.testing.assert_allclose(kept.balance, 0, atol=1e-12)
    np.testing.assert_allclose(kept.value, value, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(kept.rate[2:-2], differenced(value, step), rtol=1e-9, atol=1e-9)
    for part in kept.parts:
        assert np.max(np.abs(part)) > 1e-2
    np.testing.assert_allclose(sum(np.asarray(part) for part in kept.parts), kept.rate, rtol=1e-13)


@pytest.mark.slow
def test_momenta_of_a_knife_edge_by_the_rule_of_alembert():
    """Along the slope and across it, by the cycloid: across it the reaction of the blade alone moves P."""
    law = knife_edge(ll.DAlembert)
    ts = np.linspace(0.0, 2.0, 9)
    along, across = (ll.charge(law, lambda t, q, args, k=k: jnp.eye(3)[k]) for k in (0, 1))
    path = ll.simulate(
        law, law.initial_state(0.0, *KNIFE_EDGE_START), ts, rtol=1e-11, charges={"along": along, "across": across}
    )
    q, delta = cycloid(ts)
    size, turn = GRAVITY * np.sin(SLOPE) / 1.6, 1.6 * ts  # ẋ = size · sin 2Ωt, ẏ = size · (1 − cos 2Ωt)
    np.testing.assert_allclose(path.charges["along"].value, MASS * size * np.sin(turn), atol=1e-9)
    np.testing.assert_allclose(path.charges["across"].value, MASS * size * (1 - np.cos(turn)), atol=1e-9)
    np.testing.assert_allclose(path.charges["across"].parts.constraint, delta * np.cos(q[:, 2]), atol=1e-8)
    for charge in path.charges.values():
        np.testing.assert_allclose(charge.balance, 0, atol=1e-9)


def winding(t, q, args):
    """A generator for three coordinates that is no symmetry of anything."""
    return jnp.stack([q[2] * q[1], jnp.sin(q[0]) + t, q[0]])


def vakonomic_blade():
    law = knife_edge(ll.Vakonomic)
    return law, law.initial_state(0.0, *KNIFE_EDGE_START, multipliers=np.asarray(0.2))


def blade_on_a_rod():
    """A blade at the end of a rod whose length moves."""
    density = lambda t, q, v, args: (v[0] ** 2 + v[1] ** 2 + 0.3 * v[2] ** 2) / 2 - q[1]  # noqa: E731
    rod = ll.Holonomic(lambda t, q, args: q[0] ** 2 + q[1] ** 2 + 0.5 * q[2] - 1 - 0.2 * jnp.sin(t))
    blade = ll.DAlembert(lambda t, q, v, args: v[2] - q[0] * v[1] - 0.1)
    law = ll.EulerLagrange(ll.Lagrangian(density, ll.ExponentialDissipation(THETA)), [rod, blade])
    q, v = jnp.array([0.8, 0.5, 0.2]), jnp.array([0.3, -0.4, 0.1])
    return law, law.initial_state(0.0, q, v, consistent="project")


def test_vakonomic_knife_edge():
    """Across the slope p = m ẏ + δ cos φ is constant, where d'Alembert's rule has a reaction."""
    law, state = vakonomic_blade()
    across = ll.charge(law, lambda t, q, args: jnp.eye(3)[1])
    ts, step = np.linspace(0.0, 0.08, 41), 2e-3
    path = ll.simulate(law, state, ts, dt0=step, charges={"across": across, "any": ll.charge(law, winding)})
    q, v, delta = (np.asarray(values) for values in (path.q, path.v, path.multipliers))
    pulls = np.stack([-delta * np.sin(q[:, 2]), delta * np.cos(q[:, 2]), 0 * ts], axis=1)
    p = np.array([MASS, MASS, INERTIA]) * v + pulls
    np.testing.assert_allclose(path.charges["across"].value, p[:, 1], rtol=1e-13)
    np.testing.assert_allclose(path.charges["across"].value, 0.2, rtol=1e-12)
    value = p[:, 0] * q[:, 2] * q[:, 1] + p[:, 1] * (np.sin(q[:, 0]) + ts) + p[:, 2] * q[:, 0]
    kept = path.charges["any"]
    np.testing.assert_allclose(kept.value, value, atol=1e-13)
    np.testing.assert_allclose(kept.rate[2:-2], differenced(value, step), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(kept.balance, 0, atol=1e-12)


@pytest.mark.slow
def test_constraints_of_two_kinds():
    law, state = blade_on_a_rod()
    path, step = fine_run(law, state, ll.charge(law, winding))
    (x, y, z), v = np.asarray(path.q).T, np.asarray(path.v).T
    value = v[0] * z * y + v[1] * (np.sin(x) + path.ts) + 0.3 * v[2] * x
    kept = path.charges["Q"]
    np.testing.assert_allclose(kept.rate[2:-2], differenced(value, step), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(kept.balance, 0, atol=1e-12)
    assert np.max(np.abs(kept.parts.constraint)) > 0.1


@pytest.mark.slow
@pytest.mark.parametrize("made", [vakonomic_blade, blade_on_a_rod])
def test_balances_close_at_default_tolerances(made):
    law, state = made()
    path = ll.simulate(law, state, TIMES[:9], charges={"Q": ll.charge(law, winding)})
    np.testing.assert_allclose(path.charges["Q"].balance, 0, atol=1e-9)


@pytest.mark.slow
def test_the_balance_of_the_moving_constraint_closes_at_default_tolerances(driven, driven_start, driven_args):
    state = driven.initial_state(0.0, *driven_start, driven_args, consistent="project")
    path = ll.simulate(driven, state, TIMES, driven_args, charges={"Q": ll.charge(driven, swaying)})
    np.testing.assert_allclose(path.charges["Q"].balance, 0, atol=1e-9)


def test_terms_outside_the_weight_and_velocities_in_the_potential():
    """A magnetic term, a scheduled weight and F(t, q, v) outside it: dQ/dt is D of Q along the vector field."""
    lagrangian = ll.Lagrangian(
        lambda t, q, v, args: (1 + q[0] ** 2) * v @ v / 2 + q[0] * v[1] - jnp.cos(q[1] + t),
        ll.ScheduledDissipation(lambda t: t + t**2 / 3),
        unweighted=lambda t, q, v, args: jnp.sin(t) * q[0] * v[1] ** 2,
    )
    law = ll.EulerLagrange(lagrangian)
    charge = ll.charge(law, lambda t, q, args: jnp.stack([q[1] * t, q[0]]))
    t, state = jnp.asarray(0.7), ll.State(jnp.array([0.4, -0.3]), jnp.array([0.9, 1.1]))

    @eqx.filter_jit
    def along(t, state):
        rates = law.rates(t, state, None).state
        read, change = jax.jvp(lambda s, y: charge.reading(s, y, None), (t, state), (jnp.ones_like(t), rates))
        return read, change.value

    read, change = along(t, state)
    np.testing.assert_allclose(read.rate, change, rtol=1e-13)
    np.testing.assert_allclose(read.parts.potential, np.sin(0.4) * 0.4, rtol=1e-13)
    assert abs(float(read.parts.kinetic)) > 0.1


def test_gradient_generator_of_mechanics():
    """Φ = (q·Aq)/2 has g = A q."""
    A = jnp.array([[2.0, 0.5], [0.5, -1.0]])
    generator = ll.GradientOf(lambda t, q, args: q @ A @ q / 2)
    np.testing.assert_allclose(generator(0.0, jnp.array([0.3, 0.7]), None), np.asarray(A) @ [0.3, 0.7], rtol=1e-15)
    with pytest.raises(ValueError, match="scalar, got shape"):
        ll.GradientOf(lambda t, q, args: q)(0.0, jnp.ones(2), None)


def test_many_points_turn_together():
    q = jnp.arange(12.0).reshape(2, 2, 3)
    found = ll.SpaceRotation(2, 0)(0.0, {"a": q}, None)["a"]
    np.testing.assert_array_equal(found[..., 2], -q[..., 0])
    np.testing.assert_array_equal(found[..., 0], q[..., 2])
    np.testing.assert_array_equal(found[..., 1], 0)


def test_float32_and_batches():
    law = ll.EulerLagrange(ll.Lagrangian(lambda t, q, v, args: v @ v / 2 - q @ q))
    charge = ll.charge(law, ll.SpaceRotation(center=np.array([0.5, 0.0])))
    states = ll.State(jnp.ones((3, 2), jnp.float32), jnp.arange(6, dtype=jnp.float32).reshape(3, 2))
    read = jax.vmap(charge, in_axes=(None, 0))(0.0, states)
    assert read.value.dtype == jnp.float32
    assert read.rate.shape == (3,)
    np.testing.assert_allclose(read.value, [(1 - 0.5) * v - u for u, v in ((0, 1), (2, 3), (4, 5))], rtol=1e-6)


def test_refusals(unchecked):
    second = ll.EulerLagrange(ll.Lagrangian(lambda t, q, v, a, args: a @ a / 2, order=2))
    with pytest.raises(ValueError, match="second order"):
        ll.charge(second, ll.SpaceRotation())

    class Mine(ll.AbstractLaw):
        def rates(self, t, state, args):
            return ll.Rates(state)

    with pytest.raises(ValueError, match="Mine has no Lagrangian"):
        ll.charge(Mine(), ll.SpaceRotation())
    law, state = spherical_pendulum()
    with pytest.raises(ValueError, match="generator must be callable"):
        ll.charge(law, 3.0)
    with pytest.raises(ValueError, match="law must be a law"):
        ll.charge(3.0, ll.SpaceRotation())
    with pytest.raises(ValueError, match="must be a pytree like q"):
        ll.charge(law, lambda t, q, args: q[:2])(0.0, state)
    with pytest.raises(ValueError, match="two different indices"):
        ll.SpaceRotation(1, 1)
    with pytest.raises(ValueError, match="axes of space last"):
        ll.charge(law, ll.SpaceRotation(0, 3))(0.0, state)
