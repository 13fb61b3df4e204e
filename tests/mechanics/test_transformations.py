"""jit, vmap, grad and their compositions; coordinates of any pytree; float32 twins; nothing compiled twice."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lagrangian_learning.mechanics import (
    DenseSaddlePoint,
    DenseSchur,
    EulerLagrange,
    ExponentialDissipation,
    Holonomic,
    Lagrangian,
    State,
)
from tests.helpers import flat


def total(tree):
    """A scalar in which every entry counts differently."""
    leaf = jax.flatten_util.ravel_pytree(tree)[0]
    return jnp.sum(leaf * jnp.cos(jnp.arange(leaf.size, dtype=leaf.dtype)))


def test_jit_changes_nothing(driven, driven_start, driven_args):
    state = State(*driven_start)
    eager = driven.rates(0.3, state, driven_args)
    compiled = eqx.filter_jit(driven.rates)(0.3, state, driven_args)
    np.testing.assert_allclose(flat(compiled), flat(eager), rtol=1e-13)
    inside = jax.jit(lambda t, y, a: driven.rates(t, y, a))(0.3, state, driven_args)
    # Here the law is a constant of the program, which XLA may fold: the last bit of a product may differ.
    np.testing.assert_allclose(flat(inside), flat(compiled), rtol=1e-15)


def test_vmap_equals_a_loop(driven, driven_start, driven_args, key):
    """Over states, over times, over args."""
    starts = jax.tree.map(lambda x: x + 0.1 * jax.random.normal(key, (3, *x.shape)), State(*driven_start))
    times = jnp.array([0.0, 0.5, 1.0])
    masses = {"mass": jnp.array([1.0, 2.0, 3.0]), "g": jnp.array([0.0, 1.0, 9.81])}
    single = eqx.filter_jit(driven.accelerations)
    batched = eqx.filter_jit(eqx.filter_vmap(driven.accelerations))(times, starts, masses)
    for i in range(3):
        pick = lambda x, i=i: x[i]  # noqa: E731
        one = single(times[i], jax.tree.map(pick, starts), jax.tree.map(pick, masses))
        np.testing.assert_allclose(flat(jax.tree.map(pick, batched)), flat(one), rtol=1e-12)


def test_vmap_over_a_physical_constant():
    def acceleration(theta):
        law = EulerLagrange(Lagrangian(lambda t, q, v, args: 0.5 * v @ v, ExponentialDissipation(theta)))
        return law.accelerations(0.0, State(jnp.ones(2), jnp.array([1.0, 2.0])))[0]

    np.testing.assert_allclose(
        jax.jit(jax.vmap(acceleration))(jnp.array([0.0, 1.0, 3.0])), [[0, 0], [-1, -2], [-3, -6]], atol=1e-15
    )


@pytest.mark.slow
def test_projection_and_start_under_jit_and_vmap(driven, driven_start, driven_args):
    """A start made inside jit(vmap) is the start made outside."""
    q, v = driven_start
    shifts = jnp.array([0.0, 0.05, -0.1])

    def start(shift):
        moved = {"p": q["p"] + shift, "s": q["s"]}
        return driven.initial_state(0.0, moved, v, driven_args, consistent="project")

    batch = jax.jit(jax.vmap(start))(shifts)
    for i, shift in enumerate(shifts):
        np.testing.assert_allclose(
            flat(jax.tree.map(lambda x, i=i: x[i], batch)), flat(start(shift)), rtol=1e-13, atol=1e-15
        )


@pytest.mark.parametrize("solver", [DenseSaddlePoint(), DenseSchur()])
def test_gradients_of_a_whole_evaluation_against_finite_differences(solver, driven, driven_start, driven_args):
    """Forward, reverse and forward over reverse, with respect to ϑ, a mass and the state at once."""
    law = eqx.tree_at(lambda l: l.multiplier_solver, driven, solver)
    state = State(*driven_start)
    direction = jax.tree.map(jnp.cos, (jnp.asarray(0.4), driven_args, state))

    @jax.jit
    def f(scale):
        theta, args, start = jax.tree.map(lambda x, d: x + scale * d, (jnp.asarray(0.4), driven_args, state), direction)
        moved = eqx.tree_at(lambda l: l.lagrangian.dissipation.theta, law, theta)
        return total(moved.rates(0.3, start, args))

    h = 1e-4
    values = np.array([f(jnp.asarray(k * h)) for k in (-2, -1, 0, 1, 2)])
    first = np.array([1, -8, 0, 8, -1]) @ values / (12 * h)
    second = np.array([-1, 16, -30, 16, -1]) @ values / (12 * h**2)
    zero = jnp.asarray(0.0)
    reverse, forward_over_reverse = jax.jit(lambda s: jax.jvp(jax.grad(f), (s,), (jnp.ones(()),)))(zero)
    np.testing.assert_allclose(reverse, first, rtol=1e-9)
    np.testing.assert_allclose(jax.jit(jax.jacfwd(f))(zero), first, rtol=1e-9)
    np.testing.assert_allclose(forward_over_reverse, second, rtol=1e-5)


@pytest.mark.slow
def test_gradient_through_a_projected_start_against_finite_differences(driven, driven_start, driven_args):
    q, v = driven_start

    @jax.jit
    def f(shift):
        moved = {"p": q["p"] + shift, "s": q["s"] - 2 * shift}
        return total(driven.initial_state(0.0, moved, v, driven_args, consistent="project"))

    h = 1e-5
    difference = (f(jnp.asarray(0.1 + h)) - f(jnp.asarray(0.1 - h))) / (2 * h)
    np.testing.assert_allclose(jax.jit(jax.grad(f))(jnp.asarray(0.1)), difference, rtol=1e-8)
    np.testing.assert_allclose(jax.jit(jax.jacfwd(f))(jnp.asarray(0.1)), difference, rtol=1e-8)


def test_coordinates_of_any_structure_give_the_same_motion(rng):
    """One system, written on an array, a dict, a tuple and nested scalars."""
    q, v = rng.normal(size=3), rng.normal(size=3)

    def written_on(split, join):
        law = EulerLagrange(
            Lagrangian(
                lambda t, q, v, args: 0.5 * jnp.array([1.0, 2.0, 3.0]) @ join(v) ** 2 - jnp.sin(join(q)).sum(),
                ExponentialDissipation(0.2),
            ),
            Holonomic(lambda t, q, args: [join(q)[0] * join(q)[1], (join(q)[2] ** 2)]),
            forces=lambda t, q, v, args: split(-0.1 * join(v)),
        )
        rates = eqx.filter_jit(law.rates)(0.1, State(split(jnp.asarray(q)), split(jnp.asarray(v))), None)
        return join(rates.state.v), rates.power

    results = [
        written_on(lambda x: x, lambda q: q),
        written_on(lambda x: {"a": x[:1], "b": x[1:]}, lambda q: jnp.concatenate([q["a"], q["b"]])),
        written_on(lambda x: (x[0], (x[1:2].reshape(1, 1), x[2])), lambda q: jnp.stack([q[0], q[1][0][0, 0], q[1][1]])),
    ]
    for top, rate in results[1:]:
        np.testing.assert_allclose(top, results[0][0], rtol=1e-12)
        np.testing.assert_allclose(rate, results[0][1], rtol=1e-12)


@pytest.mark.slow
def test_single_precision_twin(driven, driven_start, driven_args):
    """Everything in float32 stays float32 and agrees with float64, though the law's constants are float64."""
    double = State(*driven_start)
    single = jax.tree.map(lambda x: x.astype(jnp.float32), double)
    args = jax.tree.map(lambda x: x.astype(jnp.float32), driven_args)
    started = driven.initial_state(0.3, single.q, single.v, args, consistent="project")
    evaluate = eqx.filter_jit(
        lambda t, y, a: (driven.rates(t, y, a), driven.observables(t, y, a), driven.energy(t, y, a))
    )
    results = evaluate(0.3, single, args)
    assert {leaf.dtype for leaf in jax.tree.leaves((started, results))} == {jnp.dtype(jnp.float32)}
    np.testing.assert_allclose(flat(results), flat(evaluate(0.3, double, driven_args)), rtol=2e-5)
    assert max(driven.residual(0.3, started, args)) < 1e-6


def test_single_precision_twin_of_second_order(elastica):
    one = [np.array(x, np.float32) for x in ([1, 0], [0, 1], [-1, 0.5], [-1.5, -1])]
    state = elastica.initial_state(0.0, one[0], one[1], a=one[2], j=one[3])
    top, delta = eqx.filter_jit(elastica.accelerations)(0.0, state)
    assert top.dtype == delta.dtype == jnp.float32
    # φ̇ = 1, φ̈ = ½, φ⃛ = 0: φ⁗ = 3 along the tangent, q·q⁗ = φ̇⁴ − 3φ̈² − 4φ̇φ⃛ = ¼ along the radius
    np.testing.assert_allclose(top, [0.25, 3 - 6 * 0.5], atol=1e-5)


def test_a_second_evaluation_compiles_nothing(driven, driven_start, driven_args):
    traces = []

    @eqx.filter_jit
    def evaluate(law, t, state, args):
        traces.append(None)
        return law.rates(t, state, args)

    for theta in (0.1, 0.2):
        law = eqx.tree_at(lambda l: l.lagrangian.dissipation, driven, ExponentialDissipation(theta))
        evaluate(law, jnp.asarray(theta), State(*driven_start), driven_args)
    assert len(traces) == 1
