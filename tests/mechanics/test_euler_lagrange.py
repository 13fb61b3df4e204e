"""Accelerations and multipliers of whole laws against SymPy, closed forms and their own defect."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy as sp
from sympy.physics.mechanics import LagrangesMethod, Particle, Point, ReferenceFrame, dynamicsymbols

from lagrangian_learning.mechanics import (
    DAlembert,
    DenseSaddlePoint,
    DenseSchur,
    EulerLagrange,
    ExponentialDissipation,
    Holonomic,
    Lagrangian,
    ScheduledDissipation,
    State,
)

M1, M2, G0, L1, L2, DRAG = 1.5, 0.25, 9.81, 1.0, 0.8, 0.3


def sympy_double_pendulum(q, v):
    """Accelerations and multipliers of two bodies on rods, the first with drag, by Lagrange's method."""
    symbols = dynamicsymbols("x1 y1 x2 y2")
    x1, y1, x2, y2 = symbols
    t = dynamicsymbols._t
    speeds = [s.diff(t) for s in symbols]
    lagrangian = (
        sp.Rational(1, 2) * M1 * (speeds[0] ** 2 + speeds[1] ** 2)
        + sp.Rational(1, 2) * M2 * (speeds[2] ** 2 + speeds[3] ** 2)
        - G0 * (M1 * y1 + M2 * y2)
    )
    rods = [(x1**2 + y1**2 - L1**2) / 2, ((x2 - x1) ** 2 + (y2 - y1) ** 2 - L2**2) / 2]
    frame, point = ReferenceFrame("N"), Point("P")
    point.set_vel(frame, speeds[0] * frame.x + speeds[1] * frame.y)
    Particle("body", point, M1)
    forces = [(point, -DRAG * (speeds[0] * frame.x + speeds[1] * frame.y))]
    method = LagrangesMethod(lagrangian, list(symbols), hol_coneqs=rods, forcelist=forces, frame=frame)
    method.form_lagranges_equations()
    at = dict(zip(speeds, v, strict=True)) | dict(zip(symbols, q, strict=True))
    # Speeds first: a speed is the derivative of a coordinate that must not yet be a number.
    mass = method.mass_matrix_full.subs(dict(zip(speeds, v, strict=True))).subs(at)
    forcing = method.forcing_full.subs(dict(zip(speeds, v, strict=True))).subs(at)
    solution = np.linalg.solve(np.array(mass, dtype=float), np.array(forcing, dtype=float).ravel())
    return solution[4:8], solution[8:]


@pytest.mark.parametrize("solver", [None, DenseSaddlePoint(), DenseSchur()])
def test_double_pendulum_in_cartesian_coordinates_equals_lagranges_method(solver, rng):
    q, v = rng.normal(size=4), rng.normal(size=4)

    def density(t, q, v, args):
        (a, b), (u, w) = q, v
        return 0.5 * M1 * u @ u + 0.5 * M2 * w @ w - G0 * (M1 * a[1] + M2 * b[1])

    def rods(t, q, args):
        a, b = q
        return {"upper": 0.5 * (a @ a - L1**2), "lower": 0.5 * ((b - a) @ (b - a) - L2**2)}

    law = EulerLagrange(
        Lagrangian(density),
        Holonomic(rods),
        forces=lambda t, q, v, args: (-DRAG * v[0], jnp.zeros(2)),
        multiplier_solver=solver,
    )
    state = State((jnp.asarray(q[:2]), jnp.asarray(q[2:])), (jnp.asarray(v[:2]), jnp.asarray(v[2:])))
    top, delta = law.accelerations(0.0, state)
    accelerations, multipliers = sympy_double_pendulum(q, v)
    np.testing.assert_allclose(np.concatenate(top), accelerations, rtol=1e-12)
    # SymPy writes + G_qᵀλ where docs/theory.md writes − G_qᵀδ.
    np.testing.assert_allclose([delta["upper"], delta["lower"]], -multipliers, rtol=1e-12)


def test_second_order_action_on_the_circle_equals_its_reduction(elastica):
    """½|q̈|² on q = (cos φ, sin φ) is ½(φ̈² + φ̇⁴), whose equation is φ⁗ = 6φ̇²φ̈ (docs/theory.md §2)."""
    phi, w, alpha, beta = 0.3, 0.7, -0.2, 0.4
    s = sp.Symbol("s")
    angle = phi + w * s + alpha * s**2 / 2 + beta * s**3 / 6 + 6 * w**2 * alpha * s**4 / 24
    path = sp.Matrix([sp.cos(angle), sp.sin(angle)])
    jet = [jnp.asarray(np.array(path.diff(s, k).subs(s, 0), dtype=float).ravel()) for k in range(5)]
    state = elastica.initial_state(0.0, jet[0], jet[1], a=jet[2], j=jet[3])
    top, delta = elastica.accelerations(0.0, state)
    np.testing.assert_allclose(top, jet[4], atol=1e-13)
    # radial part of q⁗ − qδ = 0, the sign of docs/theory.md: ℓ_aa enters with D², + q⁗ − G_qᵀδ = 0
    np.testing.assert_allclose(delta, jet[0] @ jet[4], atol=1e-13)


