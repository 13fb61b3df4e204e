"""Gradients by echo against reverse mode through the same discrete run: order in β, constants, start, refusals."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import lagrangian_learning as ll
from lagrangian_learning.echo.echo_gradient import step_ends
from tests.helpers import mostly_slow, relative


class Springs(eqx.Module):
    """A chain of masses with springs that stiffen, its first mass driven."""

    masses: object
    stiffness: object

    def __call__(self, t, q, v, args):
        stretch = jnp.diff(q, prepend=0.0)
        stored = jnp.sum(self.stiffness * stretch**2) / 2 + jnp.sum(stretch**4) / 4
        return jnp.sum(self.masses * v**2) / 2 - stored + args * jnp.sin(2 * t) * q[0]


class Weights(eqx.Module):
    masses: object
    gravity: object

    def __call__(self, t, q, v, args):
        return jnp.sum(jnp.repeat(self.masses, 2) * v**2) / 2 - jnp.sum(self.masses * q[1::2]) * self.gravity


class Rods(eqx.Module):
    """Rods between the masses; the support of the first swings as (support sin 3t, 0)."""

    lengths: object
    support: object

    def __call__(self, t, q, args):
        top = jnp.stack([self.support * jnp.sin(3 * t), jnp.zeros_like(t)])
        rods = jnp.diff(q.reshape(-1, 2), axis=0, prepend=top[None])
        return (jnp.sum(rods**2, axis=1) - self.lengths**2) / 2


class Sphere(eqx.Module):
    """Its radius grows as radius + rate t."""

    radius: object
    rate: object

    def __call__(self, t, q, args):
        return (q @ q - (self.radius + self.rate * t) ** 2) / 2


class Distance(eqx.Module):
    """From a place, in coordinates of any pytree."""

    place: object

    def __call__(self, t, q, args):
        return jnp.sum((ravel_pytree(q)[0] - self.place) ** 2)


class Arrival(eqx.Module):
    phase: object

    def __call__(self, q, args):
        return jnp.sum(jnp.sin(ravel_pytree(q)[0] + self.phase))


def springs(theta=0.4):
    density = Springs(jnp.array([1.0, 2.0, 0.5]), jnp.array([1.0, 3.0, 2.0]))
    law = ll.EulerLagrange(ll.Lagrangian(density, ll.ExponentialDissipation(theta)))
    return law, ll.State(jnp.array([0.3, -0.2, 0.5]), jnp.array([1.0, 0.2, -0.7])), jnp.asarray(0.7)


def pendulums(support=0.0):
    lagrangian = ll.Lagrangian(Weights(jnp.array([1.0, 2.0]), jnp.asarray(2.0)), ll.ExponentialDissipation(0.4))
    law = ll.EulerLagrange(lagrangian, ll.Holonomic(Rods(jnp.array([1.0, 0.7]), jnp.asarray(support))))
    q, v = jnp.array([1.0, 0.0, 1.0, -0.7]), jnp.array([3 * support, 0.5, 1.0, 0.5])
    return law, law.initial_state(0.0, q, v, consistent="project"), None


def sphere():
    lagrangian = ll.Lagrangian(Weights(jnp.array([1.5, 0.7]), jnp.asarray(1.0)), ll.ExponentialDissipation(0.3))
    law = ll.EulerLagrange(lagrangian, ll.Holonomic(Sphere(jnp.asarray(1.2), jnp.asarray(0.3))))
    q, v = jnp.array([0.6, 0.3, -0.4, 0.9]), jnp.array([0.5, 0.2, 0.4, -0.3])
    return law, law.initial_state(0.0, q, v, consistent="project"), None


def network():
    """2-2-1 in full coordinates, ϑ, both masses and the stimulus being constants."""
    stimulus = ll.Stimulus(
        ll.Sinusoids(jnp.array([1.0, 2.0]), jnp.array([1.0, 0.7]), jnp.array([0.3, 0.0])),
        ll.Sinusoids(jnp.array([1.5]), jnp.array([0.5]), jnp.array([0.0])),
    )
    net = ll.Layered((2, 2, 1))
    law = ll.CognitiveAction(net, mass_x=0.3, mass_W=1.0, dissipation=ll.ExponentialDissipation(0.5)).law("full")
    W = net.init(jax.random.key(1))
    return law, law.initial_state(0.0, W, jax.tree.map(lambda w: w / 2, W), args=stimulus), stimulus


PROBLEMS = {
    "springs": springs,
    "strong friction": lambda: springs(1.5),
    "no friction": lambda: springs(0.0),
    "pendulums": pendulums,
    "moving support": lambda: pendulums(0.2),
    "growing sphere": sphere,
    "network": network,
}
END, STEPS = 2.0, 160


def costs_of(state):
    size = ravel_pytree(state.q)[0].size
    return Distance(jnp.linspace(0.1, 0.4, size)), Arrival(jnp.linspace(0.4, -0.3, size))


def discrete_cost(law, args, costs, state):
    """The cost of the run of `Rattle.step`, by the trapezoidal rule."""
    running, terminal = costs
    ts = jnp.linspace(0.0, END, STEPS + 1)
    terms, stepper = diffrax.ODETerm(law.vector_field), ll.Rattle()

    def step(now, row):
        state, kept = now
        before = running(row[0], state.q, args)
        state, _, _, kept, _ = stepper.step(terms, *row, state, args, kept, False)
        return (state, kept), (row[1] - row[0]) / 2 * (before + running(row[1], state.q, args))

    begin = (state, stepper.init(terms, ts[0], ts[1], state, args))
    (end, _), values = jax.lax.scan(step, begin, (ts[:-1], ts[1:]))
    return jnp.sum(values) + terminal(end.q, args)


@eqx.filter_jit
def reverse_mode(law, args, costs, state):
    return eqx.filter_value_and_grad(lambda these: discrete_cost(*these))((law, args, costs, state))


def echo_of(law, state, args, costs, nudge, **settings):
    return ll.echo_gradient(
        law, state, [0.0, END], args, costs[0], terminal=costs[1], dt0=END / STEPS, nudge=nudge, **settings
    )


def parts(echo):
    return echo.by_law, echo.by_args, (echo.by_cost, echo.by_terminal), echo.by_start


@pytest.mark.parametrize("name", mostly_slow(list(PROBLEMS), "springs", "moving support"))
def test_it_is_the_gradient_of_the_discrete_cost(name):
    """By masses (v₀ ≠ 0), ϑ, stiffness, lengths and supports in G, args, constants of the costs and the start."""
    law, state, args = PROBLEMS[name]()
    costs = costs_of(state)
    cost, expected = reverse_mode(law, args, costs, state)
    plain = [echo_of(law, state, args, costs, nudge, extrapolate=False) for nudge in (2e-2, 1e-2, 5e-3, 1e-4)]
    both = echo_of(law, state, args, costs, 2e-3)
    np.testing.assert_allclose(both.cost, cost, rtol=1e-13)
    for part, right in zip(parts(both), expected, strict=True):
        if jax.tree.leaves(right):
            assert jax.tree.structure(part) == jax.tree.structure(right)
            assert relative(part, right) < 1e-9
    errors = np.array([relative((echo.by_law, echo.by_start), (expected[0], expected[3])) for echo in plain])
    np.testing.assert_allclose(-np.diff(np.log2(errors[:3])), 2, atol=0.15)
    assert errors[3] < 1e-7
    assert both.retraced < 1e-12
    assert relative((both.by_law, both.by_start), (expected[0], expected[3])) < 10 * both.rounding + 1e-11


def test_single_precision_under_jit_and_vmap():
    """Float32 twins of three starts at once, within what `rounding` says."""
    law, state, args = springs()
    costs = costs_of(state)
    starts = jax.tree.map(lambda leaf: jnp.stack([leaf, -leaf, 0.5 * leaf]), state)
    single = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), (law, starts, args, costs))

    @eqx.filter_jit
    def echoes(law, starts, args, costs):
        return jax.vmap(lambda state: echo_of(law, state, args, costs, 0.05))(starts)

    found = echoes(*single)
    assert found.by_start.q.dtype == found.by_law.lagrangian.density.masses.dtype == jnp.float32
    for k in range(3):
        _, (by_law, by_args, _, by_start) = reverse_mode(law, args, costs, row(starts, k))
        echo = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), row(found, k))
        assert relative((echo.by_law, echo.by_args, echo.by_start), (by_law, by_args, by_start)) < 1e-3
        assert 1e-7 < echo.rounding < 1e-3


def row(tree, k):
    return jax.tree.map(lambda leaf: leaf[k], tree)


def test_rounding_grows_with_friction_and_is_reported():
    """The miss of the start is e^{ϑT} eps, over what β moves."""
    mild, strong = (echo_of(*_with_costs(springs(theta)), 1e-3, extrapolate=False) for theta in (0.4, 5.0))
    assert mild.retraced < 1e-14
    assert 1e-13 < strong.retraced < 1e-10
    assert strong.rounding > 100 * mild.rounding


def _with_costs(problem):
    law, state, args = problem
    return law, state, args, costs_of(state)


def test_memory_does_not_grow_with_the_number_of_steps():
    """Temporary memory of the compiled program; of reverse mode it grows by all states."""
    law, state, args = springs()
    running, _ = costs_of(state)

    def temporary(steps):
        def echo(state):
            return ll.echo_gradient(law, state, [0.0, 1.0], args, running, dt0=1 / steps, nudge=1e-2, extrapolate=False)

        return jax.jit(echo).lower(state).compile().memory_analysis().temp_size_in_bytes

    times = 8 * 4  # bytes a step: both ends of it, and shares of the running cost
    assert temporary(10_000) - temporary(100) <= times * 9_900


@pytest.mark.slow
def test_one_cost_alone_and_uneven_times():
    """Each cost by itself, their gradients adding up; the steps are those of `simulate`."""
    law, state, args = springs()
    costs, ts = costs_of(state), [0.0, 0.31, 1.0]

    def echo(cost, terminal):
        return ll.echo_gradient(law, state, ts, args, cost, terminal=terminal, dt0=0.02, nudge=1e-2)

    both, running, final = echo(*costs), echo(costs[0], None), echo(None, costs[1])
    assert running.by_terminal is None
    assert final.by_cost is None
    np.testing.assert_allclose(running.cost + final.cost, both.cost, rtol=1e-14)
    total = jax.tree.map(jnp.add, (running.by_law, running.by_start), (final.by_law, final.by_start))
    assert relative(total, (both.by_law, both.by_start)) < 1e-8
    end = ll.simulate(law, state, ts, args, solver=ll.Rattle(), dt0=0.02, watch="nothing").final_state
    np.testing.assert_allclose(final.cost, costs[1](end.q, args), rtol=1e-13)
    grid = step_ends(ts, 0.02, jnp.float64)
    assert len(grid) == 1 + 16 + 35
    np.testing.assert_allclose(np.diff(grid), [0.31 / 16] * 16 + [0.69 / 35] * 35, rtol=1e-12)


@pytest.mark.slow
def test_forces_of_time_and_terms_outside_the_weight():
    """Q(t, args), and F of the action outside ϖ, are part of the action."""
    lagrangian = ll.Lagrangian(
        lambda t, q, v, args: v @ v / 2 - q @ q / 2,
        ll.ExponentialDissipation(0.3),
        unweighted=lambda t, q, v, args: -args["outside"] * jnp.sum(q**4) * jnp.cos(t),
    )
    law = ll.EulerLagrange(lagrangian, forces=lambda t, q, v, args: args["drive"] * jnp.array([1.0, 0.5]) * jnp.sin(t))
    state = ll.State(jnp.array([0.4, -0.3]), jnp.array([0.2, 0.5]))
    args = {"drive": jnp.asarray(0.8), "outside": jnp.asarray(0.4)}
    costs = costs_of(state)
    _, (by_law, by_args, _, by_start) = reverse_mode(law, args, costs, state)
    echo = echo_of(law, state, args, costs, 5e-3)
    assert relative((echo.by_law, echo.by_args, echo.by_start), (by_law, by_args, by_start)) < 1e-9


def free(density, **settings):
    return ll.EulerLagrange(ll.Lagrangian(density, ll.ExponentialDissipation(0.1)), **settings)


def oscillator(t, q, v, args):
    return v @ v / 2 - q @ q / 2


REFUSED = {
    "drag": (free(oscillator, forces=lambda t, q, v, args: -v), "no forces that depend on velocity"),
    "curl": (free(oscillator, forces=lambda t, q, v, args: q[::-1] * jnp.array([1.0, -1.0])), "forces of time alone"),
    "magnetic": (free(lambda t, q, v, args: v @ v / 2 + q[0] * v[1]), "separable Lagrangians"),
    "gauge": (free(lambda t, q, v, args: v @ v / 2 + jnp.sin(t) * v[1]), "separable Lagrangians"),
    "varying mass": (free(lambda t, q, v, args: (1 + q @ q) * (v @ v) / 2), "separable Lagrangians"),
    "relativistic": (free(lambda t, q, v, args: -jnp.sqrt(1 - v @ v)), "separable Lagrangians"),
    "linear": (free(lambda t, q, v, args: v @ v / 2 + v[0]), "linear in the velocities"),
    "massless": (free(lambda t, q, v, args: v[0] ** 2 / 2 - q @ q), "a mass for each coordinate"),
    "dalembert": (
        free(oscillator, constraint=ll.DAlembert(lambda t, q, v, args: v[0] - q[0] * v[1])), "no d'Alembert constraint"
    ),
    "several": (
        free(
            oscillator,
            constraint=[ll.Holonomic(lambda t, q, args: q @ q - 1), ll.DAlembert(lambda t, q, v, args: v[0])],
        ),
        "no d'Alembert constraint",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", list(REFUSED))
def test_laws_whose_echo_is_no_gradient_are_refused(name):
    law, message = REFUSED[name]
    state = ll.State(jnp.array([1.0, 0.5]), jnp.array([0.0, 0.3]))
    with pytest.raises(ValueError, match=message):
        ll.echo_gradient(law, state, [0.0, 1.0], None, lambda t, q, args: q @ q, dt0=0.1, nudge=1e-3)


@pytest.mark.usefixtures("unchecked")
def test_other_laws_of_networks_and_orders_are_refused():
    _, _, stimulus = network()
    net = ll.Layered((2, 2, 1))
    W = net.init(jax.random.key(1))
    action = ll.CognitiveAction(net, mass_x=0.3, mass_W=1.0, dissipation=ll.ExponentialDissipation(0.5))
    massless = eqx.tree_at(lambda these: these.mass_x, action, jnp.asarray(0.0))
    second = ll.EulerLagrange(ll.Lagrangian(lambda t, q, v, a, args: a @ a / 2, order=2))
    vakonomic = ll.EulerLagrange(ll.Lagrangian(oscillator), ll.Vakonomic(lambda t, q, v, args: v[0] - q[1]))
    zeros = jnp.zeros(2)
    full = action.law("full").initial_state(0.0, W, args=stimulus)
    cases = [
        (action.law(), ll.State(W, W), r'action.law\("full"\)'),
        (ll.GradientFlow(net), W, r"the law here is another \(gradient flow"),
        (massless.law("full"), full, "a mass for each coordinate"),
        (second, ll.State(zeros, zeros, zeros, zeros), "of second order"),
        (vakonomic, ll.State(zeros, zeros, multipliers=jnp.zeros(1)), "no vakonomic constraint"),
    ]
    for law, state, message in cases:
        with pytest.raises(ValueError, match=message):
            ll.echo_gradient(law, state, [0.0, 1.0], stimulus, None, terminal=Arrival(0.0), dt0=0.1, nudge=1e-3)


@pytest.mark.usefixtures("unchecked")
def test_arguments_that_do_not_fit_are_refused():
    law, state, args = springs()
    running, _ = costs_of(state)

    def echo(cost=running, ts=(0.0, 1.0), **settings):
        return ll.echo_gradient(law, state, np.array(ts), args, cost, **({"dt0": 0.1, "nudge": 1e-3} | settings))

    with pytest.raises(ValueError, match="there is no cost"):
        echo(None)
    with pytest.raises(ValueError, match="cost must be callable"):
        echo(1.0)
    with pytest.raises(ValueError, match="terminal must be callable"):
        echo(terminal=2.0)
    with pytest.raises(ValueError, match="cost must return one number"):
        echo(lambda t, q, args: q)
    with pytest.raises(ValueError, match="nudge must be finite and > 0"):
        echo(nudge=0.0)
    with pytest.raises(ValueError, match="dt0 must be finite and > 0"):
        echo(dt0=-1.0)
    with pytest.raises(ValueError, match="dt0 is too short for ts"):
        echo(dt0=1e-12)
    with pytest.raises(ValueError, match="solver must be"):
        echo(solver=diffrax.Tsit5())
    with pytest.raises(ValueError, match="ts must increase strictly"):
        echo(ts=(1.0, 0.0))
    with pytest.raises(ValueError, match="must be known outside jit"):
        jax.jit(lambda step: echo(dt0=step).cost)(0.1)
    with pytest.raises(ValueError, match="not finite"):
        echo(nudge=1e60)
    law, state, args = pendulums()
    with pytest.raises(ValueError, match="not solved to rounding"):
        echo(costs_of(state)[0], dt0=0.5)
