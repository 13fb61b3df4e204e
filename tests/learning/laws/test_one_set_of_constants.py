"""A law holds each physical constant once: its leaves are those of its action, and a change of one moves the law."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import lagrangian_learning as ll
from tests.helpers import mostly_slow

TIME = 0.3
CYCLE = ((0, 3), (1, 2), (2, 3), (3, 4), (2, 5), (4, 5), (5, 2), (0, 5))


class Scaled(ll.AbstractPotential):
    """½ w |x − y|², with a constant of its own."""

    weight: jax.Array

    def __call__(self, x_out, y):
        return self.weight * jnp.sum((x_out - y) ** 2) / 2


def inertial(t, x, x_dot, x_ddot, W, W_dot, W_ddot, stimulus):
    return 0.1 * sum(jnp.sum(w**2) for w in jax.tree.leaves(W_dot))


def stiff(t, x, x_dot, x_ddot, W, W_dot, W_ddot, stimulus):
    return 0.1 * sum(jnp.sum(w**2) for w in jax.tree.leaves(W_ddot))


def chain():
    layers = [eqx.nn.Linear(2, 3, key=jax.random.key(0)), jnp.tanh, eqx.nn.Linear(3, 1, key=jax.random.key(1))]
    return ll.Chain(layers, 2)


KINDS = {
    "reduced": ({"network": ll.Layered((2, 3, 1), bias=True)}, None),
    "full": ({"network": ll.Layered((2, 3, 1))}, "full"),
    "finite speed": ({"network": ll.networks.xor_network(), "speed": 3.0}, None),
    "soft": ({"network": ll.Layered((2, 3, 1)), "stiffness": 30.0}, None),
    "cyclic": ({"network": ll.Digraph(6, CYCLE, 2, 1)}, None),
    "chain": ({"network": chain()}, None),
    "shared weights": ({"network": ll.Batched(ll.Layered((2, 3, 1)), 4)}, None),
    "second order": ({"network": ll.Layered((2, 1)), "terms": ll.Term(stiff, order=2)}, None),
    "terms of order 0": ({"network": ll.Layered((2, 3, 1)), "terms": ll.WeightDecay(0.1)}, None),
    "terms of order 1": ({"network": ll.Layered((2, 3, 1)), "terms": ll.Term(inertial)}, "full"),
    "derived": ({"network": ll.Layered((2, 3, 1)), "terms": (ll.Term(inertial), ll.WeightDecay(0.1))}, "reduced"),
    "scheduled": (
        {"network": ll.Layered((2, 1)), "dissipation": ll.ScheduledDissipation(lambda t: t + jnp.sin(t) / 2)},
        None,
    ),
}


SLOW = {
    "second order",
    "derived",
    "cyclic",
    "terms of order 1",
    "shared weights",
    "scheduled",
    "soft",
}
EACH_KIND = [pytest.param(kind, marks=[pytest.mark.slow] if kind in SLOW else []) for kind in KINDS]


def action_of(kind, **changed):
    settings, coordinates = KINDS[kind]
    constants = {"potential": Scaled(jnp.asarray(1.3)), "mass_x": 0.2, "mass_W": 0.7}
    action = ll.CognitiveAction(**constants | {"dissipation": ll.ExponentialDissipation(1.5)} | settings | changed)
    return action, coordinates


def instant(law):
    """A stimulus, and a state of the law in motion."""
    network = law.action.network
    count = int(np.prod(network.input_shape))
    frequency = jnp.arange(1.0, count + 1).reshape(network.input_shape)
    stimulus = ll.Stimulus(ll.Sinusoids(frequency, 1.0, 0.2 * frequency), jnp.full(network.output_shape, 0.3))
    W = network.init(jax.random.key(3))
    velocities = jax.tree.map(lambda w: 0.4 * jnp.cos(3 * w), W)
    return law.initial_state(TIME, W, velocities, stimulus), stimulus


def reachable_arrays(root):
    """Every array that can be reached from a law: by fields, static ones too, by containers, and by closures."""
    found, seen, todo = [], set(), [root]
    while todo:
        part = todo.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, jax.Array | np.ndarray) and np.issubdtype(part.dtype, np.inexact):
            found.append(part)
        elif isinstance(part, dict):
            todo += part.values()
        elif isinstance(part, list | tuple):
            todo += part
        elif isinstance(part, eqx.Module):
            todo += vars(part).values()
        elif getattr(part, "__closure__", None):
            todo += [cell.cell_contents for cell in part.__closure__]
    return found


def reading(law, state, stimulus):
    """A number made of all that a law says of an instant."""
    rates = law.rates(jnp.asarray(TIME), state, stimulus)
    flat = ravel_pytree(rates)[0]
    return flat @ jnp.cos(jnp.arange(flat.size)) + law.energy(TIME, state, stimulus)


@pytest.mark.parametrize("kind", KINDS)
def test_the_leaves_of_a_law_are_those_of_its_action(kind):
    action, coordinates = action_of(kind)
    leaves, expected = jax.tree.leaves(action.law(coordinates)), jax.tree.leaves(action)
    assert len(leaves) == len(expected) >= 3
    assert all(leaf is given for leaf, given in zip(leaves, expected, strict=True))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "chain"])
def test_no_static_field_and_no_closure_holds_an_array(kind):
    """Layers of a chain carry the weights that `init` draws anew; they are what a user gave, and no constant."""
    action, coordinates = action_of(kind)
    law = action.law(coordinates)
    assert {id(array) for array in reachable_arrays(law)} == {id(leaf) for leaf in jax.tree.leaves(law)}


@pytest.mark.parametrize("kind", EACH_KIND)
def test_a_gradient_by_the_law_is_the_gradient_by_the_action(kind):
    action, coordinates = action_of(kind)
    state, stimulus = instant(action.law(coordinates))
    by_law = eqx.filter_jit(eqx.filter_grad(reading))(action.law(coordinates), state, stimulus)
    by_action = eqx.filter_jit(eqx.filter_grad(lambda a: reading(a.law(coordinates), state, stimulus)))(action)
    pairs = list(zip(jax.tree.leaves(by_law), jax.tree.leaves(by_action), strict=True))
    assert all(float(jnp.max(jnp.abs(left))) > 0 for left, _ in pairs)
    for left, right in pairs:
        np.testing.assert_allclose(left, right, rtol=1e-14, atol=0)


@pytest.mark.parametrize(
    "number", [pytest.param(jnp.asarray, marks=pytest.mark.slow), float], ids=["array", "Python number"]
)
@pytest.mark.parametrize("kind", [kind for kind in EACH_KIND if kind.values[0] != "scheduled"])
def test_a_constant_put_into_a_law_moves_it_like_a_law_made_anew(kind, number):
    action, coordinates = action_of(kind)
    law = action.law(coordinates)
    state, stimulus = instant(law)
    places = {
        "mass_x": (lambda l: l.action.mass_x, 0.5),
        "mass_W": (lambda l: l.action.mass_W, 1.1),
        "dissipation": (lambda l: l.action.dissipation.theta, 4.0),
    }
    for name, (place, value) in places.items():
        changed = ll.ExponentialDissipation(value) if name == "dissipation" else value
        anew = action_of(kind, **{name: changed})[0].law(coordinates, law.multiplier_solver)
        moved = eqx.tree_at(place, law, number(value))
        expected = ravel_pytree(anew.vector_field(TIME, state, stimulus))[0]
        found = ravel_pytree(moved.vector_field(TIME, state, stimulus))[0]
        # XLA folds a Python number into the program, which then rounds otherwise.
        np.testing.assert_allclose(found, expected, rtol=1e-12 if number is float else 0, atol=1e-14)
        before = ravel_pytree(law.vector_field(TIME, state, stimulus))[0]
        assert float(jnp.max(jnp.abs(expected - before))) > 1e-6, name


@pytest.mark.parametrize(
    ("law", "count"),
    [
        (ll.DampedDescent(ll.Layered((2, 1)), Scaled(jnp.asarray(1.3)), 0.7, ll.ExponentialDissipation(2.0)), 3),
        (ll.GradientFlow(ll.Layered((2, 1)), Scaled(jnp.asarray(1.3)), 2.0), 2),
        (ll.PredictiveCoding(ll.Layered((2, 1)), Scaled(jnp.asarray(1.3)), 2.0, 0.5, stiffness=9.0), 4),
        (ll.PredictiveCoding(ll.Layered((2, 1)), Scaled(jnp.asarray(1.3)), 2.0, stiffness=9.0), 3),
        (ll.BackpropDiffusion(ll.Layered((2, 1)), Scaled(jnp.asarray(1.3)), 2.0, speed=5.0, theta=0.3), 4),
    ],
)
def test_the_limits_hold_each_constant_once(law, count):
    leaves = jax.tree.leaves(law)
    assert len(leaves) == count
    assert {id(array) for array in reachable_arrays(law)} == {id(leaf) for leaf in leaves}


@pytest.mark.parametrize("kind", mostly_slow(("reduced", "full", "finite speed", "derived"), "reduced", "finite speed"))
def test_methods_are_jitted_as_they_are_and_compile_once_outside(kind):
    action, coordinates = action_of(kind)
    law = action.law(coordinates)
    state, stimulus = instant(law)
    outside = law.accelerations(TIME, state, stimulus)
    for left, right in zip(
        jax.tree.leaves(jax.jit(law.accelerations)(TIME, state, stimulus)), jax.tree.leaves(outside), strict=True
    ):
        np.testing.assert_allclose(left, right, rtol=1e-13, atol=1e-15)
    jax.jit(law.vector_field)(TIME, state, stimulus)
    counted = []

    class Counting(type(law)):  # pyright: ignore[reportGeneralTypeIssues]
        def rates(self, t, state, args):
            counted.append(t)
            return type(law).rates(self, t, state, args)

    tracing = Counting(action, law.multiplier_solver)
    for t in (0.1, 0.2, 0.3):
        tracing.vector_field(t, state, stimulus)
    assert len(counted) == 1