def test_the_equations_hold_at_the_solution(driven, driven_start, driven_args):
    """|D²G| and the Euler–Lagrange residual relative to their largest term."""
    state = driven.initial_state(0.3, *driven_start, driven_args, consistent="project")
    top, delta = driven.accelerations(0.3, state, driven_args)
    defect = driven.defect(0.3, state, top, delta, driven_args)
    assert max(defect.relative) < 1e-14
    wrong = driven.defect(0.3, state, jax.tree.map(lambda a: a * (1 + 1e-6), top), delta, driven_args)
    assert min(wrong.relative) > 1e-8


def test_the_work_of_forces_is_newtons(rng):
    """Mass times acceleration = … + Q, whatever the weight ϖ."""
    law = EulerLagrange(
        Lagrangian(lambda t, q, v, args: 0.5 * 3.0 * v @ v, ScheduledDissipation(lambda t: jnp.sin(t))),
        forces=lambda t, q, v, args: jnp.array([1.0, 2.0]) * t,
    )
    q, v = jnp.asarray(rng.normal(size=2)), jnp.asarray(rng.normal(size=2))
    top, _ = law.accelerations(0.5, State(q, v))
    np.testing.assert_allclose(top, np.array([0.5, 1.0]) / 3 - np.cos(0.5) * v, rtol=1e-14)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("order", [1, 2])
def test_a_weight_of_e_to_the_ten_million_is_never_formed(order, dtype):
    """ϑ = 1e6 at t = 10, with a constraint and a term outside the weight: everything is finite, and v̇ = −ϑv + …"""
    theta = 1e6

    def density(t, q, v, *rest):
        return 0.5 * v @ v if order == 1 else 0.5 * rest[0] @ rest[0]

    lagrangian = Lagrangian(
        density, ExponentialDissipation(theta), order=order, unweighted=lambda t, q, v, *rest: q @ v + q @ q
    )
    law = EulerLagrange(lagrangian, Holonomic(lambda t, q, args: q[2] - q[0] * q[1]))
    one = jnp.array([1.0, 1.0, 1.0], dtype)
    zero = jnp.zeros(3, dtype)
    slip = jnp.array([1.0, -1.0, 0.0], dtype)
    state = State(one, slip) if order == 1 else State(one, zero, zero, zero)
    rates = eqx.filter_jit(law.rates)(10.0, state, None)
    assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(rates))
    if order == 1:
        np.testing.assert_allclose(rates.state.v[:2], -theta * slip[:2], rtol=1e-5)

    def motion(rate):
        moved = EulerLagrange(Lagrangian(density, ExponentialDissipation(rate), order=order), law.constraint)
        return jnp.sum(moved.vector_field(10.0, state, None).v)

    sensitivity = jax.jit(jax.grad(motion))(jnp.asarray(theta))
    assert bool(jnp.isfinite(sensitivity))


def test_baumgarte_closes_with_the_polynomial(pendulum, elastica):
    """D²G + 2α DG + β²G = 0 on a state off the constraint, and its square for order 2."""
    alpha, beta = 3.0, 5.0
    q, v = jnp.array([1.2, 0.1]), jnp.array([0.3, 0.4])
    top, _ = pendulum.baumgarte(alpha, beta).accelerations(0.0, State(q, v))
    left = v @ v + q @ top + 2 * alpha * (q @ v) + beta**2 * 0.5 * (q @ q - 1)
    np.testing.assert_allclose(left, 0, atol=1e-12)

    a, j = jnp.array([-0.5, 0.2]), jnp.array([0.7, -0.1])
    top, _ = elastica.baumgarte(alpha, beta).accelerations(0.0, State(q, v, a, j))
    tower = [0.5 * (q @ q - 1), q @ v, v @ v + q @ a, 3 * v @ a + q @ j, 3 * a @ a + 4 * v @ j + q @ top]
    square = np.polymul([1, 2 * alpha, beta**2], [1, 2 * alpha, beta**2])[::-1]
    np.testing.assert_allclose(sum(c * g for c, g in zip(square, tower, strict=True)), 0, atol=1e-11)


@pytest.mark.parametrize("gains", [(-1.0, 1.0), (1.0, -1.0), (np.nan, 1.0), (1.0, np.inf)])
def test_gains_that_would_not_damp_are_an_error(pendulum, gains):
    with pytest.raises(ValueError, match=r"(alpha|beta) must be finite and >= 0: other gains"):
        pendulum.baumgarte(*gains)


def test_baumgarte_needs_constraints():
    free = EulerLagrange(Lagrangian(lambda t, q, v, args: 0.5 * v @ v))
    with pytest.raises(ValueError, match="needs constraints"):
        free.baumgarte(1.0, 1.0)


