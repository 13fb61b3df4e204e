"""Constants that a tree map or `eqx.tree_at` puts into a law, and functions of a user's that return no real number."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lagrangian_learning as ll

NETWORK = ll.Layered((2, 2, 1))
W = NETWORK.init(jax.random.key(0))
STIMULUS = ll.Stimulus(jnp.array([0.3, -0.5]), jnp.array([0.4]))
TS = np.linspace(0.0, 0.5, 3)
LAWS = {
    "reduced": (ll.CognitiveAction(NETWORK).law(), lambda law: law.action.mass_W, "mass_W"),
    "full": (ll.CognitiveAction(NETWORK).law("full"), lambda law: law.action.mass_x, "mass_x"),
    "theta": (ll.CognitiveAction(NETWORK).law(), lambda law: law.action.dissipation.theta, "theta"),
    "finite speed": (ll.CognitiveAction(NETWORK, speed=0.5).law(), lambda law: law.action.speed, "speed"),
    "flow": (ll.GradientFlow(NETWORK), lambda law: law.gamma, "gamma"),
    "descent": (ll.DampedDescent(NETWORK), lambda law: law.mass_W, "mass_W"),
    "diffusion": (ll.BackpropDiffusion(NETWORK), lambda law: law.gamma, "gamma"),
}


@pytest.mark.parametrize(("law", "where", "name"), LAWS.values(), ids=LAWS)
def test_constants_out_of_range_are_refused_before_the_first_step(law, where, name):
    state = law.initial_state(0.0, W, args=STIMULUS)
    for bad, message in ((-1.0, "must be finite and >"), (1j, "must be real"), (np.ones(2), "must be one number")):
        changed = eqx.tree_at(where, law, jnp.asarray(bad))
        with pytest.raises(ValueError, match=f"{name} {message}"):
            ll.simulate(changed, state, TS, STIMULUS)
    with pytest.raises(ValueError, match=r"changed after .* was built"):
        ll.simulate(jax.tree.map(jnp.negative, law), state, TS, STIMULUS)


def test_traced_constants_out_of_range_are_refused_too():
    law = LAWS["flow"][0]
    state = law.initial_state(0.0, W, args=STIMULUS)
    checked = eqx.filter_jit(lambda law: law.check(jnp.asarray(TS), state, STIMULUS).q)
    np.testing.assert_array_equal(checked(law)[0], W[0])
    with pytest.raises(eqx.EquinoxRuntimeError, match="gamma must be finite and > 0"):
        jax.block_until_ready(checked(jax.tree.map(jnp.negative, law)))


def test_a_lagrangian_with_a_negative_rate_is_refused():
    law = ll.EulerLagrange(ll.Lagrangian(lambda t, q, v, a: v @ v / 2, ll.ExponentialDissipation(1.0)))
    state = law.initial_state(0.0, jnp.ones(2), jnp.ones(2))
    with pytest.raises(ValueError, match="theta must be finite and >= 0: it was changed"):
        ll.simulate(jax.tree.map(jnp.negative, law), state, TS)


@pytest.mark.parametrize("gamma", [jnp.ones(2), jnp.asarray(-1.0), jnp.asarray(1j)])
def test_boundary_problems_ask_the_same_of_constants(gamma):
    law = eqx.tree_at(lambda law: law.gamma, ll.BackpropDiffusion(NETWORK, costate="forward"), gamma)
    with pytest.raises(ValueError, match="gamma must be"):
        ll.solve_boundary(law, W, TS, STIMULUS)


@pytest.mark.parametrize(
    ("fn", "message"),
    [
        (lambda t: jax.lax.complex(t, t), "what log_weight_fn returns must be real"),
        (lambda t: None, "what log_weight_fn returns must be real numbers, got None"),
        (lambda t: jnp.stack([t, t]), r"log_weight_fn must return one number, got shape \(2,\)"),
    ],
)
def test_schedules_return_one_real_number(fn, message):
    with pytest.raises(ValueError, match=message):
        ll.ScheduledDissipation(fn).rate(jnp.asarray(0.5))


def test_a_schedule_that_becomes_infinite_ends_the_run():
    """Its derivative is 0 wherever it is infinite: the motion itself would look sound."""
    dissipation = ll.ScheduledDissipation(lambda t: jnp.where(t > 0.4, jnp.inf, t))
    assert np.isnan(dissipation.rate(jnp.asarray(0.5)))
    np.testing.assert_allclose(dissipation.rate(jnp.asarray(0.3)), 1.0)
    law = ll.DampedDescent(NETWORK, dissipation=dissipation)
    path = ll.simulate(law, law.initial_state(0.0, W, args=STIMULUS), TS, STIMULUS, throw=False)
    assert path.result != ll.RESULTS.successful


@pytest.mark.parametrize("value", [1j, None, "1"])
def test_potentials_and_terms_return_real_numbers(value):
    with pytest.raises(ValueError, match="what the potential returns must be real"):
        ll.CognitiveAction(NETWORK, lambda x, y: value).potential(jnp.ones(1), jnp.ones(1))
    with pytest.raises(ValueError, match="what fn of a term returns must be real"):
        ll.Term(lambda *_: value, order=0)(jnp.asarray(0.0), ((jnp.ones(1), W),), None)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("label", [2, np.int32(2), jnp.asarray(2), lambda t: 2])
def test_a_label_is_told_to_be_one_hot(label):
    law = ll.GradientFlow(ll.Layered((2, 3)), ll.CrossEntropy())
    with pytest.raises(ValueError, match=r"jax.nn.one_hot\(k, outputs\)"):
        law.initial_state(0.0, law.network.init(jax.random.key(0)), args=ll.Stimulus(jnp.ones(2), label))


class Squares(ll.AbstractPotential):
    """Forgets to sum."""

    def __call__(self, x_out, y):
        return (x_out - y) ** 2


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("law", [ll.GradientFlow, ll.BackpropDiffusion])
def test_a_potential_that_is_not_one_number_is_refused(law):
    network = ll.Layered((2, 3))
    with pytest.raises(ValueError, match=r"Squares gives an array of shape \(3,\): sum over its entries"):
        law(network, Squares()).initial_state(
            0.0, network.init(jax.random.key(0)), args=ll.Stimulus(jnp.ones(2), jnp.ones(3))
        )


@pytest.mark.parametrize("name", LAWS)
def test_rates_take_the_time_as_any_number(name):
    law, moving = LAWS[name][0], ll.Stimulus(ll.Sinusoids(jnp.array([1.0, 1.7])), jnp.array([0.4]))
    state = law.initial_state(0.0, W, args=moving)
    found, expected = (jax.tree.leaves(law.rates(t, state, moving).state) for t in (2, jnp.asarray(2.0)))
    for ours, same in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, same)


def test_a_recording_that_begins_after_the_run_is_refused():
    late = ll.Stimulus(ll.Sampled(np.linspace(0.2, 1.0, 9), np.ones((9, 2))), jnp.array([0.4]))
    law = LAWS["flow"][0]
    state = law.initial_state(0.3, W, args=late)
    with pytest.raises(ValueError, match="leaves the times"):
        law.check(jnp.asarray(TS), state, late)


def test_neurons_of_another_shape_are_refused():
    law = LAWS["diffusion"][0]
    for x in ((jnp.ones(2), jnp.ones(3), jnp.ones(1)), jnp.ones(5)):
        with pytest.raises(ValueError, match=r"x has shapes .* one entry a neuron"):
            law.initial_state(0.0, W, args=STIMULUS, x=x)