@pytest.mark.parametrize(
    "force", [lambda t, q, v, args: jnp.ones(3), lambda t, q, v, args: (v, v), lambda t, q, v, args: None]
)
def test_forces_that_are_not_like_q_are_an_error(force):
    law = EulerLagrange(Lagrangian(lambda t, q, v, args: 0.5 * v @ v), forces=force)
    with pytest.raises(ValueError, match=r"forces has shapes .* Q must be a pytree like q"):
        law.initial_state(0.0, jnp.ones(2), jnp.ones(2))


def test_observables_and_description(pendulum, elastica):
    state = pendulum.initial_state(0.0, jnp.array([0.0, -1.0]), jnp.array([2.0, 0.0]))
    seen = pendulum.observables(0.0, state, None)
    np.testing.assert_allclose(seen["a"], [0, 4], atol=1e-14)  # centripetal
    np.testing.assert_allclose(seen["multipliers"], 4 + 9.81)  # m v²/l + m g
    assert pendulum.description["multipliers"] == "dense, by structure"
    assert pendulum.constrained_part is not None
    assert pendulum.aliases == {}
    assert elastica.linear_part is None
    free = EulerLagrange(Lagrangian(lambda t, q, v, args: 0.5 * v @ v))
    assert free.constrained_part is None
    with pytest.raises(ValueError, match="this law has no constraints"):
        free.residual(0.0, state)
    assert "unconstrained" in free.description["multipliers"]


def test_damped_drift_is_the_same_on_the_constraint_and_decays_at_the_rate_off_it(driven, driven_args, driven_start):
    """D²G + r DG = 0 with r = 0.4, written with total derivatives of G by hand-made finite differences in time."""
    state = driven.initial_state(0.3, *driven_start, driven_args, consistent="project")
    damped = driven.damping_drift()
    for left, right in zip(
        driven.accelerations(0.3, state, driven_args), damped.accelerations(0.3, state, driven_args), strict=True
    ):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12), left, right)
    off = State(state.q, jax.tree.map(lambda v: v + 0.3, state.v))
    top, _ = damped.accelerations(0.3, off, driven_args)

    def along(s):
        q = jax.tree.map(lambda q, v, a: q + s * v + s**2 / 2 * a, off.q, off.v, top)
        return driven.constraint.fn(0.3 + s, q, driven_args)["ellipse"]

    h = 1e-4
    first, second = (along(h) - along(-h)) / (2 * h), (along(h) - 2 * along(0.0) + along(-h)) / h**2
    assert abs(first) > 0.1
    np.testing.assert_allclose(second, -0.4 * first, rtol=1e-5)


@pytest.mark.parametrize("damped", [False, True])
def test_a_velocity_constraint_closes_with_its_own_gain(damped):
    """DG + α G = 0 off G = 0, and DG + (α + r) G = 0 where drift is damped: G = v₀ − q₁, r = 0.4."""
    lagrangian = Lagrangian(lambda t, q, v, args: 0.5 * v @ v - q[0], ExponentialDissipation(0.4))
    law = EulerLagrange(lagrangian, DAlembert(lambda t, q, v, args: v[0] - q[1])).baumgarte(3.0, 5.0)
    law = law.damping_drift() if damped else law
    q, v = jnp.array([0.2, 0.1]), jnp.array([0.6, -0.3])
    top, _ = law.accelerations(0.0, State(q, v))
    np.testing.assert_allclose(top[0] - v[1], -(3.4 if damped else 3.0) * (v[0] - q[1]), rtol=1e-12)


def test_a_solver_is_a_solver():
    with pytest.raises(ValueError, match=r"multiplier_solver must be a solver .* got str"):
        EulerLagrange(Lagrangian(lambda t, q, v, args: v @ v), multiplier_solver="dense")


def test_a_blade_that_is_driven_feeds_energy():
    """v₀ = t under d'Alembert's rule: dE/dt = v₀ v̇₀ = t."""
    law = EulerLagrange(Lagrangian(lambda t, q, v, args: 0.5 * v @ v), DAlembert(lambda t, q, v, args: v[0] - t))
    state = State(jnp.array([0.7, -0.4]), jnp.array([2.0, 0.3]))
    np.testing.assert_allclose(law.rates(jnp.asarray(2.0), state, None).power, 2.0, rtol=1e-12)
    np.testing.assert_allclose(law.energy(2.0, state), (4 + 0.09) / 2, rtol=1e-15)


def test_a_run_does_not_start_with_a_constraint_on_nothing():
    law = EulerLagrange(Lagrangian(lambda t, q, v, args: 0.5 * v @ v), Holonomic(lambda t, q, args: t))
    with pytest.raises(ValueError, match="does not depend on q"):
        law.check(jnp.array([0.0, 1.0]), State(jnp.ones(2), jnp.ones(2)), None)
